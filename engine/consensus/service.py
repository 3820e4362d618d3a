"""The proposals of one environment: what the rest of the engine sees of them.

Ballots are stored and counted one by one; whether a proposal is achieved is said by whoever closes
it, or nobody does and its deadline ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from .. import codec
from ..acl import Access
from ..acl.grants import Standing
from ..acl.rows import Rows
from ..audit.reads import Reads
from ..clock import Clock
from ..errors import InvalidInput, NotFound
from ..model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Level,
    Principal,
    Right,
    Role,
    check_display_name,
    check_key,
    parse_level,
)
from ..numbered import Numbered
from ..queue import arguments
from ..store.aside import Aside
from ..store.database import Database, Reader
from ..vault import Ring
from ..views import ProposalView
from . import changes, looks, rows
from .changes import Ballot, Draft
from .looks import Wish
from .rows import MILLION, Tally

if TYPE_CHECKING:
    from ..swarms.registry import Registry

MAX_BODY_BYTES: Final = 64 << 10
MAX_REASON: Final = 2_000
MAX_PARTICIPANTS: Final = 256
MAX_DEADLINE_S: Final = 365 * 86_400.0

ProposalViews = list[ProposalView]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal as somebody wants it. `threshold` is 0 to 1; `participants` agents, teams and
    swarms, none: all who may read it; `level` None: the swarm's, of the operator public."""

    title: str
    type: str = "decision"
    body: Any = None
    target_type: str | None = None
    target: str | None = None
    strategy: str = "weighted"
    threshold: float = 0.90
    participants: tuple[str, ...] = ()
    loop: int = 1
    deadline_s: float | None = None
    level: str | int | None = None
    team: str | None = None


class Place(Protocol):
    """What proposals need of their environment."""

    environment: Environment
    database: Database
    ring: Ring
    access: Access
    registry: Registry
    reads: Reads


class Consensus:
    """All methods belong to the engine's loop and raise NotFound for a proposal that is not there
    or that may not be read, Sealed, StorageError. Nothing is read before it is needed."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self.ids = Numbered(place.environment, "consensus")
        self.ring = place.ring
        self.rows = Rows(place.access, "consensus")
        self._database = place.database
        self._registry = place.registry
        self._reads = place.reads
        self._aside = Aside(place.database)
        self._clock = clock
        self._due_us: int | None = None

    # --- changing ----------------------------------------------------------------------------

    async def propose(self, principal: Principal, wanted: Wanted) -> ProposalView:
        """Put something to the vote. Raises InvalidInput, NotFound for an unknown participant,
        Denied for a level or team that is not one's own."""
        self.ring.require()
        draft = self._drafted(principal, wanted)
        number = await self._database.write(changes.propose(self, draft), topic="consensus")
        if draft.deadline_us is not None:
            self._due(draft.deadline_us)
        return await self.show(principal, self.ids.shown(number))

    def _drafted(self, principal: Principal, wanted: Wanted) -> Draft:
        if (wanted.target_type is None) != (wanted.target is None):
            raise InvalidInput("a target is a type and a name", hint="give both, or none")
        stands = self.rows.stand(principal, _level(principal, wanted.level), wanted.team)
        deadline_us = None
        if wanted.deadline_s is not None:
            wait_us = arguments.micros(wanted.deadline_s, 1.0, MAX_DEADLINE_S, "deadline")
            deadline_us = self._clock.wall_us() + wait_us
        return Draft(
            title=check_display_name(wanted.title, "title"),
            type=wanted.type,
            target_type=wanted.target_type,
            target=None if wanted.target is None else check_key(wanted.target),
            strategy=wanted.strategy,
            threshold=millionths(wanted.threshold, "threshold"),
            participants=self._invited(stands, wanted.participants),
            loop=arguments.whole(wanted.loop, 1, 1_000_000, "loop"),
            standing=stands,
            deadline_us=deadline_us,
            text=body(wanted.body),
        )

    def _invited(self, stands: Standing, names: Sequence[str]) -> tuple[str, ...]:
        """Who votes, each once. Raises InvalidInput for somebody who could not read it."""
        found = tuple(dict.fromkeys(names))
        if len(found) > MAX_PARTICIPANTS:
            raise InvalidInput(f"{len(found)} participants", hint=f"{MAX_PARTICIPANTS} at most")
        for name in found:
            reader = reading(self._registry, self.ids.environment, name)
            if not self.rows.allows(reader, Right.READ, stands, ""):
                raise InvalidInput(
                    f"{name} could not read a {stands.level.name.lower()} proposal of "
                    f"{stands.owner}",
                    hint="propose it at a level that they share, or as public",
                )
        return found

    async def vote(
        self, principal: Principal, ident: str, vote: str, confidence: float, reason: str
    ) -> ProposalView:
        """Cast a ballot, or replace one's own. Raises Denied for who does not take part, Conflict
        for a proposal that is closed or late, InvalidInput."""
        self.ring.require()
        ballot = Ballot(vote, millionths(confidence, "confidence"), text(reason).encode())
        change = changes.vote(self, principal, self.ids.number(ident), ballot)
        return await self._database.write(change, topic="consensus")

    async def close(
        self, principal: Principal, ident: str, status: str, reason: str = ""
    ) -> ProposalView:
        """Say what has come of it: achieved or failed. For who made it and those who may delete
        it. Raises Denied, Conflict for one that is closed."""
        return await self._close(principal, ident, status, text(reason), "consensus.close")

    async def withdraw(self, principal: Principal, ident: str, reason: str = "") -> ProposalView:
        """Take a proposal back: it has failed, whatever its ballots say. Raises as `close`."""
        said = f"withdrawn: {text(reason)}" if reason else "withdrawn"
        return await self._close(principal, ident, "failed", said, "consensus.withdraw")

    async def _close(
        self, principal: Principal, ident: str, status: str, reason: str, action: str
    ) -> ProposalView:
        number = self.ids.number(ident)
        change = changes.close(self, principal, number, status, reason, action)
        found = await self._database.write(change, topic="consensus")
        self._due_us = None  # it is kept for a while from now on
        return found

    # --- looking -----------------------------------------------------------------------------

    async def show(self, principal: Principal, ident: str) -> ProposalView:
        """One proposal with its body and every ballot. Raises Damaged."""
        number, now_us = self.ids.number(ident), self._clock.wall_us()

        def query(reader: Reader) -> ProposalView | None:
            row = rows.find(reader, number)
            if row is None or not self.rows.allows(principal, Right.READ, row[0], ident):
                return None
            found, stored = row
            tally = rows.tallies(reader, [number]).get(number, Tally())
            said = rows.body(self.ring, found, stored)
            cast = rows.ballots(reader, self.ring, number)
            return rows.view(self.ids, found, tally, now_us, said, cast)

        found = await self._database.read(query)
        if found is None:
            await self._reads.refuse(principal, "consensus.show", ident)
            raise NotFound(f"no consensus {ident}", hint="see swarmdeck consensus list")
        mark = (found.status, str(found.approve + found.reject + found.abstain))
        await self._reads.look(principal, "consensus.show", ident, mark)
        return found

    async def list(
        self, principal: Principal, wanted: Wish, *, offset: int = 0, limit: int = 200
    ) -> ProposalViews:
        """A page of proposals, newest first, without bodies and ballots. Raises Unavailable when
        looking takes too long."""
        await self._reads.look(principal, "consensus.list", self.ids.environment.value)
        page = looks.page(self.rows, self.ids, principal, wanted, self._clock.wall_us())
        return await self._aside.read(lambda reader: page(reader, offset, limit), rows=limit)

    # --- time --------------------------------------------------------------------------------

    def _due(self, deadline_us: int) -> None:
        if self._due_us is not None:
            self._due_us = min(self._due_us, deadline_us)

    @property
    def is_behind(self) -> bool:
        """Whether more is due than the last sweep had time for."""
        return self._due_us is not None and self._due_us <= self._clock.wall_us()

    async def sweep(self, budget_s: float, kept_s: float) -> int:
        """Note which proposals have expired and delete what was closed `kept_s` ago, for about
        `budget_s` seconds; how many that were. Costs nothing while nothing is due."""
        began_s, changed = self._clock.monotonic_s(), 0
        kept_us = int(kept_s * 1_000_000)
        if self._due_us is not None and self._clock.wall_us() < self._due_us:
            return 0
        for change in (changes.expire(self), changes.clean(kept_us)):
            done = changes.STEP_ROWS
            while done == changes.STEP_ROWS:
                if self._clock.monotonic_s() - began_s >= budget_s:
                    return changed
                done = await self._database.write(change)
                changed += done
        self._due_us = changes.NEVER_US  # what is proposed meanwhile counts too
        try:
            self._due(await self._database.read(changes.deadline(kept_us)))
        except BaseException:
            self._due_us = None
            raise
        return changed


# --- arguments --------------------------------------------------------------------------------


def _level(principal: Principal, level: str | int | None) -> Level:
    """For its swarm unless another is asked for; of the operator, which has none, for all."""
    if level is not None:
        return parse_level(level)
    return Level.PUBLIC if principal.is_operator else Level.SWARM


def reading(registry: Registry, environment: Environment, name: str) -> Principal:
    """An agent, a team, a swarm or the operator, as one who reads. Raises NotFound."""
    if name == OPERATOR:
        return OPERATOR_PRINCIPAL
    if name in registry.teams:
        return Principal(f"{name}/", Role.AGENT, environment.value, None, (name,))
    if name in registry.swarms:
        return Principal(f"{name}/", Role.AGENT, environment.value, name)
    return registry.principal(name)


def millionths(value: float, what: str) -> int:
    """A part of 1, as it is stored. Raises InvalidInput."""
    if 0.0 <= value <= 1.0:
        return round(value * MILLION)
    raise InvalidInput(f"{what} {value:g} is not allowed", hint="0 to 1")


def text(said: str) -> str:
    """A reason, for people. Raises InvalidInput."""
    found = said.strip()
    if len(found) > MAX_REASON or any("\ud800" <= letter <= "\udfff" for letter in found):
        raise InvalidInput("the reason is not allowed", hint=f"{MAX_REASON:,} characters at most")
    return found


def body(value: Any) -> bytes:  # noqa: ANN401 - JSON types
    """What is said in full, as JSON, bounded. Raises InvalidInput."""
    found = codec.encode_json(value)
    if len(found) > MAX_BODY_BYTES:
        raise InvalidInput(
            f"the body has {len(found):,} bytes, at most {MAX_BODY_BYTES:,} fit",
            hint="keep it in memory under a key and name the key",
        )
    return found
