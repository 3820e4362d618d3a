"""What the byte tests look at: a full-width table and a line of text, driven by keys.

`r` shows the same rows again, `c` changes one number, `m` writes the next mark into the last
line, so that the test knows that all before it has been painted.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from swarmdeck.widgets import DeckApp, LineWidget, line
from swarmdeck.widgets.gallery import sample_swarms, swarm_table


class Mark(LineWidget):
    DEFAULT_CSS = "Mark { height: 1; dock: bottom; }"


class Driven(DeckApp):
    BINDINGS: ClassVar = [("r", "again"), ("c", "change"), ("m", "mark")]
    marks = 0

    def compose(self) -> ComposeResult:
        yield swarm_table()
        yield Mark()

    def on_mount(self) -> None:
        self.query_one("#swarms").show(sample_swarms(200))
        self.query_one("#swarms").focus()
        self.action_mark()

    def action_again(self) -> None:
        self.query_one("#swarms").show(sample_swarms(200))

    def action_mark(self) -> None:
        self.marks += 1
        self.query_one(Mark).set_lines([line(f"mark {self.marks} end")])


if __name__ == "__main__":
    Driven().run()
