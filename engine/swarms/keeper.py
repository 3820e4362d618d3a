"""Keeps agents to the memory of their swarm: between the crew and what is enforced.

Loads what enforces with the first process: a command that is over in a moment starts none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from ..errors import Unavailable
from ..model import environment_of
from ..settings import EnforcementSettings
from .crew import Crew, Site, Surroundings
from .roster import Setup
from .supervisor import Exit, Launch, Running

if TYPE_CHECKING:
    from .enforcement.service import Enforcement

LOOK_S: Final = 0.05  # what agents hold stands in memory; looking costs microseconds


class Keeper:
    """The warden of a crew's processes. `leaving` are the agents that are served no new work."""

    def __init__(self, around: Surroundings, crew: Crew, leaving: set[str]) -> None:
        self._around = around
        self._crew = crew
        self._leaving = leaving
        self._settings = around.enforcement
        self._enforcement: Enforcement | None = None
        crew.why_memory = self._why_memory
        crew.supervisor.warden = self

    @property
    def enforcement(self) -> Enforcement | None:
        """What is enforced; None before the first process, and where nothing is."""
        return self._enforcement

    def require(self, more: int, setup: Setup = Setup()) -> None:  # noqa: B008 - frozen
        """Raise Busy where the host is too short of memory for more agents, Unavailable where it
        cannot keep the quota of processor time that they should have."""
        found = self._load() if more > 0 or setup.cpu_percent is not None else None
        if found is not None and more > 0:
            found.require_room()
        if setup.cpu_percent is not None and (found is None or not found.has_cpu):
            why = "nothing is enforced" if found is None else found.why_no_cpu
            raise Unavailable(
                f"no quota of processor time can be kept here: {why}",
                hint="leave --cpu out, or run the engine where cgroup v2 is delegated to it",
            )

    def change(self, settings: EnforcementSettings) -> None:
        """Enforce as these settings say, at the level of before: that counts from the next start
        of an engine."""
        if self._settings is None:
            return
        self._settings = msgspec.structs.replace(settings, level=self._settings.level)
        if self._enforcement is not None:
            self._enforcement.change(self._settings)

    def follow(self) -> None:
        """Grants have changed."""
        if self._enforcement is not None:
            self._enforcement.follow()

    def tick(self, used: Mapping[str, int]) -> None:
        """Once a second; `used` is what the process of each agent holds."""
        if self._enforcement is not None:
            self._enforcement.tick(used)

    async def close(self) -> None:
        """Kill and stop nothing any more."""
        if self._enforcement is not None:
            await self._enforcement.close()

    def _load(self) -> Enforcement | None:
        around = self._around
        settings = self._settings
        if self._enforcement is None and settings is not None and around.host is not None:
            from .enforcement.service import Enforcement  # noqa: PLC0415 - see above

            self._enforcement = Enforcement(
                settings,
                ledger=around.ledger,
                host=around.host,
                clock=around.clock,
                agents=self,
                publish=around.publish,
                notify=around.notify,
            )
        return self._enforcement

    # --- for the supervisor, as its warden ------------------------------------------------------

    def starting(self, launch: Launch) -> None:
        if (found := self._load()) is not None:
            found.starting(launch)

    def spawned(self, launch: Launch, pid: int) -> None:
        if self._enforcement is not None:
            self._enforcement.spawned(launch, pid)

    def watching(self, running: Running) -> None:
        if (found := self._load()) is not None:
            found.watching(running)

    def leaving(self, agent: str) -> None:
        if self._enforcement is not None:
            self._enforcement.leaving(agent)

    def _why_memory(self, ended: Exit) -> str:
        return "" if self._enforcement is None else self._enforcement.why_ended(ended)

    # --- for what is enforced -------------------------------------------------------------------

    @property
    def running(self) -> Mapping[str, Running]:
        """The processes of agents, by agent."""
        return self._crew.supervisor.running

    def swarm_of(self, agent: str) -> str | None:
        """The swarm of an agent, None when it has none or is not known any more."""
        site = self._around.sites.get(environment_of(agent))
        known = None if site is None else site.registry.agents.get(agent)
        return None if known is None else known.swarm

    def cpu_of(self, swarm: str) -> int | None:
        """The processor time a swarm may have, in percent of one core."""
        site = self._around.sites.get(environment_of(swarm))
        known = None if site is None else site.registry.swarms.get(swarm)
        return None if known is None else known.setup.cpu_percent

    async def rest(self, agents: Collection[str], reason: str, drain_s: float) -> None:
        """Let agents finish what they hold for `drain_s`, end them, leave them ended."""
        self._leaving.update(agents)
        try:
            await self._drain(agents, drain_s)
            await self._crew.rest(agents, reason)
        finally:
            self._leaving.difference_update(agents)

    async def resume(self, agents: Collection[str]) -> None:
        """Start agents that rest."""
        await self._crew.resume(agents)

    async def _drain(self, agents: Collection[str], wait_s: float) -> None:
        sites = {self._around.sites[environment_of(agent)] for agent in agents}
        for site in sites:
            site.queue.refresh()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                held = _held(sites, agents)
                while held:
                    await asyncio.sleep(LOOK_S)
                    held = _held(sites, agents)


def _held(sites: Collection[Site], agents: Collection[str]) -> int:
    return sum(site.queue.counters.leased_by[agent] for site in sites for agent in agents)
