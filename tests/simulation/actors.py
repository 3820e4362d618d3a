"""Those who use the engine: agents in processes of their own, and the operator's people.

All go through what the product gives them: agents through their client and its socket, the operator
through the engine's own interface. What they are told goes to the oracle.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from swarmdeck.engine.actions import (
    Action,
    QueueDrain,
    QueuePause,
    QueueResume,
    ScheduleCreate,
    SchedulePause,
)
from swarmdeck.engine.agent import Agent, Identity, connect_agent
from swarmdeck.engine.codec import decode_json
from swarmdeck.engine.errors import (
    Conflict,
    Denied,
    NotFound,
    SwarmDeckError,
)
from swarmdeck.engine.handles import Message, Write
from swarmdeck.engine.model import OPERATOR, OPERATOR_PRINCIPAL

from .loop import Died, Process
from .oracle import Job, Violation

if TYPE_CHECKING:
    from .world import World

KINDS: Final = ("build", "check", "ship")
TICK: Final = "tick"  # what schedules send
LEASE_S: Final = 6.0
EVERY_S: Final = 2.0
PATIENCE_S: Final = (0.0, 0.0005, 0.002, 0.05, 2.0)


class Failed(Exception):
    """A job that is to fail has failed."""


class Watched:
    """An agent's queue, with the oracle told of all that is answered."""

    def __init__(self, inner: Any, world: World, agent: str, process: Process | None) -> None:
        self._inner, self._world, self._agent, self._process = inner, world, agent, process

    async def claim(self, *args: Any, **more: Any) -> list[Message]:
        messages: list[Message] = await self._inner.claim(*args, **more)
        with self._world.judged():
            for message in messages:
                if message.kind != TICK:
                    self._world.oracle.delivered(self._agent, self._process, message)
        return messages

    async def extend(self, message: Message, lease_s: float) -> int:
        until_us: int = await self._inner.extend(message, lease_s)
        if message.kind == TICK:
            return until_us
        self._world.oracle.extended(message, until_us)
        return until_us

    async def ack(
        self, message: Message, result: Any = None, *, writes: Sequence[Write] = ()
    ) -> None:
        if message.kind == TICK:
            await self._inner.ack(message, result, writes=writes)
            return
        stale = self._world.oracle.settling(message)
        try:
            await self._inner.ack(message, result, writes=writes)
        except SwarmDeckError as error:
            self._world.refused("ack", error)
            raise
        with self._world.judged():
            self._world.oracle.acked(self._agent, message, stale=stale)

    async def nack(self, message: Message, **more: Any) -> str:
        if message.kind == TICK:
            return str(await self._inner.nack(message, **more))
        self._world.oracle.settling(message)
        try:
            state: str = await self._inner.nack(message, **more)
        except SwarmDeckError as error:
            self._world.refused("nack", error)
            raise
        self._world.oracle.note("nacked", message.id, message.attempt, state)
        return state


async def work_as_agent(world: World, process: Process, environment: dict[str, str]) -> int:
    """What the process of an agent runs; its exit code."""
    identity = Identity.read(environment)
    chance = random.Random(f"{world.seed} {process.name}")
    try:
        async with connect_agent(identity) as agent:
            agent.queue = Watched(agent.queue, world, agent.id, process)  # type: ignore[assignment]
            diary = asyncio.create_task(_keep_diary(world, agent, chance))
            try:
                handlers = {**dict.fromkeys(KINDS, _handle), TICK: _tick}
                await agent.work(handlers, limit=chance.choice((1, 2, 8)), lease_s=LEASE_S)
            finally:
                diary.cancel()
                await asyncio.wait([diary])
    except SwarmDeckError as error:
        world.refused("work", error)
        return 1
    return 0


async def _handle(_: Agent, message: Message) -> tuple[Any, Sequence[Write]]:
    """Work for a while, then finish: with an effect that can be counted, or with an error."""
    body = message.body
    await asyncio.sleep(body["work_s"])
    if message.attempt <= body["fails"]:
        raise Failed(f"attempt {message.attempt} is to fail")
    effect = f"effect:{body['job']}:{message.attempt}"
    return {"job": body["job"]}, [Write(key=effect, value=message.attempt, namespace="effects")]


async def _tick(_: Agent, __: Message) -> None:
    await asyncio.sleep(0.01)


async def _keep_diary(world: World, agent: Agent, chance: random.Random) -> None:
    """Write and read records of its own, and look at those of others."""
    number = 0
    while True:
        await asyncio.sleep(chance.expovariate(world.scale.diary_per_s))
        key = f"diary:{agent.id}:{chance.randrange(3)}"
        number += 1
        try:
            match chance.randrange(4):
                case 0:
                    await _write(world, agent, key, number + 1000 * chance.randrange(1000))
                case 1:
                    await _look_at_others(world, agent, chance)
                case _:
                    await _read(world, agent, key)
        except (Conflict, Denied, NotFound):
            raise
        except SwarmDeckError as error:
            world.refused("diary", error)


async def _write(world: World, agent: Agent, key: str, value: int) -> None:
    record = world.oracle.record(agent.id, key)
    record.busy += 1
    record.possible.add(value)
    try:
        version = await agent.memory.set(key, value, level="team")
    finally:
        record.busy -= 1
    if not record.busy:
        with world.judged():
            if version <= record.version:
                raise Violation(f"{key} was written as version {version} over {record.version}")
        record.possible, record.version = {value}, version
    world.oracle.note("wrote", key, version)


async def _read(world: World, agent: Agent, key: str) -> None:
    record = world.oracle.record(agent.id, key)
    if record.busy:
        return
    found = await agent.memory.get_versioned(key)
    if not record.busy:
        with world.judged():
            record.read(found)


async def _look_at_others(world: World, agent: Agent, chance: random.Random) -> None:
    """The team record of another is missing without a team, unless a grant opens it."""
    others = [each for each in sorted(world.oracle.records) if each[0] != agent.id]
    if not others:
        return
    owner, key = chance.choice(others)
    if owner.split("_")[0] != agent.id.split("_")[0]:
        return
    before = world.grants.get((agent.id, owner), "no")
    found = await agent.memory.get_versioned(key)
    after = world.grants.get((agent.id, owner), "no")
    if before == after == "no" and found is not None:
        with world.judged():
            raise Violation(f"{agent.id} could read {key} of {owner} without a grant")
    if before == after == "yes" and found is None:
        record = world.oracle.record(owner, key)
        if not record.busy and None not in record.possible:
            with world.judged():
                raise Violation(f"{agent.id} could not read {key} of {owner} with a grant")


# --- the operator's people ------------------------------------------------------------------------


async def send_jobs(world: World) -> None:
    """Send jobs, each until a send of it is acknowledged."""
    chance = random.Random(f"jobs {world.seed}")
    async with asyncio.TaskGroup() as group:
        while not world.over:
            await asyncio.sleep(chance.expovariate(world.scale.jobs_per_s))
            wait_s, times = chance.choice((0, 0, 2.0)), chance.choice((1, 1, 1, 1, 2))
            group.create_task(_send(world, _some_job(world, chance), wait_s, times))


def _some_job(world: World, chance: random.Random) -> Job:
    environment, longest_s = chance.choice(world.environments), world.scale.work_s
    swarms = world.swarms_of(environment)
    return world.oracle.new_job(
        environment=environment,
        kind=chance.choice(KINDS),
        priority=chance.choice((2, 5, 5, 5, 8, 10)),
        work_s=chance.choice((0.0, 0.01, 0.02, 0.1, 0.3, 1.0)) * chance.random() * longest_s,
        fails=chance.choices((0, 1, 2, 99), (80, 10, 5, 5))[0],
        delay_s=chance.choice((0, 0, 0, 0, 3.0)),
        expires_s=chance.choice((None, None, None, None, 20.0)),
        to=chance.choice(swarms) if swarms and chance.random() < 0.2 else None,
    )


async def _send(world: World, job: Job, wait_s: float, times: int) -> None:
    """Send a job until that is acknowledged, and again where somebody does not trust the answer."""
    while not world.has_ended and times:
        if job.to in world.ended_swarms:
            job.to = None
        try:
            ident = await world.ask(
                lambda engine: engine.queue(job.environment).send(
                    job.kind, job.body, priority=job.priority, delay_s=job.delay_s,
                    expires_s=job.expires_s, key=job.key, to=job.to, wait_s=wait_s,
                )
            )  # fmt: skip
        except (NotFound, Conflict):  # its swarm has ended meanwhile
            job.to = None
        except (SwarmDeckError, Died) as error:
            world.refused("send", error)
            await asyncio.sleep(0.7)
        else:
            with world.judged():
                world.oracle.sent(job, ident)
            times -= 1


async def schedule_ticks(world: World, environment: str) -> None:
    """Have a message sent every few seconds."""
    made = await world.ask(
        lambda engine: engine.run(
            ScheduleCreate(environment=environment, name=TICK, kind=TICK, body={}, every_s=EVERY_S)
        )
    )
    world.schedules[environment] = made.id


async def end_ticks(world: World) -> None:
    """Have no more sent, until that is acknowledged."""
    for ident in world.schedules.values():
        await _insist(world, SchedulePause(id=ident))


async def claim_and_leave(world: World) -> None:
    """Claim as the operator and go away before the answer, which then is nobody's; or stay, and
    give back what was claimed."""
    chance = random.Random(f"leavers {world.seed}")
    while not world.over:
        await asyncio.sleep(chance.expovariate(world.scale.leavers_per_s))
        environment = chance.choice(world.environments)
        claim = partial(_claim_once, world, environment, chance.choice(PATIENCE_S))
        try:
            await world.ask(lambda _, claim=claim: claim())
        except (SwarmDeckError, Died) as error:
            world.refused("claim", error)


async def _claim_once(world: World, environment: str, patience_s: float) -> None:
    claim = world.core.data_plane.trusted["queue.claim"]
    answer = claim(OPERATOR_PRINCIPAL, environment, 3, LEASE_S, 1.0, None)
    await asyncio.sleep(patience_s)
    if not answer.done():
        answer.cancel()
        return
    queue = Watched(world.core.engine.queue(environment), world, OPERATOR, None)
    for message in messages_of(answer.result()):
        if message.kind != TICK:
            with world.judged():
                world.oracle.delivered(OPERATOR, None, message)
        with suppress(SwarmDeckError):  # one that was cancelled holds up none of the others
            await queue.nack(message, error="not wanted", delay_s=0.1)


async def open_and_close(world: World) -> None:
    """Grant agents a look at the records of others, and take it back."""
    chance = random.Random(f"grants {world.seed}")
    while not world.over:
        await asyncio.sleep(chance.expovariate(world.scale.grants_per_s))
        records = sorted(world.oracle.records)
        if not records:
            continue
        owner, _ = chance.choice(records)
        agents = [a for a in world.live_agents() if a != owner and a[:3] == owner[:3]]
        if agents and (pair := (chance.choice(agents), owner)) not in world.grants:
            await _grant_for_a_while(world, pair, chance.uniform(2, 15))


async def _grant_for_a_while(world: World, pair: tuple[str, str], while_s: float) -> None:
    agent, owner = pair
    world.grants[pair] = "unknown"
    try:
        grant = await world.ask(
            lambda engine: engine.acl.grant(
                agent, level="team", actions=["read"], key_prefix=f"diary:{owner}:"
            )
        )
        world.grants[pair] = "yes"
        await asyncio.sleep(while_s)
        world.grants[pair] = "unknown"
        await world.ask(lambda engine: engine.acl.revoke(grant))
        del world.grants[pair]
        world.oracle.note("revoked", *pair)
    except (SwarmDeckError, Died) as error:  # whether it holds is not known any more
        world.grants[pair] = "unknown"
        world.refused("grant", error)


async def steer(world: World) -> None:
    """Cancel and retry messages, replace agents that gave up, end swarms and start others."""
    chance = random.Random(f"steering {world.seed}")
    while not world.over:
        await asyncio.sleep(chance.expovariate(world.scale.steps_per_s))
        act = chance.choices((_cancel, _retry, _scale, _replace, _pause), (4, 3, 3, 1, 1))[0]
        try:
            await act(world, chance)
        except (NotFound, Conflict) as error:
            world.oracle.note("not done", act.__name__, type(error).__name__)
        except (SwarmDeckError, Died) as error:
            world.refused("steer", error)


async def _cancel(world: World, chance: random.Random) -> None:
    sent = [job for job in world.oracle.jobs.values() if job.ident and not job.acknowledged]
    if sent and (job := chance.choice(sent)):
        job.cancelled = True
        await world.ask(lambda engine: world.message_act(engine, "cancel", job.ident))
        world.oracle.note("cancelled", job.ident)


async def _retry(world: World, chance: random.Random) -> None:
    poison = [job for job in world.oracle.jobs.values() if job.ident and len(job.given) >= 3]
    if poison and (job := chance.choice(poison)) and not job.acknowledged:
        job.retried = True
        await world.ask(lambda engine: world.message_act(engine, "retry", job.ident))
        world.oracle.note("retried", job.ident)


async def _scale(world: World, chance: random.Random) -> None:
    if world.swarms:
        ident = chance.choice(sorted(world.swarms))
        agents = max(1, world.swarms[ident] + chance.choice((-1, 0, 0, 0, 1)))
        await world.scale_swarm(ident, agents)


async def _replace(world: World, chance: random.Random) -> None:
    if world.swarms:
        await world.replace_swarm(chance.choice(sorted(world.swarms)), force=chance.random() < 0.5)


async def _pause(world: World, chance: random.Random) -> None:
    environment, stop = chance.choice(world.environments), chance.choice((QueuePause, QueueDrain))
    await world.ask(lambda engine: engine.run(stop(environment=environment)))
    await asyncio.sleep(chance.uniform(0.5, 4.0))
    await resume(world, environment)


async def resume(world: World, environment: str) -> None:
    """Let a queue go on, until that is acknowledged."""
    await _insist(world, QueueResume(environment=environment))


async def _insist(world: World, action: Action) -> None:
    while not world.has_ended:
        try:
            await world.ask(lambda engine: engine.run(action))
        except (SwarmDeckError, Died) as error:
            world.refused("insisting", error)
            await asyncio.sleep(0.5)
        else:
            return


def messages_of(answer: Sequence[Any]) -> list[Message]:
    """What a claim answers, as agents see it."""
    return [
        Message(
            id=ident, kind=kind, body=decode_json(body), priority=priority, attempt=attempt,
            lease_until_us=until_us, sender=sender,
        )
        for ident, kind, body, priority, attempt, until_us, sender in answer
    ]  # fmt: skip
