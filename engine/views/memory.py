"""Records."""

from __future__ import annotations

from typing import Any

from .base import View


class RecordView(View, frozen=True, kw_only=True):
    """A record. What was written by somebody who may not read it has no level, owner and size."""

    key: str
    namespace: str
    environment: str
    level: str
    owner: str
    team: str | None
    version: int
    size_bytes: int
    updated_at_us: int
    expires_at_us: int | None
    value: Any = None


class KeyPage(View, frozen=True, kw_only=True):
    """Keys in order; `cursor` continues after the last one, None at the end."""

    keys: tuple[str, ...]
    cursor: str | None
