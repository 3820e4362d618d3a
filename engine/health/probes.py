"""What is looked at, and how: stores, disk, memory, bus, the agents of a swarm, its address.

A probe gives words about what it found well, and raises for what it found ill. It changes nothing
that would have to be cleared away.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ..alerts.rules import HOST_AVAILABLE
from ..bus import Channels
from ..environment import Place
from ..errors import StorageError, SwarmDeckError, Unavailable
from ..hostmem import HostMemory
from ..model import MIB, AgentState, SwarmState, format_size
from ..settings import Settings
from ..store.database import Database
from ..store.roundtrip import round_trip
from ..store.volatile import is_volatile
from ..swarms.roster import Agent, Swarm
from ..swarms.service import Swarms
from .address import ask, parse_address

DISK_FREE: Final = 0.05  # of the disk, but no more than DISK_FREE_BYTES need be free
DISK_FREE_BYTES: Final = 1024 * MIB
SHOWN_AGENTS: Final = 3
BUS: Final = "bus"

_ILL: Final = frozenset({AgentState.STALE, AgentState.EXITED, AgentState.FAILED})


class Ill(SwarmDeckError):
    """What a probe looked at is not as it should be."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at. `breaker` names the circuit breaker around it, if it has one; `sure`:
    a single finding is believed, because it is no matter of chance."""

    subject: str
    name: str
    environment: str
    look: Callable[[], Awaitable[str]]
    breaker: str = ""
    sure: bool = False


class Engine(Protocol):
    """What is looked at belongs to an engine."""

    data: Path
    settings: Settings
    host: HostMemory
    swarms: Swarms
    channels: Channels
    coordination: Database

    @property
    def places(self) -> Mapping[str, Place]: ...


def probes_of(engine: Engine, addresses: Mapping[str, str]) -> Iterator[Probe]:
    """Everything there is to look at now. `addresses` are those of swarms that have one."""
    yield Probe(subject="disk", name="disk", environment="", look=lambda: _disk(engine))
    yield Probe(subject="memory", name="memory", environment="", look=lambda: _memory(engine.host))
    if engine.settings.redis.host is not None:
        yield Probe(subject=BUS, name=BUS, environment="", look=engine.channels.ping, breaker=BUS)
    for name, place in engine.places.items():
        if place.state != "restoring":
            yield from _of_place(engine, name, place, addresses)


def _of_place(
    engine: Engine, name: str, place: Place, addresses: Mapping[str, str]
) -> Iterator[Probe]:
    yield Probe(
        subject=name,
        name="store",
        environment=name,
        look=lambda: _store(place),
        sure=place.refusal is not None,
    )
    for swarm in place.registry.swarms.values():
        if swarm.state is not SwarmState.RUNNING or engine.swarms.has_given_way(swarm.id):
            continue  # not wanted to run now
        yield Probe(
            subject=swarm.id,
            name="agents",
            environment=name,
            look=lambda swarm=swarm: _agents(place, swarm.id),  # type: ignore[misc]
            sure=True,
        )
        if address := addresses.get(swarm.id):
            yield Probe(
                subject=swarm.id,
                name="http",
                environment=name,
                look=lambda address=address: ask(parse_address(address)),  # type: ignore[misc]
                breaker=breaker_of(swarm.id),
            )


def breaker_of(swarm: str) -> str:
    """The name of the breaker around a swarm's address."""
    return f"http:{swarm}"


async def _store(place: Place) -> str:
    if place.refusal is not None:
        raise place.refusal.again()
    await round_trip(place.database)
    if place.database.disk.trouble:
        raise StorageError(place.database.disk.trouble)
    return "written and read back"


async def _agents(place: Place, ident: str) -> str:
    swarm = place.registry.swarm(ident)
    own = [agent for agent in place.registry.select(swarm=ident) if not agent.is_external]
    if issues := [*_missing(swarm, own), *_of_agents(place, own)]:
        raise Ill("; ".join(issues))
    return f"{len(own)} {'agent is' if len(own) == 1 else 'agents are'} well"


def _missing(swarm: Swarm, own: list[Agent]) -> Iterator[str]:
    there = sum(agent.is_live for agent in own)
    if there < swarm.agents:
        yield f"{there} of {swarm.agents} agents are there"


def _of_agents(place: Place, own: list[Agent]) -> Iterator[str]:
    ill = ill_agents(place, own)
    for agent in ill[:SHOWN_AGENTS]:
        if agent.is_live:
            age_s = place.registry.presence.age_s(agent.id) or 0.0
            yield f"{agent.id} was last heard of {age_s:.0f} s ago"
        else:
            yield f"{agent.id} {agent.state}: {agent.reason}"
    if len(ill) > SHOWN_AGENTS:
        yield f"and {len(ill) - SHOWN_AGENTS} more"


def ill_agents(place: Place, agents: list[Agent]) -> list[Agent]:
    """Those that are stale or have ended, and will not start again by themselves."""
    return [agent for agent in agents if place.registry.shown_state(agent) in _ILL]


async def _memory(host: HostMemory) -> str:
    reading = host.latest
    free, total = format_size(reading.available_bytes), format_size(reading.total_bytes)
    if reading.available_bytes < reading.total_bytes * HOST_AVAILABLE:
        raise Ill(f"{free} of {total} are available")
    return f"{free} of {total} are available; limits are {reading.enforcement}"


async def _disk(engine: Engine) -> str:
    files = [place.database for place in engine.places.values()] + [engine.coordination]
    if troubled := [f"{file.env}: {file.disk.trouble}" for file in files if file.disk.trouble]:
        raise StorageError("; ".join(troubled))
    if is_volatile(engine.data):
        return "everything is kept in memory"
    loop = asyncio.get_running_loop()
    free, total = await loop.run_in_executor(None, _try_disk, engine.data)
    if free < min(total * DISK_FREE, DISK_FREE_BYTES):
        raise Ill(f"{format_size(free)} of {format_size(total)} are free")
    return f"{format_size(free)} of {format_size(total)} are free"


def _try_disk(data: Path) -> tuple[int, int]:
    """Write a file through to the disk, on a thread; free and total bytes. Raises Unavailable."""
    path = data / "run" / "probe"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, b"swarmdeck\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
        usage = shutil.disk_usage(data)
    except OSError as error:
        raise Unavailable(f"a file cannot be written below {data}: {error.strerror}") from error
    return usage.free, usage.total
