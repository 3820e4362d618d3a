"""A hundred operations of one engine, again and again, each time with another call refused.

script.py DIRECTORY        cases come on stdin, one JSON a line; what happened goes to stdout
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmdeck.engine import open_engine
from swarmdeck.engine.engine import Engine
from swarmdeck.engine.errors import SwarmDeckError
from swarmdeck.engine.settings import Settings, load_settings

sys.path.insert(0, str(Path(__file__).parent))
import child
import control
import looks

STEPS: Final = 100
SPACE_AT: Final = 70  # the step before which the disk is well again
LIMIT_S: Final = 5.0


class Case(msgspec.Struct):
    """`ever`: until step SPACE_AT. `opening`: while the engine opens, instead of afterwards."""

    operation: str
    nth: int = 1
    error: int = 5
    ever: bool = False
    durability: str = "full"
    opening: bool = False
    plants: list[str] = []


class Outcome(msgspec.Struct):
    """What was wrong, with which errors operations were refused, how many calls of the kind there
    were, and whether one of them was refused."""

    case: Case
    wrong: list[str] = []
    refused: list[str] = []
    calls: int = 0
    hit: bool = False


class Script:
    """The operations, and what they have acknowledged."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self.engine = engine
        self.environment = environment
        self.memory = engine.memory(environment)
        self.queue = engine.queue(environment)
        self.values: dict[str, Any] = {}
        self.gone: set[str] = set()
        self.messages: set[str] = set()
        self.agents: list[str] = []
        self.unsure: set[str] = set()

    def step(self, number: int) -> Callable[[], Awaitable[None]]:
        steps = (self._set, self._send, self._set, self._large, self._delete, self._work,
                 self._register, self._grant, self._many, self._swarm)  # fmt: skip
        kind = steps[number % len(steps)]
        return lambda: kind(number)

    async def _set(self, number: int) -> None:
        await self._store(f"k{number}", {"number": number})

    async def _large(self, number: int) -> None:
        await self._store(f"large{number}", os.urandom(20_000).hex())

    async def _store(self, key: str, value: Any) -> None:
        self.unsure.add(key)
        await self.memory.set(key, value)
        self.unsure.discard(key)
        self.values[key] = value

    async def _many(self, number: int) -> None:
        values = {f"m{number}-{n}": n for n in range(5)}
        await self.memory.mset(values)
        self.values |= values

    async def _delete(self, number: int) -> None:
        key = f"k{number - 4}"
        if key in self.values:
            self.unsure.add(key)
            del self.values[key]
            await self.memory.delete(key)
            self.unsure.discard(key)
            self.gone.add(key)

    async def _send(self, number: int) -> None:
        self.messages.add(await self.queue.send("work", {"number": number}))

    async def _work(self, _: int) -> None:
        for message in await self.queue.claim(limit=2, lease_s=600, wait_s=0.01):
            await self.queue.ack(message, result=None)

    async def _register(self, number: int) -> None:
        agent = await self.engine.agents.register(
            self.environment, name=f"Agent {number}", type="worker"
        )
        self.agents.append(agent.id)

    async def _grant(self, _: int) -> None:
        if self.agents:
            await self.engine.acl.grant(
                self.agents[-1], resource="memory", level="swarm", actions=["read"], expires_s=3600
            )

    async def _swarm(self, number: int) -> None:
        await self.engine.swarms.create(
            self.environment, agents=0, memory_bytes=16 << 20, name=f"swarm-{number}"
        )


async def run(root: Path, page: control.Control, case: Case, number: int) -> Outcome:
    data = root / f"data{number}"
    shutil.rmtree(data, ignore_errors=True)
    environment = "development"  # production reads nothing that it cannot write down
    told = {
        f"durability.{environment}": case.durability,
        "store.checkpoint_interval_s": 0.1,
        "store.autocheckpoint_pages": 100,
        "store.reserve_bytes": 1 << 20,
    }
    outcome = Outcome(case)
    settings = load_settings(None, os.environ, told)
    if case.opening:
        await _refuse_opening(data, settings, page, outcome)
    async with open_engine(data, settings=settings) as engine:
        script = Script(engine, environment)
        await script.step(0)()
        await _refuse_steps(script, page, outcome)
    found = await looks.look(data, environment, [*script.values, *script.gone], exact=False)
    outcome.wrong += found.wrong + _missing(script, found)
    shutil.rmtree(data, ignore_errors=True)
    return outcome


async def _refuse_opening(
    data: Path, settings: Settings, page: control.Control, outcome: Outcome
) -> None:
    """Open an engine on a disk that refuses; it may open or say why not."""
    case = outcome.case
    page.refuse(case.operation, case.nth, case.error, ever=case.ever)
    try:
        async with asyncio.timeout(2 * LIMIT_S), open_engine(data, settings=settings):
            pass
    except SwarmDeckError as error:
        outcome.refused.append(error.code)
        if error.exit_code != 7:
            outcome.wrong.append(f"opening: {type(error).__name__} {error.message}")
    except (OSError, TimeoutError) as error:
        outcome.wrong.append(f"opening: {error!r}")
    page.stop()
    outcome.hit, outcome.calls = page.refused > 0, page.counted


async def _refuse_steps(script: Script, page: control.Control, outcome: Outcome) -> None:
    case = outcome.case
    if not case.opening:
        page.refuse(case.operation, case.nth, case.error, ever=case.ever)
    for step in range(1, STEPS):
        if step == SPACE_AT:
            page.stop()
        code = await _one(script, step, outcome.wrong)
        if code:
            outcome.refused.append(code)
            if step >= SPACE_AT or case.opening:
                outcome.wrong.append(f"step {step}: {code} on a disk that is well")
    if not case.opening:
        outcome.hit, outcome.calls = page.refused > 0, page.counted
    page.stop()


async def _one(script: Script, step: int, wrong: list[str]) -> str:
    """Run a step; the code of the error it was refused with. After one, look whether reading goes
    on."""
    begin = time.monotonic()
    code = ""
    try:
        async with asyncio.timeout(2 * LIMIT_S):
            await script.step(step)()
    except SwarmDeckError as error:
        code = error.code
        if code not in ("storage", "outcome_unknown") or error.exit_code != 7 or not error.hint:
            wrong.append(f"step {step}: {type(error).__name__} {error.message} ({error.hint})")
        wrong += await _unreadable(script, step)
    except TimeoutError:
        wrong.append(f"step {step}: hung")
    if time.monotonic() - begin > LIMIT_S:
        wrong.append(f"step {step}: took {time.monotonic() - begin:.1f} s")
    return code


async def _unreadable(script: Script, step: int) -> list[str]:
    try:
        async with asyncio.timeout(LIMIT_S):
            keys, _ = await script.memory.keys(limit=1_000)
    except (SwarmDeckError, TimeoutError) as error:
        return [f"step {step}: reading failed with it: {error!r}"]
    missing = script.values.keys() - set(keys) - script.unsure
    return [f"step {step}: {sorted(missing)[:3]} cannot be read"] if missing else []


def _missing(script: Script, found: looks.Found) -> list[str]:
    wrong = []
    for key, value in script.values.items():
        if key not in script.unsure and found.values.get(key) != value:
            wrong.append(f"{key} was acknowledged and is {str(found.values.get(key))[:40]}")
    wrong += [f"{key} was deleted and is back" for key in script.gone if key in found.values]
    wrong += [f"{ident} is not there" for ident in script.messages - found.messages]
    return wrong


async def main(root: Path) -> None:
    page = control.Control(Path(os.environ["FAULTIO_CONTROL"]))
    planted: set[str] = set()
    for number, line in enumerate(sys.stdin):
        case = msgspec.json.decode(line, type=Case)
        for plant in set(case.plants) - planted:
            child.PLANTS[plant]()
            planted.add(plant)
        outcome = await run(root, page, case, number)
        sys.stdout.write(json.dumps(msgspec.to_builtins(outcome)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
