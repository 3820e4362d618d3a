"""What the host and the agents' processes really hold, and what really limits them.

Planned and allocated are figures of the ledger; `used` is measured here. A process counts with
its descendants, by resident set: pages that several processes share count once for each, so a sum
is an upper bound; the proportional set of a process counts them by parts. The level of enforcement
is read from the kernel for the processes that run, not from what this program meant to set: no
limit that is not there is ever shown.
"""

from __future__ import annotations

import enum
import os
import resource
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol

import msgspec

UNLIMITED: Final = -1
TREE_LIMIT: Final = 1000  # descendants of one process that are counted

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Enforcement(enum.StrEnum):
    """What holds agents to their budgets. KERNEL: a cgroup with memory.max of its own. GUARDED:
    RLIMIT_DATA and a guard that watches resident memory. ADVISORY: measured and shown only."""

    KERNEL = "kernel"
    GUARDED = "guarded"
    ADVISORY = "advisory"


class HostReading(msgspec.Struct, frozen=True):
    """The machine at one moment. `cpu_percent` is over all processors since the reading before,
    0 in the first. `enforcement` is that of the processes measured last."""

    total_bytes: int
    available_bytes: int
    cpu_percent: float
    load_1m: float
    enforcement: Enforcement = Enforcement.ADVISORY


class Limits(msgspec.Struct, frozen=True):
    """What the kernel lets one process hold; UNLIMITED where it sets no limit."""

    cgroup_bytes: int = UNLIMITED
    data_bytes: int = UNLIMITED


class Processes(Protocol):
    """What can be read of processes, from any thread."""

    def rss(self, pid: int) -> int | None:
        """Resident bytes of one process, None when there is none."""
        ...

    def pss(self, pid: int) -> int | None:
        """Resident bytes of one process, of a page that several share only its part. None when
        there is no process, or it may not be looked into."""
        ...

    def children(self, pid: int) -> list[int]:
        """The processes one process started that still run."""
        ...

    def session(self, pid: int) -> int | None:
        """Who leads the session of a process; None for a thread, and when there is none."""
        ...

    def all(self) -> Iterable[int]:
        """Every process on the host."""
        ...

    def newest(self) -> int | None:
        """A number that is another one whenever a process or thread has been made on this host;
        None where nothing tells."""
        ...


class Probe(Processes, Protocol):
    """Where readings come from."""

    def host(self) -> HostReading: ...

    def stalled(self) -> float | None:
        """Percent of the last 10 s in which all that had work waited for memory (PSI); None where
        the kernel does not tell."""
        ...

    def limits(self, pid: int) -> Limits | None:
        """What limits one process, None when there is none."""
        ...


class HostMemory:
    """Readings of this host. `sample` belongs to one thread, `measure` may run on another.

    `guarded` says that something watches the resident memory of agents and acts on it; without
    that, a limit on data alone does not hold an agent with children.
    """

    def __init__(self, probe: Probe | None = None, *, guarded: bool = False) -> None:
        self.probe = probe if probe is not None else LinuxProbe()
        self.guarded = guarded
        self._enforcement = Enforcement.ADVISORY
        self.latest = self.probe.host()

    def sample(self) -> HostReading:
        """Read the host anew. Costs about 0.2 ms."""
        self.latest = msgspec.structs.replace(self.probe.host(), enforcement=self._enforcement)
        return self.latest

    def measure(self, pids: Collection[int]) -> dict[int, int]:
        """Bytes each of these processes holds together with its descendants; one that is gone is
        left out. The pids must be known to be those of the processes meant: unreaped children,
        or watched through a pidfd. Costs about 0.03 ms a process: run it on a thread."""
        self._enforcement = self._in_force(pids)
        found = ((pid, self._tree_rss(pid)) for pid in pids)
        return {pid: held for pid, held in found if held is not None}

    def _tree_rss(self, root: int) -> int | None:
        total = self.probe.rss(root)
        if total is None:
            return None
        return total + sum(self.probe.rss(pid) or 0 for pid in descendants(self.probe, root))

    def _in_force(self, pids: Collection[int]) -> Enforcement:
        """The level of the process that is limited least; ADVISORY where none runs."""
        own = self.probe.limits(os.getpid()) or Limits()
        found = [limits for pid in pids if (limits := self.probe.limits(pid)) is not None]
        if not found:
            return Enforcement.ADVISORY
        if all(_tighter(limits.cgroup_bytes, own.cgroup_bytes) for limits in found):
            return Enforcement.KERNEL
        if self.guarded and all(_tighter(each.data_bytes, own.data_bytes) for each in found):
            return Enforcement.GUARDED
        return Enforcement.ADVISORY


def descendants(probe: Processes, root: int, limit: int = TREE_LIMIT) -> list[int]:
    """The processes below one, at most `limit`: looking must end also below a fork bomb."""
    # A pid seen twice would be a loop: pids can be reused while the tree is read.
    seen, waiting = {root}, probe.children(root)
    while waiting and len(seen) <= limit:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            waiting += probe.children(pid)
    return list(seen - {root})


def _tighter(limit: int, own: int) -> bool:
    """Whether a limit was put on the process itself: one it shares with the engine (a container's,
    a shell's ulimit) keeps no agent to its budget."""
    return limit != UNLIMITED and (own == UNLIMITED or limit < own)


class LinuxProbe:
    """Readings from /proc, cgroup v2 and psutil."""

    def __init__(self, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._ticks = (0, 0)
        hybrid = cgroup / "unified"
        self._cgroup = hybrid if (hybrid / "cgroup.controllers").exists() else cgroup

    def host(self) -> HostReading:
        total_bytes, available_bytes = self._memory()
        return HostReading(
            total_bytes=total_bytes,
            available_bytes=available_bytes,
            cpu_percent=self._cpu_percent(),
            load_1m=os.getloadavg()[0],
        )

    def _memory(self) -> tuple[int, int]:
        """Total and available bytes. psutil is asked only where the kernel does not say it
        outright: its import costs a short command more than all it would read."""
        found = _meminfo(self._proc / "meminfo")
        if found is not None:
            return found
        memory = _psutil().virtual_memory()
        return memory.total, memory.available

    def _cpu_percent(self) -> float:
        """How busy all processors were since the call before."""
        found = _ticks(self._proc / "stat")
        if found is None:
            percent: float = _psutil().cpu_percent(interval=None)
            return percent
        before, self._ticks = self._ticks, found
        busy, passed = (now - then for now, then in zip(self._ticks, before, strict=True))
        if before == (0, 0) or passed <= 0:
            return 0.0
        return round(min(max(busy / passed, 0.0), 1.0) * 100, 1)

    def rss(self, pid: int) -> int | None:
        try:
            return int(_read(f"{self._proc}/{pid}/statm").split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return None

    def pss(self, pid: int) -> int | None:
        """Costs 1 ms for a process of 300 MB, where `rss` costs 3 us."""
        try:
            lines = _read(f"{self._proc}/{pid}/smaps_rollup").splitlines()
        except OSError:
            return None
        found = (int(line.split()[1]) << 10 for line in lines if line.startswith(b"Pss:"))
        return next(found, None)

    def newest(self) -> int | None:
        """The number given out last to a process or thread."""
        try:
            return int(_read(f"{self._proc}/loadavg").split()[4])
        except (OSError, IndexError):
            return None

    def session(self, pid: int) -> int | None:
        try:
            leader = int(_read(f"{self._proc}/{pid}/stat").rpartition(b")")[2].split()[3])
            lines = _read(f"{self._proc}/{pid}/status").splitlines() if leader != pid else []
        except (OSError, IndexError):
            return None
        group = next((line.split()[1] for line in lines if line.startswith(b"Tgid:")), None)
        return leader if group is None or int(group) == pid else None

    def all(self) -> Iterable[int]:
        names = os.listdir(self._proc)  # noqa: PTH208 - thousands of them
        return (int(name) for name in names if name.isdecimal())

    def stalled(self) -> float | None:
        try:
            text = _read(f"{self._proc}/pressure/memory").decode()
        except OSError:
            return None
        full = (line for line in text.splitlines() if line.startswith("full "))
        words = dict(word.partition("=")[::2] for word in next(full, "").split())
        return float(words["avg10"]) if "avg10" in words else None

    def children(self, pid: int) -> list[int]:
        """Read from the process itself: looking through all processes of a big host for each of
        74 agents, as psutil does, would cost hundreds of milliseconds a second. A kernel without
        these files (CONFIG_PROC_CHILDREN) leaves children uncounted."""
        tasks = f"{self._proc}/{pid}/task"
        try:
            threads = os.listdir(tasks)  # noqa: PTH208 - a third of the cost, ten times a second
        except OSError:
            return []
        return [child for thread in threads for child in _children_of(f"{tasks}/{thread}")]

    def limits(self, pid: int) -> Limits | None:
        try:
            data_bytes, _ = resource.prlimit(pid, resource.RLIMIT_DATA)
            groups = (self._proc / str(pid) / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        except PermissionError:  # another user's: nothing of ours limits it
            return Limits()
        unified = (line[3:] for line in groups.splitlines() if line.startswith("0::"))
        path = next(unified, "/")
        return Limits(self._cgroup_limit(path), UNLIMITED if data_bytes < 0 else data_bytes)

    def _cgroup_limit(self, path: str) -> int:
        """The least memory.max from a group up to the root; UNLIMITED where none says a number."""
        return min(self._group_limits(path), default=UNLIMITED)

    def _group_limits(self, path: str) -> Iterator[int]:
        group = self._cgroup / path.lstrip("/")
        for level in (group, *group.parents):
            if level == self._cgroup or not level.is_relative_to(self._cgroup):
                return  # the root has no limit of its own
            try:
                text = (level / "memory.max").read_text().strip()
            except OSError:
                continue  # the memory controller is not enabled at this level
            if text != "max":
                yield int(text)


def _children_of(thread: str) -> list[int]:
    try:
        return [int(pid) for pid in _read(f"{thread}/children").split()]
    except OSError:
        return []  # the thread ended meanwhile


def _read(path: str) -> bytes:
    """A file of /proc in one piece, without the cost of a Python file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def _meminfo(file: Path) -> tuple[int, int] | None:
    """MemTotal and MemAvailable in bytes; None where they are missing or make no sense."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = {name: text.split()[0] for name, _, text in (line.partition(":") for line in lines)}
    total, available = (int(kib.get(name, 0)) << 10 for name in ("MemTotal", "MemAvailable"))
    return (total, available) if 0 < available <= total else None


def _ticks(file: Path) -> tuple[int, int] | None:
    """Busy and all ticks of all processors since the start of the host; None where it does not
    tell. Guests are left out: their time is in that of the user."""
    try:
        with file.open(encoding="ascii") as lines:
            words = lines.readline().split()[1:9]
    except OSError:
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, words)
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait


def _psutil() -> ModuleType:
    import psutil  # noqa: PLC0415 - 10 ms, and a command that is over in a moment measures nobody

    return psutil
