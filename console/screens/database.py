"""Database files: how large, what keeps their logs long, and the statements that take long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget

from ...engine import actions, views
from ...engine.errors import ErrorReport
from ...widgets import LineWidget, VirtualTable
from .. import columns
from ..bridge import Pull
from ..columns import Moment
from ..listings import LISTINGS, Scope
from ..places import Place
from .listing import ListScreen
from .pane import TextPane, text_lines


class DatabaseScreen(ListScreen):
    """The files above, slow statements below, and the plan of the one under the cursor."""

    DEFAULT_CSS = """
    DatabaseScreen #rows { height: 9; }
    DatabaseScreen #slow { height: 1fr; }
    DatabaseScreen #plan { height: 5; }
    """

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["db"], scope)
        self._slow: VirtualTable[views.StatementView] = VirtualTable(
            columns.statements(moment), lambda each: f"{each.environment}\n{each.statement}",
            title="Slow statements", frame="rule", empty="reading …", id="slow",
        )  # fmt: skip
        self._plan = TextPane("Plan", id="plan")
        self.parts: Sequence[LineWidget] = (self.table, self._slow, self._plan)

    def below(self) -> Iterable[Widget]:
        yield self._slow
        yield self._plan

    @property
    def row(self) -> object:
        return self._slow.cursor_row if self._slow.has_focus else self.table.cursor_row

    def show(self, pull: Pull) -> None:
        super().show(pull)
        if pull.asked is not None:
            self.put(actions.DatabaseSlow(environment=self.scope.place), self._take_slow)

    def _take_slow(
        self, found: Sequence[views.StatementView] | None, error: ErrorReport | None
    ) -> None:
        self._slow.empty = (
            f"✗ {error.message}\n{error.hint}" if error is not None
            else "No statement took longer than the threshold (store.slow_statement_ms)."
        )  # fmt: skip
        self._slow.show(found or ())
        self._show_plan()

    def _show_plan(self) -> None:
        row = self._slow.cursor_row
        self._plan.show(text_lines([row.statement, *row.plan.splitlines()], self.moment)
                        if row is not None else ())  # fmt: skip

    def on_virtual_table_moved(self, message: VirtualTable.Moved) -> None:
        if message.table is self._slow:
            self._show_plan()

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        if message.table is self._slow:
            message.prevent_default()
            self.post_message(self.Opened(Place("detail", row=message.row)))
