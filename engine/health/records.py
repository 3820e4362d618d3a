"""What outlives an engine: how each subject is recovered, and circuit breakers."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..store.database import Database, Reader, Transaction
from .breaker import Breaker, State
from .recovery import Policy, Recovery

_RECOVERIES: Final = """
SELECT subject, policy, standby, address, attempts, attempted_at, healthy_since, outcome,
       successor, changed_at, changed_by FROM recovery ORDER BY subject"""
_KEEP_RECOVERY: Final = """
INSERT INTO recovery (subject, policy, standby, address, attempts, attempted_at, healthy_since,
                      outcome, successor, changed_at, changed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (subject) DO UPDATE SET policy = excluded.policy, standby = excluded.standby,
    address = excluded.address, attempts = excluded.attempts, attempted_at = excluded.attempted_at,
    healthy_since = excluded.healthy_since, outcome = excluded.outcome,
    successor = excluded.successor, changed_at = excluded.changed_at,
    changed_by = excluded.changed_by"""
_FORGET_RECOVERY: Final = "DELETE FROM recovery WHERE subject = ?"
_BREAKERS: Final = """
SELECT name, state, failures, successes, opened_at, calls, changed_at FROM breaker ORDER BY name"""
_KEEP_BREAKER: Final = """
INSERT INTO breaker (name, state, failures, successes, opened_at, calls, changed_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, failures = excluded.failures,
    successes = excluded.successes, opened_at = excluded.opened_at, calls = excluded.calls,
    changed_at = excluded.changed_at"""
_FORGET_BREAKER: Final = "DELETE FROM breaker WHERE name = ?"


class Records:
    """The rows of recoveries and breakers. Raises StorageError, Corrupt."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> tuple[dict[str, Recovery], dict[str, Breaker]]:
        """All of them, by subject and by name."""
        recoveries, breakers = await self._database.read(_read)
        return (
            {found.subject: found for found in recoveries},
            {found.name: found for found in breakers},
        )

    async def keep_recovery(
        self, recovery: Recovery, *, action: str = "", actor: str = "", detail: str = ""
    ) -> None:
        """Store a recovery; with an `action` also who did what, in the same transaction."""

        def change(tx: Transaction) -> None:
            tx.execute(_KEEP_RECOVERY, _row(recovery))
            if action:
                tx.audit(actor, action, recovery.subject, detail=detail)

        await self._database.write(change)

    async def keep_breaker(self, breaker: Breaker) -> None:
        row = (
            breaker.name, breaker.state.value, breaker.failures, breaker.successes,
            breaker.opened_at_us, msgspec.json.encode(breaker.calls).decode(),
            breaker.changed_at_us,
        )  # fmt: skip
        await self._database.write(lambda tx: _run(tx, _KEEP_BREAKER, row))

    async def forget(self, subject: str, breaker: str) -> None:
        """A subject is not there any more."""

        def change(tx: Transaction) -> None:
            tx.execute(_FORGET_RECOVERY, (subject,))
            tx.execute(_FORGET_BREAKER, (breaker,))

        await self._database.write(change)


def _run(tx: Transaction, statement: str, row: tuple[Any, ...]) -> None:
    tx.execute(statement, row)


def _row(recovery: Recovery) -> tuple[Any, ...]:
    return (
        recovery.subject, recovery.policy.value, recovery.standby, recovery.address,
        recovery.attempts, recovery.attempted_at_us, recovery.healthy_since_us, recovery.outcome,
        recovery.successor, recovery.changed_at_us, recovery.changed_by,
    )  # fmt: skip


def _read(reader: Reader) -> tuple[list[Recovery], list[Breaker]]:
    return (
        [_recovery(row) for row in reader.execute(_RECOVERIES).fetchall()],
        [_breaker(row) for row in reader.execute(_BREAKERS).fetchall()],
    )


def _recovery(row: tuple[Any, ...]) -> Recovery:
    subject, policy, standby, address, attempts, attempted, healthy, outcome, successor, *who = row
    return Recovery(
        subject=subject,
        policy=Policy(policy),
        standby=standby,
        address=address,
        attempts=attempts,
        attempted_at_us=attempted,
        healthy_since_us=healthy,
        outcome=outcome,
        successor=successor,
        changed_at_us=who[0],
        changed_by=who[1],
    )


def _breaker(row: tuple[Any, ...]) -> Breaker:
    name, state, failures, successes, opened_at, calls, changed_at = row
    return Breaker(
        name=name,
        state=State(state),
        failures=failures,
        successes=successes,
        opened_at_us=opened_at,
        calls=msgspec.json.decode(calls, type=tuple[tuple[int, bool], ...]),
        changed_at_us=changed_at,
    )
