"""The terminal under the console: what it sends, and what to do when it goes away.

A terminal sends the escape key as the first character of longer sequences, so that escape and the
key behind it, when they arrive together, may be one sequence or two keys. Textual reads them as
Alt and a key, or as an accented letter. Here they are two keys: over a slow line they arrive
together whenever somebody types them in a breath, and no key of the console wants Alt.

Textual's driver writes from a thread that dies at the first error, after which the next writes
block the loop for ever. Here a terminal that is gone swallows what is written to it, so that the
console can still end what it started.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, Final

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

if TYPE_CHECKING:
    from textual.app import App

STANDARD_INPUT: Final = 0


ESCAPE: Final = "\x1b"
SEQUENCES: Final = frozenset("[O\x1b")
"""What may follow the escape character in what a terminal sends of itself."""

ESCAPE_KEY: Final = "\x1b[27u"
"""The escape key in the one way that cannot be the beginning of anything else."""


class KeyParser(XTermParser):
    """Textual's reader of what a terminal sends, for which escape is a key of its own."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._escape_waits = False

    def feed(self, data: str) -> Iterable[Message]:
        """The messages of some characters; a sequence may go on with the next."""
        # The parser gives up waiting for more by itself, and tells by its deadline.
        waiting = self._escape_waits and self._timeout_time is not None
        self._escape_waits = data == ESCAPE or data.endswith(ESCAPE)
        return super().feed(apart(data, waiting=waiting))


def apart(data: str, *, waiting: bool = False) -> str:
    """`data` with each escape that begins no sequence written as the key it is. `waiting`: an
    escape came right before, and nothing behind it."""
    parts = []
    if waiting and data[:1] not in SEQUENCES and data:
        parts.append(ESCAPE_KEY.removeprefix(ESCAPE))
    for place, character in enumerate(data):
        following = data[place + 1 : place + 2]
        alone = character == ESCAPE and following and following not in SEQUENCES
        parts.append(ESCAPE_KEY if alone else character)
    return "".join(parts)


# The driver makes its parser by this name and offers no other way to give it one.
linux_driver.XTermParser = KeyParser  # type: ignore[attr-defined]


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

    def fileno(self) -> int:
        """Of the file behind it."""
        return self._file.fileno()

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

    def _get_terminal_size(self) -> tuple[int, int]:
        """The size of the terminal itself: what COLUMNS and LINES said when the program began
        stays as it was when the window is another one."""
        try:
            size = os.get_terminal_size(self._file.fileno())
        except OSError:
            size = os.terminal_size((0, 0))
        return (size.columns, size.lines) if all(size) else super()._get_terminal_size()

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except OSError:
            self._app.call_later(self._app.post_message, Gone())


def terminal_gone() -> bool:
    """True when the terminal this process was started in has been closed."""
    return not os.isatty(STANDARD_INPUT)
