"""Databases and backups."""

from __future__ import annotations

from .base import View


class BackupView(View, frozen=True, kw_only=True):
    """A backup of an environment. `status` is verified, unverified or failed, `detail` says what
    was looked at or what is wrong. `contents` are the files of artifacts in it, which take
    `content_bytes` beside `size_bytes`. Times are microseconds since the epoch, `elapsed_s` how
    long what was asked for took."""

    name: str
    environment: str
    created_at_us: int
    size_bytes: int
    records: int
    messages: int
    audit_rows: int
    schema_version: int
    status: str
    detail: str = ""
    elapsed_s: float = 0.0
    contents: int = 0
    content_bytes: int = 0


class StatementView(View, frozen=True, kw_only=True):
    """A statement that took longer than the threshold at least once: `count` of its slow runs,
    times in milliseconds, its plan one step a line."""

    environment: str
    statement: str
    count: int
    p99_ms: float
    max_ms: float
    plan: str
    last_at_us: int


class PragmaView(View, frozen=True, kw_only=True):
    """A database setting: what was asked for and what SQLite answered."""

    environment: str
    name: str
    requested: str
    granted: str


class DatabaseView(View, frozen=True, kw_only=True):
    environment: str
    path: str
    schema_version: int
    size_bytes: int
    wal_bytes: int
    page_size: int
    tables: tuple[str, ...]
    records: int
    messages: int
    batches: int
    operations: int
    free_bytes: int = 0
    pinned_readers: int = 0
    pinned_s: float = 0.0
