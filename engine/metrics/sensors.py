"""What is read from the kernel for a measurement: processor time of processes, sizes of files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ..hostmem import Processes, descendants

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Senses(msgspec.Struct, frozen=True):
    """What was read. `cpu_s` is the processor time of each process with its descendants, by its
    pid, those that are gone left out; `own_cpu_s` that of the engine alone; `file_bytes` the size
    of each file with its log."""

    cpu_s: Mapping[int, float] = {}
    own_cpu_s: float = 0.0
    own_rss_bytes: int = 0
    file_bytes: Mapping[str, int] = {}


class Sensors(Protocol):
    """Where readings come from. Called on a thread of its own."""

    def read(self, pids: Collection[int], files: Mapping[str, Path]) -> Senses: ...


class LinuxSensors:
    """Readings from /proc and the file system."""

    def __init__(self, processes: Processes, proc: Path = Path("/proc")) -> None:
        self._processes = processes
        self._proc = proc

    def read(self, pids: Collection[int], files: Mapping[str, Path]) -> Senses:
        own = os.getpid()
        return Senses(
            cpu_s={pid: spent for pid in pids if (spent := self._tree_cpu_s(pid)) is not None},
            own_cpu_s=self._cpu_s(own, reaped=False) or 0.0,
            own_rss_bytes=self._processes.rss(own) or 0,
            file_bytes={name: _size(path) for name, path in files.items()},
        )

    def _tree_cpu_s(self, root: int) -> float | None:
        spent = self._cpu_s(root, reaped=True)
        if spent is None:
            return None
        below = descendants(self._processes, root)
        return spent + sum(self._cpu_s(pid, reaped=True) or 0.0 for pid in below)

    def _cpu_s(self, pid: int, *, reaped: bool) -> float | None:
        """Processor time of a process, with that of `reaped` children; None when it is gone."""
        try:
            text = (self._proc / str(pid) / "stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        # The name before may hold anything, also blanks and brackets.
        fields = text.rpartition(b")")[2].split()[11 : 15 if reaped else 13]
        return sum(map(int, fields)) / _TICKS_A_SECOND


def _size(path: Path) -> int:
    """Bytes of a database file and its log; 0 for one that is not there."""
    return sum(_file_size(each) for each in (path, path.with_name(f"{path.name}-wal")))


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
