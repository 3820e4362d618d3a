"""Which processes count as an agent's: its own, all below it, and those of its session that have
lost their parent, such as what a shell started with `&` and left.

Asked ten times a second, so as little as possible is read again: a process can only have come if
the newest number on the host is another one, and then it has a number given out since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from ...hostmem import Processes, descendants

STRAYS: Final = 1000  # of one agent that are counted
NUMBERS: Final = 1000  # given out between two looks that are gone through one by one


class Kin:
    """The processes of agents. `renew` first, then `of`."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._newest: int | None = None
        self._below: dict[int, tuple[int, ...]] = {}  # the process first; by its number
        self._strays: dict[int, set[int]] = {}

    def renew(self, leaders: Collection[int]) -> None:
        """See what has come and gone. `leaders` are the agents' own processes, each of which leads
        a session of its own."""
        known = self._strays.keys()
        for gone in known - set(leaders):
            del self._strays[gone]
            self._below.pop(gone, None)
        newest, before = self._processes.newest(), self._newest
        self._newest = newest
        if unknown := set(leaders) - known:
            self._strays |= {leader: set() for leader in unknown}
            before = None  # what they started may have come long ago
        if newest is None or newest != before:
            self._below.clear()
            self._find_strays(self._come(before, newest))

    def of(self, leader: int) -> tuple[int, ...]:
        """An agent's processes, its own first."""
        known = self._below.get(leader)
        if known is None:
            below = descendants(self._processes, leader)
            strays = self._strays.get(leader, set()).difference(below, (leader,))
            known = self._below[leader] = (leader, *below, *strays)
        return known

    def _come(self, before: int | None, newest: int | None) -> Iterable[int]:
        """Numbers that may be new processes."""
        if before is None or newest is None or not 0 < newest - before <= NUMBERS:
            return self._processes.all()
        return range(before + 1, newest + 1)

    def _find_strays(self, come: Iterable[int]) -> None:
        session = self._processes.session
        for leader, strays in self._strays.items():
            strays.intersection_update([pid for pid in strays if session(pid) == leader])
        for pid in come:
            found = session(pid)
            if found is not None and found != pid and found in self._strays:
                strays = self._strays[found]
                if len(strays) < STRAYS:
                    strays.add(pid)
