"""Lengths of time that are measured over, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MINUTES_S: Final = 300
HOUR_S: Final = 3_600
DAY_S: Final = 86_400

WINDOWS: Final[Mapping[str, int]] = {
    "1h": HOUR_S, "6h": 6 * HOUR_S, "24h": DAY_S, "7d": 7 * DAY_S, "30d": 30 * DAY_S,
}  # fmt: skip
