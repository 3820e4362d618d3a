"""Tokens of agents: they end, are renewed in time, and count no more at once when revoked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.agent import Agent, Identity, connect_agent
from swarmdeck.engine.clock import FakeClock, SystemClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Busy, Conflict, Denied, SwarmDeckError, Unavailable
from swarmdeck.engine.link import peers
from swarmdeck.engine.link.client import LinkPort
from swarmdeck.engine.link.peers import LoginLimiter, Peer
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, AgentState
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.swarms import tokens
from swarmdeck.engine.views import TokenView

WHERE = "development"
HOUR_S = 3600.0


@asynccontextmanager
async def opened(directory: Path, clock: Any = None) -> AsyncIterator[Core]:
    async with open_core(
        directory,
        settings=load_settings(None, {}, {}),
        transient=False,
        headless=True,
        clock=clock,
    ) as core:
        yield core


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def core(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(tmp_path / "data", clock) as found:
        yield found


async def run(core: Core, action: act.Action) -> Any:
    return await core.dispatch(action, OPERATOR_PRINCIPAL)


async def issued(core: Core, ttl_s: float = 86_400) -> TokenView:
    agent = await core.engine.agents.register(WHERE, name="outside")
    view: TokenView = await run(core, act.AgentToken(id=agent.id, ttl_s=ttl_s))
    return view


async def connected(core: Core, agent: str, token: str) -> LinkPort:
    assert core._socket is not None
    return await LinkPort.open(core._socket, agent=agent, token=token)


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def comes_back(agent: Agent) -> None:
    """A call under way when the connection breaks fails; the next one waits for another."""
    async with asyncio.timeout(10):
        while True:
            with suppress(Unavailable):
                assert await agent.memory.get("nothing") is None
                return
            await asyncio.sleep(0.01)


# --- issuing and ending -------------------------------------------------------------------------


async def test_a_token_is_shown_once_and_opens_a_connection(core: Core, clock: FakeClock) -> None:
    view = await issued(core, 3600)
    assert view.expires_at_us == clock.wall_us() + 3600 * 1_000_000
    assert len(view.token) * 5 >= 256  # letters of five bits
    async with await connected(core, view.agent, view.token) as port:
        await port.call("agent.ready", view.agent, WHERE)
    agent = core.places[WHERE].registry.agent(view.agent)
    assert agent.token_hash == tokens.digest(view.token)
    assert view.token not in repr(agent)
    rows = await run(core, act.AuditList(environment=WHERE, contains="agent.token"))
    assert [row.object for row in rows] == [view.agent]
    assert view.token not in repr(rows)


async def test_tokens_are_of_the_operating_systems_randomness() -> None:
    made = {tokens.new_token(SystemClock())[0] for _ in range(100)}
    assert len(made) == 100
    assert {len(token) for token in made} == {tokens.LENGTH}


async def test_an_expired_token_is_denied_with_what_to_do(core: Core, clock: FakeClock) -> None:
    view = await issued(core, 3600)
    clock.advance(3600)
    with pytest.raises(Denied, match="expired") as denied:
        await connected(core, view.agent, view.token)
    assert denied.value.hint == f"swarmdeck agent token {view.agent} makes a new one"


async def test_a_connection_ends_with_its_token(core: Core, clock: FakeClock) -> None:
    view = await issued(core, 3600)
    port = await connected(core, view.agent, view.token)
    clock.advance(3600)
    core.identity.tick()
    await asyncio.wait_for(port.wait_closed(), 10)
    with pytest.raises(Denied, match="expired"):
        await port.call("agent.heartbeat", view.agent, WHERE)
    await port.close()


async def test_a_new_token_voids_the_one_before_and_what_it_opened(core: Core) -> None:
    view = await issued(core)
    port = await connected(core, view.agent, view.token)
    again = await run(core, act.AgentToken(id=view.agent))
    await asyncio.wait_for(port.wait_closed(), 10)
    await port.close()
    with pytest.raises(Denied):
        await connected(core, view.agent, view.token)
    await (await connected(core, view.agent, again.token)).close()


async def test_tokens_without_an_end_count_no_more(core: Core) -> None:
    """As of a file that was written before tokens ended."""
    view = await issued(core)
    registry = core.places[WHERE].registry
    await registry._change_agent(view.agent, {"token_expires": None})
    with pytest.raises(Denied, match="expired"):
        await connected(core, view.agent, view.token)


async def test_a_token_outlives_a_restart_and_expires_after_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path / "data", clock) as core:
        view = await issued(core, 3600)
    async with opened(tmp_path / "data", clock) as core:
        await (await connected(core, view.agent, view.token)).close()
        clock.advance(3601)
        with pytest.raises(Denied, match="expired"):
            await connected(core, view.agent, view.token)


async def test_an_expired_token_stays_so_when_a_clock_set_back_is_accepted(
    core: Core, clock: FakeClock
) -> None:
    view = await issued(core, 3600)
    clock.advance(3601)
    clock.jump(-400 * 86_400)
    core.overview()
    await run(core, act.ClockConfirm())
    with pytest.raises(Denied):
        await connected(core, view.agent, view.token)


# --- revoking -----------------------------------------------------------------------------------


async def test_revoking_denies_what_is_under_way_and_frees_what_was_held(core: Core) -> None:
    view = await issued(core)
    port = await connected(core, view.agent, view.token)
    queue = core.engine.queue(WHERE)
    sent = await queue.send("work", {})
    await port.call("queue.claim", view.agent, WHERE, 1, 30.0, 0.0, None)
    waiting = port.call("queue.claim", view.agent, WHERE, 1, 30.0, 60.0, None)
    heard: list[object] = []
    await port.subscribe("dev.news", heard.append)
    await port.call("memory.get", view.agent, WHERE, "default", "key")  # after it arrived
    assert await core.engine.publish("dev.news", 1) == 1
    await until(lambda: heard)
    await run(core, act.AgentRevoke(id=view.agent))
    assert await core.engine.publish("dev.news", 2) == 0  # nobody listens any more
    assert core.link is not None
    assert view.agent not in core.link.agents
    assert (await core.places[WHERE].queue.show(sent)).state == "ready"
    with pytest.raises(Denied, match="disconnected"):
        await waiting
    with pytest.raises(Denied):
        await port.call("memory.get", view.agent, WHERE, "default", "key")
    await port.close()
    assert heard == [1]
    with pytest.raises(Denied):
        await connected(core, view.agent, view.token)


async def test_unregistering_ends_connections_as_well(core: Core) -> None:
    view = await issued(core)
    port = await connected(core, view.agent, view.token)
    await run(core, act.AgentUnregister(id=view.agent))
    assert core.link is not None
    assert not core.link.agents
    await asyncio.wait_for(port.wait_closed(), 10)
    await port.close()


async def test_no_read_succeeds_that_began_after_revoke_returned(core: Core) -> None:
    """S3 over the socket. Planted: when `voided` does nothing, reads go on."""
    later = 0
    for _ in range(20):
        view = await issued(core)
        ports = [await connected(core, view.agent, view.token) for _ in range(4)]
        revoked = asyncio.Event()
        succeeded = [0, 0]

        async def read(
            port: LinkPort, agent: str, revoked: asyncio.Event, counts: list[int]
        ) -> None:
            for _ in range(100_000):
                began_after = revoked.is_set()
                try:
                    await port.call("memory.get", agent, WHERE, "default", "key")
                except SwarmDeckError:
                    if began_after:
                        return
                    await asyncio.sleep(0)
                    continue
                counts[began_after] += 1
                if began_after:
                    return

        readers = [
            asyncio.create_task(read(port, view.agent, revoked, succeeded)) for port in ports
        ]
        await until(lambda counts=succeeded: counts[0] > 100)
        await run(core, act.AgentRevoke(id=view.agent))
        revoked.set()
        await asyncio.gather(*readers)
        later += succeeded[1]
        for port in ports:
            await port.close()
    assert later == 0


async def test_what_a_slow_reader_had_not_taken_is_never_delivered(core: Core) -> None:
    view = await issued(core)
    assert core._socket is not None
    heard: list[Any] = []
    port = await connected(core, view.agent, view.token)
    await port.subscribe("dev.news", heard.append)
    await port.call("memory.get", view.agent, WHERE, "default", "key")  # after it arrived
    port._link._transport.pause_reading()  # type: ignore[union-attr]
    for number in range(300):
        await core.engine.publish("dev.news", [number, "x" * 10_000])
        await asyncio.sleep(0)
    assert core.link is not None
    (connection,) = core.link._agents[view.agent]
    await until(lambda: connection._transport.get_write_buffer_size() > 0)
    await run(core, act.AgentRevoke(id=view.agent))
    assert connection._transport.get_write_buffer_size() == 0  # not left to be sent later
    port._link._transport.resume_reading()  # type: ignore[union-attr]
    await asyncio.wait_for(port.wait_closed(), 10)
    assert len(heard) < 300
    with pytest.raises((Unavailable, Denied)):
        await port.call("memory.get", view.agent, WHERE, "default", "key")
    await port.close()


# --- renewing -----------------------------------------------------------------------------------


async def test_a_long_lived_agent_gets_a_new_token_before_the_old_one_ends(
    core: Core, clock: FakeClock
) -> None:
    view = await issued(core)
    assert core._socket is not None
    identity = Identity(socket=core._socket, agent=view.agent, token=view.token)
    registry = core.places[WHERE].registry
    async with connect_agent(identity) as agent:
        for _ in range(4):  # three days and more
            before = registry.agent(view.agent).token_hash
            clock.advance(19 * HOUR_S)
            core.identity.tick()
            await until(lambda b=before: registry.agent(view.agent).token_hash != b)
            core.identity.tick()
            assert await agent.memory.get("nothing") is None
        with pytest.raises(Denied):
            await connected(core, view.agent, view.token)
        for connection in tuple(core.link._agents[view.agent]):  # type: ignore[union-attr]
            connection.abort()
        await comes_back(agent)
        assert not agent.stopping.is_set()


async def test_an_offered_token_counts_only_once_it_was_taken(core: Core) -> None:
    view = await issued(core)
    async with await connected(core, view.agent, view.token) as port:
        offered = await port.call("agent.renew", view.agent, WHERE)
        with pytest.raises(Denied):
            await connected(core, view.agent, offered)
        await (await connected(core, view.agent, view.token)).close()
        with pytest.raises(Conflict):
            await port.call("agent.renewed", view.agent, WHERE, "another")
        await port.call("agent.renewed", view.agent, WHERE, offered)
        await (await connected(core, view.agent, offered)).close()
        with pytest.raises(Denied):
            await connected(core, view.agent, view.token)
        with pytest.raises(Conflict):
            await port.call("agent.renewed", view.agent, WHERE, offered)


async def test_a_renewal_whose_answer_was_lost_locks_nobody_out(core: Core) -> None:
    """The agent has both tokens then and finds out which one counts."""
    for taken in (False, True):
        view = await issued(core)
        assert core._socket is not None
        identity = Identity(socket=core._socket, agent=view.agent, token=view.token)
        async with connect_agent(identity) as agent:
            lifeline = agent._port
            reach = lifeline.call

            async def lossy(verb: str, *args: Any, taken: bool = taken, reach: Any = reach) -> Any:
                if verb != "agent.renewed":
                    return await reach(verb, *args)
                if taken:
                    await reach(verb, *args)
                raise Unavailable("the answer is lost")

            lifeline.call = lossy  # type: ignore[method-assign]
            with pytest.raises(Unavailable):
                await lifeline._fetch_token()
            for connection in tuple(core.link._agents[view.agent]):  # type: ignore[union-attr]
                connection.abort()
            await comes_back(agent)
            assert (lifeline._tokens == (view.token,)) is not taken


async def test_a_process_exchanges_the_token_it_was_started_with(tmp_path: Path) -> None:
    """What stands in /proc/PID/environ is void as soon as the agent is there, and the agent
    survives that its engine is replaced."""
    data = tmp_path / "data"
    async with opened(data) as core:
        swarm = await core.engine.swarms.create(WHERE, agents=2, memory_bytes=64 << 20)
        registry = core.places[WHERE].registry
        agents = [each for each in registry.agents.values() if each.swarm == swarm.id]

        def renewed(core: Core) -> bool:
            rows = core.places[WHERE].registry.agents.values()
            return all(
                each.token_hash is not None
                and each.pid is not None
                and each.token_hash != tokens.digest(environ_token(each.pid))
                and each.state is AgentState.READY
                for each in rows
            )

        await until(lambda: renewed(core))
        for each in agents:
            assert each.pid is not None or registry.agent(each.id).pid is not None
            started_with = environ_token(registry.agent(each.id).pid or 0)
            with pytest.raises(Denied):
                await connected(core, each.id, started_with)
        # It reconnects with what it has in memory.
        for agent in agents:
            for connection in tuple(core.link._agents[agent.id]):  # type: ignore[union-attr]
                connection.abort()
        await until(lambda: len(core.link.agents) == 2)  # type: ignore[union-attr]
        assert {registry.agent(a.id).restarts for a in agents} == {0}
        with pytest.raises(Conflict, match="of its own"):
            await run(core, act.AgentToken(id=agents[0].id))
        # Revoked, its process ends, and another is started with a token of its own.
        pid = registry.agent(agents[0].id).pid
        await run(core, act.AgentRevoke(id=agents[0].id))
        await until(lambda: registry.agent(agents[0].id).pid not in {None, pid}, 30)
        await until(lambda: agents[0].id in core.link.agents, 30)  # type: ignore[union-attr]
        await core.engine.swarms.terminate(swarm.id, force=True)


def environ_token(pid: int) -> str:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"SWARMDECK_TOKEN="):
                return entry.partition(b"=")[2].decode()
    return ""


# --- guessing -----------------------------------------------------------------------------------


async def test_wrong_tokens_are_limited_and_the_right_one_on_an_open_connection_is_not(
    core: Core, clock: FakeClock
) -> None:
    """S11: 500 wrong tokens, none accepted; the limiter speaks after five."""
    view = await issued(core)
    other = await issued(core)
    holder = await connected(core, view.agent, view.token)
    outcomes = []
    for number in range(500):
        try:
            await connected(core, view.agent, f"{number:052}")
        except SwarmDeckError as error:
            outcomes.append(type(error))
    assert len(outcomes) == 500
    assert outcomes[:5] == [Denied] * 5
    assert set(outcomes[5:]) == {Busy}
    with pytest.raises(Busy, match="too many wrong tokens"):
        await connected(core, view.agent, view.token)  # no token of this process is looked at
    assert await holder.call("memory.get", view.agent, WHERE, "default", "key") is None
    await (await connected(core, other.agent, other.token)).close()
    clock.advance(16)
    await (await connected(core, view.agent, view.token)).close()
    await holder.close()
    rows = await run(core, act.AuditList(environment=WHERE, contains="agent.login", denied=True))
    assert 1 <= len(rows) <= 3
    assert {row.object for row in rows} == {view.agent}


async def test_another_process_with_the_right_token_is_not_locked_out(core: Core) -> None:
    view = await issued(core)
    limiter = core.link.limiter  # type: ignore[union-attr]
    for _ in range(7):
        with suppress(SwarmDeckError):
            limiter.check(view.agent, Peer(4_000_000, os.getuid()))
            limiter.failed(view.agent, Peer(4_000_000, os.getuid()))
    await (await connected(core, view.agent, view.token)).close()


def test_blocks_grow_to_a_quarter_of_an_hour_and_are_forgotten() -> None:
    clock = FakeClock()
    told: list[peers.Refusal] = []
    limiter = LoginLimiter(clock, told.append)
    peer, blocks = Peer(7, 1000), []
    for _ in range(12):
        limiter.check("dev_agent_1", peer)
        limiter.failed("dev_agent_1", peer)
        blocks.append(told[-1].blocked_s if len(told) > len(blocks) - 4 else 0)
        clock.advance(told[-1].blocked_s + 0.1)
    assert [r.blocked_s for r in told] == [0, 15, 30, 60, 120, 240, 480, 900, 900]
    clock.advance(1000)
    for _ in range(4):
        limiter.failed("dev_agent_1", peer)
    limiter.check("dev_agent_1", peer)


def test_the_process_that_was_accepted_is_not_blocked_by_others() -> None:
    limiter = LoginLimiter(FakeClock())
    mine = Peer(1, 1000)
    limiter.accepted("dev_agent_1", mine)
    for pid in range(2, 60):
        limiter.failed("dev_agent_1", Peer(pid, 1000))
    limiter.check("dev_agent_1", mine)
    with pytest.raises(Busy):
        limiter.check("dev_agent_1", Peer(99, 1000))


def test_what_is_kept_and_told_of_guesses_is_bounded() -> None:
    told: list[object] = []
    limiter = LoginLimiter(FakeClock(), told.append)
    for number in range(2 * peers.MAX_TRACKED):
        limiter.failed(f"dev_agent_{number}", Peer(number, 1000))
        limiter.accepted(f"dev_agent_{number}", Peer(number, 1000))
    assert len(limiter._failures) <= peers.MAX_TRACKED
    assert len(limiter._accepted) <= peers.MAX_TRACKED
    assert len(told) == peers.TOLD_PER_MINUTE


async def test_an_adopted_agent_comes_back_with_the_token_it_has_in_memory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with opened(data) as core:
        view = await issued(core)
        assert core._socket is not None
        identity = Identity(socket=core._socket, agent=view.agent, token=view.token)
        stack = connect_agent(identity)
        agent = await stack.__aenter__()
        agent._port.renew_soon()
        registry = core.places[WHERE].registry
        before = registry.agent(view.agent).token_hash
        await until(lambda: registry.agent(view.agent).token_hash != before)
    async with opened(data):
        await comes_back(agent)
        await stack.__aexit__(None, None, None)
