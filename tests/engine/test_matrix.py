"""The matrix of rights says of each cell what a real call would get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swarmdeck.engine import Engine, matrix
from swarmdeck.engine import actions as act
from swarmdeck.engine.acl import Access, Wanted
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied, NotFound
from swarmdeck.engine.model import OPERATOR, OPERATOR_PRINCIPAL
from swarmdeck.engine.views import CellView, MatrixView

LEVELS = ("private", "team", "swarm", "public")
MATRIX = act.AclMatrix(environment="development")


class World:
    """Agents of every relation, records of every level, grants and denials between them."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.engine: Engine = core.engine
        self.place = core.places["development"]
        self.agents: dict[str, str] = {}
        self.levels: dict[str, tuple[str, str]] = {}  # key: owner and level

    async def fill(self) -> None:
        engine = self.engine
        swarm = await engine.swarms.create("development", agents=0, memory_bytes=16 << 20)
        team = await engine.agents.create_team("development", name="Team")
        other = await engine.agents.create_team("development", name="Other")
        await self._agent("owner", swarm=swarm.id, team=team.id)
        await self._agent("mate", team=team.id)
        await self._agent("swarm", swarm=swarm.id, team=other.id)
        await self._agent("stranger")
        await self._agent("admin", role="admin")
        await self._agent("granted")
        await self._agent("denied", swarm=swarm.id, team=team.id)
        await self._agent("both", team=team.id)
        await self._agent("tester", environment="testing")
        await self._agent("maker", environment="production")
        await self._agent("nobody", environment="testing")
        for level in LEVELS:
            await self.put(f"own-{level}", "owner", level)
            await self.put(f"x-{level}", "owner", level)
            await self.put(f"far-{level}", "stranger", level)
        await self.put("system", OPERATOR, "system")
        await self._entries()

    async def _entries(self) -> None:
        rights = ("read", "write", "delete")
        for level in ("team", "swarm", "public"):
            await self._entry("granted", "allow", level, rights)
            await self._entry("granted", "deny", level, ("write",), prefix="x-")
            await self._entry("denied", "deny", level, ("read",), prefix="x-")
            await self._entry("both", "allow", level, rights, prefix="x-")
            await self._entry("both", "deny", level, ("delete",))
            await self._entry("tester", "allow", level, rights, prefix="own-")
            await self._entry("maker", "allow", level, rights)
        await self._entry("admin", "deny", "private", ("delete",), prefix="far-")
        await self._entry("stranger", "allow", "private", ("read",), granter="owner")
        await self._entry("mate", "deny", "public", ("write",), prefix="x-")

    async def _agent(self, name: str, environment: str = "development", **kind: str) -> None:
        view = await self.engine.agents.register(environment, name=name, **kind)  # type: ignore[arg-type]
        self.agents[name] = view.id

    async def _entry(
        self,
        subject: str,
        effect: str,
        level: str,
        rights: tuple[str, ...],
        *,
        prefix: str = "",
        granter: str = OPERATOR,
    ) -> None:
        wanted = Wanted(
            subject=self.agents[subject],
            effect=effect,  # type: ignore[arg-type]
            level=level,
            rights=rights,
            key_prefix=prefix,
        )
        await self.place.access.add(self.core.resolve(self.agents.get(granter, granter)), wanted)

    async def put(self, key: str, owner: str, level: str) -> None:
        self.levels[key] = (owner, level)
        actor = self.agents.get(owner, "development")
        await self.engine.memory(actor).set(key, 1, level=level)

    async def attempt(self, ident: str, key: str) -> str:
        """The rights that real calls find, as the matrix writes them."""
        if ident == OPERATOR:
            memory = self.engine.memory("development")
        else:
            memory = self.engine.memory(ident, environment="development")
        found = "r" if await memory.get(key) is not None else "-"
        try:
            await memory.set(key, 2)
            found += "w"
        except Denied:
            found += "-"
        try:
            deleted = await memory.delete(key)
        except Denied:
            deleted = False
        if deleted:
            await self.put(key, *self.levels[key])
        return found + ("d" if deleted else "-")

    async def differences(self, seen: MatrixView) -> list[str]:
        """Cells that real calls or `acl explain` contradict."""
        wrong = []
        for row in seen.rows:
            for subject, cell in zip(seen.subjects, row.cells, strict=True):
                tried = await self.attempt(subject.id, row.key)
                told, rule = await self.explained(subject.id, row.key)
                if not (tried == told == cell.rights and rule == cell.rule):
                    wrong.append(f"{subject.name} {row.key}: {cell}, {tried}, {told} by {rule}")
        return wrong

    async def explained(self, ident: str, key: str) -> tuple[str, str]:
        found = {
            right: await self.engine.acl.explain(ident, right, key, environment="development")
            for right in ("read", "write", "delete")
        }
        letters = "".join(right[0] if view.allowed else "-" for right, view in found.items())
        return letters, found["read"].rule


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=None
    ) as core:
        found = World(core)
        await found.fill()
        yield found


async def ask(world: World, action: act.AclMatrix = MATRIX) -> MatrixView:
    return await matrix.matrix(world.place, OPERATOR_PRINCIPAL, action, world.core.places)


async def test_every_cell_is_what_real_calls_and_explanations_say(world: World) -> None:
    named = (OPERATOR, *world.agents.values())
    seen = await ask(world, act.AclMatrix(environment="development", subjects=named))
    assert len(seen.rows) == 13
    rights = {cell.rights for row in seen.rows for cell in row.cells}
    rules = {cell.rule for row in seen.rows for cell in row.cells}
    assert rights == {"rwd", "rw-", "r--", "---", "--d", "r-d", "-w-"}
    assert rules == {"level", "public", "grant", "default", "explicit-deny", "isolation"}
    assert await world.differences(seen) == []


async def test_the_comparison_catches_a_matrix_that_forgets_denials(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        explicit = Access._explicit

        def forgetful(self: Access, entries: object, *rest: object) -> object:
            allowing = tuple(e for e in entries if e.effect == "allow")  # type: ignore[attr-defined]
            return explicit(self, allowing, *rest)  # type: ignore[arg-type]

        patch.setattr(Access, "_explicit", forgetful)
        seen = await ask(world)
    assert await world.differences(seen)


async def test_subjects_are_the_agents_by_name_and_then_guests_with_a_grant(world: World) -> None:
    seen = await ask(world)
    names = [subject.name for subject in seen.subjects]
    own = ["admin", "both", "denied", "granted", "mate", "owner", "stranger", "swarm"]
    assert names[:8] == own
    assert sorted(names[8:]) == ["maker", "tester"]
    assert seen.subjects[5].teams == world.core.resolve(world.agents["owner"]).teams
    handled = await world.engine.run(MATRIX)
    assert [subject.id for subject in handled.subjects] == [each.id for each in seen.subjects]
    assert handled.rows == seen.rows


async def test_agents_that_have_ended_are_left_out(world: World) -> None:
    await world.engine.agents.unregister(world.agents["tester"])
    (swarm,) = await world.engine.swarms.list("development")
    await world.engine.swarms.terminate(swarm.id)
    names = {subject.name for subject in (await ask(world)).subjects}
    assert names == {"admin", "both", "granted", "mate", "stranger", "maker"}


async def test_records_come_in_order_of_namespace_and_key_by_pages(world: World) -> None:
    await world.engine.memory("development").set("a", 1, namespace="zoo", level="public")
    whole = await ask(world)
    places = [(row.namespace, row.key) for row in whole.rows]
    assert places == sorted(places)
    assert not whole.more
    page = await ask(world, act.AclMatrix(environment="development", offset=3, limit=4))
    assert (page.rows, page.more) == (whole.rows[3:7], True)
    last = await ask(world, act.AclMatrix(environment="development", offset=10, limit=4))
    assert (last.rows, last.more) == (whole.rows[10:], False)
    beyond = await ask(world, act.AclMatrix(environment="development", offset=99))
    assert (beyond.rows, beyond.more) == ((), False)
    only = await ask(world, act.AclMatrix(environment="development", prefix="far-"))
    assert [row.key for row in only.rows] == sorted(f"far-{level}" for level in LEVELS)
    zoo = await ask(world, act.AclMatrix(environment="development", namespace="zoo"))
    assert [row.key for row in zoo.rows] == ["a"]


async def test_more_records_than_one_read_are_all_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await ask(world)
    monkeypatch.setattr(matrix, "PAGE", 2)
    assert await ask(world) == whole
    page = act.AclMatrix(environment="development", offset=5, limit=3)
    assert (await ask(world, page)).rows == whole.rows[5:8]


async def test_an_agent_sees_its_own_column_of_what_it_may_read(world: World) -> None:
    mate = world.core.resolve(world.agents["mate"])
    seen = await matrix.matrix(world.place, mate, MATRIX)
    whole = await ask(world)
    column = [subject.id for subject in whole.subjects].index(mate.id)
    readable = [row for row in whole.rows if "r" in row.cells[column].rights]
    assert [subject.id for subject in seen.subjects] == [mate.id]
    assert [row.key for row in seen.rows] == [row.key for row in readable]
    assert [row.cells for row in seen.rows] == [(row.cells[column],) for row in readable]
    other = act.AclMatrix(environment="development", subjects=(world.agents["owner"],))
    with pytest.raises(NotFound):
        await matrix.matrix(world.place, mate, other)


async def test_an_unknown_subject_is_not_found(world: World) -> None:
    for ident in ("dev_agent_none", "test_agent_none", "nonsense"):
        with pytest.raises(NotFound):
            await ask(world, act.AclMatrix(environment="development", subjects=(ident,)))


async def test_at_most_a_hundred_subjects_unless_they_are_named(world: World) -> None:
    more = [
        await world.place.registry.register(name=f"z{number:03}") for number in range(100)
    ]  # fmt: skip
    assert len((await ask(world)).subjects) == 100
    named = (*(agent.id for agent in more), world.agents["owner"])
    seen = await ask(world, act.AclMatrix(environment="development", subjects=named))
    assert [subject.id for subject in seen.subjects] == list(named)


async def test_a_revoked_grant_is_gone_from_the_next_matrix(world: World) -> None:
    asked = act.AclMatrix(
        environment="development", subjects=(world.agents["granted"],), prefix="own-team"
    )
    [cell] = (await ask(world, asked)).rows[0].cells
    assert (cell.rights, cell.rule, cell.note[:6]) == ("rwd", "grant", "until ")
    for entry in world.place.access.list(world.agents["granted"]):
        await world.engine.acl.revoke(entry.id)
    assert (await ask(world, asked)).rows[0].cells == (CellView(rights="---", rule="default"),)


# --- who ------------------------------------------------------------------------------------


async def test_who_tells_each_decision_those_that_allow_first(world: World) -> None:
    found = await world.engine.run(
        act.AclWho(environment="development", key="own-team", right="read")
    )
    names = {ident: name for name, ident in world.agents.items()}
    allowed = [names.get(view.subject, view.subject) for view in found if view.allowed]
    assert allowed[0] == OPERATOR
    assert sorted(allowed[1:]) == ["both", "denied", "granted", "mate", "owner", "tester"]
    assert [view.allowed for view in found] == sorted((v.allowed for v in found), reverse=True)
    for view in found:
        assert view == await world.engine.acl.explain(
            view.subject, "read", "own-team", environment="development"
        )


async def test_who_asks_all_rights_by_default(world: World) -> None:
    found = await matrix.who(
        world.place, OPERATOR_PRINCIPAL, act.AclWho(environment="development", key="own-public")
    )
    assert {view.action for view in found} == {"read", "write", "delete", "grant"}
    owner = [v.action for v in found if v.subject == world.agents["owner"] and v.allowed]
    assert owner == ["read", "write", "delete", "grant"]


async def test_a_record_that_an_agent_may_not_read_looks_missing(world: World) -> None:
    mate = world.core.resolve(world.agents["mate"])
    mine = await matrix.who(
        world.place, mate, act.AclWho(environment="development", key="own-team")
    )
    assert {view.subject for view in mine} == {mate.id}
    for key in ("own-private", "nothing"):
        with pytest.raises(NotFound, match=f"no key '{key}'"):
            await matrix.who(world.place, mate, act.AclWho(environment="development", key=key))
