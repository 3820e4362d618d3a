"""Messages that are sent again and again, of one environment.

Each due time is sent exactly once: the transaction that stores the message moves the schedule on,
if it still stands at that time, and the message carries a key made of both. What was due while the
engine was away, or while the clock was not believed, is sent once when it is back. One whose
message before is still open skips, unless it may overlap. When the queue has no room, takes nothing
in, or the environment is sealed, the due time waits and is sent once there is room again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Protocol

import msgspec

from .. import codec
from ..clock import Clock
from ..errors import Conflict, InvalidInput, NotFound, SwarmDeckError
from ..model import Environment, Principal, check_display_name, printable
from ..settings import QueueSettings
from ..store.database import Database, Operation
from ..views import ScheduleView
from . import arguments, firing
from .delivery import Keeper, Send
from .firing import ENGINE, Fire, Fired, Schedule
from .flow import Flow
from .rhythm import Rhythm, rhythm

MOST: Final = 1_000  # schedules of one environment
STEP: Final = 100  # due times sent in one go
NEVER_US: Final = 1 << 63

_log = logging.getLogger(__name__)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as somebody asks for it. Either `every_s` or `cron`, in `zone`."""

    name: str
    kind: str
    body: bytes
    every_s: float | None = None
    cron: str | None = None
    zone: str = "UTC"
    to: str | None = None
    priority: int = 5
    overlap: bool = False
    expires_s: float | None = None
    max_attempts: int | None = None


class Queue(Keeper, Protocol):
    """What schedules need of their queue."""

    environment: Environment
    flow: Flow

    def target(self, to: str | None) -> str: ...
    def hand_over(self, send: Send, within: Operation | None = None) -> asyncio.Future[Any]: ...


class Schedules:
    """All methods belong to the engine's loop. They are read from the file when first needed."""

    def __init__(
        self, queue: Queue, database: Database, settings: QueueSettings, clock: Clock
    ) -> None:
        self._queue = queue
        self._database = database
        self._settings = settings
        self._clock = clock
        self._prefix = f"{queue.environment.prefix}_schedule_"
        self._known: dict[int, Schedule] | None = None
        self._firing: set[int] = set()
        self._waiting: dict[int, str] = {}  # why a due time is not sent yet
        self._looked_us = NEVER_US

    def take(self, settings: QueueSettings) -> None:
        """Send with what these say from now on."""
        self._settings = settings

    # --- looking and changing ----------------------------------------------------------------

    async def views(self) -> list[ScheduleView]:
        """All of them, what is due next first."""
        known = (await self._load()).values()
        ordered = sorted(known, key=lambda each: (not each.enabled, each.next_us, each.ident))
        return [self._view(each) for each in ordered]

    def late(self, by_s: float) -> list[ScheduleView]:
        """Those that have been due for so long and were not sent, of what is in memory."""
        due_us = self._clock.wall_us() - int(by_s * 1_000_000)
        known = (self._known or {}).values()
        return [self._view(each) for each in known if each.enabled and each.next_us <= due_us]

    async def show(self, ident: str) -> ScheduleView:
        """One of them with what its messages say. Raises NotFound, Sealed, Damaged."""
        found = await self._find(ident)
        text = await self._database.read(firing.body(found, self._queue.keyring))
        return msgspec.structs.replace(self._view(found), body=codec.decode_json(text))

    async def create(self, principal: Principal, wanted: Wanted) -> ScheduleView:
        """Store a schedule; its messages are its maker's. Raises InvalidInput, NotFound for an
        unknown `to`, Conflict for one that has ended, for a name that is taken and beyond MOST,
        Sealed."""
        known = await self._load()
        self._queue.keyring.require()
        if len(known) >= MOST:
            raise Conflict(f"there are {MOST:,} schedules already", hint="delete one")
        text, drafted = arguments.body(wanted.body), self._drafted(principal, wanted)
        change = firing.store(drafted, text, self._prefix, self._queue.keyring)
        made = await self._database.write(change, topic="queue", then=self._put)
        return msgspec.structs.replace(self._view(made), body=codec.decode_json(text))

    def _drafted(self, principal: Principal, wanted: Wanted) -> Schedule:
        now_us = self._clock.wall_us()
        when = rhythm(wanted.every_s, wanted.cron, wanted.zone, now_us)
        attempts = wanted.max_attempts or self._settings.max_attempts
        return Schedule(
            ident=0,
            name=check_display_name(wanted.name, "schedule name"),
            kind=arguments.kind(wanted.kind),
            target=self._queue.target(wanted.to),
            priority=arguments.whole(wanted.priority, 1, 10, "priority"),
            rhythm=when,
            overlap=wanted.overlap,
            expires_us=arguments.expiry(wanted.expires_s, 0),
            max_attempts=arguments.whole(attempts, 1, arguments.MAX_ATTEMPTS, "max_attempts"),
            enabled=True,
            next_us=when.after(now_us),
            last_us=None,
            last_message=None,
            runs=0,
            skipped=0,
            created_by=principal.id,
            created_us=now_us,
        )

    async def pause(self, principal: Principal, ident: str) -> ScheduleView:
        """Send nothing until `resume`. Raises NotFound, Conflict for one that is paused."""
        found = await self._find(ident)
        if not found.enabled:
            raise Conflict(f"{ident} is paused already")
        return await self._switch(principal.id, found, found.next_us, enabled=False)

    async def resume(self, principal: Principal, ident: str) -> ScheduleView:
        """Go on with the next time after now: what was due meanwhile is not sent. Raises NotFound,
        Conflict for one that is not paused."""
        found = await self._find(ident)
        if found.enabled:
            raise Conflict(f"{ident} is not paused")
        next_us = found.rhythm.after(self._clock.wall_us(), found.next_us)
        return await self._switch(principal.id, found, next_us, enabled=True)

    async def _switch(
        self, actor: str, found: Schedule, next_us: int, *, enabled: bool
    ) -> ScheduleView:
        shown = self._shown(found.ident)
        change = firing.switch(actor, found, next_us, shown, enabled=enabled)

        def switched(_: None) -> None:
            now = (self._known or {}).get(found.ident, found)
            self._put(msgspec.structs.replace(now, enabled=enabled, next_us=next_us))

        await self._database.write(change, topic="queue", then=switched)
        return self._view(await self._find(shown))

    async def delete(self, principal: Principal, ident: str) -> None:
        """Delete a schedule; messages it has sent stay. Raises NotFound."""
        found = await self._find(ident)
        change = firing.delete(principal.id, found, self._shown(found.ident))
        known = await self._load()

        def deleted(_: None) -> None:
            known.pop(found.ident, None)

        await self._database.write(change, topic="queue", then=deleted)

    async def run(self, principal: Principal, ident: str) -> str:
        """Send its message now, beside what is due; the message's id. Raises NotFound, Busy when
        the queue takes nothing in, Conflict when whom it is for has ended, Sealed, Damaged."""
        found = await self._find(ident)
        self._queue.target(found.target or None)
        self._queue.keyring.require()
        self._queue.flow.require()
        fired = await self._begin(found, None, principal.id)
        if fired.message is None:
            raise Conflict(f"{ident} sent nothing: {fired.broken or 'it was deleted'}")
        return f"{self._queue.environment.prefix}_msg_{fired.message}"

    # --- time --------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Send what is due. Called about once a second by an engine that stays, as long as its
        clock is believed."""
        known = self._known if self._known is not None else await self._load()
        if not known:
            return
        now_us = self._clock.wall_us()
        if now_us < self._looked_us:
            await self._fall_back(now_us)
        self._looked_us = now_us
        due = [each for each in known.values() if each.enabled and each.next_us <= now_us]
        due.sort(key=lambda each: each.next_us)
        sent: list[asyncio.Future[Fired]] = []
        for each in due:
            if len(sent) == STEP:
                break  # those that have to wait do not count: they would hold up all others
            if each.ident not in self._firing and (future := self._fire(each, now_us)) is not None:
                sent.append(future)
        if sent:
            await asyncio.wait(sent)

    async def _fall_back(self, now_us: int) -> None:
        """The clock may have been set back, meanwhile or while no engine ran: none waits for a time
        that was next by the clock of before. Raises StorageError."""
        for each in list((await self._load()).values()):
            try:
                next_us = each.rhythm.after(now_us, each.next_us)
            except InvalidInput:  # said when it is due
                continue
            if each.enabled and next_us < each.next_us:
                await self._switch(ENGINE, each, next_us, enabled=True)

    def _fire(self, schedule: Schedule, now_us: int) -> asyncio.Future[Fired] | None:
        """Begin to send what is due, or note why that has to wait."""
        try:
            next_us = schedule.rhythm.after(now_us, schedule.next_us)
        except InvalidInput as error:  # the time zones of this host have changed
            self._waiting[schedule.ident] = error.message
            return None
        if why := self._hindrance(schedule):
            self._waiting[schedule.ident] = why
            return None
        self._waiting.pop(schedule.ident, None)
        self._firing.add(schedule.ident)
        future = self._begin(schedule, next_us)
        future.add_done_callback(lambda done: self._ended(schedule, done))
        return future

    def _hindrance(self, schedule: Schedule) -> str:
        """Why nothing can be sent now, empty when room was taken for it."""
        if self._queue.keyring.reason:
            return self._queue.keyring.reason
        try:
            self._queue.target(schedule.target or None)
        except (NotFound, Conflict) as error:
            return error.message
        if not self._queue.flow.takes():
            return self._queue.flow.refusal().message
        return ""

    def _begin(
        self, schedule: Schedule, next_us: int | None, actor: str = ENGINE
    ) -> asyncio.Future[Fired]:
        send = Send()
        send.keeper = self._queue
        send.sender = schedule.created_by
        send.kind, send.target, send.priority = schedule.kind, schedule.target, schedule.priority
        send.delay_us, send.expires_us = 0, schedule.expires_us
        shown = self._shown(schedule.ident)
        due = f"schedule\n{schedule.ident}\n{schedule.next_us}"  # a key that nobody may give
        send.key = None if next_us is None else due
        send.max_attempts = schedule.max_attempts
        fire = Fire(self._queue, schedule, send, next_us, (actor, shown), self._fired)
        return self._queue.hand_over(send, fire)

    def _fired(self, fire: Fire, fired: Fired) -> None:
        """On the loop, after the commit."""
        now = (self._known or {}).get(fire.schedule.ident)
        if now is None:
            return
        next_us = now.next_us if fire.next_us is None else fire.next_us
        if fired.broken:
            self._waiting[now.ident] = fired.broken
            self._put(msgspec.structs.replace(now, enabled=False))
        elif fired.skipped:
            skipped = now.skipped + 1
            self._put(msgspec.structs.replace(now, next_us=next_us, skipped=skipped))
        elif fired.message is not None:
            self._put(
                msgspec.structs.replace(
                    now, next_us=next_us, last_us=fired.at_us, last_message=fired.message,
                    runs=now.runs + 1,
                )
            )  # fmt: skip

    def _ended(self, schedule: Schedule, done: asyncio.Future[Fired]) -> None:
        self._firing.discard(schedule.ident)
        error = None if done.cancelled() else done.exception()
        if isinstance(error, SwarmDeckError):
            self._waiting[schedule.ident] = error.message
            _log.warning("%s has sent nothing: %s", self._shown(schedule.ident), error.message)

    # --- in memory ---------------------------------------------------------------------------

    async def _load(self) -> dict[int, Schedule]:
        if self._known is None:
            found = await self._database.read(firing.read_all)
            if self._known is None:  # another call may have been quicker
                self._known = {each.ident: each for each in found}
        return self._known

    async def reload(self) -> None:
        """Read them again: they were changed behind this."""
        self._known = None
        await self._load()

    def _put(self, schedule: Schedule) -> None:
        if self._known is not None:
            self._known[schedule.ident] = schedule

    async def _find(self, ident: str) -> Schedule:
        head, _, digits = arguments.text(ident, "schedule id").rpartition("_")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0
        found = (await self._load()).get(number)
        if found is None or f"{head}_" != self._prefix or str(number) != digits:
            raise NotFound(f"no schedule {printable(ident)}", hint=f"see {_LIST}")
        return found

    def _shown(self, ident: int) -> str:
        return f"{self._prefix}{ident}"

    def _view(self, schedule: Schedule) -> ScheduleView:
        due = schedule.enabled and schedule.next_us <= self._clock.wall_us()
        last, prefix = schedule.last_message, self._queue.environment.prefix
        return ScheduleView(
            id=self._shown(schedule.ident),
            environment=self._queue.environment.value,
            name=schedule.name,
            state="paused" if not schedule.enabled else "late" if due else "active",
            kind=schedule.kind,
            to=schedule.target or None,
            priority=schedule.priority,
            every_s=_seconds(schedule.rhythm),
            cron=schedule.rhythm.cron,
            zone=schedule.rhythm.zone,
            overlap=schedule.overlap,
            expires_s=schedule.expires_us / 1_000_000 or None,
            max_attempts=schedule.max_attempts,
            next_at_us=schedule.next_us if schedule.enabled else None,
            last_at_us=schedule.last_us,
            last_message=None if last is None else f"{prefix}_msg_{last}",
            runs=schedule.runs,
            skipped=schedule.skipped,
            created_by=schedule.created_by,
            created_at_us=schedule.created_us,
            reason=self._waiting.get(schedule.ident, "") if due or not schedule.enabled else "",
        )


_LIST: Final = "swarmdeck schedule list"


def _seconds(rhythm: Rhythm) -> float | None:
    return None if rhythm.every_us is None else rhythm.every_us / 1_000_000
