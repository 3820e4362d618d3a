"""What each policy does to something that is ill.

A remedy gives words about what it has done, and raises when it could not. It may be cut off at any
moment, by its time or the end of the engine: each step leaves what the next attempt can go on from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from ..environment import Place
from ..errors import Conflict, Unavailable
from ..model import Environment, SwarmState, environment_of
from ..store.roundtrip import require_unlocked
from ..swarms.roster import FAILED_OVER, Agent, Swarm
from ..swarms.service import Swarms
from .probes import ill_agents
from .recovery import Policy, Recovery

ACTOR: Final = "recovery"  # in audit trails
STEP: Final = 4  # a swarm grows by one agent for so many it has, at least by one


class Engine(Protocol):
    """What remedies work on. `veto` says why nothing more should be started now, or nothing."""

    swarms: Swarms

    @property
    def places(self) -> Mapping[str, Place]: ...

    @property
    def lasting(self) -> bool: ...

    async def reopen(
        self, environment: Environment, between: Callable[[], Awaitable[None]], why: str
    ) -> Place: ...


class Remedies:
    """The remedies of one engine. Raises SwarmDeckError when one did not work. `veto` says why
    the host should carry no more, or nothing."""

    def __init__(self, engine: Engine, veto: Callable[[], str]) -> None:
        self._engine = engine
        self._veto = veto
        self._by_policy = {
            Policy.RESTART: self._restart,
            Policy.RECREATE: self._recreate,
            Policy.SCALE_UP: self._scale_up,
            Policy.FAILOVER: self._fail_over,
        }

    async def apply(self, recovery: Recovery) -> str:
        """Do what the policy of an ill subject says."""
        if recovery.subject in Environment.__members__.values():
            return await self._reopen(Environment(recovery.subject))
        if self._engine.swarms.has_given_way(recovery.subject):
            raise Conflict("it gave way to more important swarms, and comes back by itself")
        return await self._by_policy[recovery.policy](recovery)

    # --- stores -----------------------------------------------------------------------------

    async def _reopen(self, environment: Environment) -> str:
        """Close the files of an environment and open them again; its swarms go on, or where they
        had been ended with it begin anew."""
        before = self._engine.places[environment]
        if before.refusal is None:
            # One that another process has locked would not open again either.
            await require_unlocked(before.database.path)
        place = await self._engine.reopen(environment, _nothing, "being opened anew")
        if before.refusal is not None:
            await self._engine.swarms.succession.restore(place, lasting=self._engine.lasting)
        return "its store was opened anew"

    # --- swarms -----------------------------------------------------------------------------

    async def _restart(self, recovery: Recovery) -> str:
        """New processes for the agents that are ill; for all where none of them is."""
        place, swarm, own = self._members(recovery.subject)
        chosen = ill_agents(place, own) or (own if len(own) >= swarm.agents else [])
        idents = [agent.id for agent in chosen]
        if idents:
            await self._engine.swarms.restart_agents(swarm.id, idents, "restarted by recovery")
        missing = swarm.agents - len(own)
        if missing > 0:
            await self._engine.swarms.scale(
                swarm.id, agents=swarm.agents, memory_bytes=swarm.memory_bytes, actor=ACTOR
            )
        return f"{_agents(len(idents) + max(0, missing))} started anew"

    async def _recreate(self, recovery: Recovery) -> str:
        """New agents in place of all. What was addressed to the old ones is for the swarm."""
        place, swarm, own = self._members(recovery.subject)
        idents = [agent.id for agent in own]
        try:
            await self._engine.swarms.replace_agents(swarm.id, ACTOR)
        finally:
            await place.queue.readdress(idents, swarm.id, f"{swarm.id} has new agents")
        return f"{_agents(len(own))} replaced by {swarm.agents} new ones"

    async def _scale_up(self, recovery: Recovery) -> str:
        """More agents, each with as much memory as those there are."""
        _, swarm, _ = self._members(recovery.subject)
        if why := self._veto():
            raise Unavailable(f"nothing more is started: {why}")
        more = max(1, swarm.agents // STEP)
        memory_bytes = swarm.memory_bytes * (swarm.agents + more) // max(1, swarm.agents)
        await self._engine.swarms.scale(
            swarm.id, agents=swarm.agents + more, memory_bytes=memory_bytes, actor=ACTOR
        )
        return f"{swarm.agents} agents became {swarm.agents + more}"

    async def _fail_over(self, recovery: Recovery) -> str:
        """Another swarm takes over: what waits for this one and its agents is for that one, and
        this one is ended. What its agents held is ready again by their end, and follows."""
        standby = self._standby(recovery)
        place, swarm, own = self._members(recovery.subject)
        targets, why = [swarm.id, *(agent.id for agent in own)], f"{swarm.id} failed over"
        moved = await place.queue.readdress(targets, standby, why)
        await self._engine.swarms.terminate(
            swarm.id, force=True, actor=ACTOR, reason=f"{FAILED_OVER}{standby}"
        )
        moved += await place.queue.readdress(targets, standby, why)
        return f"{standby} took over, with {moved} messages"

    async def follow(self, place: Place, swarm: Swarm) -> None:
        """Hand on what was sent to a swarm after another had taken over from it."""
        successor = place.registry.heir(swarm)
        if successor is None:
            return
        idents = [agent.id for agent in place.registry.select(swarm=swarm.id)]
        targets = [swarm.id, *idents]
        if any(map(place.queue.counters.lanes.ready, targets)):
            await place.queue.readdress(targets, successor.id, f"{swarm.id} failed over")

    def _standby(self, recovery: Recovery) -> str:
        """Raises Conflict unless there is a standby that could take over now."""
        place = self._engine.places[environment_of(recovery.subject)]
        standby = place.registry.swarms.get(recovery.standby)
        if standby is None or standby.state is not SwarmState.RUNNING:
            raise Conflict(f"the standby {recovery.standby or 'is not named and'} does not run")
        if self._engine.swarms.has_given_way(standby.id):
            raise Conflict(f"the standby {standby.id} is stopped until the host has memory")
        alive = [agent for agent in place.registry.select(swarm=standby.id) if agent.is_live]
        if not alive or len(ill_agents(place, alive)) == len(alive):
            raise Conflict(f"no agent of the standby {standby.id} is well")
        return standby.id

    def _members(self, ident: str) -> tuple[Place, Swarm, list[Agent]]:
        place = self._engine.places[environment_of(ident)]
        if place.refusal is not None:
            raise place.refusal.again()
        own = [agent for agent in place.registry.select(swarm=ident) if not agent.is_external]
        return place, place.registry.swarm(ident), own


def _agents(count: int) -> str:
    return f"{count} {'agent was' if count == 1 else 'agents were'}"


async def _nothing() -> None:
    """What happens to a store between closing and opening it: nothing."""
