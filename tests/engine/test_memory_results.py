"""Answers of lists that are kept are the answers there would be without keeping any."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmdeck.engine import codec
from swarmdeck.engine.acl import Access, Wanted
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import SwarmDeckError
from swarmdeck.engine.memory import MemoryStore, Write
from swarmdeck.engine.memory.browse import Browse
from swarmdeck.engine.memory.results import NOTED, Range, Results
from swarmdeck.engine.model import (
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Principal,
    Role,
)
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.store.database import Database, StoreOptions, open_database
from swarmdeck.engine.store.volatile import directory
from swarmdeck.engine.vault import Vault

ISOLATION = dict.fromkeys(Environment, Isolation.MODERATE)
MINE = Principal("dev_agent_1", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
MATE = Principal("dev_agent_2", Role.AGENT, "development", "dev_swarm_1", ("dev_team_1",))
OTHER = Principal("dev_agent_3", Role.AGENT, "development")
ACTORS: Final = (MINE, MATE, OTHER, OPERATOR_PRINCIPAL)
KEYS: Final = ("a", "ab", "b", "ba", "c")
NAMESPACES: Final = ("default", "app")
LEVELS: Final = (None, "private", "team", "swarm", "public")
EXAMPLES: Final = 1_000 if os.environ.get("STRESS") else 15


PAGES: Final = (
    ("default", ("", 100, None)), ("default", ("a", 1, None)), ("app", ("", 2, "a")),
)  # fmt: skip
LISTS: Final = (
    Browse("default"), Browse(None, order="changed", descending=True, limit=2),
    Browse(None, "a", offset=1, limit=2), Browse("app", contains="b", order="level"),
)  # fmt: skip


class World(NamedTuple):
    """A store that keeps answers, and one over the same file that keeps nothing."""

    clock: FakeClock
    access: Access
    store: MemoryStore
    plain: MemoryStore


async def make_world(database: Database, clock: FakeClock, **options: Any) -> World:
    access = Access(Environment.DEVELOPMENT, ISOLATION, database, clock)
    await access.open()
    known = load_settings(None, {}, {})
    ring = Vault.open(database.path.parents[2], known, clock).ring("development")
    kept = {"results_bytes": 1 << 20, "results_ttl_s": 3600.0} | options
    store = MemoryStore(database, access, clock, ring=ring, cache_bytes=1 << 20, **kept)
    plain = MemoryStore(database, access, clock, ring=ring, cache_bytes=0)
    await store.open()
    await plain.open()
    return World(clock, access, store, plain)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    async with open_here(clock) as database:
        yield await make_world(database, clock)


def open_here(clock: FakeClock) -> Any:
    path = directory() / "instances" / "development" / "development.db"
    return open_database(path, "development", options=StoreOptions(), clock=clock)


def put(world: World, who: Principal, key: str, value: Any = 1, **options: Any) -> Any:
    namespace = options.pop("namespace", "default")
    return world.store.set(who, namespace, key, *codec.encode(value), **options)


async def keys(world: World, who: Principal = MINE, prefix: str = "", **options: Any) -> Any:
    given_ = {"namespace": "default", "limit": 100, "cursor": None} | options
    return await world.store.keys(
        who, given_["namespace"], prefix, given_["limit"], given_["cursor"]
    )


# --- against a store that keeps nothing -------------------------------------------------------

actor = st.sampled_from(ACTORS)
place = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(KEYS))
step = st.one_of(
    st.tuples(
        st.just("set"), actor, place, st.sampled_from(LEVELS), st.sampled_from((None, 2.0, 50.0))
    ),
    st.tuples(st.just("set"), actor, place, st.none(), st.none()),
    st.tuples(st.just("delete"), actor, place),
    st.tuples(st.just("incr"), actor, place),
    st.tuples(st.just("level"), actor, place, st.sampled_from(LEVELS[1:])),
    st.tuples(st.just("clear"), actor, st.sampled_from(("default", None)), st.sampled_from("ab")),
    st.tuples(st.just("wait"), st.sampled_from((1.0, 3.0, 60.0))),
    st.tuples(st.just("back"), st.sampled_from((1.0, 10.0))),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("grant"), st.sampled_from((2.0, 100.0)), st.sampled_from(LEVELS[1:])),
    st.tuples(st.just("revoke")),
    st.tuples(st.just("reload")),
    st.tuples(st.just("meanwhile"), actor, place, actor),
)
steps = st.lists(step, max_size=20)


class Player:
    """Does the steps, and asks both stores everything after each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.entries: list[str] = []

    async def play(self, chosen: list[tuple[Any, ...]]) -> None:
        for name, *rest in chosen:
            with contextlib.suppress(SwarmDeckError):  # what is refused changes nothing
                await getattr(self, name)(*rest)
            await self.compare()

    async def compare(self) -> None:
        store, plain = self.world.store, self.world.plain
        asked = [
            partial(each.keys, who, namespace, *page)
            for who in (MINE, OTHER, OPERATOR_PRINCIPAL)
            for namespace, page in PAGES
            for each in (store, plain)
        ]
        asked += [
            partial(each.browse, who, wanted)
            for who in (MINE, OTHER)
            for wanted in LISTS
            for each in (store, plain)
        ]
        found = await asyncio.gather(*(ask() for ask in asked))
        for ask, kept, fresh in zip(asked[::2], found[::2], found[1::2], strict=True):
            assert kept == fresh, ask.args

    async def set(self, who: Principal, at: Any, level: str | None, ttl_s: float | None) -> None:
        await put(self.world, who, at[1], namespace=at[0], level=level, ttl_s=ttl_s)

    async def delete(self, who: Principal, at: Any) -> None:
        await self.world.store.delete(who, *at)

    async def incr(self, who: Principal, at: Any) -> None:
        await self.world.store.incr(who, *at, 1)

    async def level(self, who: Principal, at: Any, level: str) -> None:
        await self.world.store.set_level(who, *at, level)

    async def clear(self, who: Principal, namespace: str | None, prefix: str) -> None:
        await self.world.store.clear(who, namespace, prefix)

    async def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    async def back(self, seconds: float) -> None:
        self.world.clock.jump(-seconds)

    async def sweep(self) -> None:
        await self.world.store.sweep()

    async def grant(self, lasts_s: float, level: str) -> None:
        wanted = Wanted(
            subject=OTHER.id, effect="allow", rights=("read",), level=level, expires_s=lasts_s
        )
        self.entries.append((await self.world.access.add(OPERATOR_PRINCIPAL, wanted)).id)

    async def revoke(self) -> None:
        if self.entries:
            await self.world.access.revoke(OPERATOR_PRINCIPAL, self.entries.pop())

    async def reload(self) -> None:
        await self.world.store.reload()

    async def meanwhile(self, who: Principal, at: Any, asker: Principal) -> None:
        """A change that is committed while lists are read."""
        store = self.world.store
        self.world.store.results.clear()
        await asyncio.gather(
            store.keys(asker, at[0], "", 100, None),
            put(self.world, who, at[1], namespace=at[0], level="public"),
            store.browse(asker, Browse("default")),
            return_exceptions=True,
        )


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=not os.environ.get("STRESS"),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(chosen=steps)
def test_kept_answers_are_those_there_would_be(chosen: list[tuple[Any, ...]]) -> None:
    async def play() -> None:
        clock = FakeClock()
        async with open_here(clock) as database:
            world = await make_world(database, clock)
            await Player(world).play(chosen)

    asyncio.run(play())


# --- what is kept, and what is not ------------------------------------------------------------


async def test_an_answer_is_found_again_until_something_in_it_changes(world: World) -> None:
    await put(world, MINE, "a")
    await put(world, MINE, "b")
    first = await keys(world)
    assert await keys(world) == first
    assert world.store.results.stats.hits == 1
    await put(world, MINE, "b", 2)  # the keys are the same
    await put(world, MINE, "z", namespace="app")
    assert await keys(world) == first
    assert world.store.results.stats.hits == 2
    await put(world, MINE, "c")
    assert (await keys(world))[0] == ["a", "b", "c"]
    assert world.store.results.stats.hits == 2


async def test_a_page_does_not_end_with_what_comes_after_it(world: World) -> None:
    for key in ("a", "b", "c"):
        await put(world, MINE, key)
    page = await keys(world, limit=2)
    await put(world, MINE, "d")
    assert await keys(world, limit=2) == page
    assert world.store.results.stats.hits == 1
    await world.store.delete(MINE, "default", "b")
    assert (await keys(world, limit=2))[0] == ["a", "c"]


async def test_writes_with_an_ack_end_answers_too(world: World) -> None:
    await keys(world)
    writes = world.store.check_writes([Write("default", "a", *codec.encode(1))])
    await world.store._database.write(
        lambda tx: world.store.stage(tx, MINE, None, writes), then=world.store.committed
    )
    assert (await keys(world))[0] == ["a"]


async def test_time_ends_answers(world: World) -> None:
    await put(world, MINE, "a", ttl_s=10)
    assert (await keys(world))[0] == ["a"]
    world.clock.advance(10)
    assert (await keys(world))[0] == []
    await keys(world)
    assert world.store.results.stats.hits == 1
    world.clock.advance(3600)
    await keys(world)
    assert world.store.results.stats.hits == 1


async def test_a_record_that_is_given_an_end_ends_answers_then(world: World) -> None:
    await put(world, MINE, "a")
    await keys(world)
    await put(world, MINE, "a", ttl_s=10)
    await keys(world)
    world.clock.advance(11)
    assert (await keys(world))[0] == []


async def test_rights_that_come_and_go_end_answers(world: World) -> None:
    await put(world, MINE, "a", level="team")
    assert (await keys(world, OTHER))[0] == []
    player = Player(world)
    await player.grant(100.0, "team")
    assert (await keys(world, OTHER))[0] == ["a"]
    await player.revoke()
    assert (await keys(world, OTHER))[0] == []
    await player.grant(100.0, "team")
    assert (await keys(world, OTHER))[0] == ["a"]
    world.clock.advance(100)
    assert (await keys(world, OTHER))[0] == []


async def test_a_change_after_a_look_and_before_its_answer_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = world.store._database
    look = database.read

    async def overtaken(query: Any) -> Any:
        rows = await look(query)
        monkeypatch.undo()
        await put(world, MINE, "late", level="public")
        return rows

    for ask in (partial(keys, world), partial(world.store.browse, MINE, Browse("default"))):
        monkeypatch.setattr(database, "read", overtaken)
        await ask()
        assert "late" in str(await ask())
        await world.store.delete(MINE, "default", "late")


async def test_nobody_gets_the_answer_of_another(world: World) -> None:
    await put(world, MINE, "mine", level="private")
    await put(world, MINE, "ours", level="team")
    assert [(await keys(world, who))[0] for who in (MINE, MATE, OTHER)] == [
        ["mine", "ours"], ["ours"], [],
    ]  # fmt: skip
    left = Principal(MATE.id, MATE.role, MATE.environment, MATE.swarm, ())
    assert (await keys(world, left))[0] == []


async def test_sealing_forgets_answers(world: World) -> None:
    await put(world, MINE, "a")
    await keys(world)
    asked = world.store.results.ask("default", world.access.epoch)
    world.store.sealed()
    world.store.results.keep(
        "late", asked, [], Range(""), now_us=1, until_us=0, size_bytes=0
    )  # fmt: skip
    world.store.results.leave(asked)
    assert world.store.results.stats.entries == 0
    assert not world.store.results._logs


def test_answers_are_bounded_in_bytes() -> None:
    results = Results(5_000, 60)
    for number in range(100):
        asked = results.ask("default", 0)
        results.keep(
            number, asked, number, Range(""), now_us=1, until_us=0, size_bytes=500
        )  # fmt: skip
        results.leave(asked)
    assert results.stats.size_bytes <= 5_000
    assert results.stats.entries == 5
    assert results.get(99, 0, 1) == 99
    assert results.get(0, 0, 1) is None


def test_more_changes_than_are_noted_end_every_answer() -> None:
    results = Results(5_000, 60)
    asked = results.ask("default", 0)
    results.keep("kept", asked, 1, Range("a"), now_us=1, until_us=0, size_bytes=1)
    results.leave(asked)
    for number in range(NOTED):
        results.changed(("default", f"b{number}"), content_only=False)
    assert results.get("kept", 0, 1) == 1
    for number in range(NOTED + 1):
        results.changed(("default", f"b{number}"), content_only=False)
    assert results.get("kept", 0, 1) is None
    assert not results._logs
