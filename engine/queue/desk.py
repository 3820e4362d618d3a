"""The queue of one environment as people and actions see it: looking, and changes by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..authority import reaches
from ..errors import Denied, InvalidInput, NotFound, Unavailable
from ..model import MessageState, Principal, Role, parse_environment
from ..store.aside import Aside
from ..store.database import Database
from ..vault import Ring
from ..views import FlowView, HistoryView, LaneView, MessageView, QueueCounts
from . import arguments, pages, steering, views
from . import readdress as readdressing
from .counters import Counters, Move
from .edit import Edit, check, edit
from .flow import Flow, Intake
from .listing import Wish, list_over
from .readdress import readdress
from .results import Awaited, Outcome
from .results import outcome as outcome_of
from .statements import STATES

MessageViews = list[MessageView]
LaneViews = list[LaneView]
Histories = list[HistoryView]

_log = logging.getLogger(__name__)


class Desk:
    """What is asked of a queue now and then, each time as one look or one change. All methods
    belong to the engine's loop. `counters` is exact as of the last commit."""

    flow: Flow

    def __init__(self, database: Database, keyring: Ring) -> None:
        self.environment = parse_environment(database.env)
        self.prefix = self.environment.prefix
        self.counters = Counters()
        self.keyring = keyring
        self._database = database
        self._aside = Aside(database)
        self.awaited = Awaited(self.environment)
        self._last_id = 0
        self._open = False

    def moved(self, moves: Sequence[Move]) -> None:
        """Messages have changed state."""
        raise NotImplementedError

    def counts(self) -> QueueCounts:
        """Messages by state, as of the last commit."""
        return self.counters.counts()

    async def list(
        self,
        *,
        state: MessageState | None = None,
        kind: str | None = None,
        holder: str | None = None,
        limit: int = 200,
    ) -> MessageViews:
        """What `list_over` answers of this queue alone, from the top."""
        return await list_over([self], Wish(state, kind, holder), offset=0, limit=limit)

    def total(self, wanted: Wish) -> int | None:
        """How many messages a wish is about, None where only the file could say."""
        return pages.total(self.counters, wanted)

    async def rows(self, wanted: Wish, skip: int, take: int) -> Sequence[views.Row]:
        """A page of messages in the order of the wish, for `view`."""
        facts = pages.Facts(self.counters, self.environment.value, self.prefix, self._last_id)
        looks = pages.looks(facts, wanted, skip, take)
        return await self._aside.read(pages.read(looks), rows=sum(look.passes for look in looks))

    def view(self, row: views.Row) -> MessageView:
        return views.view(self.environment, row)

    def flow_view(self) -> FlowView:
        """Whether it is stopped and how full it is, now."""
        state = self.flow.state
        return FlowView(
            environment=self.environment.value,
            mode=state.mode,
            reason=state.reason,
            changed_at_us=state.changed_us or None,
            changed_by=state.changed_by,
            open=self.flow.depth,
            limit=self.flow.limit,
            waiting=self.flow.waiting,
            oldest_ready_at_us=self.counters.priorities.oldest_us,
        )

    def lane_views(self) -> LaneViews:
        """Each priority, the most urgent first: how many are ready, delayed, leased and dead as
        of the last commit, and since when the oldest of the ready ones is there."""
        return views.lanes(self.environment, self.counters.priorities)

    async def show(self, ident: str) -> MessageView:
        """One message with its body and result. Raises NotFound, Sealed, Damaged."""
        return await self._database.read(
            views.show(self.environment, self._number(ident), ident, self.keyring)
        )

    async def outcome(self, principal: Principal, ident: str, wait_s: float = 0) -> Outcome:
        """What has become of a message; waits up to `wait_s` for its end. For its sender, for a
        coordinator and the operator: to others it is not there. Raises NotFound, Sealed, Damaged,
        Denied to an agent of another environment, Busy when too many wait."""
        self._admit(principal)
        number = self._number(ident)
        wait_us = arguments.micros(wait_s, 0, arguments.MAX_WAIT_S, "wait")
        # Before the look: none is missed.
        ended = self.awaited.wait(number, principal.id) if wait_us else None
        try:
            found = await self._outcome(principal, number, ident)
            if ended is None or not found.is_open:
                return found
            await asyncio.wait([ended], timeout=wait_us / 1_000_000)
            if ended.done():
                ended.result()
            return await self._outcome(principal, number, ident)
        finally:
            if ended is not None:
                self.awaited.leave(number, principal.id, ended)

    async def _outcome(self, principal: Principal, number: int, ident: str) -> Outcome:
        found = await self._database.read(outcome_of(number, ident, self.keyring))
        if found.sender != principal.id and not reaches(principal.role, Role.COORDINATOR):
            raise NotFound(f"no message {ident} of yours", hint="a sender sees its own results")
        return found

    async def history(self, ident: str, limit: int) -> Histories:
        """The last steps of a message, oldest first. Raises NotFound, Unavailable when looking
        for them takes too long."""
        from .history import history as history_of  # noqa: PLC0415 - asked for now and then

        return await self._aside.read(history_of(self._number(ident), ident, limit))

    async def tally(self, to: str) -> views.Tally:
        """What has become of all messages addressed to `to`. Reads the whole table."""
        return await self._database.read(views.tally(to))

    async def retry(self, principal: Principal, ident: str) -> MessageView:
        """Make a dead, expired or cancelled message ready, with fresh attempts. Raises NotFound,
        Conflict in another state, Denied to an agent that did not send it, Busy where a send
        would be."""
        change = steering.retry(principal, self._number(ident), ident)
        self.flow.require()
        await self._database.submit(Intake(self.flow, 1, change, self._moved_one))
        return await self.show(ident)

    async def cancel(self, principal: Principal, ident: str) -> MessageView:
        """End a ready, delayed or leased message. Raises as `retry` does."""
        return await self._steer(ident, steering.cancel(principal, self._number(ident), ident))

    async def edit(self, principal: Principal, ident: str, wanted: Edit) -> MessageView:
        """Change a message that nobody works on. A delay makes a ready message delayed, none a
        delayed one ready; one that has ended takes no delay and stays as it has ended. Raises as
        `retry` does, Conflict also for one that is leased or done, InvalidInput when nothing
        would change or a time does not fit."""
        change = edit(principal, self._number(ident), ident, check(wanted), self.keyring)
        return await self._steer(ident, change)

    async def _steer(self, ident: str, change: steering.Change) -> MessageView:
        await self._database.write(change, topic="queue", then=self._moved_one)
        return await self.show(ident)

    async def readdress(self, targets: Sequence[str], to: str, why: str) -> int:
        """Hand what waits for any of `targets`, ready or delayed, to `to`; how many messages.
        Raises Sealed, StorageError; what was moved before stays moved."""
        count = 0
        for statement in (readdressing.SELECT_READY, readdressing.SELECT_DELAYED):
            after: int | None = 0
            while after is not None:
                step = readdress(self.keyring, targets, to, statement, after, why)
                done = await self._database.write(
                    step, topic="queue", then=lambda found: self.moved(found.moves)
                )
                count += len(done.moves)
                after = done.last
        return count

    async def purge(
        self,
        principal: Principal,
        *,
        ids: Iterable[str] | None = None,
        sender: str | None = None,
        kind: str | None = None,
        to: str | None = None,
    ) -> int:
        """Delete messages in any state, by id or by all filters given; how many. Raises
        InvalidInput without any, Denied to an agent."""
        self._require_coordinator(principal, "delete messages", "purge")
        wanted = steering.Filter(sender, kind, to)
        if ids is not None:
            numbers = [self._number(ident) for ident in ids]
            return await self._purge_these(principal, numbers, None, "by id", lambda *_: None)
        if not any(wanted):
            raise InvalidInput("nothing says which messages to delete", hint="give ids or a filter")
        gone, after, until = 0, 0, self._last_id
        last: int | None = after
        while last is not None:
            change = steering.purge(principal, wanted, last, until)
            purged = await self._database.write(
                change, topic="queue", then=lambda p: self.moved(p.moves)
            )
            gone, last = gone + len(purged.moves), purged.last
        return gone

    async def purge_state(
        self,
        principal: Principal,
        state: MessageState,
        kind: str | None,
        progress: Callable[[float, str], None],
    ) -> int:
        """Delete all messages that are in a state now (of one kind); how many. A caller that
        cancels leaves those that are not yet deleted. Raises InvalidInput for leased ones,
        Denied to an agent."""
        self._require_coordinator(principal, "delete messages", "purge")
        if state is MessageState.LEASED:
            raise InvalidInput("somebody works on leased messages", hint="cancel them first")
        position = STATES.index(state)
        wanted = None if kind is None else arguments.kind(kind)
        idents = await self._aside.read(pages.idents(position, wanted))
        why = f"state={state}" if wanted is None else f"state={state} kind={wanted}"
        return await self._purge_these(principal, idents, position, why, progress)

    async def redrive(
        self,
        principal: Principal,
        kind: str | None,
        limit: int | None,
        progress: Callable[[float, str], None],
    ) -> tuple[int, int]:
        """Make dead letters ready again (of one kind, the oldest `limit` of them), as far as the
        queue has room; how many are ready, and how many are left of those. A caller that cancels
        leaves the rest. Raises Denied to an agent."""
        from .redrive import STEP_ROWS, redrive  # noqa: PLC0415 - asked for now and then

        self._require_coordinator(principal, "redrive dead letters", "redrive")
        wanted = None if kind is None else arguments.kind(kind)
        found = await self._aside.read(pages.idents(STATES.index(MessageState.DEAD), wanted))
        idents, done, at = list(found[:limit]), 0, 0
        while at < len(idents):
            progress(at / len(idents), f"{done:,} dead letters are ready again")
            part = idents[at : at + min(STEP_ROWS, max(1, self.flow.limit - self.flow.depth))]
            if not self.flow.takes(len(part)):
                break
            change = redrive(principal, part, self._shown)
            moves = await self._database.submit(Intake(self.flow, len(part), change, self.moved))
            done, at = done + len(moves), at + len(part)
        return done, len(idents) - at

    def _shown(self, ident: int) -> str:
        return f"{self.prefix}_msg_{ident}"

    def _require_coordinator(self, principal: Principal, what: str, verb: str) -> None:
        if not reaches(principal.role, Role.COORDINATOR):
            self._note_denial(principal, "messages", verb)
            raise Denied(
                f"{principal.id} may not {what}",
                hint="a coordinator or the operator may do this",
            )

    async def _purge_these(
        self, principal: Principal, idents: Sequence[int], state: int | None, why: str,
        progress: Callable[[float, str], None],
    ) -> int:  # fmt: skip
        gone = 0
        for start in range(0, len(idents), steering.PURGE_ROWS):
            progress(start / len(idents), f"{gone:,} messages deleted")
            part = dict.fromkeys(idents[start : start + steering.PURGE_ROWS])
            change = steering.purge_these(principal, list(part), state, why)
            moves = await self._database.write(change, topic="queue", then=self.moved)
            gone += len(moves)
        return gone

    def _admit(self, principal: Principal) -> None:
        if not self._open:
            raise Unavailable(f"the queue of {self.environment} is closed")
        if principal.environment != self.environment and not principal.is_operator:
            self._note_denial(principal, "messages", "use")
            raise Denied(
                f"{principal.id} may not use the queue of {self.environment}",
                hint="agents use the queue of their own environment",
            )

    def _note_denial(self, principal: Principal, object_: str, verb: str) -> None:
        denial = steering.Denial(principal.id, object_, verb)
        self._database.submit(denial).add_done_callback(heed)

    def _number(self, ident: str) -> int:
        return arguments.number(ident, self.prefix)

    def _moved_one(self, move: Move) -> None:
        self.moved((move,))


def heed(done: asyncio.Future[Any]) -> None:
    """Say that something nobody waits for has failed."""
    error = None if done.cancelled() else done.exception()
    if error is not None:
        _log.warning("the queue could not do what nobody waits for: %s", error)
