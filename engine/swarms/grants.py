"""What swarms take from the host's plan: room for their agents, and memory taken back for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import InvalidInput, NotFound, OverBudget
from ..events import Reclaimed
from ..ledger import Reclaim
from .crew import Site, Surroundings
from .roster import Swarm


class Grants:
    """Room and memory for swarms, and what their taking changes for others."""

    def __init__(self, around: Surroundings) -> None:
        self._ledger = around.ledger
        self._open_site = around.open_site
        self._publish = around.publish
        self._coming: Counter[str] = Counter()

    @contextmanager
    def room(self, site: Site, wanted: int) -> Iterator[None]:
        """Room for so many agents more, kept until they are recorded. Raises OverBudget."""
        environment = site.registry.environment
        live = site.registry.live_count() + self._coming[environment]
        self._ledger.check_agents(environment, live, wanted)
        self._coming[environment] += max(0, wanted)
        try:
            yield
        finally:
            self._coming[environment] -= max(0, wanted)

    async def tell(self, reclaims: Sequence[Reclaim], environment: str) -> None:
        """Record which swarms shrank so that another could have its due."""
        for reclaim in reclaims:
            site = await self._open_site(reclaim.environment)
            await site.registry.change_swarm(
                reclaim.swarm, action="swarm.reclaim", memory_bytes=reclaim.bytes
            )
            self._publish(Reclaimed(reclaim.swarm, reclaim.taken_bytes, environment))

    async def hand_back(self, reclaims: Sequence[Reclaim], environment: str) -> None:
        """Undo loans that were taken back for nothing, as far as nobody else has used them."""
        kept = []
        for reclaim in reclaims:
            try:
                self._ledger.resize(reclaim.swarm, reclaim.bytes + reclaim.taken_bytes)
            except OverBudget:
                kept.append(reclaim)
            except NotFound:
                continue
        await self.tell(kept, environment)

    async def take_again(self, swarm: Swarm) -> str:
        """Grant a recorded swarm its memory. Why it cannot have it (the plan may have changed),
        or nothing."""
        try:
            grant = self._ledger.grant(swarm.id, swarm.environment, swarm.memory_bytes)
        except (OverBudget, InvalidInput) as error:
            return error.message
        await self.tell(grant.reclaims, swarm.environment)
        return ""
