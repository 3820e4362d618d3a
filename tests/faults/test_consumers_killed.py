"""Messages while their consumers and the engine are killed: none is lost, none is done twice.

Order inside a priority, as it is checked here from the audit trail of the whole run: whatever a
claim hands out, no message of a higher priority and no older one of its own priority is ready at
that moment. So with one consumer messages of a priority are worked on in the order of their ids;
with several they are handed out in that order, and each consumer works in the order it was handed
them. One that was given back is handed out again by its id, ahead of younger ones. This is so for
claims of any kind, as here: one that names several kinds looks at those that had messages when it
was asked for.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from swarmdeck.engine import actions, connect
from swarmdeck.engine.errors import SwarmDeckError
from swarmdeck.engine.handles import Queue
from swarmdeck.engine.store import driver

CONSUMER = Path(__file__).parent / "consumer.py"
ENVIRONMENT = "development"
CONSUMERS = 4
IN_FLIGHT = 200
ATTEMPTS = 3
LIMIT_S = 60.0

AUDIT = """
SELECT actor, action, CAST(substr(object, 9) AS INTEGER), detail FROM audit
WHERE action IN ('queue.send', 'queue.claim', 'queue.ack', 'queue.nack', 'queue.take_back',
                 'queue.untake')
ORDER BY sequence"""


class Load(NamedTuple):
    """How much is sent, and how often something is killed. `failing` messages make every consumer
    fail, `deadly` ones kill it."""

    messages: int
    consumer_kills: int
    engine_kills: int
    failing: int
    deadly: int

    @property
    def poison(self) -> int:
        return self.failing + self.deadly

    def kind(self, number: int) -> str:
        """Poison is spread over the middle of the run."""
        step = self.messages // (2 * self.poison)
        turn, rest = divmod(number - self.messages // 4, step)
        if rest or not 0 <= turn < self.poison:
            return "work"
        return "failing" if turn < self.failing else "deadly"


class Service:
    """The engine that owns the data directory, as a process."""

    def __init__(self, data: Path) -> None:
        self._command = [sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(data)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        told = {
            "AGENTS__RESTARTS": "1000", "AGENTS__SPAWN_PER_MINUTE": "10000",
            "AGENTS__ORPHAN_GRACE_S": "60", "QUEUE__DEPTH__DEVELOPMENT": "1000000",
        }  # fmt: skip
        environment = {**os.environ, **{f"SWARMDECK_{name}": each for name, each in told.items()}}
        self._process = subprocess.Popen(
            [*self._command, "serve", "--json"], stdout=subprocess.PIPE, env=environment
        )
        assert self._process.stdout is not None
        assert b"socket" in self._process.stdout.readline()

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            assert self._process.stdout is not None
            self._process.communicate(timeout=LIMIT_S)
            self._process = None


@dataclass
class Run:
    """One run: a sender, a swarm of consumers, and somebody who kills them."""

    data: Path
    ledger: Path
    load: Load
    chance: random.Random
    service: Service = field(init=False)
    killed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.service = Service(self.data)

    async def go(self, limit_s: float) -> None:
        self.service.start()
        try:
            async with connect(self.data) as engine:
                command = [sys.executable, str(CONSUMER), str(self.ledger)]
                await engine.swarms.create(
                    ENVIRONMENT, agents=CONSUMERS, memory_bytes=1 << 30, command=command
                )
            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
                group.create_task(self._send_all())
                group.create_task(self._kill_all())
        finally:
            self.service.end()

    # --- sending

    async def _send_all(self) -> None:
        """Send each message until it is acknowledged; its key makes it one message."""
        left = deque(range(self.load.messages))
        while left:
            with suppress(SwarmDeckError):
                async with connect(self.data) as engine:
                    await self._send_some(engine.queue(ENVIRONMENT), left)
            await asyncio.sleep(0.05)

    async def _send_some(self, queue: Queue, left: deque[int]) -> None:
        while left:
            part = [left.popleft() for _ in range(min(IN_FLIGHT, len(left)))]
            answers = await asyncio.gather(
                *(self._send(queue, number) for number in part), return_exceptions=True
            )
            failed = [n for n, a in zip(part, answers, strict=True) if isinstance(a, Exception)]
            left.extendleft(reversed(failed))
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

    async def _send(self, queue: Queue, number: int) -> str:
        kind, priority = self.load.kind(number), 1 + number % 10
        return await queue.send(kind, {"number": number}, priority=priority, key=f"m{number}")

    # --- killing

    async def _kill_all(self) -> None:
        """Kill as the work goes on, evenly; return when nothing is left to do."""
        load = self.load
        times = [((n + 0.5) / load.consumer_kills, "consumer") for n in range(load.consumer_kills)]
        times += [((n + 0.7) / load.engine_kills, "engine") for n in range(load.engine_kills)]
        due = deque(sorted(times))
        while True:
            with suppress(SwarmDeckError):
                async with connect(self.data) as engine:
                    while not await self._step(engine, due):
                        await asyncio.sleep(0.02)
                    return
            await asyncio.sleep(0.05)

    async def _step(self, engine: Any, due: deque[tuple[float, str]]) -> bool:
        """Whether all is done."""
        counts = await engine.run(actions.QueueCount(environment=ENVIRONMENT))
        ended = counts.done + counts.dead
        if due and ended >= due[0][0] * self.load.messages:
            await self._kill(engine, due[0][1])
            due.popleft()
        return not due and ended >= self.load.messages

    async def _kill(self, engine: Any, what: str) -> None:
        await asyncio.sleep(self.chance.uniform(0, 0.02))
        if what == "engine":
            self.service.kill()
            self.service.start()
        else:
            busy = [agent.pid for agent in await engine.agents.list(ENVIRONMENT) if agent.leased]
            pids = [pid for pid in busy if pid is not None]
            if not pids:
                raise SwarmDeckError("nobody works")
            os.kill(self.chance.choice(pids), signal.SIGKILL)
        self.killed[what] += 1


# --- what is looked at afterwards -------------------------------------------------------------


class Facts(NamedTuple):
    """What a run has left in its files."""

    messages: list[tuple[int, str, int, int, str]]  # id, kind, state, priority, key
    effects: dict[str, int]  # key and version of each record
    trail: list[tuple[str, str, int, str]]
    noted: Counter[tuple[str, str]]  # word and id, from the ledger


async def facts_of(data: Path, ledger: Path) -> Facts:
    def look(raw: driver.Raw) -> Facts:
        statement = "SELECT id, kind, state, priority, dedup_key FROM message ORDER BY id"
        return Facts(
            raw.execute(statement).fetchall(),
            dict(raw.execute("SELECT key, version FROM memory").fetchall()),
            raw.execute(AUDIT).fetchall(),
            Counter(
                (word, ident)
                for word, ident, _ in map(str.split, ledger.read_text("utf-8").splitlines())
            ),
        )

    connection = await driver.connect(
        data / "instances" / ENVIRONMENT / f"{ENVIRONMENT}.db", read_only=True
    )
    try:
        return await connection.run(look)
    finally:
        await connection.close()


DONE, DEAD = 3, 4


def wrong_of(facts: Facts, load: Load) -> Iterator[str]:
    """Everything that must not be."""
    keys = Counter(key for *_, key in facts.messages)
    for number in range(load.messages):
        if keys[f"m{number}"] != 1:
            yield f"message {number} is there {keys[f'm{number}']} times"
    for ident, kind, state, _, key in facts.messages:
        effect, times = f"effect:{key[1:]}", facts.noted["done", f"dev_msg_{ident}"]
        if kind == "work":
            if state != DONE:
                yield f"{key} ({kind}, id {ident}) is in state {state}"
            if facts.effects.get(effect) != 1:
                yield f"{key} has had its effect {facts.effects.get(effect, 0)} times"
            if times > 1:
                yield f"{key} was finished {times} times by the ledger"
        elif state != DEAD or effect in facts.effects or times:
            yield f"{key} ({kind}) is in state {state}, finished {times} times"
    acks = Counter(ident for _, action, ident, _ in facts.trail if action == "queue.ack")
    yield from (f"dev_msg_{ident} was acked {n} times" for ident, n in acks.items() if n > 1)
    yield from out_of_order(facts)


def out_of_order(facts: Facts) -> Iterator[str]:
    """Play the trail again: nothing more urgent or older may be ready when something is handed
    out. Of what waits after a failure nobody notes when it is ready again, so it counts as ready
    only once it is handed out."""
    priorities = {ident: priority for ident, _, _, priority, _ in facts.messages}
    ready: set[int] = set()
    heap: list[tuple[int, int]] = []
    for _, action, ident, detail in facts.trail:
        if action == "queue.take_back" and detail.endswith(f"(attempt {ATTEMPTS})"):
            continue  # a dead letter
        if action in {"queue.send", "queue.take_back", "queue.untake"}:
            ready.add(ident)
            heapq.heappush(heap, (-priorities[ident], ident))
        elif action == "queue.claim":
            ready.discard(ident)
            while heap and heap[0][1] not in ready:
                heapq.heappop(heap)
            if heap and heap[0] < (-priorities[ident], ident):
                yield f"dev_msg_{ident} was handed out before dev_msg_{heap[0][1]}"
        elif action == "queue.nack":
            ready.discard(ident)


FULL = Load(messages=100_000, consumer_kills=20, engine_kills=5, failing=5, deadly=5)
QUICK = Load(messages=2_000, consumer_kills=2, engine_kills=1, failing=2, deadly=1)


async def test_messages_survive_killed_consumers_and_engines(
    tmp_path: Path, chance: random.Random, tier: Callable[[Any, Any], Any]
) -> None:
    load: Load = tier(QUICK, FULL)
    run = Run(tmp_path / "data", tmp_path / "ledger", load, chance)
    began_s = time.monotonic()
    await run.go(tier(120, 3_000))
    took_s = time.monotonic() - began_s
    facts = await facts_of(run.data, run.ledger)
    claims = sum(action == "queue.claim" for _, action, _, _ in facts.trail)
    print(  # noqa: T201 - the figures of the run
        f"{load.messages:,} messages in {took_s:.0f} s, {dict(run.killed)} killed, "
        f"{claims - load.messages:,} redeliveries, "
        f"{sum(n for (word, _), n in facts.noted.items() if word == 'begun'):,} times begun"
    )
    assert run.killed == {"consumer": load.consumer_kills, "engine": load.engine_kills}
    assert list(_few(wrong_of(facts, load))) == []
    assert sum(state == DEAD for _, _, state, _, _ in facts.messages) == load.poison


def _few(found: Iterable[str]) -> Iterator[str]:
    """The first of what is wrong: thousands of lines help nobody."""
    yield from (each for _, each in zip(range(20), found, strict=False))


# --- the checks can fail ------------------------------------------------------------------------


def sound() -> Facts:
    """Two messages of one priority, worked on in order."""
    trail = [
        ("operator", "queue.send", 1, ""), ("operator", "queue.send", 2, ""),
        ("a", "queue.claim", 1, ""), ("a", "queue.claim", 2, ""),
        ("a", "queue.ack", 1, ""), ("a", "queue.ack", 2, ""),
    ]  # fmt: skip
    messages = [(1, "work", DONE, 5, "m0"), (2, "work", DONE, 5, "m1")]
    noted = Counter({("done", "dev_msg_1"): 1, ("done", "dev_msg_2"): 1})
    return Facts(messages, {"effect:0": 1, "effect:1": 1}, trail, noted)


TWO = Load(messages=2, consumer_kills=0, engine_kills=0, failing=1, deadly=0)


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (lambda f: f._replace(messages=f.messages[:1]), "there 0 times"),
        (lambda f: f._replace(messages=[*f.messages, (3, "work", DONE, 5, "m1")]), "there 2"),
        (lambda f: f._replace(effects={**f.effects, "effect:1": 2}), "effect 2 times"),
        (lambda f: f._replace(effects={"effect:0": 1}), "effect 0 times"),
        (lambda f: f._replace(noted=f.noted + Counter({("done", "dev_msg_1"): 1})), "finished 2"),
        (lambda f: f._replace(trail=[*f.trail, f.trail[-1]]), "acked 2"),
        (lambda f: f._replace(messages=[(1, "work", 2, 5, "m0"), f.messages[1]]), "state 2"),
        (lambda f: f._replace(messages=[(1, "deadly", DONE, 5, "m0"), f.messages[1]]), "deadly"),
        (lambda f: f._replace(trail=[*f.trail[:2], f.trail[3], f.trail[2]]), "before dev_msg_1"),
        (
            lambda f: f._replace(messages=[f.messages[0], (2, "work", DONE, 6, "m1")]),
            "before dev_msg_2",
        ),
    ],
)
def test_each_check_finds_what_it_is_for(broken: Callable[[Facts], Facts], word: str) -> None:
    assert list(wrong_of(sound(), TWO)) == []
    assert any(word in each for each in wrong_of(broken(sound()), TWO))
