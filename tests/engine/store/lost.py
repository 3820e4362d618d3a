"""A file of which a part never reached the disk."""

from __future__ import annotations

import os
from pathlib import Path


class Lost:
    """Gives a file back the bytes it had, as a disk does that never got the later ones. Its
    descriptor stays open: closing it would end SQLite's locks."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR)
        self._before = os.pread(self._file, path.stat().st_size, 0)

    def happen(self) -> None:
        assert os.pread(self._file, len(self._before), 0) != self._before
        os.pwrite(self._file, self._before, 0)
