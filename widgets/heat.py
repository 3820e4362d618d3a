"""`HeatStrip`: many agents at a glance, one cell each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import msgspec

from .cells import Line, Span, fit, width_of
from .linewidget import Frame, LineWidget
from .states import STATE_MARKS, mark_of

_MOST_LABEL: Final = 16
_TALLY: Final = 4


class HeatRow(msgspec.Struct, frozen=True):
    """A group of agents: its name, and the state of each in a stable order."""

    label: str
    states: tuple[str, ...]
    style: str = "text"


class HeatStrip(LineWidget):
    """A line per group with a symbol per agent, and a legend that counts the states. Groups that
    do not fit end with how many are missing."""

    def __init__(
        self,
        *,
        title: str = "",
        frame: Frame | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name for it
    ) -> None:
        super().__init__(title=title, frame=frame, id=id)
        self._groups: tuple[HeatRow, ...] = ()

    def show(self, rows: Sequence[HeatRow]) -> None:
        """Show these groups."""
        self._groups = tuple(rows)
        self.rebuild()

    def layout_lines(self) -> Sequence[Line]:
        """The groups, then the legend on the last line."""
        label = min(_MOST_LABEL, max((width_of(row.label) for row in self._groups), default=0))
        room = self.body_height - 1
        lines = [self._group(row, label) for row in self._groups[:room]]
        counts = Counter(state for row in self._groups for state in row.states)
        return [*lines, legend(counts, self.body_width)]

    def _group(self, row: HeatRow, label: int) -> Line:
        tally = str(len(row.states))
        room = max(0, self.body_width - label - 1 - _TALLY - 1)
        shown, missing = row.states, ""
        if len(shown) > room:
            shown = shown[: max(0, room - len(tally) - 1)]
            missing = f"+{len(row.states) - len(shown)}"
        spans: list[Span] = [
            (fit(row.label, label) + " ", row.style),
            (tally.rjust(_TALLY), "muted"),
        ]
        spans.append((" ", "text"))
        for state, run in groupby(shown):
            mark = mark_of(state)
            spans.append((mark.symbol * len(list(run)), mark.style))
        return (*spans, (missing, "muted"))


def legend(counts: Counter[str], width: int) -> Line:
    """How many are in each state, in the order of the table of marks. Where the words do not fit
    `width` the symbols stand alone."""
    if not counts:
        return (("no agents", "muted"),)
    order = [state for state in STATE_MARKS if state in counts]
    order += sorted(set(counts) - set(order))
    full: list[Span] = []
    short: list[Span] = []
    for state in order:
        mark = mark_of(state)
        full += [(f"{mark.symbol} {counts[state]}", mark.style), (f" {state}  ", "muted")]
        short.append((f"{mark.symbol}{counts[state]} ", mark.style))
    words = sum(width_of(text) for text, _ in full) - 2
    return tuple(full if words <= width else short)
