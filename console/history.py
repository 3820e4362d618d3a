"""The commands that were typed, kept from session to session.

One file below the state directory, for its owner's eyes only, bounded. Lines that carry content
(of a record, of a message) keep only their verb.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..engine.errors import InvalidInput
from . import commands

MOST_LINES: Final = 200
_MOST_BYTES: Final = 1 << 20

log = logging.getLogger(__name__)


class History:
    """`lines`, oldest first, are shared with the command bar, which adds to them. Without a file
    nothing is kept."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._new: list[str] = []
        self.lines = _read(file) if file is not None else []

    def add(self, line: str) -> None:
        """A line was entered. A secret in it is not even recalled within the session."""
        kept = harmless(line)
        self._new.append(kept)
        if kept != line and commands.carries_secret(_words(line)) and self.lines[-1:] == [line]:
            self.lines[-1] = kept

    def save(self) -> None:
        """Add the lines of this session to the file, behind those that other consoles have added
        meanwhile. Blocks. A file that cannot be written is no reason to fail: it is logged."""
        if self._file is None or not self._new:
            return
        lines = _bounded([*_read(self._file), *self._new])
        try:
            _write(self._file, lines)
        except OSError as error:
            log.warning("the history is not kept: %s", error)
        self._new.clear()


def harmless(line: str) -> str:
    """The line as it is kept: without what it says of content."""
    words = _words(line)
    carries = commands.carries_value(words)
    return " ".join(words[: 3 if words[0] == "form" else 2]) if carries else line


def _words(line: str) -> tuple[str, ...]:
    try:
        return commands.split(line)
    except InvalidInput:
        return tuple(line.split())


def _bounded(lines: Sequence[str]) -> list[str]:
    """The latest, none twice in a row."""
    kept: list[str] = []
    for line in lines:
        if line and line not in kept[-1:]:
            kept.append(line)
    return kept[-MOST_LINES:]


def _read(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("the history cannot be read: %s", error)
        return []
    return _bounded([line for line in text.split("\n") if line.isprintable()])


def _write(file: Path, lines: Sequence[str]) -> None:
    """In one step, so that a crash leaves the old file or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write("".join(f"{line}\n" for line in lines))
    beside.replace(file)
