"""One simulated host: an engine on virtual time with its agents, the people who use it, and what
goes wrong. Everything follows from the seed."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any, Final
from unittest import mock

from swarmdeck.engine import agent as agents_module
from swarmdeck.engine import core as core_module
from swarmdeck.engine.actions import QueueCancel, QueueRetry
from swarmdeck.engine.clock import ID_ALPHABET
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Defect, SwarmDeckError
from swarmdeck.engine.hostmem import HostMemory
from swarmdeck.engine.model import MIB
from swarmdeck.engine.settings import Settings, load_settings
from swarmdeck.engine.store import driver

from . import actors, invariants, nemesis
from .disk import Disk
from .kernel import Kernel, Probe, in_place_of_the_host
from .loop import Died, Process, VirtualLoop, finish, in_silence, of_one_world, run
from .network import Network
from .oracle import Oracle, Violation

START_US: Final = 1_800_000_000_000_000
DRAIN_S: Final = 400.0  # virtual: what is left once nothing goes wrong any more
LOOK_EVERY_S: Final = 1.0
QUIET: Final = (
    "asyncio",
    "swarmdeck.engine.agent",
)  # agents log the failures they are made to have


@dataclass(frozen=True)
class Scale:
    """How large a world is. Rates are per virtual second, of the whole world."""

    swarms: tuple[tuple[str, int], ...] = (("development", 3), ("production", 2))
    duration_s: float = 40.0
    jobs_per_s: float = 2.5
    faults_per_s: float = 0.4
    leavers_per_s: float = 0.5
    grants_per_s: float = 0.3
    steps_per_s: float = 0.15
    diary_per_s: float = 0.5  # of each agent
    depth: int = 30  # of each queue
    work_s: float = 15.0  # the longest job
    backoff_s: float = 1.0
    faults: tuple[str, ...] = ()  # only these


QUICK: Final = Scale(
    swarms=(("development", 2),),
    duration_s=6.0,
    jobs_per_s=4.0,
    faults_per_s=0.8,
    leavers_per_s=1.0,
    steps_per_s=0.3,
    work_s=3.0,
    backoff_s=0.3,
)
SHORT: Final = Scale()
HOUR: Final = Scale(
    swarms=(
        ("production", 20), ("development", 16), ("testing", 12), ("research", 16), ("staging", 10),
    ),
    duration_s=3600.0, jobs_per_s=4.0, faults_per_s=0.1, diary_per_s=0.02, steps_per_s=0.03,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a seed. `broken` is the promise that was broken, or nothing."""

    seed: int
    broken: str
    digest: str
    events: int
    turns: int
    faults: dict[str, int]
    jobs: int
    done: int
    virtual_s: float
    cpu_s: float
    tail: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = self.broken or "all promises kept"
        return (
            f"seed {self.seed}: {said}; {self.virtual_s:.0f} virtual s, {self.jobs} jobs, "
            f"{self.done} done, {sum(self.faults.values())} faults, {self.events} events, "
            f"{self.turns} turns, {self.cpu_s:.2f} s of CPU, digest {self.digest[:16]}"
        )


class SimClock:
    """Time of the loop and chance of the seed. The wall clock can be set."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.jumped_us = 0
        self._loop = loop
        self._chance = random.Random(f"clock {seed}")

    def wall_us(self) -> int:
        return START_US + int(self._loop.time() * 1e6) + self.jumped_us

    def monotonic_s(self) -> float:
        return self._loop.time()

    def running_us(self) -> int:
        return int(self._loop.time() * 1e6)

    def boot(self) -> str:
        return "simulated"

    def uniform(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)

    def token(self, length: int) -> str:
        return "".join(self._chance.choice(ID_ALPHABET) for _ in range(length))


class World:
    """Made by `simulate`."""

    core: Core

    def __init__(self, seed: int, scale: Scale, scratch: Path, loop: VirtualLoop) -> None:
        self.seed, self.scale, self.loop = seed, scale, loop
        self.data = scratch / "data"
        self.socket = scratch / "engine.sock"
        self.clock = SimClock(loop, seed)
        self.network = Network(loop, seed, os.getuid())
        self.disk = Disk(loop, seed)
        self.kernel = Kernel(
            loop, self.network, lambda process, env: actors.work_as_agent(self, process, env)
        )
        loop.network = self.network
        self.oracle = Oracle(loop.time, self.now_us)
        self.environments = [name for name, _ in scale.swarms]
        self.swarms: dict[str, int] = {}  # wanted agents by id
        self.ended_swarms: set[str] = set()
        self.full_s: dict[str, float] = {}  # when a queue was last seen without room
        self.schedules: dict[str, str] = {}  # by environment
        self.grants: dict[tuple[str, str], str] = {}
        self.faults: dict[str, int] = {}
        self.engine: Process | None = None
        self.over = False  # nothing new is begun
        self.has_ended = False
        self.steering = 0  # operations on swarms under way
        self.troubled_until_s = 0.0  # by something that was done to it
        self.broken = ""
        self._wrong: asyncio.Future[None] = loop.create_future()
        self._up = asyncio.Event()
        self._stopping: asyncio.Event | None = None
        self._serving: asyncio.Task[None] | None = None
        self._opened = 0
        self._dead: list[Process] = []
        self.settings = settings_of(self)

    # --- the engine ---------------------------------------------------------------------------

    def now_us(self) -> int:
        """The engine's time."""
        clock = self.core.clock if hasattr(self, "core") else self.clock
        return clock.wall_us()

    async def open_engine(self) -> None:
        """Open an engine in a process of its own, over what the last one left."""
        self._opened += 1
        self.socket.unlink(missing_ok=True)
        self.engine = Process(self.loop, f"engine {self._opened}")
        self._up.clear()
        self._serving = self.engine.start(self._serve(self.engine))
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({up, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            self._serving.result()

    async def _serve(self, process: Process) -> None:
        driver.CARRIER.set(self.disk.carry)
        self._stopping = asyncio.Event()
        opening = open_core(
            self.data, settings=self.settings, transient=False, headless=True, clock=self.clock
        )
        try:
            async with opening as self.core:
                self.oracle.note("engine", self._opened, "is open")
                self.trouble(5.0)
                self._up.set()
                await self._stopping.wait()
        except Exception as error:
            if process.alive:
                self.fail(f"the engine ended with {error!r}")
            raise
        finally:
            if process.alive:
                self.oracle.note(process.name, "is closed")

    def crash_engine(self) -> None:
        """End the engine as SIGKILL does."""
        assert self.engine is not None
        self.engine.kill()
        self._dead.append(self.engine)
        self.network.cut(self.engine)
        self.kernel.engine_died()
        self.disk.crash(self.engine, self.data)
        self._up.clear()

    async def close_engine(self) -> None:
        assert self._stopping is not None
        assert self._serving is not None
        self._stopping.set()
        await self._serving

    @property
    def is_up(self) -> bool:
        return self._up.is_set() and self.engine is not None and self.engine.alive

    async def ask(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """Let the operator do something in the engine's process. Raises Died, SwarmDeckError."""
        await self._up.wait()
        assert self.engine is not None
        core = self.core

        async def asked() -> Any:
            return await work(core.engine)

        return await self.engine.ask(asked)

    async def message_act(self, engine: Any, verb: str, ident: str) -> None:
        action = {"cancel": QueueCancel, "retry": QueueRetry}[verb]
        await engine.run(action(id=ident))

    # --- swarms -------------------------------------------------------------------------------

    async def start_swarm(self, environment: str, agents: int) -> None:
        with self._steering():
            made = await self.ask(
                lambda engine: engine.swarms.create(
                    environment, agents=agents, memory_bytes=agents * 64 * MIB
                )
            )
            self.swarms[made.id] = agents
            self.oracle.note("swarm", made.id, agents)

    async def scale_swarm(self, ident: str, agents: int) -> None:
        with self._steering():
            await self.ask(
                lambda engine: engine.swarms.scale(
                    ident, agents=agents, memory_bytes=agents * 64 * MIB
                )
            )
            self.swarms[ident] = agents
            self.oracle.note("scaled", ident, agents)

    async def replace_swarm(self, ident: str, *, force: bool) -> None:
        del self.swarms[ident]
        with self._steering():
            while True:
                try:
                    await self.ask(lambda engine: engine.swarms.terminate(ident, force=force))
                    break
                except Died:
                    await asyncio.sleep(0.5)
            self.swarms.pop(ident, None)  # it may have been taken up again meanwhile
            self.ended_swarms.add(ident)
            self.oracle.note("ended", ident)
        await self.refill()

    async def refill(self) -> None:
        """Give each environment a swarm that has none."""
        for environment, agents in self.scale.swarms:
            while not self.swarms_of(environment):
                try:
                    await self.start_swarm(environment, agents)
                except (SwarmDeckError, Died) as error:
                    self.refused("create", error)
                    await asyncio.sleep(1.0)
                    with suppress(SwarmDeckError, Died):
                        await self.adopt_swarms()

    async def adopt_swarms(self) -> None:
        """Learn which swarms there are, after nobody was told; each environment has one again."""
        found = await self.ask(lambda engine: engine.swarms.list())
        running = {swarm.id: swarm.agents_wanted for swarm in found if swarm.state == "running"}
        self.ended_swarms.update(self.swarms.keys() - running.keys())
        self.swarms = running

    def swarms_of(self, environment: str) -> list[str]:
        return [ident for ident in self.swarms if self.environment_of(ident) == environment]

    def environment_of(self, ident: str) -> str:
        return next(name for name in self.environments if name.startswith(ident.partition("_")[0]))

    def live_agents(self) -> list[str]:
        return sorted(self.kernel.alive())

    @contextmanager
    def _steering(self) -> Iterator[None]:
        self.steering += 1
        try:
            yield
        finally:
            self.steering -= 1
            self.trouble(6.0)

    # --- what is found ------------------------------------------------------------------------

    def trouble(self, seconds: float) -> None:
        """What is promised within a time is not promised until so long from now."""
        self.troubled_until_s = max(self.troubled_until_s, self.loop.time() + seconds)

    @property
    def is_calm(self) -> bool:
        return self.loop.time() >= self.troubled_until_s and self.is_up

    def fail(self, text: str) -> None:
        """A promise is broken: the world ends here."""
        if not self.broken and not self.has_ended:
            self.broken = text
            self.oracle.note("BROKEN", text)
            self._wrong.set_result(None)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """What the oracle objects to ends the world, not the agent that told it."""
        try:
            yield
        except Violation as error:
            self.fail(str(error))

    def refused(self, what: str, error: BaseException) -> None:
        self.oracle.note(what, "refused:", type(error).__name__)
        if isinstance(error, Defect):
            self.fail(f"{what} met a defect: {error}")

    async def outcome(self) -> None:
        """Live through it all. Raises Violation."""
        story = asyncio.create_task(self._story())
        limit_s = 2 * self.scale.duration_s + 3 * DRAIN_S
        waits = {story, self._wrong}
        await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if story.done():
            story.result()
        elif not self._wrong.done():
            raise Violation(f"not over after {limit_s:.0f} s: {invariants.open_messages(self)}")

    async def _story(self) -> None:
        await self.open_engine()
        for environment, agents in self.scale.swarms:
            await self.start_swarm(environment, agents)
            await actors.schedule_ticks(self, environment)
        watch = asyncio.create_task(self._keep_looking())
        people = [
            asyncio.create_task(each(self))
            for each in (
                actors.send_jobs, actors.claim_and_leave, actors.open_and_close, actors.steer,
                nemesis.interfere,
            )
        ]  # fmt: skip
        await asyncio.sleep(self.scale.duration_s)
        self.over = True
        await asyncio.gather(*people)
        await nemesis.relent(self)
        await self._drain()
        watch.cancel()
        await self._finish()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with self.judged():
                invariants.look(self)

    async def _drain(self) -> None:
        """Everything that was begun comes to an end."""
        until_s = self.loop.time() + DRAIN_S
        while (left := invariants.open_messages(self)) and self.loop.time() < until_s:
            await asyncio.sleep(5.0)
            await self.adopt_swarms()
            await self.refill()
            for ident, agents in list(self.swarms.items()):  # those that gave up
                await self.scale_swarm(ident, agents)
        if left:
            raise Violation(f"{DRAIN_S:.0f} s after the last fault there are left: {left}")

    async def _finish(self) -> None:
        for ident in list(self.swarms):
            await self.ask(lambda engine, ident=ident: engine.swarms.terminate(ident, force=True))
        self.swarms.clear()
        invariants.ended(self)
        await self.close_engine()
        self.has_ended = True
        if left := self.kernel.alive():
            raise Violation(f"processes outlived all swarms: {sorted(left)}")
        invariants.files(self)

    def end(self) -> None:
        """Nothing of it runs on, also when it was broken off."""
        self.has_ended = True
        for process in self._processes():
            process.kill()

    def summary(self, cpu_s: float) -> Outcome:
        """What came of it."""
        oracle = self.oracle
        return Outcome(
            self.seed, self.broken, oracle.digest, oracle.events, self.loop.turns, self.faults,
            len(oracle.jobs), sum(job.acknowledged > 0 for job in oracle.jobs.values()),
            self.loop.time(), cpu_s, tuple(oracle.tail[-60:]),
        )  # fmt: skip

    def bury(self) -> None:
        """Let go of everything, what is left of the dead first of all."""
        self.kernel.engine_died()
        with in_silence():
            for process in self._processes():
                process.bury()
            self.disk.close()
            vars(self).clear()

    def _processes(self) -> list[Process]:
        agents = [running.process for running in self.kernel.by_pid.values()]
        return [*agents, *self._dead, *([self.engine] if self.engine else [])]


def settings_of(world: World) -> Settings:
    """What is set so that an hour is worth an hour, and nothing is measured in real time."""
    return load_settings(
        None,
        {},
        {
            **{f"queue.depth.{name}": world.scale.depth for name in world.environments},
            "queue.backoff_base_s": world.scale.backoff_s,
            "agents.spawn_per_minute": 6000,
            "agents.restarts": 100,
            "enforcement.level": "advisory",  # a guard is a thread of its own
            "store.slow_statement_ms": 600_000,
            "store.reserve_bytes": 0,
            "audit.checkpoint_rows": 200,
            "audit.outside_dir": str(world.data.parent / "outside"),
        },
    )


class _Owner:
    """The owner's lock: there is one engine at a time, because the world sees to it."""

    def __init__(self, data: Path, socket: Path) -> None:
        self._link, self._socket = data / "run" / "engine.sock", socket

    def prepare_socket(self) -> Path:
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self._socket)
        return self._socket

    def __enter__(self) -> _Owner:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


class _Alarm(logging.Handler):
    """What the engine logs as an error is one."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(QUIET):
            error = record.exc_info[1] if record.exc_info else None
            self._world.fail(f"logged: {record.getMessage()} {error!r}")


@contextmanager
def _in_place(world: World, scratch: Path) -> Iterator[None]:
    """The world instead of the host, for everything the engine asks of it."""

    async def own(data: Path) -> _Owner:
        return _Owner(data, world.socket)

    def memory(probe: Any = None, **more: Any) -> HostMemory:
        return HostMemory(probe or Probe(world.kernel), **more)

    home = {"XDG_CONFIG_HOME": str(scratch / "config"), "XDG_STATE_HOME": str(scratch / "state")}
    logger = logging.getLogger("swarmdeck")
    alarm, level, spreads = _Alarm(world), logger.level, logger.propagate
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, home))
        stack.enter_context(mock.patch.object(core_module, "own", own))
        stack.enter_context(mock.patch.object(core_module, "HostMemory", memory))
        chance = random.Random(f"agents {world.seed}")
        stack.enter_context(mock.patch.object(agents_module, "random", chance))
        stack.enter_context(mock.patch.dict(agents_module._latest, clear=True))
        stack.enter_context(in_place_of_the_host(world.kernel))
        logger.addHandler(alarm)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(alarm)
            logger.setLevel(level)
            logger.propagate = spreads


def simulate(seed: int, scale: Scale = SHORT) -> Outcome:
    """Run the world of a seed."""
    began_s = process_time()
    scratch = Path(tempfile.mkdtemp(prefix="sim-", dir=_fast_place()))
    loop = VirtualLoop(seed)
    try:
        with of_one_world():
            return _simulated(seed, scale, scratch, loop, began_s)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _simulated(
    seed: int, scale: Scale, scratch: Path, loop: VirtualLoop, began_s: float
) -> Outcome:
    world = World(seed, scale, scratch, loop)
    loop.set_exception_handler(lambda _, context: _heed(world, context))
    with _in_place(world, scratch):
        try:
            run(loop, world.outcome())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what came of the seed
            world.broken = world.broken or f"{type(error).__name__}: {error}"
        world.end()
        finish(loop)
        outcome = world.summary(process_time() - began_s)
        loop.set_exception_handler(None)
        world.bury()
    return outcome


def _heed(world: World, context: dict[str, Any]) -> None:
    """What escaped to the loop: nobody looked at it."""
    error = context.get("exception")
    if not isinstance(error, (Died, Violation, SwarmDeckError)):
        world.fail(f"{context.get('message')}: {error!r}")


def _fast_place() -> str | None:
    """Memory, where the host has a file system of it: nothing here is about a real disk."""
    place = Path("/dev/shm")
    return str(place) if place.is_dir() and os.access(place, os.W_OK) else None


def shorter(scale: Scale, **changes: Any) -> Scale:
    return replace(scale, **changes)


if __name__ == "__main__":
    sys.exit("run tests/simulation/test_seeds.py")
