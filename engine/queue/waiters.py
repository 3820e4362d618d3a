"""The order in which consumers wait, first come first served."""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..model import Principal
from .lanes import Probe

Messages = list[list[Any]]

_SLACK: Final = 64  # deadlines of those who have left that are not worth a clean-up


class Waiter:
    """One claim until it is answered. `ticket` is its place in the line for as long as it lasts;
    `deadline_s` is on the monotonic clock; `places` is what it waits for while it is in line."""

    __slots__ = ("deadline_s", "future", "kinds", "lease_us", "limit", "places", "principal",
                 "ticket", "watched")  # fmt: skip

    def __init__(
        self,
        ticket: int,
        principal: Principal,
        kinds: tuple[str, ...] | None,
        limit: int,
        lease_us: int,
        deadline_s: float,
        future: asyncio.Future[Messages],
    ) -> None:
        self.ticket = ticket
        self.principal = principal
        self.kinds = kinds
        self.limit = limit
        self.lease_us = lease_us
        self.deadline_s = deadline_s
        self.future = future
        self.places: tuple[Probe, ...] = ()
        self.watched = False

    def __lt__(self, other: Waiter) -> bool:
        return self.ticket < other.ticket

    @property
    def gone(self) -> bool:
        """Whether it has its answer, or nobody listens any more."""
        return self.future.done()

    def answer(self, messages: Messages) -> None:
        if not self.future.done():
            self.future.set_result(messages)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Waiters:
    """Those in line, by what they wait for. One that may take nothing has a deadline only."""

    __slots__ = ("_deadlines", "_parked", "_places")

    def __init__(self) -> None:
        self._parked: dict[int, Waiter] = {}
        self._places: dict[str, dict[str | None, list[Waiter]]] = {}
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._parked)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(sorted(self._parked.values()))

    def park(self, waiter: Waiter, places: Iterable[Probe]) -> None:
        """Stand in line, by ticket: one that was called for nothing gets its old place back. A
        caller that cancels leaves by itself."""
        waiter.places = tuple(places)
        self._parked[waiter.ticket] = waiter
        for target, kind in waiter.places:
            insort(self._places.setdefault(target, {}).setdefault(kind, []), waiter)
        if not waiter.watched:
            waiter.watched = True
            waiter.future.add_done_callback(lambda _: self.leave(waiter))
        heapq.heappush(self._deadlines, (waiter.deadline_s, waiter.ticket))
        if len(self._deadlines) > 2 * len(self._parked) + _SLACK:
            self._deadlines = [(each.deadline_s, each.ticket) for each in self._parked.values()]
            heapq.heapify(self._deadlines)

    def leave(self, waiter: Waiter) -> None:
        """Leave the line. Nothing happens to one that is not in it."""
        if self._parked.pop(waiter.ticket, None) is None:
            return
        for target, kind in waiter.places:
            kinds = self._places[target]
            line = kinds[kind]
            del line[bisect_left(line, waiter)]
            if not line:
                del kinds[kind]
            if not kinds:
                del self._places[target]
        waiter.places = ()

    def call(self, target: str, kind: str, count: int) -> list[Waiter]:
        """The first `count` that wait for a message of this lane; they leave the line."""
        called: list[Waiter] = []
        while len(called) < count:
            kinds = self._places.get(target, {})
            heads = [line[0] for line in (kinds.get(kind), kinds.get(None)) if line]
            if not heads:
                break
            first = min(heads)
            self.leave(first)
            if not first.gone:
                called.append(first)
        return called

    def wanted(self, target: str) -> tuple[str | None, ...]:
        """Kinds that somebody waits for from this target; None is any."""
        return tuple(self._places.get(target, ()))

    def overdue(self, now_s: float) -> list[Waiter]:
        """Those that have waited long enough; they leave the line."""
        found = []
        while self._deadlines and self._deadlines[0][0] <= now_s:
            waiter = self._parked.get(heapq.heappop(self._deadlines)[1])
            if waiter is not None:
                self.leave(waiter)
                found.append(waiter)
        return found

    @property
    def next_deadline_s(self) -> float | None:
        """When the first of them has waited long enough (monotonic clock)."""
        while self._deadlines and self._deadlines[0][1] not in self._parked:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None
