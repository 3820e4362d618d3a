"""Records: levels, versions, time to live, and what concurrency may and may not show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import codec
from swarmdeck.engine.acl import Access, Wanted
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Conflict, Denied, InvalidInput
from swarmdeck.engine.memory import MemoryStore
from swarmdeck.engine.memory.records import Cache, Entry
from swarmdeck.engine.model import (
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Role,
)
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.store.database import Database, Reader, StoreOptions, open_database
from swarmdeck.engine.vault import Vault

ISOLATION = dict.fromkeys(Environment, Isolation.MODERATE) | {
    Environment.PRODUCTION: Isolation.STRICT
}
OWNER = Principal("dev_agent_owner", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
MATE = Principal("dev_agent_mate", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
OTHER = Principal("dev_agent_other", Role.AGENT, "development")
TESTER = Principal("test_agent_1", Role.AGENT, "testing")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def database(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Database]:
    async with open_database(
        tmp_path / "d.db", "development", options=StoreOptions(), clock=clock
    ) as opened:
        yield opened


async def make_store(
    database: Database, clock: FakeClock, cache_bytes: int = 1 << 20
) -> MemoryStore:
    access = Access(Environment.DEVELOPMENT, ISOLATION, database, clock)
    await access.open()
    vault = Vault.open(database.path.parent, load_settings(None, {}, {}), clock)
    ring = vault.ring("development")
    store = MemoryStore(database, access, clock, ring=ring, cache_bytes=cache_bytes)
    await store.open()
    return store


@pytest.fixture(params=[1 << 20, 0], ids=["cached", "uncached"])
async def store(
    request: pytest.FixtureRequest, database: Database, clock: FakeClock
) -> MemoryStore:
    """Every test runs with answers from the cache and with answers from the file."""
    return await make_store(database, clock, request.param)


async def put(store: MemoryStore, who: Principal, key: str, value: Any, **options: Any) -> int:
    namespace = options.pop("namespace", "default")
    return await store.set(who, namespace, key, *codec.encode(value), **options)


async def get(store: MemoryStore, who: Principal, key: str, namespace: str = "default") -> Any:
    found = store.get(who, namespace, key)
    found = await found if asyncio.isfuture(found) else found
    return None if found is None else codec.decode(found[0], found[1])


@pytest.mark.parametrize("value", [None, 0, "x", [1, {"a": None}], {"k": "ü"}, b"\0\xff", b"", 1.5])
async def test_what_is_set_is_got(store: MemoryStore, value: Any) -> None:
    assert await put(store, OWNER, "k", value) == 1
    found = store.get(OWNER, "default", "k")
    found = await found if asyncio.isfuture(found) else found
    assert found is not None
    assert codec.decode(found[0], found[1]) == value


async def test_versions_count_up_and_are_compared(store: MemoryStore) -> None:
    assert await put(store, OWNER, "k", 1, if_version=0) == 1
    assert await put(store, OWNER, "k", 2, if_version=1) == 2
    with pytest.raises(Conflict, match="version 2"):
        await put(store, OWNER, "k", 3, if_version=1)
    with pytest.raises(Conflict):
        await put(store, OWNER, "k", 3, if_version=0)
    assert await get(store, OWNER, "k") == 2


async def test_of_many_that_compare_the_same_version_one_wins(store: MemoryStore) -> None:
    tries = [put(store, OWNER, "k", n, if_version=0) for n in range(20)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(str(type(o).__name__) for o in outcomes) == ["Conflict"] * 19 + ["int"]


async def test_writes_of_one_key_in_one_batch_keep_their_order(store: MemoryStore) -> None:
    versions = await asyncio.gather(*(put(store, OWNER, "k", n) for n in range(50)))
    assert versions == list(range(1, 51))
    assert await get(store, OWNER, "k") == 49


async def test_new_records_are_private_and_levels_open_them(store: MemoryStore) -> None:
    await put(store, OWNER, "k", "v")
    assert await get(store, MATE, "k") is None
    await put(store, OWNER, "k", "v", level="team")
    assert await get(store, MATE, "k") == "v"
    assert await get(store, OTHER, "k") is None
    await put(store, OWNER, "k", "v", level=4)
    assert await get(store, OTHER, "k") == "v"
    assert await get(store, TESTER, "k") == "v"


async def test_a_level_stays_until_it_is_changed(store: MemoryStore) -> None:
    await put(store, OWNER, "k", 1, level="public")
    await put(store, OWNER, "k", 2)
    assert await get(store, OTHER, "k") == 2


async def test_writes_that_are_not_allowed_change_nothing(store: MemoryStore) -> None:
    await put(store, OWNER, "k", 1, level="team")
    for who in (OTHER, TESTER, OPERATOR_PRINCIPAL):
        with pytest.raises(Denied):
            await put(store, who, "k", 2)
    with pytest.raises(Denied):
        await put(store, MATE, "k", 2, level="public")  # only the owner raises a level
    with pytest.raises(Denied):
        await put(store, OWNER, "new", 2, level="system")
    assert await get(store, OWNER, "k") == 1
    assert await put(store, MATE, "k", 3) == 2


async def test_a_denied_write_in_a_batch_fails_alone_and_is_recorded(
    store: MemoryStore, database: Database
) -> None:
    await put(store, OWNER, "mine", 1)
    outcomes = await asyncio.gather(
        put(store, OTHER, "a", 1), put(store, OTHER, "mine", 2), put(store, OTHER, "b", 1),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(o).__name__ for o in outcomes] == ["int", "Denied", "int"]
    rows = await database.read(
        lambda r: r.execute("SELECT actor, object FROM audit WHERE allowed = 0").fetchall()
    )
    assert rows == [(OTHER.id, "default/mine")]


async def test_every_change_leaves_one_audit_row(store: MemoryStore, database: Database) -> None:
    await put(store, OWNER, "k", 1)
    await store.incr(OWNER, "default", "n", 2)
    await store.mset(OWNER, "default", [("x", *codec.encode(1)), ("y", *codec.encode(2))])
    await store.delete(OWNER, "default", "k")
    rows = await database.read(
        lambda r: r.execute("SELECT action, object FROM audit ORDER BY sequence").fetchall()
    )
    assert rows == [
        ("memory.set", "default/k"), ("memory.incr", "default/n"), ("memory.set", "default/x"),
        ("memory.set", "default/y"), ("memory.delete", "default/k"),
    ]  # fmt: skip


async def test_an_expired_record_is_gone_at_once(store: MemoryStore, clock: FakeClock) -> None:
    await put(store, OWNER, "k", 1, ttl_s=10)
    clock.advance(9.9)
    assert await get(store, OWNER, "k") == 1
    clock.advance(0.2)
    assert await get(store, OWNER, "k") is None
    assert (await store.keys(OWNER, "default", "", 10, None))[0] == []
    assert await store.delete(OWNER, "default", "k") is False
    assert await put(store, OWNER, "k", 2, if_version=0) == 2, "a version is never two values"
    assert store.records == 1


async def test_a_write_without_ttl_lasts(store: MemoryStore, clock: FakeClock) -> None:
    await put(store, OWNER, "k", 1, ttl_s=10)
    await put(store, OWNER, "k", 2)
    clock.advance(100)
    assert await get(store, OWNER, "k") == 2


async def test_the_sweep_removes_what_has_expired_and_nothing_else(
    store: MemoryStore, clock: FakeClock, database: Database
) -> None:
    for n in range(250):
        await put(store, OWNER, f"k{n:03d}", n, ttl_s=10 if n % 2 else 1000)
    clock.advance(11)
    assert await store.sweep() == 125
    assert store.records == 125
    assert await database.read(count) == 125
    assert await store.sweep() == 0
    clock.advance(1000)
    assert await store.sweep() == 125


def count(reader: Reader) -> int:
    row = reader.execute("SELECT count(*) FROM memory").fetchone()
    return int(row[0]) if row else 0


async def test_delete_answers_whether_there_was_one(store: MemoryStore) -> None:
    assert await store.delete(OWNER, "default", "k") is False
    await put(store, OWNER, "k", 1, level="public")
    assert await store.delete(TESTER, "default", "nothing") is False
    with pytest.raises(Denied):
        await store.delete(OTHER, "default", "k")
    with pytest.raises(Conflict):
        await store.delete(OWNER, "default", "k", 7)
    assert await store.delete(OWNER, "default", "k") is True
    assert await get(store, OWNER, "k") is None
    assert store.records == 0


async def test_deleting_what_may_not_be_read_looks_like_a_missing_key(store: MemoryStore) -> None:
    await put(store, OWNER, "k", 1)
    assert await store.delete(OTHER, "default", "k") is False
    assert await get(store, OWNER, "k") == 1


async def test_incr_adds_and_keeps_its_time_to_live(store: MemoryStore, clock: FakeClock) -> None:
    totals = await asyncio.gather(*(store.incr(OWNER, "default", "n", 1) for _ in range(100)))
    assert sorted(totals) == list(range(1, 101))
    assert await store.incr(OWNER, "default", "n", -50) == 50
    await put(store, OWNER, "t", 1, ttl_s=10)
    assert await store.incr(OWNER, "default", "t", 1) == 2
    clock.advance(11)
    assert await get(store, OWNER, "t") is None
    await put(store, OWNER, "text", "x")
    with pytest.raises(Conflict):
        await store.incr(OWNER, "default", "text", 1)
    with pytest.raises(Denied):
        await store.incr(OTHER, "default", "n", 1)


async def test_mset_stores_all_or_none(store: MemoryStore) -> None:
    await put(store, OTHER, "c", 0)
    items = [(key, *codec.encode(1)) for key in ("a", "b", "c")]
    with pytest.raises(Denied):
        await store.mset(OWNER, "default", items)
    assert [await get(store, OWNER, key) for key in ("a", "b")] == [None, None]
    assert await store.mset(OWNER, "default", items[:2]) == [1, 1]
    found = await store.mget(OWNER, "default", ["a", "nothing", "c", "b"])
    assert [item is not None for item in found] == [True, False, False, True]


async def test_keys_come_in_order_paged_and_only_those_that_may_be_read(store: MemoryStore) -> None:
    for n in range(30):
        await put(store, OWNER if n % 3 else OTHER, f"k{n:02d}", n)
    await put(store, OWNER, "other", 1)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = await store.keys(OWNER, "default", "k", 7, cursor)
        seen += page
        if cursor is None:
            break
    assert seen == [f"k{n:02d}" for n in range(30) if n % 3]


@pytest.mark.parametrize("limit", [1, 70, 200])
async def test_few_keys_among_many_that_may_not_be_read_are_all_found(
    store: MemoryStore, limit: int
) -> None:
    for n in range(200):
        await put(store, OWNER if n % 67 == 66 else OTHER, f"k{n:03d}", n)
    found, _ = await store.keys(OWNER, "default", "k", limit, None)
    assert found == ["k066", "k133"][:limit]


async def test_namespaces_separate_keys(store: MemoryStore) -> None:
    await put(store, OWNER, "k", 1, namespace="a")
    await put(store, OWNER, "k", 2, namespace="b")
    assert await get(store, OWNER, "k", "a") == 1
    assert await store.clear(OWNER, "a") == 1
    assert await get(store, OWNER, "k", "b") == 2


async def test_clear_leaves_what_may_not_be_deleted(store: MemoryStore) -> None:
    await put(store, OWNER, "a", 1)
    await put(store, OTHER, "b", 1, level="public")
    assert await store.clear(OWNER, None) == 1
    assert await get(store, OTHER, "b") == 1


@pytest.mark.parametrize("key", ["", "x" * 513, "a\nb", "a\0b", "\ud800", "a\u202eb", "é" * 257])
async def test_bad_keys_are_refused(store: MemoryStore, key: str) -> None:
    with pytest.raises(InvalidInput):
        await put(store, OWNER, key, 1)
    with pytest.raises(InvalidInput):
        await get(store, OWNER, key)


@pytest.mark.parametrize(
    "options",
    [{"namespace": "../etc"}, {"namespace": "A"}, {"level": "secret"}, {"level": 6}, {"ttl_s": 0},
     {"ttl_s": -1}, {"ttl_s": float("nan")}, {"ttl_s": 1e12}],
)  # fmt: skip
async def test_bad_options_are_refused(store: MemoryStore, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await put(store, OWNER, "k", 1, **options)
    assert store.records == 0


def test_bodies_from_outside_are_verified() -> None:
    deep = b"[" * 65 + b"]" * 65
    for body in (b"{", b"NaN", b'"\xff"', b"[1] x", b"[" * 100_000, b"1e999", deep, b""):
        with pytest.raises(InvalidInput):
            codec.check(codec.JSON, body)
    with pytest.raises(InvalidInput):
        codec.check(9, b"1")
    assert codec.check(codec.JSON, b'{"a": "[[[["}') == b'{"a": "[[[["}'


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": [float("-inf")]}, object()])
def test_values_json_cannot_say_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        codec.encode(value)


async def test_a_revoked_grant_lets_no_later_read_through(store: MemoryStore) -> None:
    await put(store, OWNER, "k", 1, level="team")
    wanted = Wanted(subject=OTHER.id, effect="allow", level="team", rights=("read",))
    for _ in range(20):
        grant = await store.access.add(OPERATOR_PRINCIPAL, wanted)
        assert await get(store, OTHER, "k") == 1
        reads = [asyncio.ensure_future(get(store, OTHER, "k")) for _ in range(20)]
        await store.access.revoke(OPERATOR_PRINCIPAL, grant.id)
        late = await asyncio.gather(*(get(store, OTHER, "k") for _ in range(20)))
        assert late == [None] * 20
        await asyncio.gather(*reads)


async def test_a_restart_finds_everything(database: Database, clock: FakeClock) -> None:
    first = await make_store(database, clock)
    await put(first, OWNER, "k", {"a": 1}, level="team", ttl_s=60)
    again = await make_store(database, clock)
    assert again.records == 1
    assert await get(again, MATE, "k") == {"a": 1}
    clock.advance(61)
    assert await again.sweep() == 1


def entry(version: int) -> Entry:
    return Entry(codec.JSON, b"%d" % version, Level.PRIVATE, "o", None, None, version, 0, 0)


def test_a_load_that_a_write_overtook_fills_nothing() -> None:
    cache, place = Cache(1 << 20), ("default", "k")
    ticket = cache.begin_load()
    cache.put(place, entry(2))
    cache.drop(place)  # written and deleted while the load was under way
    cache.fill(place, entry(1), ticket)
    cache.end_load(ticket)
    assert cache.get(place) is None
    later = cache.begin_load()
    cache.fill(place, entry(3), later)
    cache.end_load(later)
    found = cache.get(place)
    assert found is not None
    assert found.version == 3


def test_without_the_generation_a_deleted_record_would_come_back() -> None:
    """The planted bug that the test above is there to catch."""

    class Careless(Cache):
        def _note(self, place: tuple[str, str]) -> None:
            del place

    cache, place = Careless(1 << 20), ("default", "k")
    ticket = cache.begin_load()
    cache.put(place, entry(2))
    cache.drop(place)
    cache.fill(place, entry(1), ticket)
    assert cache.get(place) is not None


def test_the_cache_stays_within_its_bytes() -> None:
    cache = Cache(10_000)
    for n in range(1000):
        cache.put(("default", f"k{n}"), entry(n))
        assert cache.size_bytes <= 10_000
    assert cache.get(("default", "k999")) is not None
    assert cache.get(("default", "k0")) is None
