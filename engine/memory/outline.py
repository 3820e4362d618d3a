"""Where in a long list of records one is.

To leave out a million records, a store has to pass them all. So what was passed once is
remembered: the list is cut into blocks of up to BLOCK records that may be read, each with its
first place and its count. A page is then found by adding up counts and reading in one block.

A record that comes, goes or changes its level makes the count of its block unknown, and that
block alone is counted again, when somebody looks behind it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from ..acl import Access
from ..acl.sight import Where, joined
from ..model import Principal
from ..store.aside import Aside
from ..store.database import Reader
from .browse import Browse, Row, Sight, query, rows_of, sight, within
from .records import Place

BLOCK: Final = 1_000
STEP: Final = 200 * BLOCK  # records that one look counts at most: what it has found is kept
MOST_STEPS: Final = 64  # while others keep changing what was counted
MOST_OUTLINES: Final = 8

_FIRST: Final[Place] = ("", "")


class Block(NamedTuple):
    """Records from `start` up to the next block; `records` None is not known."""

    start: Place
    records: int | None


Step = Callable[[Reader, Place, Place | None], tuple[Place | None, int]]


class Outline:
    """The blocks of one list by namespace and key. Belongs to the engine's loop."""

    def __init__(self, wanted: Browse, seen: Sight, aside: Aside) -> None:
        self._wanted = wanted
        self._sight = seen
        self._aside = aside
        self._blocks = [Block(_FIRST, None)]
        self._touched: set[Place] = set()  # while somebody counts
        self._counting = asyncio.Lock()

    def touch(self, place: Place) -> None:
        """A record came, went or changed its level."""
        if self._counting.locked():
            self._touched.add(place)
        at = bisect_right(self._blocks, place, key=_start) - 1
        self._blocks[at] = self._blocks[at]._replace(records=None)

    async def page(self, offset: int, limit: int, now_us: int) -> list[Row]:
        """`limit` records after `offset` others."""
        if offset >= BLOCK:
            await self._count_up_to(offset, now_us)
        start, before = self._block_of(offset)
        wanted = self._wanted._replace(offset=offset - before, limit=limit)
        return await self._aside.read(query(wanted, self._sight, now_us, start))

    async def total(self, now_us: int) -> int:
        """How many records there are."""
        await self._count_up_to(None, now_us)
        return sum(block.records or 0 for block in self._blocks)

    def _block_of(self, offset: int) -> tuple[Place, int]:
        """Where to begin to read, and how many records come before."""
        before = 0
        for start, count in self._blocks[:-1]:
            if count is None or offset < before + count:
                return start, before
            before += count
        return self._blocks[-1].start, before

    async def _count_up_to(self, offset: int | None, now_us: int) -> None:
        """Count the blocks up to the one with that record (None: all)."""
        async with self._counting:
            for _ in range(MOST_STEPS):
                known = [block.records for block in self._blocks]
                first = known.index(None) if None in known else len(known)
                before = sum(count or 0 for count in known[:first])
                if first == len(known) or (offset is not None and offset < before):
                    return
                enough = STEP if offset is None else min(STEP, offset + 1 - before)
                await self._count_from(first, enough, now_us)

    async def _count_from(self, first: int, enough: int, now_us: int) -> None:
        old = self._blocks[first:]
        step = _counter(self._wanted, self._sight, now_us)
        self._touched.clear()
        self._blocks[first:] = await self._aside.read(
            lambda reader: _counted(reader, old, enough, step)
        )
        for place in tuple(self._touched):
            self.touch(place)


class _Kept(NamedTuple):
    outline: Outline
    epoch: int
    until_us: int


class Outlines:
    """The outlines of the lists looked at last, each for as long as the access to it lasts."""

    def __init__(self, access: Access, aside: Aside) -> None:
        self._access = access
        self._aside = aside
        self._kept: dict[tuple[Principal, str | None, str], _Kept] = {}

    def clear(self) -> None:
        self._kept.clear()

    def touch(self, place: Place) -> None:
        for kept in self._kept.values():
            kept.outline.touch(place)

    async def page(self, principal: Principal, wanted: Browse, now_us: int) -> list[Row]:
        """A page by namespace and key."""
        outline = self._outline(principal, wanted, now_us)
        offset, limit = wanted.offset, wanted.limit
        if not wanted.descending:
            return await outline.page(offset, limit, now_us)
        end = await outline.total(now_us) - offset
        start = max(0, end - limit)
        return (await outline.page(start, max(0, end - start), now_us))[::-1]

    def _outline(self, principal: Principal, wanted: Browse, now_us: int) -> Outline:
        name = (principal, wanted.namespace, wanted.prefix)
        kept = self._kept.pop(name, None)
        ended = kept is not None and 0 < kept.until_us <= now_us
        if kept is None or ended or kept.epoch != self._access.epoch:
            plain = Browse(wanted.namespace, wanted.prefix)
            seen = sight(self._access, principal)
            kept = _Kept(Outline(plain, seen, self._aside), self._access.epoch, seen.until_us)
        self._kept[name] = kept
        if len(self._kept) > MOST_OUTLINES:
            del self._kept[next(iter(self._kept))]
        return kept.outline


def _start(block: Block) -> Place:
    return block.start


# --- on a thread of its own ---------------------------------------------------------------------


def _counted(reader: Reader, blocks: Sequence[Block], enough: int, step: Step) -> list[Block]:
    """Blocks with their counts as far as `enough` records go; the others as they were."""
    found: list[Block] = []
    passed = 0
    ends = [*(block.start for block in blocks[1:]), None]
    for block, end in zip(blocks, ends, strict=True):
        start: Place | None = block.start
        while start is not None and block.records is None and passed < enough:
            following, count = step(reader, start, end)
            found.append(Block(start, count))
            passed += count
            start = following
        if start is not None:
            found.append(Block(start, block.records))
            passed += block.records or 0
    return found


def _counter(wanted: Browse, seen: Sight, now_us: int) -> Step:
    """Counts up to BLOCK records from a place on; and where the next begins, if any does."""

    def step(reader: Reader, start: Place, end: Place | None) -> tuple[Place | None, int]:
        parts: list[Where] = [within(wanted, now_us), seen.where]
        parts.append(("(namespace, key) >= (?, ?)", start))
        if end is not None:
            parts.append(("(namespace, key) < (?, ?)", end))
        return _passed(reader, parts) if seen.exact else _walked(reader, parts, seen)

    return step


def _passed(reader: Reader, parts: Sequence[Where]) -> tuple[Place | None, int]:
    where, parameters = joined(parts)
    some = f"FROM memory WHERE env = ? AND {where} ORDER BY namespace, key LIMIT"
    next_one = f"SELECT namespace, key {some} 1 OFFSET {BLOCK}"
    following = reader.execute(next_one, (reader.env, *parameters)).fetchone()
    if following is not None:
        return (following[0], following[1]), BLOCK
    rest = f"SELECT count(*) FROM (SELECT 1 {some} {BLOCK})"  # noqa: S608
    row = reader.execute(rest, (reader.env, *parameters)).fetchone()
    return None, int(row[0]) if row else 0


def _walked(reader: Reader, parts: Sequence[Where], seen: Sight) -> tuple[Place | None, int]:
    rows = filter(seen.sees, rows_of(reader, parts, "namespace, key"))
    places = [(row[0], row[1]) for row in islice(rows, BLOCK + 1)]
    return (places[BLOCK] if len(places) > BLOCK else None), min(len(places), BLOCK)
