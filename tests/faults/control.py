"""What `faultio.c` is told while a process runs, and what it has seen: a page they share."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

_LAYOUT: Final = struct.Struct("<QQQiiii64s")
_OPERATIONS: Final = {"none": 0, "write": 1, "sync": 2, "truncate": 3}


class Control:
    def __init__(self, path: Path) -> None:
        if not path.exists() or path.stat().st_size < _LAYOUT.size:
            path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _LAYOUT.size)

    def refuse(
        self, operation: str, nth: int, error: int, *, ever: bool = False, only: str = ""
    ) -> None:
        """Refuse the nth such call from now on, and with `ever` all after it."""
        self.stop()
        said = (_OPERATIONS[operation], nth, error, ever, only.encode())
        # The name of the operation last: with it the rest is in force.
        whole = _LAYOUT.pack(self.seen, 0, 0, *said)
        self._page[28:] = whole[28:]
        self._page[8:28] = whole[8:28]

    def stop(self) -> None:
        """Refuse nothing any more: the disk is well."""
        self._page[24:28] = bytes(4)

    @property
    def seen(self) -> int:
        """Calls seen in all: 0 means that the library was never in effect."""
        return int(_LAYOUT.unpack(self._page)[0])

    @property
    def counted(self) -> int:
        """Calls of the operation that is told, since it was."""
        return int(_LAYOUT.unpack(self._page)[1])

    @property
    def refused(self) -> int:
        return int(_LAYOUT.unpack(self._page)[2])
