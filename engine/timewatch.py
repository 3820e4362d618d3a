"""What an engine does about its clock: writes down where it is, says when it has jumped, and takes
the wall clock's word again when the operator confirms it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from .environment import Place
from .journal import Journal
from .model import Principal
from .store.database import Database, Transaction
from .timekeeper import GuardedClock, Jump, Record
from .views import Done

RECORD_EVERY_S: Final = 30.0


class Timed(Protocol):
    """What has a clock to be watched: an engine."""

    data: Path
    journal: Journal
    coordination: Database

    @property
    def places(self) -> Mapping[str, Place]: ...


class TimeWatch:
    """The watch over one engine's clock. All of it belongs to the engine's loop."""

    def __init__(self, engine: Timed, clock: GuardedClock) -> None:
        self._engine = engine
        self._clock = clock
        self._record = Record(engine.data / "run" / "clock")
        self._kept = self._record.read()
        self._recorded_s = clock.monotonic_s()
        self._told: Jump | None = None
        clock.resume(self._kept, 0)

    def open(self) -> None:
        """Compare with the latest time in the files, which are open now."""
        stored_us = max(each.chain.last_us for each in self._databases())
        if stored_us > self._clock.wall_us():
            self._clock.resume(self._kept, stored_us)
        self._kept = None
        self._tell()

    @property
    def is_held(self) -> bool:
        """The wall clock is not believed."""
        return self._clock.jump is not None

    def words(self) -> str:
        """How the clock has jumped, empty when it has not."""
        jump = self._clock.jump
        return jump.words() if jump is not None else ""

    def tick(self) -> None:
        """Once a second."""
        self._tell()
        if self._clock.monotonic_s() - self._recorded_s >= RECORD_EVERY_S:
            self.write_down()

    def write_down(self) -> None:
        """Let the next engine know where this one's time is."""
        self._recorded_s = self._clock.monotonic_s()
        self._record.write(self._clock.kept())

    def _tell(self) -> None:
        jump = self._clock.jump
        if jump is self._told:
            return
        if jump is not None:
            self._note(jump.words(), "critical")
        elif self._told is not None:
            self._note("the host's clock is back where it was", "info")
        self._told = jump
        self.write_down()

    def _note(self, text: str, severity: str) -> None:
        self._engine.journal.note("clock", "clock", text, severity=severity)

    async def confirm(self, principal: Principal) -> Done:
        """Go by the wall clock again. What has expired by the time held on to is deleted before
        the clock goes back: nothing that was over begins anew."""
        held = self._clock.jump
        if held is None:
            return Done(changed=0, detail="the host's clock has not jumped")
        if held.us < 0:
            for place in self._open_places():
                await _bury(place)
        self._clock.accept()
        for place in self._open_places():
            place.access.accept_clock()
        said = f"the host's clock is accepted, {held.direction} by {abs(held.us) // 1_000_000} s"
        await self._audit(principal, said)
        self._told = None
        self.write_down()
        self._note(f"{said}, by {principal.id}", "warning")
        for place in self._open_places():
            await place.queue.tick()
        return Done(changed=1, detail=said)

    async def _audit(self, principal: Principal, said: str) -> None:
        """A row in each file: the latest time stored there is the accepted one from now on."""

        def change(tx: Transaction) -> None:
            tx.audit(principal.id, "clock.confirm", "clock", detail=said)

        for database in self._databases():
            await database.write(change)

    def _open_places(self) -> Iterable[Place]:
        return [place for place in self._engine.places.values() if place.refusal is None]

    def _databases(self) -> list[Database]:
        return [self._engine.coordination, *(each.database for each in self._open_places())]


async def _bury(place: Place) -> None:
    """Delete what has expired by now."""
    await place.memory.sweep()
    await place.queue.tick()
    await place.access.forget_expired()
    await place.registry.tokens.void_expired()
