"""Why something is as it is: the verdict, the reasons, and commands that would change it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final

from textual.widget import Widget

from ...engine import actions, views
from ...engine.commandline import PROGRAM
from ...widgets import Column, Line, LineWidget, VirtualTable, line, mark_of
from ..bridge import Pull
from ..columns import Moment, place_style
from .frame import INNER, DeckScreen
from .pane import TextPane

_RULE_CELLS: Final = 18
_LEAST_TEXT: Final = 20


class ReasonPane(TextPane):
    """Reasons, each wrapped beside its rule. What stands in the way has a cross, what only adds
    to the picture a point."""

    def __init__(self) -> None:
        super().__init__("Reasons", id="reasons")
        self._reasons: Sequence[views.ReasonView] = ()

    def tell(self, reasons: Sequence[views.ReasonView]) -> None:
        """Show these reasons, the most telling first."""
        self._reasons = reasons
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        room = max(_LEAST_TEXT, self.body_width - _RULE_CELLS - 6)
        self._lines = [part for reason in self._reasons for part in _reason_lines(reason, room)]
        return super().layout_lines()


class ExplainScreen(DeckScreen):
    """An explanation that stays true: it is asked for again at every pull. Enter on a remedy asks
    for what it says, as if it were typed."""

    DEFAULT_CSS = """
    ExplainScreen #verdict { height: 4; }
    ExplainScreen #reasons { height: 1fr; }
    ExplainScreen #remedies { height: 30%; min-height: 5; }
    """

    def __init__(self, subject: str, moment: Moment) -> None:
        super().__init__(f"why {subject}", moment, ("parts", "rows", "motion", INNER))
        self._subject = subject
        self._query = actions.Explain(subject=subject)
        self._explained: views.ExplanationView | None = None
        self._verdict = LineWidget(id="verdict")
        self._reasons = ReasonPane()
        self._remedies: VirtualTable[Any] = VirtualTable(
            (Column("enter runs it", lambda text: "$ " + text, width=40, grow=1, style="accent"),),
            str, title="What would change it", frame="rule", id="remedies",
            empty="",
        )  # fmt: skip
        self.parts = (self._remedies, self._reasons)

    def body(self) -> Iterable[Widget]:
        yield self._verdict
        yield self._reasons
        yield self._remedies

    def on_mount(self) -> None:
        self._verdict.set_lines(((), line(("  reading …", "muted"))))
        self.set_focus(self._remedies)

    @property
    def subject(self) -> str:
        return self._subject

    @property
    def row(self) -> object:
        return self._explained

    def query_wanted(self) -> actions.Explain:
        return self._query

    def show(self, pull: Pull) -> None:
        if pull.asked != self._query:
            return
        if pull.error is not None:
            self._verdict.set_lines(
                ((), line(("  ✗ ", "bad"), pull.error.message), line(f"    {pull.error.hint}"))
            )
            self._reasons.tell(())
            self._remedies.show(())
            return
        self._explained = seen = pull.answer
        self._verdict.set_lines(_verdict_lines(seen))
        self._reasons.tell(seen.reasons)
        self._remedies.empty = "No command would: it is as it should be, or time will do it."
        self._remedies.show(seen.remedies)

    def on_virtual_table_selected(self, message: VirtualTable.Selected) -> None:
        self._worker.enter(str(message.row).removeprefix(f"{PROGRAM} "))


def _verdict_lines(seen: views.ExplanationView) -> Sequence[Line]:
    mark = mark_of(seen.state)
    return (
        (),
        line((f"  {seen.verdict}", "title bold")),
        line((f"  {seen.kind} {seen.subject}  ", "muted"),
             (seen.environment, place_style(seen.environment)), ("  ", "text"),
             (f"{mark.symbol} {seen.state}" if seen.state else "", mark.style)),
    )  # fmt: skip


def _reason_lines(reason: views.ReasonView, room: int) -> list[Line]:
    mark, style = ("✗", "bad") if reason.blocks else ("·", "muted")
    first, *others = textwrap.wrap(reason.text, room) or [""]
    rule = f"{reason.rule:<{_RULE_CELLS - 1}.{_RULE_CELLS - 1}} "
    lines = [line((f"  {mark} ", style), (rule, "title"), first)]
    return [*lines, *(line(" " * (_RULE_CELLS + 4) + text) for text in others)]
