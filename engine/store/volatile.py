"""Stores that are kept in memory alone.

Their files have names nobody can create, not even root: below /proc there is no making of
directories. So whatever forgets to ask writes nothing, and is refused as if by a full disk.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

MEMORY: Final = ":memory:"  # what people give in place of a data directory

_ROOT: Final = Path("/proc/swarmdeck-memory")
_numbers: Final = itertools.count(1)


def is_memory(data: Path) -> bool:
    """Whether a data directory was named that is not one, also as an absolute path."""
    return data.name == MEMORY


def directory() -> Path:
    """The data directory of one more store in memory."""
    return _ROOT / str(next(_numbers))


def is_volatile(path: Path) -> bool:
    """Whether a file or directory belongs to a store in memory."""
    return path.parts[:3] == _ROOT.parts


def shown(path: Path) -> str:
    """A path as people see it."""
    return MEMORY if is_volatile(path) else str(path)
