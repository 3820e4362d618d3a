"""What is shown of swarms and agents, of one environment or all."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import NotFound
from ..model import environment_of
from ..views import AgentView, HealthView, SwarmView
from .crew import Site, Surroundings
from .vitals import Vitals


class Looks:
    """Views of swarms and agents, made from what stands in memory without a wait."""

    def __init__(self, around: Surroundings) -> None:
        self._ledger = around.ledger
        self._sites = around.sites
        self.vitals = Vitals(around.ledger, around.settings)

    def view(self, ident: str) -> SwarmView:
        """One swarm. Raises NotFound."""
        site = self._site_of(ident)
        return self.vitals.swarm(site, site.registry.swarm(ident))

    def health(self, ident: str) -> HealthView:
        """Whether a swarm is healthy, degraded or critical, and why. Raises NotFound."""
        site = self._site_of(ident)
        return self.vitals.health(site, site.registry.swarm(ident))

    def list(self, environment: str | None = None, *, ended: bool = False) -> Sequence[SwarmView]:
        """The swarms of one or all environments, oldest first; with `ended` also those."""
        return [
            self.vitals.swarm(site, swarm)
            for name, site in self._sites.items()
            if environment in {None, name}
            for swarm in site.registry.swarms.values()
            if ended or not swarm.is_over
        ]

    def agent(self, ident: str) -> AgentView:
        """One agent. Raises NotFound."""
        site = self._site_of(ident)
        return self.vitals.agent(site, site.registry.agent(ident))

    def agents(
        self,
        environment: str | None = None,
        *,
        swarm: str | None = None,
        team: str | None = None,
        type: str | None = None,  # noqa: A002 - the word of the action
        capability: str | None = None,
        state: str | None = None,
    ) -> Sequence[AgentView]:
        """The agents that match all that is given. Raises NotFound for an unknown swarm or
        team."""
        places = {environment_of(ident) for ident in (swarm, team) if ident is not None}
        for place in places:
            self._site(place)
        return [
            self.vitals.agent(site, agent)
            for name, site in self._sites.items()
            if environment in {None, name} and places <= {name}
            for agent in site.registry.select(
                swarm=swarm, team=team, type=type, capability=capability, state=state
            )
        ]

    def available_bytes(self, environment: str) -> int:
        """The most memory that one more swarm could be granted now."""
        return next(u.available_bytes for u in self._ledger.use() if u.name == environment)

    def _site_of(self, ident: str) -> Site:
        return self._site(environment_of(ident), ident)

    def _site(self, environment: str, ident: str = "") -> Site:
        site = self._sites.get(environment)
        if site is None:
            raise NotFound(f"{environment} is empty: it has no {ident or 'such thing'}")
        return site
