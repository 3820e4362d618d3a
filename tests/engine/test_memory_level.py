"""Changing the level of a record: who may, what stays, and what others see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.acl import Access
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.memory import MemoryStore
from swarmdeck.engine.model import (
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Role,
)
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.store.database import StoreOptions, open_database
from swarmdeck.engine.vault import Vault

OWNER = Principal("dev_agent_owner", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
MATE = Principal("dev_agent_mate", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
CHIEF = Principal("dev_agent_chief", Role.ADMIN, "development", "dev_swarm_1", ("dev_team_1",))
OTHER = Principal("dev_agent_other", Role.AGENT, "development")
EVERYONE = [OWNER, MATE, CHIEF, OTHER, OPERATOR_PRINCIPAL]


@pytest.fixture(params=[1 << 20, 0], ids=["cached", "uncached"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryStore]:
    clock = FakeClock()
    async with open_database(
        tmp_path / "d.db", "development", options=StoreOptions(), clock=clock
    ) as database:
        isolation = dict.fromkeys(Environment, Isolation.MODERATE)
        access = Access(Environment.DEVELOPMENT, isolation, database, clock)
        ring = Vault.open(tmp_path, load_settings(None, {}, {}), clock).ring("development")
        made = MemoryStore(database, access, clock, ring=ring, cache_bytes=request.param)
        await made.open()
        yield made


async def got(store: MemoryStore, who: Principal, key: str = "k") -> Any:
    found = store.get(who, "default", key)
    return await found if asyncio.isfuture(found) else found


async def trail(store: MemoryStore) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = await store._database.read(
        lambda reader: reader.execute(
            "SELECT actor, action, object, allowed, detail FROM audit"
            " WHERE action NOT IN ('memory.set', 'memory.get')"
        ).fetchall()
    )
    return rows


async def test_the_level_changes_and_nothing_else(store: MemoryStore) -> None:
    await store.set(OWNER, "default", "k", 0, b'"v"', "private", 60.0)
    before = await store.show(OWNER, "default", "k")
    assert await got(store, MATE) is None
    assert await store.set_level(OWNER, "default", "k", "team") == 2
    after = await store.show(OWNER, "default", "k")
    assert before is not None
    assert after is not None
    assert (after.level, after.version, after.value) == ("team", 2, "v")
    assert (after.expires_at_us, after.owner, after.team) == (
        before.expires_at_us, before.owner, before.team
    )  # fmt: skip
    assert await got(store, MATE) == (0, b'"v"', 2)
    assert await trail(store) == [
        ("dev_agent_owner", "memory.level", "default/k", 1, "private -> team")
    ]


async def test_a_level_that_is_taken_back_is_gone_at_once(store: MemoryStore) -> None:
    """Reads that begin after the answer see the new level, also those that were cold."""
    await store.set(OWNER, "default", "k", 0, b"1", "public")
    overlapping = asyncio.ensure_future(got(store, OTHER))
    await store.set_level(OWNER, "default", "k", "private")
    assert await got(store, OTHER) is None
    await overlapping
    assert await got(store, OTHER) is None, "an overlapping read has left nothing in the cache"
    assert await store.keys(OTHER, "default", "", 10, None) == ([], None)


@pytest.mark.parametrize("old", list(Level))
@pytest.mark.parametrize("new", list(Level))
async def test_it_needs_exactly_what_a_write_at_another_level_needs(
    store: MemoryStore, old: Level, new: Level
) -> None:
    """One path decides: for each subject both are allowed, or neither is."""
    maker = OPERATOR_PRINCIPAL if old is Level.SYSTEM else OWNER
    for who in EVERYONE:
        for key in ("by set", "by level"):
            await store.set(maker, "default", f"{who.id} {key}", 0, b"1", old)
        readable = await got(store, who, f"{who.id} by level") is not None
        by_set, by_level = await asyncio.gather(
            store.set(who, "default", f"{who.id} by set", 0, b"1", new),
            store.set_level(who, "default", f"{who.id} by level", new),
            return_exceptions=True,
        )
        expected = type(by_set) if readable else NotFound
        assert type(by_level) is expected, (who.id, by_set, by_level)


async def test_who_may_only_read_it_is_denied_and_noted(store: MemoryStore) -> None:
    await store.set(OWNER, "default", "k", 0, b"1", "public")
    for who in (OTHER, MATE):
        with pytest.raises(Denied):
            await store.set_level(who, "default", "k", "team")
    assert [row[:4] for row in await trail(store)] == [
        (who.id, "memory.denied", "default/k", 0) for who in (OTHER, MATE)
    ]
    assert await got(store, OTHER) == (0, b"1", 1)


async def test_what_may_not_be_read_looks_missing(store: MemoryStore) -> None:
    await store.set(OWNER, "default", "hidden", 0, b"1", "private")
    messages = set()
    for key in ("hidden", "nothing"):
        with pytest.raises(NotFound) as refused:
            await store.set_level(OTHER, "default", key, "public", 9)
        messages.add(str(refused.value).replace(key, "KEY"))
    assert len(messages) == 1, "the two are told in the same words"
    assert [row[0] for row in await trail(store)] == ["dev_agent_other"]


async def test_a_version_that_has_moved_is_a_conflict(store: MemoryStore) -> None:
    await store.set(OWNER, "default", "k", 0, b"1")
    with pytest.raises(Conflict, match="version 1, not version 2"):
        await store.set_level(OWNER, "default", "k", "team", 2)
    assert await store.set_level(OWNER, "default", "k", "team", 1) == 2


async def test_an_unknown_level_is_refused(store: MemoryStore) -> None:
    with pytest.raises(InvalidInput):
        store.set_level(OWNER, "default", "k", "everyone")
