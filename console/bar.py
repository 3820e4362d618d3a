"""The command bar of the console: recalls by what is typed, and says what is wrong beside it."""

from __future__ import annotations

from ..widgets import CommandBar, Line


class Bar(CommandBar):
    """Up and down go through the lines that begin with what was typed before; with nothing typed
    through all of them."""

    def complain(self, wrong: str) -> None:
        """Show what is wrong with the text, in place of the candidates; empty takes it away."""
        if wrong != self._wrong:
            self._wrong = wrong
            self.rebuild()

    _wrong = ""

    def open(self, text: str = "", prompt: str = ":", placeholder: str = "") -> None:
        self._wrong = ""
        super().open(text, prompt, placeholder)

    def _menu(self) -> Line:
        return ((f" ✗ {self._wrong}", "bad"),) if self._wrong else super()._menu()

    def action_recall(self, step: int) -> None:
        """The next line in that direction that begins as the one being typed did."""
        if self._recalled >= len(self.history):
            self._recalled, self._draft = len(self.history), self._text
        at = self._recalled + step
        while 0 <= at < len(self.history) and not self.history[at].startswith(self._draft):
            at += step
        if at < 0 or self._recalled == at:
            return
        self._recalled = min(at, len(self.history))
        text = self._draft if at >= len(self.history) else self.history[at]
        self._set(text, len(text))
