"""How many records there are, of which kind, and how often reads find them in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..acl import Access
from ..store.aside import Aside
from ..store.database import Database, Reader
from ..views import MemoryStatsView
from .store import MemoryStore

_COUNT: Final = """
SELECT count(*), ifnull(sum(length(body)), 0), count(DISTINCT namespace), count(expires_at),
       ifnull(sum(level = 1), 0), ifnull(sum(level = 2), 0), ifnull(sum(level = 3), 0),
       ifnull(sum(level = 4), 0), ifnull(sum(level = 5), 0)
FROM memory WHERE env = ?"""


async def counts(database: Database, memory: MemoryStore, access: Access) -> MemoryStatsView:
    """The records of one environment, counted in the file. Raises Unavailable when that takes too
    long, StorageError."""
    row = await Aside(database).read(_count, rows=memory.records)
    records, value_bytes, namespaces, expiring, private, team, swarm, public, system = row
    results, reads = memory.results.stats, memory.reads.total
    return MemoryStatsView(
        environment=database.env,
        records=records,
        value_bytes=value_bytes,
        namespaces=namespaces,
        expiring=expiring,
        private=private,
        team=team,
        swarm=swarm,
        public=public,
        system=system,
        reads=reads,
        found=_share(reads - memory.cache.loads, reads),
        cache_bytes=memory.cache.size_bytes,
        answers=results.entries,
        held_bytes=results.size_bytes,
        answered=_share(results.hits, results.hits + results.misses),
        denied=access.denied_calls,
    )


def _count(reader: Reader) -> Sequence[Any]:
    row = reader.execute(_COUNT, (reader.env,)).fetchone()
    assert row is not None, "an aggregate has a row"
    return row


def _share(part: int, whole: int) -> float | None:
    """None of nothing. Loads that are not reads of a caller can be more than there were reads."""
    return round(max(0, part) / whole, 4) if whole else None
