"""The terminal under the console, and what to do when it goes away.

Textual's driver writes from a thread that dies at the first error, after which the next writes
block the loop for ever. Here a terminal that is gone swallows what is written to it, so that the
console can still end what it started.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any, Final

from textual import events
from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App

STANDARD_INPUT: Final = 0


class Gone(events.Event, bubble=False):
    """The terminal was closed."""


class _Output:
    """The terminal's file, which never fails: what cannot be written is dropped."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError:
            self._gone()

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            self._gone()

    def _gone(self) -> None:
        """From now on write to nothing, the flush at the end of the process included."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._file.fileno())
        os.close(nothing)


class DeckDriver(LinuxDriver):
    """Textual's driver on a terminal that may go away at any time."""

    def __init__(self, app: App[Any], **options: Any) -> None:  # noqa: ANN401
        super().__init__(app, **options)
        self._file: Any = _Output(self._file)

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except OSError:
            self._app.call_later(self._app.post_message, Gone())


def terminal_gone() -> bool:
    """True when the terminal this process was started in has been closed."""
    return not os.isatty(STANDARD_INPUT)
