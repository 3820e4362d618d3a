"""A field that is typed into. Textual's own paints its text as it is, which may come from data."""

from __future__ import annotations

from typing import Any, Final

from rich.cells import cell_len
from textual.widgets import Input

from ...engine.text import safe_text

_HIDDEN: Final = "\ufffd"


class SafeInput(Input):
    """An `Input` that shows a sign in place of each character that would act on the terminal or
    hide itself. `value` keeps them: what is entered is what was there."""

    @property
    def _value(self) -> Any:  # noqa: ANN401 - a text as Textual paints it
        text = super()._value
        if not self.password:
            text.plain = "".join(map(_sign, self.value))
        return text

    def _position_to_cell(self, position: int) -> int:
        if self.password:
            return min(position, len(self.value))
        return cell_len("".join(map(_sign, self.value[:position])))


def _sign(character: str) -> str:
    """One character for one, so that the cursor is where it seems to be."""
    shown = safe_text(character)
    return shown if len(shown) == 1 else _HIDDEN
