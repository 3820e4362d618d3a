"""What goes wrong in the simulated host, at times drawn from the seed."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from swarmdeck.engine.errors import SwarmDeckError

from .actors import end_ticks, resume
from .disk import FULL, IO_ERROR
from .loop import Died

if TYPE_CHECKING:
    from .kernel import Running
    from .world import World

DAY_S: Final = 86_400


async def interfere(world: World) -> None:
    """Do one thing after the other until the world is over."""
    chance = random.Random(f"nemesis {world.seed}")
    while not world.over:
        await asyncio.sleep(chance.expovariate(world.scale.faults_per_s))
        if world.over or not world.is_up:
            continue
        wanted = world.scale.faults or tuple(FAULTS)
        name = chance.choices(wanted, [FAULTS[each][1] for each in wanted])[0]
        world.faults[name] = world.faults.get(name, 0) + 1
        world.oracle.note("fault", name)
        await FAULTS[name][0](world, chance)


async def relent(world: World) -> None:
    """Nothing goes wrong any more, and what was wrong is over."""
    world.network.slow_s = world.disk.slow_s = 0.0
    world.disk.refusing.clear()
    for running in world.kernel.by_pid.values():
        if running.process.frozen:
            running.process.thaw()
    if world.clock.jumped_us:
        world.clock.jumped_us = 0
        await asyncio.sleep(2.0)
    for environment in world.environments:
        await resume(world, environment)
    await end_ticks(world)
    world.trouble(15.0)


def _some_process(world: World, chance: random.Random) -> Running | None:
    alive = world.kernel.alive()
    return chance.choice(alive[chance.choice(sorted(alive))]) if alive else None


async def _kill_agent(world: World, chance: random.Random) -> None:
    if (running := _some_process(world, chance)) is not None:
        world.kernel.killpg(running.pid, signal.SIGKILL)


async def _end_agent(world: World, chance: random.Random) -> None:
    if (running := _some_process(world, chance)) is not None:
        world.kernel.killpg(running.pid, signal.SIGTERM)


async def _freeze_agent(world: World, chance: random.Random) -> None:
    running = _some_process(world, chance)
    if running is not None and not running.process.frozen:
        running.process.freeze()
        seconds = chance.choice((0.5, 4.0, 12.0))
        world.loop.call_later(seconds, running.process.thaw)


async def _cut_agent(world: World, chance: random.Random) -> None:
    if (running := _some_process(world, chance)) is not None:
        world.network.cut(running.process)


async def _cut_all(world: World, _: random.Random) -> None:
    for running in [each for found in world.kernel.alive().values() for each in found]:
        world.network.cut(running.process)


async def _slow_network(world: World, chance: random.Random) -> None:
    await _for_a_while(world, world.network, chance, (0.02, 0.3))


async def _slow_disk(world: World, chance: random.Random) -> None:
    await _for_a_while(world, world.disk, chance, (0.05, 0.5, 2.0))


async def _for_a_while(
    world: World, place: Any, chance: random.Random, slow_s: tuple[float, ...]
) -> None:
    place.slow_s = chance.choice(slow_s)
    while_s = chance.uniform(0.5, 5.0)
    world.trouble(while_s + 10 * place.slow_s + 5.0)
    await asyncio.sleep(while_s)
    place.slow_s = 0.0


async def _refuse_commits(world: World, chance: random.Random) -> None:
    name = chance.choice([*world.environments, "coordination"])
    code = chance.choice((IO_ERROR, IO_ERROR, FULL))
    world.disk.refuse(f"{name}.db", code, chance.choice((1, 1, 2)))
    world.trouble(8.0)


async def _kill_on_a_bad_disk(world: World, chance: random.Random) -> None:
    """What ends a process may be what the disk suffers from."""
    name = chance.choice(world.environments)
    prefix = world.core.places[name].environment.prefix
    running = [
        each
        for agent, found in sorted(world.kernel.alive().items())
        for each in found
        if agent.startswith(prefix)
    ]
    for each in chance.sample(running, min(len(running), 2)):
        world.kernel.killpg(each.pid, signal.SIGKILL)
    world.disk.refuse(f"{name}.db", IO_ERROR, chance.choice((1, 2, 3)))
    world.trouble(8.0)


async def _freeze_engine(world: World, chance: random.Random) -> None:
    engine = world.engine
    assert engine is not None
    seconds = chance.choice((0.3, 3.0, 9.0))
    world.trouble(seconds + 8.0)
    engine.freeze()
    await asyncio.sleep(seconds)
    engine.thaw()


async def _crash_engine(world: World, chance: random.Random) -> None:
    world.trouble(20.0)
    world.crash_engine()
    await asyncio.sleep(chance.choice((0.05, 1.0, 5.0, 25.0)))
    world.disk.refusing.clear()  # a disk that refuses while an engine opens keeps it closed
    await world.open_engine()
    world.trouble(20.0)
    try:
        await world.adopt_swarms()
        await world.refill()
    except (SwarmDeckError, Died) as error:
        world.refused("adopt", error)


async def _fail_starts(world: World, chance: random.Random) -> None:
    world.kernel.failing_starts += chance.choice((1, 2))


async def _nudge_clock(world: World, chance: random.Random) -> None:
    """A step that is believed."""
    world.clock.jumped_us += int(chance.uniform(-60, 60) * 1e6)
    world.trouble(90.0)


async def _set_clock(world: World, chance: random.Random) -> None:
    """A step that is held off, and back."""
    step_us = chance.choice((-1, 1)) * DAY_S * 1_000_000 * 30
    world.clock.jumped_us += step_us
    world.trouble(30.0)
    await asyncio.sleep(chance.uniform(1.0, 8.0))
    world.clock.jumped_us -= step_us


async def _ask_overview(world: World, _: random.Random) -> None:
    """Not a fault: somebody looks."""
    try:
        await world.ask(lambda engine: engine.views.overview())
    except (SwarmDeckError, Died) as error:
        world.refused("overview", error)


Fault = Callable[["World", random.Random], Awaitable[None]]

FAULTS: Final[dict[str, tuple[Fault, int]]] = {
    "kill agent": (_kill_agent, 6),
    "end agent": (_end_agent, 2),
    "freeze agent": (_freeze_agent, 4),
    "cut agent": (_cut_agent, 4),
    "cut all": (_cut_all, 1),
    "slow network": (_slow_network, 2),
    "slow disk": (_slow_disk, 2),
    "refuse commits": (_refuse_commits, 3),
    "kill on a bad disk": (_kill_on_a_bad_disk, 2),
    "freeze engine": (_freeze_engine, 1),
    "crash engine": (_crash_engine, 1),
    "fail starts": (_fail_starts, 1),
    "nudge clock": (_nudge_clock, 1),
    "set clock": (_set_clock, 1),
    "look": (_ask_overview, 1),
}
