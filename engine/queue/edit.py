"""Changing a message that nobody works on."""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """What to change; None stays as it is. Times count from now."""

    body: bytes | None = None
    priority: int | None = None
    delay_s: float | None = None
    expires_s: float | None = None
    max_attempts: int | None = None
