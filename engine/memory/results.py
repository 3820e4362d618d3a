"""Answers of queries over records, exact as long as they are here.

An answer rests on records of a namespace (or of all), on what its asker may read, and on time. What
changes records is noted in a short log for each namespace that has answers, which costs a write one
append. Whether an answer still holds is found out when it is asked for again: no noted change since
then lies in its range, access has not moved, and nothing in it has expired. Where the log is too
short to tell, it does not hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from .records import Place

NOTED: Final = 1_000  # changes of a namespace that are remembered
OVERHEAD_BYTES: Final = 500  # of an answer beyond what it holds

Namespace: TypeAlias = str | None


class Range(NamedTuple):
    """Which keys an answer rests on: those with the prefix, beyond `after` and up to `upto` (None:
    all). `content`: also on their values, not only on which there are and whose they are."""

    prefix: str
    after: str = ""
    upto: str | None = None
    content: bool = False

    def touches(self, key: str, *, content_only: bool) -> bool:
        """Whether a change of a key may change the answer."""
        if content_only and not self.content:
            return False
        inside = key > self.after and (self.upto is None or key <= self.upto)
        return inside and key.startswith(self.prefix)


class Asked(NamedTuple):
    """A query on its way, and what was known of records and access when it began."""

    namespace: Namespace
    sequence: int
    generation: int
    epoch: int


class ResultStats(msgspec.Struct, frozen=True):
    """How often answers were found here and how often not, and what is held."""

    hits: int
    misses: int
    entries: int
    size_bytes: int


class _Log:
    """The last changes of one namespace. `users` are answers and queries on their way."""

    __slots__ = ("changes", "sequence", "users")

    def __init__(self) -> None:
        self.changes: deque[tuple[str, bool]] = deque(maxlen=NOTED)
        self.sequence = 0
        self.users = 0

    def since(self, sequence: int) -> Any:  # noqa: ANN401 - an iterator, or None
        """Changes after that one, the newest first; None when some of them are forgotten."""
        count = self.sequence - sequence
        return None if count > len(self.changes) else islice(reversed(self.changes), count)


class _Kept:
    """An answer of `since_us`, and up to which change it is known to hold."""

    __slots__ = ("answer", "asked", "range", "sequence", "since_us", "size_bytes", "until_us")

    def __init__(
        self,
        asked: Asked,
        answer: Any,  # noqa: ANN401 - whatever was kept
        within: Range,
        *,
        since_us: int,
        until_us: int,
        size_bytes: int,
    ) -> None:
        self.asked = asked
        self.sequence = asked.sequence
        self.answer = answer
        self.range = within
        self.since_us = since_us
        self.until_us = until_us
        self.size_bytes = size_bytes


class Results:
    """The answers of one environment, bounded in bytes and time; those asked for longest ago go
    first. Belongs to the engine's loop."""

    def __init__(self, limit_bytes: int, ttl_s: float) -> None:
        self._limit = limit_bytes
        self._ttl_us = int(ttl_s * 1_000_000)
        self._kept: dict[Hashable, _Kept] = {}
        self._logs: dict[Namespace, _Log] = {}
        self._generation = 0
        self._size = 0
        self._hits = 0
        self._misses = 0

    @property
    def stats(self) -> ResultStats:
        return ResultStats(self._hits, self._misses, len(self._kept), self._size)

    def clear(self) -> None:
        """Forget everything, and nothing that is asked now will be kept."""
        self._generation += 1
        for name in tuple(self._kept):
            self._drop(name)

    # --- asking -----------------------------------------------------------------------------

    def get(self, name: Hashable, epoch: int, now_us: int) -> Any:  # noqa: ANN401 - an answer
        """The answer to a query, None where none holds."""
        kept = self._kept.get(name)
        if kept is not None and self._holds(kept, epoch, now_us):
            self._hits += 1
            self._kept[name] = self._kept.pop(name)  # asked for last
            return kept.answer
        if kept is not None:
            self._drop(name)
        self._misses += 1
        return None

    def _holds(self, kept: _Kept, epoch: int, now_us: int) -> bool:
        if epoch != kept.asked.epoch or not kept.since_us <= now_us < kept.until_us:
            return False
        log = self._logs[kept.asked.namespace]
        changes = log.since(kept.sequence)
        if changes is None:
            return False
        if any(kept.range.touches(key, content_only=content) for key, content in changes):
            return False
        kept.sequence = log.sequence
        return True

    def ask(self, namespace: Namespace, epoch: int) -> Asked:
        """Note that a query begins, before it looks at anything. `leave` it in the end."""
        log = self._logs.get(namespace)
        if log is None:
            log = self._logs[namespace] = _Log()
        log.users += 1
        return Asked(namespace, log.sequence, self._generation, epoch)

    def leave(self, asked: Asked) -> None:
        """A query has ended, whether its answer was kept or not."""
        log = self._logs[asked.namespace]
        log.users -= 1
        if not log.users:
            del self._logs[asked.namespace]

    def keep(
        self,
        name: Hashable,
        asked: Asked,
        answer: Any,  # noqa: ANN401 - what `get` is to give
        within: Range,
        *,
        now_us: int,
        until_us: int,
        size_bytes: int,
    ) -> None:
        """Keep an answer. It holds until `until_us` at the latest (0: as long as any), and not
        before now, should the clock be set back."""
        size_bytes += OVERHEAD_BYTES
        if asked.generation != self._generation or size_bytes > self._limit or not self._ttl_us:
            return
        if name in self._kept:
            self._drop(name)
        latest_us = now_us + self._ttl_us
        ends_us = min(until_us, latest_us) if until_us else latest_us
        self._kept[name] = _Kept(
            asked, answer, within, since_us=now_us, until_us=ends_us, size_bytes=size_bytes
        )
        self._logs[asked.namespace].users += 1
        self._size += size_bytes
        while self._size > self._limit:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: Hashable) -> None:
        kept = self._kept.pop(name)
        self._size -= kept.size_bytes
        self.leave(kept.asked)

    # --- changes ----------------------------------------------------------------------------

    def changed(self, place: Place, *, content_only: bool) -> None:
        """A change of a record was committed; `content_only`: there is the same record, for the
        same people, as long as before."""
        if not self._logs:
            return
        namespace, key = place
        for log in (self._logs.get(namespace), self._logs.get(None)):
            if log is not None:
                log.changes.append((key, content_only))
                log.sequence += 1
