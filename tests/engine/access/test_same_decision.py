"""The same decision wherever it is asked for: calls of the API, the socket, actions, command
lines, messages, lists, the matrix and explanations, each against the reference."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from access_reference import Person, Reference, Thing, Word

from swarmdeck.engine import Engine, Write, connect
from swarmdeck.engine import actions as act
from swarmdeck.engine.acl import Access, Wanted
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.commandline import parse
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied, NotFound
from swarmdeck.engine.handles import Memory
from swarmdeck.engine.model import OPERATOR, OPERATOR_PRINCIPAL
from swarmdeck.engine.views import GrantView

STRESS = "STRESS" in os.environ
CALLS = 20_000 if STRESS else 2_000
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1 << 32)
HOUR_STEPS = 18  # of 200 s: what a clock may move at once
LEVELS = ("private", "team", "swarm", "public")

Path_ = Callable[["World", Person, Thing], Awaitable[bool]]


class World:
    """Agents of every relation and role, records of every level, entries of every kind."""

    def __init__(self, core: Core, clock: FakeClock, stack: AsyncExitStack) -> None:
        self.core = core
        self.clock = clock
        self.stack = stack
        self.engine: Engine = core.engine
        self.people: dict[str, Person] = {
            OPERATOR: Person(OPERATOR, "system", ""),
        }
        self.things: list[Thing] = []
        self.links: dict[str, Engine] = {}
        self.models = {home: Reference(home) for home in ("development", "staging")}

    # --- what there is --------------------------------------------------------------------

    async def fill(self) -> None:
        swarm = (await self.engine.swarms.create("development", agents=0, memory_bytes=16 << 20)).id
        team = (await self.engine.agents.create_team("development", name="Team")).id
        other = (await self.engine.agents.create_team("development", name="Other")).id
        await self.agent("owner", swarm=swarm, team=team)
        await self.agent("mate", team=team)
        await self.agent("peer", swarm=swarm, team=other)
        await self.agent("stranger")
        await self.agent("admin", role="admin", team=other)
        await self.agent("coordinator", role="coordinator", swarm=swarm)
        await self.agent("monitor", role="monitor", team=team)
        await self.agent("entitled")
        await self.agent("hourly")
        await self.agent("refused", swarm=swarm, team=team)
        for home in ("research", "testing", "production", "staging"):
            await self.agent(home, home=home)
        for owner in ("owner", "stranger", "admin"):
            for level in LEVELS:
                await self.keep("development", f"{owner}.{level}.", owner, level)
        for level in (*LEVELS, "system"):
            await self.keep("development", f"operator.{level}.", OPERATOR, level)
        for level in LEVELS:
            await self.keep("staging", f"model.{level}.", "staging", level)
            await self.keep("staging", f"other.{level}.", "staging", level)
        await self.entries()

    async def agent(self, name: str, home: str = "development", **kind: Any) -> None:
        made = await self.engine.agents.register(home, name=name, **kind)
        self.people[name] = Person(
            made.id, kind.get("role", "agent"), home, made.swarm, tuple(made.teams)
        )
        token = await self.engine.run(act.AgentToken(id=made.id))
        link = connect(self.core.data, agent=made.id, token=token.token)
        self.links[made.id] = await self.stack.enter_async_context(link)
        if home in self.models:
            self.models[home].people[made.id] = self.people[name]

    async def keep(self, home: str, key: str, owner: str, level: str) -> None:
        who = self.people[owner]
        team = who.teams[0] if who.teams else None
        thing = Thing(home, "default", key, level, who.id, team, who.swarm)
        self.things.append(thing)
        await self.restore(thing)

    async def restore(self, thing: Thing) -> None:
        """Its owner writes it (again)."""
        principal = self.core.resolve(thing.owner)
        memory = self.core.places[thing.home].memory
        await memory.set(principal, thing.namespace, thing.key, 0, b"1", thing.level)

    async def entries(self) -> None:
        everything = ("read", "write", "delete")
        for level in ("team", "swarm", "public"):
            await self.entry("entitled", "allow", level, everything)
            await self.entry("entitled", "deny", level, ("write",), prefix="owner.")
            await self.entry("hourly", "allow", level, everything, hours="09:00-10:30")
            await self.entry("hourly", "deny", level, ("read",), hours="10:00-12:00",
                             zone="Europe/Berlin")  # fmt: skip
            await self.entry("research", "allow", level, everything, prefix="owner.")
            await self.entry("production", "allow", level, everything)
        await self.entry("refused", "deny", "team", everything)
        await self.entry("refused", "deny", "public", ("read",), prefix="stranger.")
        await self.entry("owner", "deny", "swarm", ("read",))
        await self.entry("stranger", "allow", "private", ("read",), by="owner")
        await self.entry("mate", "allow", "team", everything, by="stranger")
        await self.entry("peer", "allow", "team", ("delete",), by="admin")
        await self.entry("peer", "deny", "swarm", ("read",), by="admin", prefix="owner.")
        await self.entry("monitor", "allow", "swarm", ("write",), by="mate")
        await self.entry(OPERATOR, "deny", "team", ("read",), by="owner")
        await self.entry(OPERATOR, "allow", "private", ("read",), by="stranger")
        exported = act.AclExport(source="staging", target="research", name="m", key_prefix="model.")
        self.note(await self.engine.run(exported))
        broken = act.AclBreakglass(environment="development", key="owner.private.", reason="stuck")
        self.note(await self.engine.run(broken), owner=self.people["owner"].id)

    async def entry(
        self, subject: str, effect: Any, level: str, rights: tuple[str, ...], *,
        by: str = OPERATOR, prefix: str = "", **when: Any,
    ) -> None:  # fmt: skip
        wanted = Wanted(
            subject=self.people[subject].id, effect=effect, level=level, rights=rights,
            key_prefix=prefix, **when,
        )  # fmt: skip
        access = self.core.places["development"].access
        self.note(await access.add(self.core.resolve(self.people[by].id), wanted))

    def note(self, made: GrantView, owner: str = "") -> None:
        self.models[made.environment].words.append(
            Word(
                kind=made.kind, subject=made.subject, effect=made.effect, level=made.level,
                rights=made.actions, namespace=made.namespace, prefix=made.key_prefix,
                granter=made.granted_by, until_us=made.expires_at_us, hours=made.hours,
                days=made.days, zone=made.zone, owner=owner,
            )
        )  # fmt: skip

    # --- what must be ---------------------------------------------------------------------

    def may(self, who: Person, right: str, thing: Thing) -> bool:
        model = self.models[thing.home]
        model.now_us = max(model.now_us, self.clock.now_us)
        return model.decide(who, right, thing)[0]

    def rule(self, who: Person, right: str, thing: Thing) -> str:
        self.may(who, right, thing)
        return self.models[thing.home].decide(who, right, thing)[1]

    def pass_an_hour(self) -> None:
        """In steps that a host's clock can be believed to make."""
        for _ in range(HOUR_STEPS):
            self.clock.advance(200)
            self.core.clock.wall_us()

    # --- ways in --------------------------------------------------------------------------

    def memory(self, who: Person, thing: Thing) -> Memory:
        if who.id == OPERATOR:
            return self.engine.memory(thing.home)
        return self.engine.memory(who.id, environment=thing.home)

    def linked(self, who: Person, thing: Thing) -> Memory:
        return self.links[who.id].memory(who.id, environment=thing.home)

    async def as_themselves(self, action: act.Action, who: Person) -> Any:
        return await self.core.dispatch(action, self.core.resolve(who.id))

    async def typed(self, words: str, who: Person) -> Any:
        """A command line, as the operator gives it for somebody."""
        argv = [*words.split(), *([] if who.id == OPERATOR else ["--as", who.id])]
        return await self.core.dispatch(parse(argv), OPERATOR_PRINCIPAL)


class Way(NamedTuple):
    """One way to ask: which rights it needs, what it does, and for whom it is."""

    rights: tuple[str, ...]
    ask: Path_
    fits: Callable[[Person, Thing], bool] = lambda _, __: True


def agents_only(who: Person, _: Thing) -> bool:
    return who.id != OPERATOR


def at_home(who: Person, thing: Thing) -> bool:
    return who.home == thing.home


async def found(asking: Awaitable[Any]) -> bool:
    """Whether something was found, and nothing refused."""
    try:
        answer = await asking
    except (Denied, NotFound):
        return False
    return answer is not None and answer is not False


# --- reading ------------------------------------------------------------------------------------


async def page_of(memory: Memory, thing: Thing) -> bool:
    keys, _ = await memory.keys(thing.key[:-1], limit=50)
    return thing.key in keys


async def paged(world: World, who: Person, thing: Thing) -> bool:
    """A key at a time, as a reader that goes on does."""
    cursor: str | None = None
    while True:
        keys, cursor = await world.memory(who, thing).keys(limit=1, cursor=cursor)
        if thing.key in keys or cursor is None or cursor > thing.key:
            return thing.key in keys


async def many(memory: Memory, thing: Thing) -> bool:
    return thing.key in await memory.mget(["nothing", thing.key])


async def listed(world: World, who: Person, thing: Thing) -> bool:
    action = act.MemoryList(environment=thing.home, prefix=thing.key, order="size")  # type: ignore[arg-type]
    rows = await world.as_themselves(action, who)
    return [row.key for row in rows] == [thing.key]


async def listed_with_text(world: World, who: Person, thing: Thing) -> bool:
    words = f"memory list {thing.home} --contains {thing.key}"
    return bool(await world.typed(words, who))


async def in_matrix(world: World, who: Person, thing: Thing) -> bool:
    action = act.AclMatrix(environment=thing.home, prefix=thing.key, subjects=(who.id,))  # type: ignore[arg-type]
    seen = await world.core.dispatch(action, OPERATOR_PRINCIPAL)
    [row] = seen.rows
    rights = ("read", "write", "delete")
    letters = "".join(right[0] if world.may(who, right, thing) else "-" for right in rights)
    assert row.cells[0].rights == letters
    assert row.cells[0].rule == world.rule(who, "read", thing)
    return "r" in row.cells[0].rights


async def in_own_matrix(world: World, who: Person, thing: Thing) -> bool:
    action = act.AclMatrix(environment=thing.home, prefix=thing.key)  # type: ignore[arg-type]
    seen = await (await world.links[who.id].dispatch(action))
    return bool(seen.rows)


async def who_may(world: World, who: Person, thing: Thing) -> bool:
    action = act.AclWho(environment=thing.home, key=thing.key, right="read")  # type: ignore[arg-type]
    told = await world.core.dispatch(action, OPERATOR_PRINCIPAL)
    mine = [view.allowed for view in told if view.subject == who.id]
    return mine[0] if mine else world.may(who, "read", thing)  # a guest without an entry


def explained(right: str) -> Path_:
    async def ask(world: World, who: Person, thing: Thing) -> bool:
        words = f"acl explain {who.id} {right} {thing.home} {thing.key}"
        told = await world.core.dispatch(parse(words.split()), OPERATOR_PRINCIPAL)
        assert told.rule == world.rule(who, right, thing)
        return bool(told.allowed)

    return ask


def explained_to_itself(right: str) -> Path_:
    async def ask(world: World, who: Person, thing: Thing) -> bool:
        action = act.AclExplain(
            subject=who.id, right=right, environment=thing.home, key=thing.key  # type: ignore[arg-type]
        )  # fmt: skip
        told = await (await world.links[who.id].dispatch(action))
        assert told.owner is None or world.may(who, "read", thing)
        return bool(told.allowed)

    return ask


# --- writing ------------------------------------------------------------------------------------


async def acked(world: World, who: Person, thing: Thing, sender: str) -> bool:
    """A write that goes with the ack of a message."""
    queue = world.engine.queue(who.home, as_=who.id)
    source = None if sender == OPERATOR else sender
    await world.engine.queue(who.home, as_=source).send("write", {}, to=who.id)
    [message] = await queue.claim(kinds=["write"])
    try:
        await queue.ack(message, writes=[Write(key=thing.key, value=1)])
    except Denied:
        await queue.ack(message)
        return False
    return True


def relevelled(way: str) -> Path_:
    async def ask(world: World, who: Person, thing: Thing) -> bool:
        level = "swarm" if thing.level == "team" else "team"
        allowed = all(
            (world.may(who, "read", thing) or way == "set", world.may(who, "write", thing),
             world.may(who, "grant", thing),
             world.may(who, "write", replace(thing, level=level)))
        )  # fmt: skip
        if way == "set":
            done = await found(world.memory(who, thing).set(thing.key, 1, level=level))
        else:
            line = f"memory level {thing.home} {thing.key} {level}"
            done = await found(world.typed(line, who))
        if done:
            await world.restore(thing)
        assert done == allowed, (who, thing, level)
        return world.may(who, "grant", thing)

    return ask


# --- deleting -----------------------------------------------------------------------------------


def deleting(ask: Path_) -> Path_:
    async def delete(world: World, who: Person, thing: Thing) -> bool:
        gone = await found(ask(world, who, thing))
        if gone:
            await world.restore(thing)
        return gone

    return delete


async def cleared(memory: Memory, thing: Thing) -> bool:
    return await memory.clear(prefix=thing.key) == 1


R, W, D = ("read",), ("write",), ("delete",)
WAYS: dict[str, Way] = {
    "get": Way(R, lambda w, p, t: found(w.memory(p, t).get(t.key))),
    "get with version": Way(R, lambda w, p, t: found(w.memory(p, t).get_versioned(t.key))),
    "has": Way(R, lambda w, p, t: w.memory(p, t).has(t.key)),
    "mget": Way(R, lambda w, p, t: many(w.memory(p, t), t)),
    "keys": Way(R, lambda w, p, t: page_of(w.memory(p, t), t)),
    "keys, one at a time": Way(R, paged),
    "get over the socket": Way(R, lambda w, p, t: found(w.linked(p, t).get(t.key)), agents_only),
    "has over the socket": Way(R, lambda w, p, t: w.linked(p, t).has(t.key), agents_only),
    "mget over the socket": Way(R, lambda w, p, t: many(w.linked(p, t), t), agents_only),
    "keys over the socket": Way(R, lambda w, p, t: page_of(w.linked(p, t), t), agents_only),
    "memory.get": Way(R, lambda w, p, t: found(
        w.as_themselves(act.MemoryGet(environment=t.home, key=t.key), p))),  # type: ignore[arg-type]
    "memory.get typed": Way(R, lambda w, p, t: found(w.typed(f"memory get {t.home} {t.key}", p))),
    "memory.list": Way(R, listed),
    "memory.list typed": Way(R, listed_with_text),
    "matrix": Way(R, in_matrix),
    "own matrix": Way(R, in_own_matrix, lambda p, t: agents_only(p, t) and at_home(p, t)),
    "who": Way(R, who_may),
    "explain read": Way(R, explained("read")),
    "explain write": Way(W, explained("write")),
    "explain delete": Way(D, explained("delete")),
    "explain grant": Way(("grant",), explained("grant")),
    "own explain read": Way(R, explained_to_itself("read"), agents_only),
    "own explain write": Way(("read", "write"), explained_to_itself("write"), agents_only),
    "set": Way(W, lambda w, p, t: found(w.memory(p, t).set(t.key, 1))),
    "mset": Way(W, lambda w, p, t: found(w.memory(p, t).mset({t.key: 1}))),
    "setex": Way(W, lambda w, p, t: found(w.memory(p, t).setex(t.key, 9e7, 1))),
    "incr": Way(("read", "write"), lambda w, p, t: found(w.memory(p, t).incr(t.key))),
    "set over the socket": Way(W, lambda w, p, t: found(w.linked(p, t).set(t.key, 1)),
                               agents_only),
    "incr over the socket": Way(("read", "write"),
                                lambda w, p, t: found(w.linked(p, t).incr(t.key)), agents_only),
    "memory.set typed": Way(
        W, lambda w, p, t: found(w.typed(f"memory set {t.home} {t.key} 1", p))),
    "ack for the operator": Way(W, lambda w, p, t: acked(w, p, t, OPERATOR),
                                lambda p, t: at_home(p, t) and t.home == "development"),
    "delete": Way(D, deleting(lambda w, p, t: w.memory(p, t).delete(t.key))),
    "delete over the socket": Way(D, deleting(lambda w, p, t: w.linked(p, t).delete(t.key)),
                                  agents_only),
    "clear": Way(D, deleting(lambda w, p, t: cleared(w.memory(p, t), t))),
    "memory.delete typed": Way(
        D, deleting(lambda w, p, t: w.typed(f"memory delete {t.home} {t.key}", p))),
    "set at another level": Way(("grant",), relevelled("set")),
    "memory.level typed": Way(("grant",), relevelled("action")),
}  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock(start_us=1_772_440_200_000_000)  # Monday, half past eight, UTC
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(
            open_core(tmp_path, settings=None, transient=False, headless=True, clock=clock)
        )
        made = World(core, clock, stack)
        await made.fill()
        yield made


async def differences(world: World, calls: int, chance: random.Random) -> tuple[list[str], Any]:
    """Calls whose outcome is not what the reference says, and how often each way was taken."""
    wrong: list[str] = []
    taken: Counter[str] = Counter()
    people = list(world.people.values())
    names = list(WAYS)
    for number in range(calls):
        if number % (calls // 4) == calls // 8:
            world.pass_an_hour()
        who, thing = chance.choice(people), chance.choice(world.things)
        name = chance.choice([n for n in names if WAYS[n].fits(who, thing)])
        way = WAYS[name]
        wanted = all(world.may(who, right, thing) for right in way.rights)
        try:
            got = await way.ask(world, who, thing)
        except AssertionError as error:
            wrong.append(f"{name}: {who.id} {thing.home}/{thing.key}: {error}")
            continue
        taken[f"{name}: {'yes' if wanted else 'no'}"] += 1
        if got != wanted:
            wrong.append(f"{name}: {who.id} {thing.home}/{thing.key}: {got}, not {wanted}")
    return wrong, taken


async def test_every_way_in_decides_the_same(world: World) -> None:
    wrong, taken = await differences(world, CALLS, random.Random(SEED))
    assert wrong == [], f"SEED={SEED}"
    assert len({name.partition(":")[0] for name in taken}) == len(WAYS)
    for name in WAYS:  # each way has said both
        assert {f"{name}: yes", f"{name}: no"} <= set(taken), (name, f"SEED={SEED}")


async def test_the_comparison_finds_a_way_that_asks_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    decides = Access.allows
    calls = 0

    def careless(self: Access, *asked: Any) -> bool:
        nonlocal calls
        calls += 1
        return calls % 50 == 0 or decides(self, *asked)

    monkeypatch.setattr(Access, "allows", careless)
    wrong, _ = await differences(world, 500, random.Random(1))
    assert wrong


async def test_a_write_for_a_message_needs_the_authority_of_worker_and_sender(
    world: World,
) -> None:
    home = [p for p in world.people.values() if p.home == "development"]
    things = [t for t in world.things if t.home == "development" and t.level in {"team", "public"}]
    outcomes = set()
    for worker in home:
        for sender in home[::2]:
            for thing in things[::2]:
                both = world.may(worker, "write", thing) and world.may(sender, "write", thing)
                assert await acked(world, worker, thing, sender.id) == both, (worker, sender, thing)
                outcomes.add((world.may(worker, "write", thing), both))
    assert outcomes == {(True, True), (True, False), (False, False)}
