"""Alerts that outlive an engine: what fires, who has acknowledged it, and what was resolved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..store.database import Database, Reader, Transaction
from ..views import AlertView

RESOLVED_KEPT: Final = 200

_LOAD: Final = """
SELECT id, rule, severity, state, env, subject, detail, hint, since_at, acknowledged_at,
       acknowledged_by, resolved_at
FROM alert ORDER BY coalesce(resolved_at, since_at), id"""
_KEEP: Final = """
INSERT INTO alert (id, rule, severity, state, env, subject, detail, hint, since_at,
                   acknowledged_at, acknowledged_by, resolved_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, state = excluded.state,
    detail = excluded.detail, hint = excluded.hint, since_at = excluded.since_at,
    acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by,
    resolved_at = excluded.resolved_at"""
_TRIM: Final = """
DELETE FROM alert WHERE state = 'resolved' AND id NOT IN (
    SELECT id FROM alert WHERE state = 'resolved' ORDER BY resolved_at DESC LIMIT ?)"""


class AlertRecords:
    """The rows of alerts. Raises StorageError, Corrupt."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[AlertView]:
        """All that is kept, those resolved last at the end."""
        return await self._database.read(_load)

    async def keep(self, alerts: Iterable[AlertView], *, by: str = "") -> None:
        """Store alerts as they are now; `by` has acknowledged them, and is audited."""
        rows = [_row(alert) for alert in alerts]

        def change(tx: Transaction) -> None:
            tx.executemany(_KEEP, rows)
            tx.execute(_TRIM, (RESOLVED_KEPT,))
            for row in rows if by else ():
                tx.audit(by, "alert.ack", row[0], detail=row[6])

        await self._database.write(change)


def _row(alert: AlertView) -> tuple[Any, ...]:
    return (
        alert.id, alert.rule, alert.severity, alert.state, alert.environment, alert.subject,
        alert.detail, alert.hint, alert.since_at_us, alert.acknowledged_at_us,
        alert.acknowledged_by or None, alert.resolved_at_us,
    )  # fmt: skip


def _load(reader: Reader) -> list[AlertView]:
    return [
        AlertView(
            id=row[0],
            rule=row[1],
            severity=row[2],
            state=row[3],
            environment=row[4],
            subject=row[5],
            detail=row[6],
            hint=row[7],
            since_at_us=row[8],
            acknowledged_at_us=row[9],
            acknowledged_by=row[10] or "",
            resolved_at_us=row[11],
        )
        for row in reader.execute(_LOAD).fetchall()
    ]
