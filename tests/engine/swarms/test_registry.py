"""Agents, teams and swarms of one environment: rows and memory agree, access follows at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.events import AgentChanged, Event
from swarmdeck.engine.model import AgentState, Role, SwarmState
from swarmdeck.engine.store.database import Database, StoreOptions, open_database
from swarmdeck.engine.swarms.registry import Registry
from swarmdeck.engine.swarms.roster import Agent, Swarm
from swarmdeck.engine.swarms.tokens import new_token

Opened = tuple[Registry, Database, list[Event], list[str]]


@asynccontextmanager
async def opened(directory: Path, clock: FakeClock) -> AsyncIterator[Opened]:
    path = directory / "development.db"
    gone: list[str] = []
    events: list[Event] = []

    async def on_gone(agent: str) -> None:
        gone.append(agent)

    options = StoreOptions()
    async with open_database(path, "development", options=options, clock=clock) as database:
        registry = Registry(database, clock, publish=events.append, on_gone=on_gone)
        await registry.load()
        yield registry, database, events, gone


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def parts(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Opened]:
    async with opened(tmp_path, clock) as found:
        yield found


@pytest.fixture
def registry(parts: Opened) -> Registry:
    return parts[0]


def swarm_of(registry: Registry, ident: str = "dev_swarm_00000001", agents: int = 0) -> Swarm:
    return Swarm(
        id=ident,
        name="one",
        environment="development",
        state=SwarmState.RUNNING,
        agents=agents,
        memory_bytes=1 << 28,
        command=("python", "worker.py"),
        created_at_us=1,
    )


async def process_agent(registry: Registry, swarm: str) -> tuple[Agent, str]:
    token, token_hash = new_token(FakeClock(seed=7))
    agent = registry.describe(
        "one", "worker", swarm=swarm, state=AgentState.STARTING, token_hash=token_hash
    )
    await registry.add_agents(swarm, [agent])
    return agent, token


async def audit_of(database: Database) -> list[tuple[str, str]]:
    def query(reader: object) -> list[tuple[str, str]]:
        return reader.execute("SELECT action, object FROM audit ORDER BY sequence").fetchall()  # type: ignore[attr-defined,no-any-return]

    return await database.read(query)


async def test_a_registered_agent_is_external_and_acts_as_itself(registry: Registry) -> None:
    agent = await registry.register(name="Backend", type="backend-dev", capabilities=["api", "api"])

    assert agent.id.startswith("dev_agent_")
    assert agent.state is AgentState.EXTERNAL
    assert agent.capabilities == ("api",)
    principal = registry.principal(agent.id)
    assert (principal.id, principal.environment, principal.role) == (
        agent.id,
        "development",
        Role.AGENT,
    )


async def test_everything_is_there_again_after_opening_the_file_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path, clock) as (first, _, _, _):
        swarm = swarm_of(first)
        await first.create_swarm(swarm, [])
        agent = await first.register(name="Åsa", swarm=swarm.id, capabilities=["x"], role="admin")
        team = await first.create_team("Web", leader=agent.id)
        await first.renew_token(agent.id)
        wanted = first.agent(agent.id), first.team(team.id), first.principal(agent.id)
    async with opened(tmp_path, clock) as (second, _, _, _):
        found = second.agent(agent.id), second.team(team.id), second.principal(agent.id)
        assert found == wanted
        assert second.swarm(swarm.id) == swarm


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"},
        {"name": "a\x1b[31m"},
        {"name": ""},
        {"name": "x" * 129},
        {"name": "ok", "type": "../up"},
        {"name": "ok", "type": "Upper"},
        {"name": "ok", "capabilities": ["fine", "not fine"]},
    ],
)
async def test_names_that_are_not_allowed_register_nothing(
    parts: Opened, wrong: dict[str, object]
) -> None:
    registry, database, _, _ = parts
    with pytest.raises(InvalidInput):
        await registry.register(**wrong)  # type: ignore[arg-type]
    assert not registry.agents
    assert await audit_of(database) == []


async def test_unknown_swarm_team_and_leader_are_not_found(registry: Registry) -> None:
    for call in (
        lambda: registry.register(name="a", swarm="dev_swarm_nothere0"),
        lambda: registry.register(name="a", team="dev_team_nothere0"),
        lambda: registry.create_team("t", leader="dev_agent_nothere0"),
        lambda: registry.add_to_team("dev_team_nothere0", "dev_agent_nothere0"),
        lambda: registry.unregister("dev_agent_nothere0"),
        lambda: registry.update("dev_agent_nothere0", name="b"),
    ):
        with pytest.raises(NotFound):
            await call()
    assert not registry.agents
    assert not registry.teams


async def test_an_ended_swarm_takes_no_new_members(registry: Registry) -> None:
    swarm = swarm_of(registry)
    await registry.create_swarm(swarm, [])
    await registry.change_swarm(swarm.id, action="swarm.terminate", state=SwarmState.TERMINATED)
    with pytest.raises(Conflict, match="has ended"):
        await registry.register(name="late", swarm=swarm.id)


async def test_membership_reaches_the_principal_and_moves_the_epoch(registry: Registry) -> None:
    agent = await registry.register(name="a")
    team = await registry.create_team("Web")
    before = registry.epoch

    await registry.add_to_team(team.id, agent.id)
    assert registry.principal(agent.id).teams == (team.id,)
    assert registry.epoch > before

    before = registry.epoch
    await registry.remove_from_team(team.id, agent.id)
    assert registry.principal(agent.id).teams == ()
    assert registry.epoch > before


@pytest.mark.parametrize("change", ["register", "role", "unregister", "dissolve"])
async def test_every_change_of_access_moves_the_epoch(registry: Registry, change: str) -> None:
    agent = await registry.register(name="a")
    team = await registry.create_team("Web", leader=agent.id)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "register": lambda: registry.register(name="b"),
        "role": lambda: registry.update(agent.id, role="admin"),
        "unregister": lambda: registry.unregister(agent.id),
        "dissolve": lambda: registry.remove_team(team.id),
    }
    before = registry.epoch
    await calls[change]()
    assert registry.epoch > before


async def test_adding_a_member_twice_changes_nothing(parts: Opened) -> None:
    registry, database, _, _ = parts
    agent = await registry.register(name="a")
    team = await registry.create_team("Web")
    await registry.add_to_team(team.id, agent.id)
    again = await registry.add_to_team(team.id, agent.id)
    assert again.members == (agent.id,)
    assert [action for action, _ in await audit_of(database)].count("team.add") == 1


async def test_a_leader_who_leaves_leaves_the_team_without_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path, clock) as (registry, _, _, _):
        first, second = [await registry.register(name=name) for name in "ab"]
        team = await registry.create_team("Web", leader=first.id)
        other = await registry.create_team("App", leader=second.id)
        await registry.remove_from_team(team.id, first.id)
        await registry.unregister(second.id)
        wanted = registry.team(team.id), registry.team(other.id)
    assert [(team.leader, team.members) for team in wanted] == [(None, ()), (None, ())]
    async with opened(tmp_path, clock) as (registry, _, _, _):
        assert (registry.team(team.id), registry.team(other.id)) == wanted


async def test_unregistering_frees_what_the_agent_held(parts: Opened) -> None:
    registry, _, _, gone = parts
    agent = await registry.register(name="a")
    team = await registry.create_team("Web", leader=agent.id)
    await registry.unregister(agent.id)
    assert gone == [agent.id]
    assert registry.team(team.id).members == ()
    with pytest.raises(NotFound):
        registry.principal(agent.id)


async def test_an_agent_with_a_process_is_not_unregistered(registry: Registry) -> None:
    await registry.create_swarm(swarm_of(registry), [])
    agent, _ = await process_agent(registry, "dev_swarm_00000001")
    await registry.started(agent.id, 4242, 1)
    with pytest.raises(Conflict, match="running process"):
        await registry.unregister(agent.id)
    with pytest.raises(Conflict, match="running processes"):
        await registry.remove_swarm("dev_swarm_00000001")


async def test_two_changes_in_one_batch_see_each_other(registry: Registry) -> None:
    agent = await registry.register(name="a")
    team = await registry.create_team("Web")
    leaving, joining = registry.unregister(agent.id), registry.add_to_team(team.id, agent.id)
    first, second = await gather_outcomes(leaving, joining)
    assert first is None
    assert isinstance(second, NotFound)
    assert registry.team(team.id).members == ()


async def gather_outcomes(*calls: Awaitable[object]) -> list[object]:
    import asyncio

    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_select_filters_by_everything_given(registry: Registry) -> None:
    swarm = swarm_of(registry)
    await registry.create_swarm(swarm, [])
    member = await registry.register(name="a", type="web", swarm=swarm.id, capabilities=["api"])
    other = await registry.register(name="b", type="web")
    team = await registry.create_team("Web", leader=other.id)

    assert registry.select() == [member, other] or registry.select() == [other, member]
    assert registry.select(swarm=swarm.id) == [member]
    assert registry.select(team=team.id) == [other]
    assert registry.select(type="web", capability="api") == [member]
    assert registry.select(type="db") == []
    with pytest.raises(NotFound):
        registry.select(team="dev_team_nothere0")


async def test_agents_of_ended_swarms_are_listed_only_by_their_swarm(registry: Registry) -> None:
    swarm = swarm_of(registry)
    await registry.create_swarm(swarm, [])
    agent, _ = await process_agent(registry, swarm.id)
    await registry.change_swarm(swarm.id, action="swarm.terminate", state=SwarmState.TERMINATED)
    assert registry.select() == []
    assert [found.id for found in registry.select(swarm=swarm.id)] == [agent.id]


async def test_only_the_token_an_agent_was_started_with_proves_it(parts: Opened) -> None:
    registry, database, _, _ = parts
    await registry.create_swarm(swarm_of(registry), [])
    agent, token = await process_agent(registry, "dev_swarm_00000001")

    assert registry.authenticate(agent.id, token).id == agent.id
    for wrong in (token[:-1], token + "0", "", "é", "\udc80"):
        with pytest.raises(Denied):
            registry.authenticate(agent.id, wrong)
    with pytest.raises(Denied):
        registry.authenticate("dev_agent_nothere0", token)

    stored = await database.read(
        lambda reader: reader.execute("SELECT token_hash FROM agent").fetchone()
    )
    assert token.encode() not in stored[0]
    assert len(stored[0]) == 32


async def test_a_restart_and_an_end_void_the_token(registry: Registry) -> None:
    await registry.create_swarm(swarm_of(registry), [])
    agent, first = await process_agent(registry, "dev_swarm_00000001")
    second = await registry.starting(agent.id, restarts=1, reason="exit code 1")
    with pytest.raises(Denied):
        registry.authenticate(agent.id, first)
    assert registry.authenticate(agent.id, second).id == agent.id

    await registry.ended(agent.id, AgentState.EXITED, "exit code 0")
    with pytest.raises(Denied):
        registry.authenticate(agent.id, second)


async def test_an_agent_without_a_token_cannot_be_claimed_by_an_empty_one(
    registry: Registry,
) -> None:
    agent = await registry.register(name="a")
    with pytest.raises(Denied):
        registry.authenticate(agent.id, "")
    token = await registry.renew_token(agent.id)
    assert registry.authenticate(agent.id, token).id == agent.id


async def test_a_process_is_shown_from_start_to_end(parts: Opened) -> None:
    registry, _, events, _ = parts
    await registry.create_swarm(swarm_of(registry), [])
    agent, _ = await process_agent(registry, "dev_swarm_00000001")
    await registry.started(agent.id, 77, 99)
    await registry.ready(agent.id)
    await registry.ready(agent.id)
    await registry.ended(agent.id, AgentState.FAILED, "exit code 3")

    shown = [(event.state, event.pid) for event in events if isinstance(event, AgentChanged)]
    assert shown == [("starting", 77), ("ready", 77), ("failed", None)]
    assert registry.agent(agent.id).reason == "exit code 3"


async def test_three_missed_heartbeats_show_stale_and_change_no_access(
    registry: Registry, clock: FakeClock
) -> None:
    await registry.create_swarm(swarm_of(registry), [])
    agent, token = await process_agent(registry, "dev_swarm_00000001")
    await registry.started(agent.id, 77, 99)
    await registry.ready(agent.id)
    clock.advance(15)
    assert registry.shown_state(registry.agent(agent.id)) is AgentState.READY
    epoch = registry.epoch
    clock.advance(0.1)
    assert registry.shown_state(registry.agent(agent.id)) is AgentState.STALE
    assert registry.epoch == epoch
    assert registry.authenticate(agent.id, token) == registry.principal(agent.id)

    registry.heartbeat(agent.id)
    assert registry.shown_state(registry.agent(agent.id)) is AgentState.READY


async def test_an_external_agent_owes_no_heartbeat_before_its_first(
    registry: Registry, clock: FakeClock
) -> None:
    agent = await registry.register(name="a")
    clock.advance(3600)
    assert registry.shown_state(agent) is AgentState.EXTERNAL
    assert registry.presence.age_s(agent.id) is None
    registry.heartbeat(agent.id)
    clock.advance(16)
    assert registry.shown_state(agent) is AgentState.STALE


async def test_live_are_processes_and_connected_agents(registry: Registry) -> None:
    await registry.create_swarm(swarm_of(registry), [])
    agent, _ = await process_agent(registry, "dev_swarm_00000001")
    external = await registry.register(name="a")
    assert registry.live_count() == 1
    registry.connected(external.id)
    registry.connected(external.id)
    registry.connected(agent.id)
    assert registry.live_count() == 2
    registry.disconnected(external.id)
    assert registry.presence.is_connected(external.id)
    registry.disconnected(external.id)
    assert registry.live_count() == 1
    await registry.ended(agent.id, AgentState.EXITED, "exit code 0")
    registry.disconnected(agent.id)
    assert registry.live_count() == 0


async def test_a_removed_swarm_takes_its_own_agents_and_leaves_those_who_joined(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path, clock) as (registry, _, _, _):
        await registry.create_swarm(swarm_of(registry), [])
        own, _ = await process_agent(registry, "dev_swarm_00000001")
        await registry.ended(own.id, AgentState.EXITED, "exit code 0")
        joined = await registry.register(name="guest", swarm="dev_swarm_00000001")
        team = await registry.create_team("Web", leader=own.id)
        await registry.remove_swarm("dev_swarm_00000001")
        assert list(registry.agents) == [joined.id]
        assert registry.principal(joined.id).swarm is None
        wanted = dict(registry.agents), dict(registry.teams), dict(registry.swarms)
        assert registry.team(team.id).leader is None
    async with opened(tmp_path, clock) as (registry, _, _, _):
        assert (dict(registry.agents), dict(registry.teams), dict(registry.swarms)) == wanted
