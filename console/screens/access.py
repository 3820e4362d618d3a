"""Access: who may do what to which record, the entries in force, and the view of one agent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from textual.widget import Widget

from ...engine import actions, views
from ...engine.actions import Action
from ...engine.errors import ErrorReport
from ...engine.model import Environment, environment_of
from ...widgets import AclMatrix, Line, LineWidget, Span, line
from ..bridge import Pull
from ..columns import Moment
from ..listings import LISTINGS, RECORDS, Scope
from ..places import Place
from ..prefill import CellRow
from .listing import ListScreen

MATRIX_ROWS: Final = 100
_EDGE_ROWS: Final = 15
_LEAST_US: Final = 1_000_000
"""The matrix is asked for once a second at most: it decides thousands of times."""

_MOST_US: Final = 10_000_000
"""Grants end with time and nothing is committed then: so often it is asked for all the same."""

RULES: Final = {
    "isolation": "the environments are kept apart",
    "explicit-deny": "a denial outweighs all else",
    "level": "its level decides",
    "public": "it is public",
    "grant": "a grant allows more than the level",
    "default": "nothing allows it",
}
"""What a rule says, in a few words."""

_RIGHTS: Final = (("r", "read"), ("w", "write"), ("d", "delete"))
_EMPTY: Final = (
    "No record is in {name} yet.\n\n:memory set {name} KEY VALUE  stores one,"
    "  @  shows another environment"
)


class RightsMatrix(AclMatrix):
    """The matrix of one environment: a window of its records that moves with the cursor."""

    def __init__(self) -> None:
        super().__init__(title="Rights", frame="rule", empty="reading …", id="matrix")
        self._environment = ""
        self._only: tuple[str, ...] = ()
        self._offset = 0
        self._more_after = False
        self._newest: tuple[object, ...] = ()
        self._asked_us = 0

    def about(self, environment: str, only: tuple[str, ...] = ()) -> None:
        """Show this environment; with `only` the rights of these subjects alone."""
        if (environment, only) != (self._environment, self._only):
            self._environment, self._only = environment, only
            self._offset, self._newest, self._more_after = 0, (), False
            self.empty = "reading …"
            self.show(views.MatrixView(environment=environment, subjects=(), rows=()))
            self.title = f"Rights · {environment}"

    def due(self, overview: views.Overview) -> actions.AclMatrix | None:
        """The question to ask now, if there is one: after a commit, and now and then."""
        if not self._environment:
            return None
        newest = (overview.sequence, overview.access.epoch, self._offset)
        moved = self._newest[2:] != newest[2:]
        waited_us = overview.at_us - self._asked_us
        stale = newest != self._newest and waited_us >= _LEAST_US
        if not (moved or stale or waited_us >= _MOST_US):
            return None
        self._newest, self._asked_us = newest, overview.at_us
        return self.wanted

    @property
    def wanted(self) -> actions.AclMatrix:
        """What the present window is the answer to."""
        return actions.AclMatrix(
            environment=Environment(self._environment).value,
            subjects=self._only,
            offset=self._offset,
            limit=MATRIX_ROWS,
        )

    def take(
        self, asked: actions.AclMatrix, seen: views.MatrixView | None, error: ErrorReport | None
    ) -> None:
        """Show the answer, unless it came too late to be the one that is wanted."""
        if asked != self.wanted:
            return
        if seen is None:
            self._newest = ()
            self.empty = f"✗ {error.message}\n{error.hint}" if error is not None else ""
            seen = views.MatrixView(environment=self._environment, subjects=(), rows=())
        else:
            self.empty = _EMPTY.format(name=self._environment)
        self._more_after = seen.more
        self.show(seen)
        first = f" from record {self._offset + 1:,}" if self._offset else ""
        title = f"Rights · {self._environment}{first}"
        if title != self.title:
            self.title = title

    def reach(self) -> bool:
        """Move the window when the cursor nears its end; True when another one is wanted."""
        before, half = self._offset, MATRIX_ROWS // 2
        if self._more_after and self._down >= len(self._records) - _EDGE_ROWS:
            self._offset += half
        elif self._offset and self._down < _EDGE_ROWS:
            self._offset -= half
        return self._offset != before

    @property
    def cell(self) -> CellRow | None:
        """The cell under the cursor as a row."""
        row, subject, cell = self.cursor_row, self.cursor_subject, self.cursor_cell
        if row is None or subject is None or cell is None:
            return None
        return CellRow(
            environment=self._environment, namespace=row.namespace, key=row.key, level=row.level,
            owner=row.owner, team=row.team, subject=subject.id, name=subject.name,
            rights=cell.rights, rule=cell.rule,
        )  # fmt: skip


class RuleLine(LineWidget):
    """The cell under the cursor in words."""

    DEFAULT_CSS = "RuleLine { height: 3; }"

    def tell(self, cell: CellRow | None) -> None:
        """Say what this cell means; nothing for none."""
        self.set_lines(() if cell is None else _cell_lines(cell))


def _cell_lines(cell: CellRow) -> Sequence[Line]:
    may = [name for letter, name in _RIGHTS if letter in cell.rights]
    cannot = [name for letter, name in _RIGHTS if letter not in cell.rights]
    spans: list[Span] = [("  ", "text"), (cell.name, "title bold"), (f" {cell.subject} ", "muted")]
    if may:
        spans += [("✓ may ", "good"), (", ".join(may), "text"), ("  ", "text")]
    if cannot:
        spans += [("✗ may not ", "bad"), (", ".join(cannot), "text")]
    return (
        tuple(spans),
        line(("  record ", "muted"), f"{cell.namespace}:{cell.key}", ("  level ", "muted"),
             cell.level, ("  owner ", "muted"), cell.owner, ("  team ", "muted"),
             cell.team or "-"),
        line(("  to read: ", "muted"), (cell.rule, "accent"),
             (f", {RULES.get(cell.rule, 'enter says more')}", "text"),
             ("   enter shows who else may", "muted")),
    )  # fmt: skip


class AccessScreen(ListScreen):
    """Two views of one thing, changed with tab: who may do what to which record, and the grants
    and denials in force. Enter on a cell shows who may do what to that record, and why."""

    DEFAULT_CSS = """
    AccessScreen.-matrix #rows { display: none; }
    AccessScreen #matrix, AccessScreen #rule { display: none; }
    AccessScreen.-matrix #matrix, AccessScreen.-matrix #rule { display: block; }
    """

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["access"], scope)
        self._matrix = RightsMatrix()
        self._rule = RuleLine(id="rule")
        self.add_class("-matrix")

    def below(self) -> Iterable[Widget]:
        yield self._matrix
        yield self._rule

    def on_mount(self) -> None:
        self.set_focus(self._matrix)

    def rest(self) -> None:
        (self._matrix if self.in_matrix else self.table).focus()

    @property
    def in_matrix(self) -> bool:
        """Whether the matrix is in front, else the entries in force."""
        return self.has_class("-matrix")

    @property
    def row(self) -> object:
        return self._matrix.cell if self.in_matrix else super().row

    @property
    def subject(self) -> str:
        """Whom the cell or the entry under the cursor is about."""
        return str(getattr(self.row, "subject", ""))

    def next_part(self, step: int = 1) -> None:
        """The matrix, or the entries in force."""
        self.toggle_class("-matrix")
        self.call_after_refresh(self.rest)
        self._worker.refresh_soon()
        self._describe()

    def query_wanted(self) -> Action | None:
        return None if self.in_matrix else super().query_wanted()

    def show(self, pull: Pull) -> None:
        super().show(pull)
        if pull.overview is not None and self.in_matrix:
            self._matrix.about(self._place(pull.overview))
            ask_matrix(self, self._matrix, pull.overview)

    def _place(self, overview: views.Overview) -> str:
        """The environment whose matrix is shown: the one chosen, else the first with records."""
        if self.scope.environment is not None:
            return str(self.scope.environment)
        return next((each.name for each in overview.environments if each.records), "development")

    def _narrow(self, scope: Scope) -> None:
        super()._narrow(scope)
        if self._seen is not None:
            self._matrix.about(self._place(self._seen))
        self._worker.refresh_soon()

    def on_acl_matrix_moved(self, message: AclMatrix.Moved) -> None:
        self._rule.tell(self._matrix.cell)
        self._settle()
        if self._matrix.reach():
            self._worker.refresh_soon()

    def on_acl_matrix_selected(self, message: AclMatrix.Selected) -> None:
        self.post_message(self.Opened(Place("who", row=self._matrix.cell)))


def ask_matrix(screen: ListScreen, matrix: RightsMatrix, overview: views.Overview) -> None:
    """Ask for the matrix when it is due."""
    wanted = matrix.due(overview)
    if wanted is not None:
        screen.put(wanted, lambda seen, error: matrix.take(wanted, seen, error))


class ViewAsScreen(ListScreen):
    """Everything as one agent sees it: the records it can read, and below them what it may do to
    each record of its environment. A banner says so for as long as it lasts."""

    DEFAULT_CSS = """
    ViewAsScreen #matrix { height: 40%; }
    """

    def __init__(self, moment: Moment, agent: str) -> None:
        listing = replace(
            RECORDS,
            title="Records it can read",
            groups=("as", "parts", "matrix", *RECORDS.groups),
            empty="It can read no record: nothing is shared with it, and it owns none.",
        )
        super().__init__(f"as {agent}", moment, listing, Scope(agent))
        self._matrix = RightsMatrix()
        self._home = environment_of(agent)
        self.parts = (self.table, self._matrix)

    def below(self) -> Iterable[Widget]:
        yield self._matrix

    def on_mount(self) -> None:
        self.head.warn(f"AS {self.subject}, esc ends it")
        self._matrix.about(str(self._home), (self.subject,))

    @property
    def row(self) -> object:
        return self._matrix.cell if self._matrix.has_focus else super().row

    def show(self, pull: Pull) -> None:
        super().show(pull)
        if pull.overview is not None:
            ask_matrix(self, self._matrix, pull.overview)
            agent = next((a for a in pull.overview.agents if a.id == self.subject), None)
            if agent is not None:
                self.head.warn(f"AS {agent.name}, esc ends it")

    def on_acl_matrix_moved(self, message: AclMatrix.Moved) -> None:
        self._settle()
        if self._matrix.reach():
            self._worker.refresh_soon()

    def on_acl_matrix_selected(self, message: AclMatrix.Selected) -> None:
        self.post_message(self.Opened(Place("who", row=self._matrix.cell)))
