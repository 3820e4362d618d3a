"""Records that are read from the file together, and what is wrong with one of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmdeck.engine import codec
from swarmdeck.engine.errors import Damaged, Unavailable
from swarmdeck.engine.memory.misses import AT_ONCE, SELECT_ENTRIES, SELECT_SCATTERED

MANY = AT_ONCE + 30


@pytest.fixture
async def full(site: Any) -> Any:
    """More records than are read at once, in two namespaces by turns."""
    for number in range(MANY):
        await site.put(_key(number), number, "team", namespace=_namespace(number))
    return site


def _key(number: int) -> str:
    return f'k"ü\\{number:03d}'


def _namespace(number: int) -> str:
    return "other" if number % 2 else "default"


def _asked(site: Any, who: Any = None) -> list[asyncio.Future[Any]]:
    """All of them in one turn, and as many that are not there."""
    get, who = site.store.get, who or site.owner
    there = [get(who, _namespace(number), _key(number)) for number in range(MANY)]
    return there + [get(who, _namespace(number + 1), _key(number)) for number in range(MANY)]


async def _answers(site: Any, who: Any = None) -> list[Any]:
    found = await asyncio.gather(*_asked(site, who), return_exceptions=True)
    return [codec.decode(each[0], each[1]) if type(each) is tuple else each for each in found]


@pytest.mark.parametrize(
    ("statement", "namespace"), [(SELECT_ENTRIES, ("a",)), (SELECT_SCATTERED, ())]
)
async def test_the_list_drives_the_index(
    site: Any, statement: str, namespace: tuple[str, ...]
) -> None:
    plan = await site.rows(f"EXPLAIN QUERY PLAN {statement}", "[]", site.name, *namespace)
    first, second = [row[3] for row in plan]
    assert first.startswith("SCAN asked VIRTUAL TABLE")
    assert second.startswith("SEARCH memory USING INDEX")
    assert second.endswith("(env=? AND namespace=? AND key=?)")


async def test_all_that_one_turn_asks_for_is_one_query(
    full: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[Any] = []
    ask = full.database.ask

    def asked(query: Any) -> Any:
        queries.append(query)
        return ask(query)

    monkeypatch.setattr(full.database, "ask", asked)
    before = full.store.cache.loads
    assert await _answers(full) == [*range(MANY), *[None] * MANY]
    assert len(queries) == 1
    assert full.store.cache.loads == before + 2 * MANY


@pytest.mark.parametrize(
    "change",
    ["body = zeroblob(40)", "owner = CAST(x'ff' AS TEXT)", "level = 4"],
    ids=["body", "no text", "level"],
)
async def test_a_damaged_record_fails_its_own_caller_alone(full: Any, change: str) -> None:
    await full.change(f"UPDATE memory SET {change} WHERE key = ?", _key(7))
    found = await _answers(full, full.operator)
    spoilt = found[7]
    assert isinstance(spoilt, Damaged), spoilt
    assert [each for each in found if each is not spoilt] == [
        *(number for number in range(MANY) if number != 7),
        *[None] * MANY,
    ]


async def test_a_damaged_record_is_missing_to_who_may_not_read_it(full: Any) -> None:
    await full.change("UPDATE memory SET body = zeroblob(40) WHERE key = ?", _key(7))
    assert await _answers(full, full.other) == [None] * (2 * MANY)


async def test_who_is_cancelled_leaves_the_others_alone(full: Any) -> None:
    asked = _asked(full)
    asked[3].cancel()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[3], asyncio.CancelledError)
    assert [type(each) for each in found[:MANY]].count(tuple) == MANY - 1


async def test_a_record_that_is_written_meanwhile_is_not_kept_as_it_was(opening: Any) -> None:
    async with opening(cache_bytes=1 << 20) as site:
        await site.put("k", "old")
        site.store.cache.close()
        site.store.cache.reopen()
        asked = site.store.get(site.owner, "default", "k")
        await asyncio.gather(asked, site.put("k", "new"))
        assert await site.get("k") == "new"


async def test_each_caller_of_a_closed_store_hears_it_by_an_error_of_its_own(full: Any) -> None:
    await full.database.close()
    found = await asyncio.gather(*_asked(full), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in found)
    assert len({id(each) for each in found}) == 2 * MANY
