"""The engine that this console was attached to has ended: what now?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from ...engine.text import safe_text
from ...widgets import LineWidget, line
from .dialogs import Dialog

TAKE: Final = "take over"
WAIT: Final = "wait"
LEAVE: Final = "leave"


class GoneScreen(Dialog):
    """Why it has ended, what that means, and three ways on. Dismissed with one of them, or None
    when another engine was found meanwhile."""

    heeds_early = False  # whoever was typing has not seen the question

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "choose('take over')", "Take over", show=False),
        Binding("w,escape", "choose('wait')", "Wait", show=False),
        Binding("q", "choose('leave')", "Leave", show=False),
    ]

    def __init__(self, reason: str, running: Sequence[str]) -> None:
        super().__init__()
        self._reason = reason
        self._swarms = running
        self._text = LineWidget()
        self._text.can_focus = True

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._text

    def on_mount(self) -> None:
        said = [
            (),
            line((" The engine has ended", "bad bold"), f": {safe_text(self._reason, 60)}"),
            (),
        ]
        if self._swarms:
            said.append(line(" Agents that live wait a while for an engine, then end themselves:"))
            said += [line(f"   {safe_text(each, 80)}") for each in self._swarms]
            said.append(())
        said += [
            line((" t ", "accent bold"), "take over: open the engine in this console, with them"),
            line(
                (" w ", "accent bold"),
                "wait for another engine; it is attached to when it is there",
            ),
            line((" q ", "accent bold"), "leave"),
        ]
        self._text.styles.height = len(said)
        self._text.set_lines(said)
        self.call_after_refresh(self.begin, self._text)

    def action_choose(self, way: str) -> None:
        self.dismiss(way)
