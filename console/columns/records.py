"""Records and the keys that seal them."""

from __future__ import annotations

from typing import Any

import msgspec

from ...widgets import Column, mark_of, state_text
from .. import wording
from ..wording import DASH
from .base import ID_CELLS, Moment, age, amount, expiry, number, text, where


def records(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("key", width=24, grow=2, sort_name="key"),
        text("namespace", width=12),
        text("level", width=7, sort_name="level"),
        amount("size", "size_bytes", sort_name="size"),
        number("version", width=7, sort_name="version"),
        age("changed", "updated_at_us", moment, priority=1, sort_name="changed"),
        expiry(moment, priority=2, sort_name="expires"),
        text("owner", width=ID_CELLS, priority=3, sort_name="owner"),
        text("team", width=ID_CELLS, priority=4),
    )


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A data key of an environment, or an environment that has none yet (`id` 0)."""

    environment: str
    ring: str
    id: int = 0
    kind: str = ""
    state: str = ""
    created_at_us: int | None = None
    uses: int = 0
    rotate_at_us: int | None = None
    rotating: float | None = None


def data_keys(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        Column("records", lambda k: state_text(k.ring), width=10,
               style=lambda k: mark_of(k.ring).style),
        text("class", "kind", width=8),
        Column("key", lambda k: str(k.id) if k.id else "none yet", width=8, align="right"),
        Column("state", lambda k: state_text(k.state) if k.state else DASH, width=11,
               style=lambda k: mark_of(k.state).style if k.state else "muted"),
        Column("age", lambda k: wording.ago(moment.us, k.created_at_us), width=8, align="right",
               priority=1),
        number("uses", width=13, priority=2),
        Column("due in", lambda k: _due(k, moment), width=8, align="right",
               style=lambda k: "warning" if _due(k, moment) == "over" else "text"),
        Column("rotation", _rotation, width=9, align="right", style="accent"),
    )  # fmt: skip


def _due(key: KeyRow, moment: Moment) -> str:
    return wording.left(moment.us, key.rotate_at_us) if key.state == "active" else DASH


def _rotation(key: KeyRow) -> str:
    return DASH if key.rotating is None else f"{key.rotating * 100:.0f} %"
