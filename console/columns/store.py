"""Files, backups and what checks of them have found."""

from __future__ import annotations

from typing import Any

from ...engine import views
from ...widgets import Column
from .. import wording
from ..wording import DASH
from .base import Moment, age, amount, number, status, text, where


def backups(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("name", width=26, grow=1),
        where(),
        status(),
        age("age", "created_at_us", moment),
        amount("size", "size_bytes"),
        number("records", width=9, priority=1),
        number("messages", width=9, priority=2),
        number("audit rows", "audit_rows", width=10, priority=3),
        text("detail", width=24, priority=4, grow=1),
    )


def databases(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        amount("size", "size_bytes"),
        amount("free", "free_bytes"),
        amount("log", "wal_bytes"),
        Column("pinned", _pinned, width=10, align="right",
               style=lambda d: "warning" if d.pinned_readers else "muted"),
        number("records", width=9),
        number("messages", width=9, priority=1),
        number("batches", width=10, priority=2),
        number("operations", width=11, priority=2),
        number("schema", "schema_version", width=6, priority=3),
        text("path", width=24, priority=4, grow=1, style="muted"),
    )  # fmt: skip


def _pinned(database: views.DatabaseView) -> str:
    """Readers that keep the log from being used anew, and for how long."""
    readers = database.pinned_readers
    return f"{readers}, {wording.span(database.pinned_s // 10 * 10)}" if readers else DASH


def statements(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        text("statement", width=24, grow=1),
        number("count", width=6),
        Column("99 %", lambda s: f"{s.p99_ms:,.0f} ms", width=9, align="right",
               sort=lambda s: s.p99_ms),
        Column("longest", lambda s: f"{s.max_ms:,.0f} ms", width=9, align="right",
               sort=lambda s: s.max_ms),
        age("last", "last_at_us", moment, priority=1),
    )  # fmt: skip


def chains(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        status(),
        number("rows", width=10),
        Column("covers", lambda c: f"{c.first:,} to {c.last:,}" if c.rows else DASH, width=20,
               priority=1),
        number("signed", "checkpoints", width=7),
        number("outside", width=7),
        text("detail", width=24, grow=1),
    )  # fmt: skip


def checks(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("name", width=14),
        status(),
        text("detail", width=24, grow=2),
        text("hint", width=20, grow=1, priority=1, style="muted"),
    )
