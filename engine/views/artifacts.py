"""Artifacts."""

from __future__ import annotations

from typing import Any

from .base import View


class ArtifactView(View, frozen=True, kw_only=True):
    """One version of an artifact. `stored_bytes` is what its content takes on the disk, once for
    all that have the same; `sha256` and `metadata` are given of one that was asked for alone.
    `state` is stored, checked (its content was read whole and found in order since) or damaged, as
    `damage` says."""

    id: str
    environment: str
    name: str
    version: int
    type: str
    format: str
    size_bytes: int
    stored_bytes: int
    chunks: int
    state: str
    level: str
    owner: str
    team: str | None
    swarm: str | None
    author: str
    parent: str | None
    created_at_us: int
    checked_at_us: int | None = None
    damage: str = ""
    sha256: str = ""
    metadata: Any = None


class LineageView(View, frozen=True, kw_only=True):
    """One step of where an artifact comes from and what was made from it: `depth` is below 0 for
    what it was made from, 0 for itself, above 0 for what was made from it. One that was deleted,
    or may not be read, has its id alone and is gone."""

    id: str
    environment: str
    depth: int
    name: str
    version: int
    type: str
    size_bytes: int
    state: str
    author: str
    created_at_us: int | None
