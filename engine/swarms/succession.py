"""What becomes of swarms whose engine has ended: adopted, started anew, or recorded as over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..model import AgentState, SwarmState
from .crew import Crew, Site, seems_alive
from .grants import Grants
from .roster import Swarm

ADOPTED_KILL_AFTER_S: Final = 1.0  # an engine that opens must not wait longer

Finish = Callable[[Site, str, str], Awaitable[None]]


class Succession:
    """Takes up the swarms of an engine before this one. `finish(site, swarm, reason)` records
    that a swarm has no process any more."""

    def __init__(self, crew: Crew, grants: Grants, finish: Finish) -> None:
        self._crew = crew
        self._grants = grants
        self._finish = finish

    async def restore(self, site: Site, *, lasting: bool) -> None:
        """Take up what an environment's file says of its swarms. Call once, after its registry
        is loaded. An engine that is `lasting` watches living processes again and starts dead
        ones anew; another only records who is dead."""
        for swarm in list(site.registry.swarms.values()):
            if not swarm.is_over:
                over = await self._grants.take_again(swarm)
                if lasting:
                    await self._resume(site, swarm, over or _why_over(swarm))
                else:
                    await self._record_dead(site, swarm)

    async def _resume(self, site: Site, swarm: Swarm, over: str) -> None:
        members = [a for a in site.registry.select(swarm=swarm.id) if not a.is_external]
        dead = [agent for agent in members if not self._crew.adopt(agent)]
        why = {agent.id: await self._crew.lost(agent) for agent in dead if agent.is_live}
        if over:
            idents = [agent.id for agent in members]
            await self._crew.end(idents, force=False, kill_after_s=ADOPTED_KILL_AFTER_S)
            await self._finish(site, swarm.id, over)
            return
        for agent in dead:
            if agent.state is not AgentState.FAILED:
                await self._crew.start_later(agent, why.get(agent.id, "its engine ended"))

    async def _record_dead(self, site: Site, swarm: Swarm) -> None:
        members = [a for a in site.registry.select(swarm=swarm.id) if a.is_live]
        dead = [agent for agent in members if not seems_alive(agent)]
        for agent in dead:
            await self._crew.lost(agent)
        if not swarm.lasting and len(dead) == len(members):
            await self._finish(site, swarm.id, _why_over(swarm))

    async def retire(self, site: Site, reason: str) -> None:
        """Record as ended every swarm that a file holds, with the leases of its agents freed: what
        ran when a backup was made does not run now. Call instead of `restore`."""
        for swarm in list(site.registry.swarms.values()):
            if not swarm.is_over:
                for agent in site.registry.select(swarm=swarm.id):
                    if agent.is_live and not agent.is_external:
                        await site.queue.release(agent.id)
                        await site.registry.ended(agent.id, AgentState.EXITED, reason)
                await self._finish(site, swarm.id, reason)


def _why_over(swarm: Swarm) -> str:
    """Why a swarm does not outlive the engine that ran it, or nothing."""
    if not swarm.lasting:
        return "the engine that ran it has ended"
    if swarm.state is SwarmState.STARTING:
        return "the engine ended while it was being started"
    return swarm.reason or "terminated" if swarm.state is SwarmState.DRAINING else ""
