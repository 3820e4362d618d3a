"""Groups of cgroup v2, one for each swarm, where a part of the tree was given to the engine.

    <given>            what systemd (Delegate=) or a container gave; it holds no process
    <given>/engine     this process
    <given>/SWARM      the agents of a swarm: memory.max, memory.high, cpu.max

A tree is used only if it was given: writable is not enough, for root everything is. A group may
hand controllers down only while it holds no process itself, which is why the engine goes into a
leaf first; where others sit in the group it is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

ENGINE: Final = "engine"
PREFIX: Final = "swarm-"
SLOWED_AT: Final = 15, 16  # of its share: from there on a swarm is slowed, before it is ended
PERIOD_US: Final = 100_000
_DELEGATED: Final = ("user.delegate", "trusted.delegate")


class Groups:
    """The groups of swarms below one given group. Files are written on the caller's thread; each
    takes microseconds."""

    def __init__(self, given: Path, *, has_cpu: bool) -> None:
        self._given = given
        self.has_cpu = has_cpu
        self._killed: dict[str, int] = {}

    def hold(self, swarm: str, memory_bytes: int, cpu_percent: int | None = None) -> bool:
        """Make or change the group of a swarm. Whether its memory is limited now."""
        group = self._group(swarm)
        try:
            group.mkdir(exist_ok=True)
            slowed, of = SLOWED_AT
            _write(group / "memory.high", str(memory_bytes // of * slowed))
            _write(group / "memory.max", str(memory_bytes))
        except OSError:
            return False
        if swarm not in self._killed:  # an engine before this one has told of those until now
            self._killed[swarm] = self._kills(swarm)
        with suppress(OSError):  # a kernel without swap has no such file
            _write(group / "memory.swap.max", "0")
        if self.has_cpu:
            with suppress(OSError):
                _write(group / "cpu.max", _quota(cpu_percent))
        return True

    def place(self, swarm: str, pid: int) -> bool:
        """Put a process into the group of its swarm; what it starts later is in it too. Whether
        it is there."""
        try:
            _write(self._group(swarm) / "cgroup.procs", str(pid))
        except OSError:
            return False
        return True

    def new_kills(self, swarm: str) -> int:
        """How many processes of a swarm the kernel has ended for its memory since this was asked
        last."""
        found, before = self._kills(swarm), self._killed.get(swarm, 0)
        self._killed[swarm] = found
        return max(0, found - before)

    def _kills(self, swarm: str) -> int:
        lines = _lines(self._group(swarm) / "memory.events")
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def keep(self, swarms: Collection[str]) -> None:
        """Remove the groups of all other swarms. One that still holds a process stays."""
        for group in self._given.glob(f"{PREFIX}*"):
            swarm = group.name.removeprefix(PREFIX)
            if swarm not in swarms:
                with suppress(OSError):
                    group.rmdir()
                    self._killed.pop(swarm, None)

    def _group(self, swarm: str) -> Path:
        return self._given / f"{PREFIX}{swarm}"


class Site(NamedTuple):
    """Where groups could be made, and why not: empty where they can."""

    given: Path
    root: Path
    why_not: str

    @property
    def shown(self) -> str:
        """The path as the kernel says it."""
        return f"/{self.given.relative_to(self.root)}".replace("/.", "/")


def look_for_groups(
    proc: Path = Path("/proc"),
    tree: Path = Path("/sys/fs/cgroup"),
    *,
    is_given: Callable[[Path, Path], bool] | None = None,
) -> Site:
    """Whether this process may make groups. Changes nothing."""
    root = tree / "unified" if (tree / "unified" / "cgroup.controllers").exists() else tree
    own = _own(proc)
    if own is None or not (root / "cgroup.controllers").exists():
        return Site(root, root, "there is no cgroup v2 here")
    at = root / own.lstrip("/")
    given = at.parent if at.name == ENGINE and at != root else at
    site = Site(given, root, "")
    return site._replace(why_not=_why_not(site, at, is_given or _is_given))


def _why_not(site: Site, at: Path, is_given: Callable[[Path, Path], bool]) -> str:
    given, root, _ = site
    if "memory" not in _words(given / "cgroup.controllers"):
        return f"memory is no controller of the cgroup {site.shown}"
    if not is_given(given, root):
        return f"the cgroup {site.shown} was not delegated to this engine"
    if given == at and at.suffix == ".service":
        # Once it hands controllers down, systemd could start no process in it: an engine that
        # died could not be started again while its agents live.
        return f"systemd starts the engine in {site.shown} itself: DelegateSubgroup={ENGINE}"
    if set(_words(given / "cgroup.procs")) - {str(os.getpid())}:
        return f"other processes sit in the cgroup {site.shown}"
    return ""


def find_groups(
    proc: Path = Path("/proc"),
    tree: Path = Path("/sys/fs/cgroup"),
    *,
    is_given: Callable[[Path, Path], bool] | None = None,
) -> tuple[Groups | None, str]:
    """The groups this process may make, or None and why not. Moves this process into the leaf
    `engine` of the given group; nothing else is changed where it cannot be used."""
    site = look_for_groups(proc, tree, is_given=is_given)
    return (None, site.why_not) if site.why_not else _prepare(site)


def _prepare(site: Site) -> tuple[Groups | None, str]:
    given = site.given
    try:
        (given / ENGINE).mkdir(exist_ok=True)
        _write(given / ENGINE / "cgroup.procs", str(os.getpid()))
        _write(given / "cgroup.subtree_control", "+memory")
    except OSError as error:
        return None, f"the cgroup {site.shown} cannot be used: {error.strerror}"
    has_cpu = "cpu" in _words(given / "cgroup.controllers")
    try:
        _write(given / "cgroup.subtree_control", "+cpu")
    except OSError:
        has_cpu = False
    return Groups(given, has_cpu=has_cpu), ""


def _is_given(group: Path, root: Path) -> bool:
    """Marked by systemd, owned by a user who is not root, or the root of a container: that one has
    limits of its own, which the root of a host has not."""
    if not os.access(group, os.W_OK) or not os.access(group / "cgroup.procs", os.W_OK):
        return False
    for name in _DELEGATED:
        with suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    if os.geteuid() != 0:
        return group.stat().st_uid == os.geteuid()
    return group == root and (group / "memory.max").exists()


def _own(proc: Path) -> str | None:
    lines = _lines(proc / "self" / "cgroup")
    return next((line[3:] for line in lines if line.startswith("0::")), None)


def _quota(percent: int | None) -> str:
    """`50` percent of one core as `50000 100000`: microseconds of each period."""
    return f"max {PERIOD_US}" if percent is None else f"{percent * PERIOD_US // 100} {PERIOD_US}"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _write(file: Path, text: str) -> None:
    """A control file is there or it is not: none is made."""
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)
