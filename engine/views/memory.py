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


class MemoryStatsView(View, frozen=True, kw_only=True):
    """The records of an environment, and what is kept of them in memory. `value_bytes` are those
    of values as they are stored, compressed where they are; `records` counts expired ones until
    they are swept, of which `expiring` have an end. `reads` are those of records and looks at lists
    since the engine opened, `found` the share that needed no file. `answers` of lists are kept in
    `held_bytes`; `answered` is the share of lists that came from them. None: there were none."""

    environment: str
    records: int
    value_bytes: int
    namespaces: int
    expiring: int
    private: int
    team: int
    swarm: int
    public: int
    system: int
    reads: int
    found: float | None
    cache_bytes: int
    answers: int
    held_bytes: int
    answered: float | None
    denied: int
