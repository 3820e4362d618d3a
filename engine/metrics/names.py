"""How a metric is read by people: its name tells its unit, and what is measured."""

from __future__ import annotations

from typing import Final

_UNITS: Final = (
    ("_per_s", "/s"), ("_percent", "%"), ("_bytes", "bytes"), ("_ms_p99", "ms"), ("_ms", "ms"),
    ("_s", "s"),
)  # fmt: skip
_TITLES: Final = {
    "commit_ms_p99": "commit (99 %)",
    "load_1m": "load",
    "oldest_s": "oldest message",
    "loop_lag_ms": "loop late by",
    "wal_bytes": "log",
    "used_bytes": "memory used",
    "available_bytes": "memory available",
    "allocated_bytes": "memory allocated",
    "memory_bytes": "memory granted",
    "rss_bytes": "memory held",
}


def unit_of(name: str) -> str:
    """The unit that a metric's name tells; empty for a count."""
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), "")


def title_of(name: str) -> str:
    """What a metric is called, in words and without its unit."""
    if name in _TITLES:
        return _TITLES[name]
    ending = next((ending for ending, _ in _UNITS if name.endswith(ending)), "")
    return name.removesuffix(ending).replace("_", " ")
