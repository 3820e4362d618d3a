"""The conflicts of one environment: what the rest of the engine sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from ..acl import Access
from ..acl.rows import Rows
from ..audit.reads import Reads
from ..clock import Clock
from ..consensus.service import body, text
from ..errors import InvalidInput, NotFound
from ..model import (
    Environment,
    Level,
    Principal,
    Right,
    check_display_name,
    check_key,
    check_name,
    parse_level,
)
from ..numbered import Numbered
from ..queue import arguments
from ..store.aside import Aside
from ..store.database import Database, Reader
from ..vault import Ring
from ..views import ConflictView
from . import changes, looks, rows
from .changes import Draft
from .looks import Wish
from .rows import Found

MAX_THRESHOLD: Final = 1_000

ConflictViews = list[ConflictView]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict as somebody reports it. `level` None: the swarm's, of the operator public."""

    title: str
    one: str
    other: str
    type: str = "resource"
    severity: str = "medium"
    body: Any = None
    strategy: str = "manual"
    auto: bool = False
    threshold: int = 3
    level: str | int | None = None
    team: str | None = None


class Place(Protocol):
    """What conflicts need of their environment."""

    environment: Environment
    database: Database
    ring: Ring
    access: Access
    reads: Reads


class Conflicts:
    """All methods belong to the engine's loop and raise NotFound for a conflict that is not there
    or that may not be read, Sealed, StorageError; what changes one raises Denied for who is none
    of the two and may not write it, and Conflict where its state forbids it. Nothing is read before
    it is needed."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self.ids = Numbered(place.environment, "conflict")
        self.ring = place.ring
        self.rows = Rows(place.access, "conflict")
        self._database = place.database
        self._reads = place.reads
        self._aside = Aside(place.database)
        self._clock = clock
        self._escalated: dict[int, ConflictView] | None = None
        self._due_us: int | None = None

    # --- changing ----------------------------------------------------------------------------

    async def report(self, principal: Principal, wanted: Wanted) -> ConflictView:
        """Say that two are in each other's way. A second report of the same type about the same
        two counts on the first, as long as that is not resolved. Raises InvalidInput, Denied."""
        self.ring.require()
        return await self._change(changes.report(self, principal, self._drafted(principal, wanted)))

    def _drafted(self, principal: Principal, wanted: Wanted) -> Draft:
        one, other = check_key(wanted.one), check_key(wanted.other)
        if one == other:
            raise InvalidInput("a conflict is between two", hint="name two different ones")
        level = Level.PUBLIC if principal.is_operator else Level.SWARM
        if wanted.level is not None:
            level = parse_level(wanted.level)
        return Draft(
            title=check_display_name(wanted.title, "title"),
            type=wanted.type,
            severity=rows.SEVERITIES.index(wanted.severity) + 1,
            one=one,
            other=other,
            strategy=check_name(wanted.strategy, "strategy"),
            auto=wanted.auto,
            threshold=arguments.whole(wanted.threshold, 1, MAX_THRESHOLD, "threshold"),
            standing=self.rows.stand(principal, level, wanted.team),
            text=body(wanted.body),
        )

    async def begin(self, principal: Principal, ident: str) -> ConflictView:
        """Work on it; nobody else can meanwhile."""
        return await self._change(changes.begin(self, principal, self.ids.number(ident)))

    async def attempt(self, principal: Principal, ident: str, reason: str) -> ConflictView:
        """An attempt to resolve it has failed; the third one (its threshold) escalates it."""
        number = self.ids.number(ident)
        return await self._change(changes.attempt(self, principal, number, text(reason)))

    async def resolve(
        self,
        principal: Principal,
        ident: str,
        resolution: Any,  # noqa: ANN401 - JSON types
    ) -> ConflictView:
        """It is over, and how."""
        self.ring.require()
        number, said = self.ids.number(ident), body(resolution)
        return await self._change(changes.resolve(self, principal, number, said))

    async def escalate(self, principal: Principal, ident: str, reason: str) -> ConflictView:
        """Call for a person."""
        number = self.ids.number(ident)
        return await self._change(changes.escalate(self, principal, number, text(reason)))

    async def reopen(self, principal: Principal, ident: str, reason: str) -> ConflictView:
        """Begin anew: without a holder, attempts or a resolution."""
        number = self.ids.number(ident)
        return await self._change(changes.reopen(self, principal, number, text(reason)))

    async def _change(self, change: changes.Change) -> ConflictView:
        found = await self._database.write(change, topic="conflicts", then=self._changed)
        return rows.view(self.ids, found)

    def _changed(self, found: Found) -> None:
        if found.state == "resolved":
            self._due_us = None  # it is kept for a while from now on
        if self._escalated is None:
            return
        if found.state == "escalated" and len(self._escalated) < changes.MOST_ESCALATED:
            self._escalated[found.ident] = rows.view(self.ids, found)
        else:
            self._escalated.pop(found.ident, None)

    # --- looking -----------------------------------------------------------------------------

    async def show(self, principal: Principal, ident: str) -> ConflictView:
        """One conflict with what is known of it and how it was resolved. Raises Damaged."""
        number = self.ids.number(ident)

        def query(reader: Reader) -> ConflictView | None:
            row = rows.find(reader, number)
            if row is None or not self.rows.allows(principal, Right.READ, row[0], ident):
                return None
            return rows.full(self.ids, self.ring, row)

        found = await self._database.read(query)
        if found is None:
            await self._reads.refuse(principal, "conflict.show", ident)
            raise NotFound(f"no conflict {ident}", hint="see swarmdeck conflict list")
        await self._reads.look(principal, "conflict.show", ident, (str(found.updated_at_us),))
        return found

    async def list(
        self, principal: Principal, wanted: Wish, *, offset: int = 0, limit: int = 200
    ) -> ConflictViews:
        """A page of conflicts without body and resolution. Raises Unavailable when looking takes
        too long."""
        await self._reads.look(principal, "conflict.list", self.ids.environment.value)
        page = looks.page(self.rows, self.ids, principal, wanted)
        return await self._aside.read(lambda reader: page(reader, offset, limit), rows=limit)

    def escalated(self) -> ConflictViews:
        """Those that call for a person, of what a sweep has read into memory."""
        return list((self._escalated or {}).values())

    # --- time --------------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether more is due than the last sweep had time for."""
        return self._due_us is not None and self._due_us <= self._clock.wall_us()

    async def sweep(self, budget_s: float, kept_s: float) -> int:
        """Learn which are escalated, and delete what was resolved `kept_s` ago, for about
        `budget_s` seconds; how many. Costs nothing while nothing is due."""
        if self._escalated is None:
            await self._database.write(changes.escalated, then=self._learn)
        if self._due_us is not None and self._clock.wall_us() < self._due_us:
            return 0
        began_s, gone, kept_us = self._clock.monotonic_s(), 0, int(kept_s * 1_000_000)
        done = changes.STEP_ROWS
        while done == changes.STEP_ROWS:
            if self._clock.monotonic_s() - began_s >= budget_s:
                return gone
            done = await self._database.write(changes.clean(kept_us))
            gone += done
        self._due_us = changes.NEVER_US  # what is resolved meanwhile forgets it
        try:
            first_us = await self._database.read(changes.oldest) + kept_us
        except BaseException:
            self._due_us = None
            raise
        if self._due_us is not None:
            self._due_us = first_us
        return gone

    def _learn(self, found: Sequence[Found]) -> None:
        self._escalated = {each.ident: rows.view(self.ids, each) for each in found}
