"""Any order of changes, held against a reference that keeps everything and caches nothing.

After each step every subject is asked about every record and right: a stale answer that nobody
happens to ask for is stale all the same.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from access_reference import Person, Reference, Thing, Word
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from swarmdeck.engine import actions as act
from swarmdeck.engine.acl import Access, Explicit, Standing, Verdict, Wanted
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Conflict, Denied, NotFound
from swarmdeck.engine.model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Right,
    Role,
)
from swarmdeck.engine.store.database import StoreOptions, open_database
from swarmdeck.engine.swarms.registry import Registry
from swarmdeck.engine.views import GrantView

MANY = int(os.environ.get("STRESS", "1"))
HOME = "staging"
ISOLATION = {
    "production": Isolation.STRICT,
    "staging": Isolation.STRICT,
    "development": Isolation.MODERATE,
    "testing": Isolation.MODERATE,
    "research": Isolation.LOOSE,
}
GUESTS = (
    Person("research_agent_g", "agent", "research"),
    Person("dev_agent_g", "admin", "development"),
    Person("prod_agent_g", "agent", "production"),
)
AGENTS = st.integers(0, 4)
TEAMS = st.integers(0, 1)
NAMED = st.sampled_from(["private", "team", "swarm", "public"])
ENTRIES = st.fixed_dictionaries(
    {
        "effect": st.sampled_from(["allow", "allow", "deny"]),
        "level": NAMED,
        "rights": st.sampled_from([("read",), ("read", "write"), ("delete",), ("write", "delete")]),
        "key_prefix": st.sampled_from(["", "a", "a:1"]),
        "expires_s": st.sampled_from([30.0, 3_600.0, 86_400.0]),
    },
    optional={
        "hours": st.sampled_from(["09:00-17:30", "22:00-06:00"]),
        "days": st.sampled_from([("mon",), ("sat", "sun")]),
        "zone": st.sampled_from(["UTC", "Europe/Berlin"]),
    },
)
STEPS = st.sampled_from([1.0, 29.0, 31.0, 600.0, 901.0, 7_200.0, 50_000.0, 86_401.0])


async def ignore(_: str) -> None:
    """Nobody holds anything."""


class AccessMachine(RuleBasedStateMachine):
    make: Callable[..., Access] = Access

    # --- beginning and end ----------------------------------------------------------------

    @initialize(role=st.sampled_from(["system", "system", "admin", "coordinator"]))
    def start(self, role: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock(start_us=1_772_438_400_000_000)  # Monday, 8 in the morning
        self.model = Reference(HOME, role)
        self.entries: dict[str, Word] = {}
        self.things: dict[str, Thing] = {}
        self.ids: list[str] = []
        self.teams: list[str] = []
        self.stack = AsyncExitStack()
        self.run(self.open(role))

    async def open(self, role: str) -> None:
        self.database = await self.stack.enter_async_context(
            open_database(self.folder / "s.db", HOME, options=StoreOptions(), clock=self.clock)
        )
        self.registry = Registry(self.database, self.clock, publish=lambda _: None, on_gone=ignore)
        await self.registry.load()
        for name in ("A", "B"):
            self.teams.append((await self.registry.create_team(name)).id)
        for number in range(5):
            agent = await self.registry.register(
                name=f"N{number}", team=self.teams[number % 2] if number < 4 else None,
                role="admin" if number == 3 else "agent",
            )  # fmt: skip
            self.ids.append(agent.id)
        await self.reopen(role)
        for number, (level, key) in enumerate(
            [("private", "a:1"), ("team", "a:2"), ("swarm", "b:1"), ("public", "a:1x")]
        ):
            self.put(key, level, number)

    async def reopen(self, role: str) -> None:
        self.access = type(self).make(
            Environment(HOME), ISOLATION, self.database, self.clock,
            people=self.registry, operator=Role(role),
        )  # fmt: skip
        await self.access.open()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.stack.aclose())
            self.loop.close()
            shutil.rmtree(self.folder)

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The answer of a call or its refusal; then everything is compared."""

        async def body() -> Any:
            try:
                return await call
            except (Conflict, Denied, NotFound) as error:
                return error

        answer = self.loop.run_until_complete(body())
        if hasattr(self, "access") and len(self.things) == 4:
            self.sync()
            self.compare()
        return answer

    # --- what changes ---------------------------------------------------------------------

    @rule(subject=AGENTS, granter=st.integers(-1, 4), wanted=ENTRIES)
    def add(self, subject: int, granter: int, wanted: dict[str, Any]) -> None:
        ident = self.ids[subject]
        self.put_entry(ident, granter, wanted)

    @rule(guest=st.sampled_from(GUESTS), granter=st.integers(-1, 4), wanted=ENTRIES)
    def add_guest(self, guest: Person, granter: int, wanted: dict[str, Any]) -> None:
        self.put_entry(guest.id, granter, wanted)

    @rule(granter=st.integers(-1, 4), wanted=ENTRIES)
    def add_about_operator(self, granter: int, wanted: dict[str, Any]) -> None:
        self.put_entry(OPERATOR, granter, wanted)

    def put_entry(self, subject: str, granter: int, wanted: dict[str, Any]) -> None:
        by = OPERATOR_PRINCIPAL if granter < 0 else self.registry.principals.get(self.ids[granter])
        if by is None or (granter < 0 and wanted["level"] == "private"):
            return
        # What follows the write must see it at once, so the reference is told by the answer.
        self.note(self.loop.run_until_complete(
            self.access.add(by, Wanted(subject=subject, **wanted))
        ))  # fmt: skip
        self.run(asyncio.sleep(0))

    @precondition(lambda self: any(w.granter in self.ids for w in self.entries.values()))
    @rule(data=st.data())
    def deny_a_granter(self, data: st.DataObject) -> None:
        """Take from who granted something what it granted."""
        made = [w for w in self.entries.values() if w.granter in self.ids and w.effect == "allow"]
        if made:
            word = data.draw(st.sampled_from(made))
            self.put_entry(
                word.granter, -1,
                {"effect": "deny", "level": word.level, "rights": word.rights} if
                word.level != "private" else
                {"effect": "deny", "level": "team", "rights": ("read",)},
            )  # fmt: skip

    @rule(key=st.sampled_from(["a:1", "a:2", "b:1", "a:1x"]), subject=AGENTS)
    def owner_grants(self, key: str, subject: int) -> None:
        """What most grants between agents are."""
        thing = self.things[key]
        if thing.owner in self.registry.agents:
            granter = self.ids.index(thing.owner)
            wanted = {"effect": "allow", "level": thing.level, "rights": ("read",)}
            self.put_entry(self.ids[subject], granter, wanted)

    def note(self, made: GrantView, owner: str = "") -> None:
        self.entries[made.id] = Word(
            kind=made.kind, subject=made.subject, effect=made.effect, level=made.level,
            rights=made.actions, namespace=made.namespace, prefix=made.key_prefix,
            granter=made.granted_by, until_us=made.expires_at_us, hours=made.hours,
            days=made.days, zone=made.zone, owner=owner,
        )  # fmt: skip

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        ident = data.draw(st.sampled_from(sorted(self.entries)))
        word = self.entries.pop(ident)
        answer = self.run(self.access.revoke(OPERATOR_PRINCIPAL, ident))
        assert answer is None or word.until_us <= self.model.now_us

    @rule(reader=st.sampled_from(["research", "development"]), prefix=st.sampled_from(["a:", "b:"]))
    def export(self, reader: Any, prefix: str) -> None:
        wanted = act.AclExport(source="staging", target=reader, name="x", key_prefix=prefix,
                               expires_s=600)  # fmt: skip
        if self.model.operator == "system":
            self.note(self.loop.run_until_complete(self.access.export(OPERATOR_PRINCIPAL, wanted)))
            self.run(asyncio.sleep(0))

    @rule(key=st.sampled_from(["a:1", "a:1", "a:2"]), then=AGENTS)
    def break_glass(self, key: str, then: int) -> None:
        """The operator looks, and the record goes to somebody else under its eyes."""
        thing = replace(self.things[key], level="private")
        if self.model.operator != "system":
            return
        self.things[key] = thing
        self.loop.run_until_complete(self.store(thing))
        self.note(
            self.loop.run_until_complete(
                self.access.break_glass(OPERATOR_PRINCIPAL, "default", key, "looking")
            ),
            owner=thing.owner,
        )
        self.run(asyncio.sleep(0))
        self.put(key, "private", then)
        self.run(asyncio.sleep(0))
        self.things[key] = thing

    async def store(self, thing: Thing) -> None:
        level = int(Level[thing.level.upper()])
        values = (HOME, thing.key, level, thing.owner)
        await self.database.write(
            lambda tx: tx.execute(
                "INSERT OR REPLACE INTO memory (env, namespace, key, level, owner, version,"
                " format, body, created_at, updated_at) VALUES (?, 'default', ?, ?, ?, 1, 0,"
                " x'', 0, 0)", values
            ) and None
        )  # fmt: skip

    @rule(agent=AGENTS, team=TEAMS, joins=st.booleans())
    def move(self, agent: int, team: int, joins: bool) -> None:
        change = self.registry.add_to_team if joins else self.registry.remove_from_team
        self.run(change(self.teams[team], self.ids[agent]))

    @rule(agent=AGENTS, role=st.sampled_from(["agent", "monitor", "coordinator", "admin"]))
    def change_role(self, agent: int, role: str) -> None:
        self.run(self.registry.update(self.ids[agent], role=role))

    @rule(agent=AGENTS)
    def unregister(self, agent: int) -> None:
        self.run(self.registry.unregister(self.ids[agent]))

    @rule(agent=AGENTS, team=TEAMS)
    def register_anew(self, agent: int, team: int) -> None:
        if self.ids[agent] not in self.registry.agents:
            made = self.run(self.registry.register(name="New", team=self.teams[team]))
            self.ids[agent] = made.id
            self.run(asyncio.sleep(0))

    @rule(key=st.sampled_from(["a:1", "a:2", "b:1", "a:1x"]), level=NAMED)
    def change_level(self, key: str, level: str) -> None:
        self.things[key] = replace(self.things[key], level=level)
        self.run(asyncio.sleep(0))

    @rule(key=st.sampled_from(["a:1", "a:2"]), owner=AGENTS)
    def change_owner(self, key: str, owner: int) -> None:
        self.put(key, self.things[key].level, owner)
        self.run(asyncio.sleep(0))

    def put(self, key: str, level: str, owner: int) -> None:
        self.things[key] = Thing(
            HOME, "default", key, level, self.ids[owner], self.teams[owner % 2], None
        )

    @rule(seconds=STEPS, back=st.integers(0, 3))
    def advance(self, seconds: float, back: int) -> None:
        self.clock.advance(seconds)
        self.run(asyncio.sleep(0))
        if not back:
            self.clock.advance(-2 * seconds)
            self.run(asyncio.sleep(0))

    @rule(role=st.sampled_from(["system", "system", "admin", "monitor"]))
    def restart(self, role: str) -> None:
        """Settings are read anew, and everything comes out of the file. An engine's time does
        not go back over that."""
        self.clock.now_us = max(self.clock.now_us, self.model.now_us)
        self.model.operator = role
        self.run(self.reopen(role))

    # --- what must hold -------------------------------------------------------------------

    def sync(self) -> None:
        """Tell the reference who is there and what time it is."""
        self.model.now_us = max(self.model.now_us, self.clock.now_us)
        self.access._now_us()  # an engine looks at the clock also where nobody has an entry
        self.model.words = list(self.entries.values())
        self.model.people = {
            agent.id: Person(
                agent.id, agent.role.value, HOME, agent.swarm,
                tuple(team.id for team in self.registry.teams.values() if agent.id in team.members),
            )
            for agent in self.registry.agents.values()
        }  # fmt: skip

    def compare(self) -> None:
        for person, principal in self.subjects():
            for thing in self.things.values():
                standing = Standing(
                    Level[thing.level.upper()], thing.owner, thing.team, thing.swarm
                )
                for right in Right:
                    found = self.access.verdict(principal, right, standing, "default", thing.key)
                    wanted = self.model.decide(person, right, thing)
                    assert (found.allowed, found.rule) == wanted, (person, right, thing)

    def subjects(self) -> Iterator[tuple[Person, Principal]]:
        yield Person(OPERATOR, self.model.operator, ""), OPERATOR_PRINCIPAL
        for ident, person in self.model.people.items():
            yield person, self.registry.principal(ident)
        for guest in GUESTS:
            yield guest, Principal(guest.id, Role(guest.role), guest.home)


def play(make: Callable[..., Access], examples: int, *, same: bool = False) -> None:
    """Run the machine over an Access; `same`: the same steps every time."""

    class Machine(AccessMachine):
        pass

    Machine.make = staticmethod(make)  # type: ignore[assignment]
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, database=None,
            derandomize=same, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_every_pair_is_right_after_every_step() -> None:
    play(Access, 40 * min(MANY, 50))


# --- and would be found wrong -------------------------------------------------------------------

Asked = tuple[Principal, Right, Any, str, str]


class OnlyTimesOut(Access):
    """Remembers what it has said for five minutes, whatever changes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.said: dict[Asked, tuple[int, Verdict]] = {}

    def verdict(self, *asked: Any) -> Verdict:
        until_us, found = self.said.get(asked, (0, None))
        if found is None or until_us <= self._now_us():
            found = super().verdict(*asked)
            self.said[asked] = self._now_us() + 300_000_000, found
        return found


class ForgetsExpiry(Access):
    """Remembers what it has said until something changes: time is nothing to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.said: dict[Any, Verdict] = {}

    def verdict(self, *asked: Any) -> Verdict:
        known = (self.epoch, *asked)
        if known not in self.said:
            self.said[known] = super().verdict(*asked)
        return self.said[known]


class TrustsGranters(Access):
    """What an agent has granted lasts, whatever becomes of the agent."""

    def _holds(self, *_: Any, **__: Any) -> bool:
        return True


class TakesTheClockAsItIs(Access):
    """A clock set back brings back what has ended."""

    def _now_us(self) -> int:
        return self._clock.wall_us()


class GlassOverEverything(Access):
    """A broken glass opens whatever lies under a key of that name, whoever owns it by now."""

    def _weight(self, entry: Any, *rest: Any) -> int:
        if entry.kind == "break-glass":
            return 4
        return super()._weight(entry, *rest)


class ForgetsDenialsOfGranters(Access):
    """An agent that is denied something may still grant it."""

    def _is_denied(self, *_: Any) -> bool:
        return False


class LosesHoursInTheFile(Access):
    """After a restart entries count at all times."""

    async def open(self) -> None:
        await super().open()
        self._grants = {
            subject: tuple(msgspec.structs.replace(entry, when=None) for entry in entries)
            for subject, entries in self._grants.items()
        }


class ExportsEverything(Access):
    """An export rule opens every key."""

    def _exported(self, rules: Any, to: str, namespace: str, key: str) -> Any:
        return super()._exported(rules, to, namespace, rules[0].key_prefix)


class FirstEntryCounts(Access):
    """Looks at one entry only."""

    def _explicit(self, entries: Any, *rest: Any) -> Explicit:
        return super()._explicit(entries[:1], *rest)


PLANTED = [
    OnlyTimesOut, ForgetsExpiry, TrustsGranters, TakesTheClockAsItIs, GlassOverEverything,
    ForgetsDenialsOfGranters, LosesHoursInTheFile, ExportsEverything, FirstEntryCounts,
]  # fmt: skip


@pytest.mark.parametrize("wrong", PLANTED, ids=lambda kind: kind.__name__)
def test_a_planted_bug_is_found(wrong: type[Access]) -> None:
    with pytest.raises(AssertionError):
        play(wrong, 600, same=True)
