"""What schedules do to the store: each send is one transaction with the move to the next time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import Conflict, Damaged, SwarmDeckError
from ..store.database import Reader, Transaction
from ..vault import Ring, letters
from ..vault.letters import Letter
from .delivery import Keeper, QueueOperation, Send
from .rhythm import Rhythm
from .statements import DELAYED, LEASED, READY

COLUMNS: Final = """id, name, kind, target, priority, every_us, cron, zone, overlap, expires_us,
       max_attempts, enabled, next_at, last_at, last_message, runs, skipped, created_by,
       created_at"""

SELECT_ALL: Final = f"SELECT {COLUMNS} FROM schedule WHERE env = ? ORDER BY id"  # noqa: S608
SELECT_BODY: Final = "SELECT body FROM schedule WHERE id = ? AND env = ?"
SELECT_DUE: Final = """
SELECT body, overlap, last_message FROM schedule
WHERE id = ? AND env = ? AND (? OR (enabled = 1 AND next_at = ?))"""
SELECT_STATE: Final = "SELECT state FROM message WHERE id = ? AND env = ?"
INSERT: Final = """
INSERT INTO schedule (env, name, kind, target, priority, body, every_us, cron, zone, overlap,
                      expires_us, max_attempts, next_at, created_by, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
STORE_BODY: Final = "UPDATE schedule SET body = ? WHERE id = ?"
SENT: Final = """
UPDATE schedule SET next_at = coalesce(?, next_at), last_at = ?, last_message = ?, runs = runs + 1,
    updated_at = max(?, updated_at + 1)
WHERE id = ?"""
SKIPPED: Final = """
UPDATE schedule SET next_at = ?, skipped = skipped + 1, updated_at = max(?, updated_at + 1)
WHERE id = ?"""
SWITCH: Final = """
UPDATE schedule SET enabled = ?, next_at = ?, updated_at = max(?, updated_at + 1) WHERE id = ?"""
DELETE: Final = "DELETE FROM schedule WHERE id = ?"

ENGINE: Final = "engine"  # the actor of what nobody asked for


class Schedule(msgspec.Struct, frozen=True):
    """A row of the table without its body. Times are microseconds since the epoch."""

    ident: int
    name: str
    kind: str
    target: str
    priority: int
    rhythm: Rhythm
    overlap: bool
    expires_us: int
    max_attempts: int
    enabled: bool
    next_us: int
    last_us: int | None
    last_message: int | None
    runs: int
    skipped: int
    created_by: str
    created_us: int

    @property
    def letter(self) -> Letter:
        return Letter(self.ident, self.kind, self.created_by, self.target, letters.SCHEDULE)


def read_all(reader: Reader) -> list[Schedule]:
    """The schedules of an environment, oldest first."""
    found = []
    for row in reader.execute(SELECT_ALL, (reader.env,)):
        ident, name, kind, target, priority, every_us, cron, zone, overlap, *rest = row
        expires_us, max_attempts, enabled, *more = rest
        found.append(
            Schedule(ident, name, kind, target, priority, Rhythm(every_us, cron, zone),
                     bool(overlap), expires_us, max_attempts, bool(enabled), *more)
        )  # fmt: skip
    return found


def store(schedule: Schedule, text: bytes, shown: str, ring: Ring) -> Callable[[Transaction], Any]:
    """Store a new schedule; answers with it under its id. Raises Conflict for a name that is
    taken, Sealed."""

    def change(tx: Transaction) -> Schedule:
        taken = tx.execute(
            "SELECT id FROM schedule WHERE env = ? AND name = ?", (tx.env, schedule.name)
        ).fetchone()
        if taken is not None:
            raise Conflict(
                f"{shown}{taken[0]} is called {schedule.name} already", hint="take another name"
            )
        every_us, cron, zone = schedule.rhythm
        row = (tx.env, schedule.name, schedule.kind, schedule.target, schedule.priority, b"",
               every_us, cron, zone, schedule.overlap, schedule.expires_us, schedule.max_attempts,
               schedule.next_us, schedule.created_by, tx.now_us, tx.now_us)  # fmt: skip
        ident = tx.execute(INSERT, row).lastrowid
        made = msgspec.structs.replace(schedule, ident=ident, created_us=tx.now_us)
        [body] = letters.protect(ring, tx, [(made.letter, text)])
        tx.execute(STORE_BODY, (body, ident))
        detail = f"{schedule.kind}, {schedule.rhythm.words}"
        tx.audit(schedule.created_by, "schedule.create", f"{shown}{ident}", detail=detail)
        return made

    return change


def switch(
    actor: str, schedule: Schedule, next_us: int, shown: str, *, enabled: bool
) -> Callable[[Transaction], None]:
    """Pause a schedule, or let it go on from `next_us`."""

    def change(tx: Transaction) -> None:
        tx.execute(SWITCH, (enabled, next_us, tx.now_us, schedule.ident))
        tx.audit(actor, "schedule.resume" if enabled else "schedule.pause", shown)

    return change


def delete(actor: str, schedule: Schedule, shown: str) -> Callable[[Transaction], None]:
    """Delete a schedule; what it has sent stays."""

    def change(tx: Transaction) -> None:
        tx.execute(DELETE, (schedule.ident,))
        tx.audit(actor, "schedule.delete", shown, detail=schedule.name)

    return change


def body(schedule: Schedule, ring: Ring) -> Callable[[Reader], bytes]:
    """What its messages say. Raises Sealed, Damaged."""

    def query(reader: Reader) -> bytes:
        row = reader.execute(SELECT_BODY, (schedule.ident, reader.env)).fetchone()
        return b"null" if row is None else letters.unprotect(ring, schedule.letter, row[0])

    return query


# --- sending ----------------------------------------------------------------------------------


class Fired(NamedTuple):
    """What became of a due time: a message was sent, it was skipped, or (neither) somebody has
    changed the schedule meanwhile. `broken` says why it can send nothing any more."""

    message: int | None = None
    skipped: bool = False
    broken: str = ""
    at_us: int = 0


class Fire(QueueOperation):
    """Send the message of a schedule and move it to its next time, if it is still due at
    `schedule.next_us`. By hand, without a `next_us`, it is sent whatever the time and whatever
    else is open. `send` has its id, and all but its body; room was taken for it. `said` is whose
    doing it is and the schedule's id; `told` hears on the loop what became of it."""

    __slots__ = ("actor", "next_us", "schedule", "send", "shown_as", "told")
    grows = True

    def __init__(
        self,
        keeper: Keeper,
        schedule: Schedule,
        send: Send,
        next_us: int | None,
        said: tuple[str, str],
        told: Callable[[Fire, Fired], None],
    ) -> None:
        self.keeper = keeper
        self.schedule = schedule
        self.send = send
        self.next_us = next_us
        self.actor, self.shown_as = said
        self.told = told

    @property
    def by_hand(self) -> bool:
        return self.next_us is None

    def change(self, tx: Transaction) -> Fired | SwarmDeckError:
        schedule = self.schedule
        due = (schedule.ident, tx.env, self.by_hand, schedule.next_us)
        row = tx.execute(SELECT_DUE, due).fetchone()
        if row is None:
            return Fired()
        stored, overlap, last = row
        if not (overlap or self.by_hand) and self._is_open(tx, last):
            tx.execute(SKIPPED, (self.next_us, tx.now_us, schedule.ident))
            tx.audit(ENGINE, "schedule.skip", self.shown_as, detail=f"{self.shown(last)} is open")
            return Fired(skipped=True)
        try:
            self.send.text = letters.unprotect(self.keeper.keyring, schedule.letter, stored)
        except Damaged as error:
            tx.execute(SWITCH, (0, schedule.next_us, tx.now_us, schedule.ident))
            tx.audit(ENGINE, "queue.damaged", self.shown_as)
            return Fired(broken=error.message)
        except SwarmDeckError as error:
            return error
        [ident] = Send.apply(tx, [self.send])
        tx.execute(SENT, (self.next_us, tx.now_us, ident, tx.now_us, schedule.ident))
        tx.audit(self.actor, "schedule.send", self.shown(ident), detail=self.shown_as)
        return Fired(ident, at_us=tx.now_us)

    def _is_open(self, tx: Transaction, message: int | None) -> bool:
        if message is None:
            return False
        row = tx.execute(SELECT_STATE, (message, tx.env)).fetchone()
        return row is not None and row[0] in (READY, DELAYED, LEASED)

    def committed(self, outcome: Fired) -> Fired:
        if outcome.message is not None:
            self.send.committed(outcome.message)
        else:
            self.keeper.sent(self.send, created=False)
        self.told(self, outcome)
        return outcome

    def fail(self, error: Exception) -> None:
        self.keeper.unsent()
        super().fail(error)
