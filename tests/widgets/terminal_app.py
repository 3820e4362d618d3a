"""What the byte tests look at: a full-width table and a panel of text, driven by keys.

`r` shows the same rows again, `c` changes the panel, `R` repaints everything, `m` writes the next
mark into the last line, so that the test knows that all before it has been painted.
"""

from __future__ import annotations

import random
from typing import ClassVar

from textual.app import ComposeResult

from swarmdeck.widgets import DeckApp, FocusTile, LineWidget, line
from swarmdeck.widgets.gallery import sample_swarms, swarm_table

GLYPHS = ("a", "b", "0", "1", " ", "  ", "漢", "字", "🙂", "é", "─", "⣿")
STYLES = ("text", "bad", "good bold", "cursor reverse")


class Mark(LineWidget):
    DEFAULT_CSS = "Mark { height: 1; dock: bottom; }"


class Driven(DeckApp):
    CSS = "FocusTile { height: 8; }"
    BINDINGS: ClassVar = [("r", "again"), ("c", "change"), ("R", "repaint"), ("m", "mark")]
    marks = 0

    def compose(self) -> ComposeResult:
        yield Mark()
        yield swarm_table()
        yield FocusTile(title="Notes")

    def on_mount(self) -> None:
        self.random = random.Random(11)
        self.action_again()
        self.query_one("#swarms").focus()

    def action_again(self) -> None:
        self.query_one("#swarms").show(sample_swarms(200))

    def action_change(self) -> None:
        """Lines of random glyphs, each in a random style."""
        lines = [
            tuple(
                (self.random.choice(GLYPHS), self.random.choice(STYLES))
                for _ in range(self.random.randrange(90))
            )
            for _ in range(6)
        ]
        self.query_one(FocusTile).set_lines(lines)

    def action_repaint(self) -> None:
        self.screen.refresh()

    def action_mark(self) -> None:
        self.marks += 1
        self.query_one(Mark).set_lines([line(f"mark {self.marks} end")])


if __name__ == "__main__":
    Driven().run()
