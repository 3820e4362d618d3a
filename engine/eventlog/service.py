"""The events of one environment: what the rest of the engine sees of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ..acl import Access
from ..acl.rows import Rows
from ..audit.reads import Reads
from ..clock import Clock
from ..errors import InvalidInput, NotFound
from ..events import Event as BusEvent
from ..events import Published
from ..model import Environment, Level, Principal, Right, Role, check_name, parse_level
from ..settings import QueueSettings
from ..store.aside import Aside
from ..store.database import Database, Reader
from ..vault import Ring
from ..views import EventCounts, EventView
from . import arguments, looks, rows, steering, upkeep
from .looks import Seen, Wish
from .publishing import Draft, Publish
from .rows import Standing
from .steering import Filter
from .taking import Finish, Take
from .upkeep import Kept

if TYPE_CHECKING:
    from ..swarms.registry import Registry

EventViews = list[EventView]
Told = Callable[[float, str], None]

TTL_S: Final = 86_400.0
RETRIES: Final = 3
LEASE_S: Final = 30.0
UNKNOWN_US: Final = -1


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event as somebody wants it published. `level` None: what fits its publisher; `target` an
    agent, team or swarm; `parent` the id of an event that it follows from."""

    type: str
    payload: Any = None
    priority: int = 5
    target: str | None = None
    level: str | int | None = None
    team: str | None = None
    parent: str | None = None
    tags: tuple[str, ...] = ()
    ttl_s: float = TTL_S
    max_retries: int = RETRIES


class Place(Protocol):
    """What events need of their environment."""

    environment: Environment
    database: Database
    ring: Ring
    access: Access
    registry: Registry
    reads: Reads


class Waits:
    """How long retries wait: as those of messages do."""

    def __init__(self, settings: Callable[[], QueueSettings], clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def wait_us(self, failures: int) -> int:
        settings = self._settings()
        jitter = settings.backoff_jitter
        base_s = settings.backoff_base_s * self._clock.uniform(1 - jitter, 1 + jitter)
        return int(min(settings.backoff_cap_s, base_s * 2.0 ** (failures - 1)) * 1_000_000)


class EventLog:
    """All methods belong to the engine's loop and raise NotFound for an event that is not there
    or that may not be read, Sealed, StorageError. Nothing is read from the file before it is
    needed."""

    def __init__(
        self,
        place: Place,
        clock: Clock,
        settings: Callable[[], QueueSettings],
        publish: Callable[[BusEvent], object],
    ) -> None:
        self.environment = place.environment
        self.ring = place.ring
        self.rows = Rows(place.access, "event")
        self.backoff = Waits(settings, clock)
        self.channel = f"{place.environment.prefix}.events"
        self._database = place.database
        self._registry = place.registry
        self._reads = place.reads
        self._aside = Aside(place.database)
        self._clock = clock
        self._settings = settings
        self._publish = publish
        self._due_us = UNKNOWN_US
        self._more = False

    # --- publishing --------------------------------------------------------------------------

    async def publish(self, principal: Principal, wanted: Sequence[Wanted]) -> list[str]:
        """Store events, all or none; their ids in the same order. Raises InvalidInput, NotFound
        for an unknown target or parent, Denied for a level its publisher may not use."""
        if not 1 <= len(wanted) <= arguments.MAX_PUBLISHED:
            hint = f"1 to {arguments.MAX_PUBLISHED:,}"
            raise InvalidInput(f"{len(wanted)} events in one call", hint=hint)
        drafts = [self._drafted(principal, each) for each in wanted]
        self.ring.require()
        ids: list[str] = await self._database.submit(Publish(self, principal, drafts))
        return ids

    async def publish_one(self, principal: Principal, wanted: Wanted) -> EventView:
        """`publish` of one event; the event as it was stored, without reading it."""
        draft = self._drafted(principal, wanted)
        self.ring.require()
        publish = Publish(self, principal, [draft])
        [ident] = await self._database.submit(publish)
        stands, at_us = draft.standing, publish.at_us
        found = rows.Event(
            ident=self._number(ident), type=draft.type, owner=stands.owner, level=stands.level,
            team=stands.team, swarm=stands.swarm, target=stands.target, priority=draft.priority,
            parent=draft.parent, chain=publish.chains[0], tags=draft.tags, state=rows.READY,
            attempt=0, retries=0, max_retries=draft.max_retries, holder=None, due_us=None,
            lease_until_us=None, taken_us=None, duration_us=None, ttl_us=draft.ttl_us,
            expires_us=at_us + draft.ttl_us, error="", created_us=at_us, updated_us=at_us,
        )  # fmt: skip
        return rows.view(self.environment, found, wanted.payload)

    def _drafted(self, principal: Principal, wanted: Wanted) -> Draft:
        return Draft(
            type=check_name(wanted.type, "event type"),
            text=arguments.payload(wanted.payload),
            standing=self._standing(principal, wanted),
            priority=arguments.whole(wanted.priority, 0, 10, "priority"),
            parent=None if wanted.parent is None else self._number(wanted.parent),
            tags=arguments.tags(wanted.tags),
            ttl_us=arguments.ttl(wanted.ttl_s),
            max_retries=arguments.whole(
                wanted.max_retries, 0, arguments.MAX_RETRIES, "max_retries"
            ),
        )

    def _standing(self, principal: Principal, wanted: Wanted) -> Standing:
        """Whom it is from and for. An event of the operator belongs to the swarm or team that it
        is for. Raises InvalidInput when whom it is for could not read it."""
        target = wanted.target or ""
        reader = self._reader(target) if target else None
        level = self._level(principal, wanted.level, reader)
        stands = self.rows.stand(principal, level, wanted.team)
        team, swarm = stands.team, stands.swarm
        if principal.is_operator and reader is not None:
            swarm = reader.swarm
            team = team or next(iter(reader.teams), None)
        found = Standing(principal.id, level, team, swarm, target)
        if reader is not None and not self.rows.allows(reader, Right.READ, found, ""):
            raise InvalidInput(
                f"{target} could not read a {level.name.lower()} event of {principal.id}",
                hint="publish it at a level that they share, or as public",
            )
        return found

    @staticmethod
    def _level(principal: Principal, level: str | int | None, reader: Principal | None) -> Level:
        """For its swarm unless another is asked for; of the operator, which has none, for all."""
        if level is not None:
            return parse_level(level)
        swarmless = principal.is_operator and (reader is None or reader.swarm is None)
        return Level.PUBLIC if swarmless else Level.SWARM

    def _reader(self, target: str) -> Principal:
        """Whom an event is for, as one who reads it. Raises NotFound."""
        registry, home = self._registry, self.environment.value
        if target in registry.teams:
            return Principal(f"{target}/", Role.AGENT, home, None, (target,))
        if target in registry.swarms:
            return Principal(f"{target}/", Role.AGENT, home, target)
        return registry.principal(target)

    def published(self, idents: Sequence[int], ttl_us: int) -> None:
        """Events were committed: say which to whoever listens, and nothing of what they are. Who
        may not read them learns no more than that there are some."""
        self.due(self._clock.wall_us() + ttl_us)
        ids = [rows.shown(self.environment, ident) for ident in idents]
        self._publish(Published(self.channel, {"environment": self.environment.value, "ids": ids}))

    # --- taking and finishing ----------------------------------------------------------------

    async def take(
        self,
        principal: Principal,
        types: Iterable[str] = (),
        limit: int = 1,
        lease_s: float = LEASE_S,
    ) -> EventViews:
        """Up to `limit` pending events for somebody, most urgent and then oldest first, with
        their payloads: they are its own for `lease_s`. Empty where there are none now. Raises
        InvalidInput."""
        most = arguments.whole(limit, 1, arguments.MAX_TAKEN, "limit")
        wanted = arguments.kinds(tuple(types) or None)
        self.ring.require()
        take = Take(self, principal, self._lanes(principal), wanted, most, arguments.lease(lease_s))
        found: EventViews = await self._database.submit(take)
        return found

    def _lanes(self, principal: Principal) -> tuple[str, ...]:
        """Its own, its teams', its swarm's and everyone's."""
        more = ("system",) if principal.is_operator else ()
        swarm = (principal.swarm,) if principal.swarm else ()
        return (principal.id, *principal.teams, *swarm, "", *more)

    async def complete(
        self, principal: Principal, ident: str, attempt: int | None = None
    ) -> EventView:
        """Finish an event: for who holds it, at that `attempt` if one is given, and for those who
        may delete it. Raises Conflict."""
        return await self._finish(principal, ident, attempt, None)

    async def fail(
        self, principal: Principal, ident: str, error: str, attempt: int | None = None
    ) -> EventView:
        """Give an event up: it is tried again after a while until its retries are used up. Raises
        as `complete` does."""
        return await self._finish(principal, ident, attempt, arguments.error(error))

    async def _finish(
        self, principal: Principal, ident: str, attempt: int | None, error: str | None
    ) -> EventView:
        finish = Finish(self, principal, self._number(ident), attempt, error)
        found: EventView = await self._database.submit(finish)
        return found

    async def retry(self, principal: Principal, ident: str) -> EventView:
        """Make an event pending again, with fresh retries and all of its time: for its source and
        those who may delete it. Raises Conflict for one that neither failed nor expired, Denied."""
        change = steering.retry(self, principal, self._number(ident))
        found = await self._database.write(change, topic="events")
        self.due(found.expires_at_us)
        return found

    async def purge(
        self, principal: Principal, wanted: Filter, told: Told, ids: Sequence[str] = ()
    ) -> int:
        """Delete events by id, or those that a filter names, of what somebody may delete; how
        many. A caller that cancels leaves those that are not deleted yet. Raises InvalidInput
        when nothing says which."""
        if not ids and not any(wanted):
            raise InvalidInput("nothing says which events to delete", hint="give ids or a filter")
        numbers = [self._number(ident) for ident in ids] or await self._aside.read(
            steering.doomed(self, principal, wanted)
        )
        gone = 0
        for start in range(0, len(numbers), steering.STEP_ROWS):
            told(start / len(numbers), f"{gone:,} events deleted")
            part = numbers[start : start + steering.STEP_ROWS]
            change = steering.delete(self, principal, part, None if ids else wanted)
            gone += await self._database.write(change, topic="events")
        return gone

    # --- looking -----------------------------------------------------------------------------

    async def show(self, principal: Principal, ident: str, *, payload: bool = True) -> EventView:
        """One event, with its `payload` if that is asked for. Raises Damaged."""
        number = self._number(ident)

        def query(reader: Reader) -> EventView | None:
            found = rows.find(reader, number)
            if found is None or not self._sees(principal, found[0], ident):
                return None
            said = rows.payload(self.ring, *found) if payload else None
            return rows.view(self.environment, found[0], said)

        found = await self._database.read(query)
        if found is None:
            await self._reads.refuse(principal, "event.show", ident)
            raise NotFound(f"no event {ident}", hint="see swarmdeck event list")
        await self._reads.look(principal, "event.show", ident, (str(found.updated_at_us),))
        return found

    async def list(
        self, principal: Principal, wanted: Wish, *, offset: int = 0, limit: int = 200
    ) -> EventViews:
        """A page of events without their payloads. Raises Unavailable when looking takes too
        long."""
        seen = Seen(self.rows, principal, self.environment)
        await self._reads.look(principal, "event.list", self.environment.value)
        found = await self._aside.read(looks.page(seen, wanted, offset, limit), rows=limit)
        return [rows.view(self.environment, each) for each in found]

    async def chain(self, principal: Principal, ident: str, limit: int = 1_000) -> EventViews:
        """The events that one belongs to, as they follow from one another, oldest first."""
        found = await self.show(principal, ident)
        wanted = Wish(chain=self._number(found.chain), descending=True)
        return await self.list(principal, wanted, limit=limit)

    async def count(self, principal: Principal) -> EventCounts:
        """Events that somebody may read, by status."""
        seen = Seen(self.rows, principal, self.environment)
        await self._reads.look(principal, "event.count", self.environment.value)
        return EventCounts(**await self._aside.read(looks.count(seen)))

    def wish(self, after: str | None, chain: str | None, **wanted: Any) -> Wish:  # noqa: ANN401
        """A wish with ids as they are shown."""
        return Wish(
            after=0 if after is None else self._number(after),
            chain=None if chain is None else self._number(chain),
            **wanted,
        )

    def _sees(self, principal: Principal, found: rows.Event, ident: str) -> bool:
        return self.rows.allows(principal, Right.READ, found, ident)

    def _number(self, ident: str) -> int:
        return rows.number(ident, self.environment.prefix)

    # --- time --------------------------------------------------------------------------------

    def due(self, deadline_us: int) -> None:
        """Something has to be done at that time."""
        self._due_us = min(self._due_us, deadline_us)

    def finished(self, event: EventView) -> None:
        """An event was completed or given up: it is tried again, or goes after a while."""
        if event.status == "pending":
            self.due(event.due_at_us or event.expires_at_us)
        else:
            kept_us = dict(Kept.of(self._settings()).of_states())
            self.due(event.updated_at_us + kept_us[rows.STATUSES.index(event.status)])

    @property
    def is_behind(self) -> bool:
        """Whether more is due than the last sweep had time for."""
        return self._more

    async def sweep(self, budget_s: float) -> int:
        """Do what is due by the clock, for about `budget_s` seconds; how many events that were.
        Costs nothing while nothing is due."""
        began_s, changed = self._clock.monotonic_s(), 0
        kept = Kept.of(self._settings())
        if self._due_us == UNKNOWN_US:
            await self._look_ahead(kept)
        if self._clock.wall_us() < self._due_us:
            return 0
        for change in (upkeep.expire(self), upkeep.clean(kept)):
            self._more = True
            while self._more and self._clock.monotonic_s() - began_s < budget_s:
                step = await self._database.write(change)
                changed, self._more = changed + step.changed, step.more
            if self._more:
                return changed
        await self._look_ahead(kept)
        return changed

    async def _look_ahead(self, kept: Kept) -> None:
        """Learn when something is due next. What is published meanwhile counts too."""
        self._due_us = upkeep.NEVER_US
        try:
            self.due(await self._database.read(upkeep.deadline(kept)))
        except BaseException:
            self._due_us = UNKNOWN_US
            raise
