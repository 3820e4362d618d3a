"""What people would use instead that is SQLite, doing the same work.

The only module beside the driver that may name SQLite, on files of its own. `raw` writes the
very rows the engine writes, with nothing else: through Python's own sqlite3 as anyone would write
it; `tuned` is the same with the library, bindings and checkpoints that we use. `naive` is one
commit a write under a lock, `swarmdb-style` one commit a call on a rollback journal.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiosqlite
import msgspec
from pysqlite3 import dbapi2

from ..errors import Denied
from ..store.migrate import migrations, statements
from .measure import drawn, key

Values = list[dict[str, Any]]

RAW_BATCH: Final = 100
YARDSTICK_PIECES: Final = 40
YARDSTICK_ROWS: Final = 50
_PRAGMAS: Final = ("journal_mode=wal", "cache_size=-16384")  # 16 MB, as each connection of ours
_TUNED: Final = ("wal_autocheckpoint=8000",)  # as ours; SQLite's own 1,000 wait more often
_UPSERT: Final = """
INSERT INTO memory (env, namespace, key, format, key_id, body, mac, level, owner, team, swarm,
                    version, created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (env, namespace, key) DO UPDATE SET
    format = excluded.format, body = excluded.body, mac = excluded.mac, version = version + 1,
    updated_at = max(excluded.updated_at, updated_at + 1)"""
_OWNER: Final = """
SELECT level, owner, team, version FROM memory WHERE env = ? AND namespace = ? AND key = ?"""
_BODY: Final = "SELECT body FROM memory WHERE env = ? AND namespace = ? AND key = ?"
_SCAN: Final = """
SELECT body FROM memory WHERE env = ? AND namespace = ? AND key >= ? ORDER BY key LIMIT ?"""
_AUDIT: Final = """
INSERT INTO audit (env, at, actor, action, object, allowed, detail) VALUES (?, ?, ?, ?, ?, ?, ?)"""
_STYLE: Final = """
CREATE TABLE agent_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, event_type TEXT NOT NULL,
    agent_id TEXT NOT NULL, agent_type TEXT NOT NULL, timestamp TEXT NOT NULL, metadata TEXT,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX of_agent ON agent_events (agent_id);
CREATE INDEX of_type ON agent_events (event_type);
CREATE INDEX of_time ON agent_events (timestamp);
CREATE TABLE session_memory (
    session_id TEXT NOT NULL, memory_type TEXT NOT NULL, key TEXT NOT NULL, value TEXT,
    timestamp TEXT NOT NULL, ttl_hours INTEGER, UNIQUE (session_id, key));
PRAGMA journal_mode = delete;
PRAGMA synchronous = full;"""
_PLACE: Final = ("development", "default")
_MAC: Final = bytes(28)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def _record(name: str, body: bytes, at: int) -> tuple[object, ...]:
    return (
        *_PLACE, name, 0, 1, body, _MAC, 4, "dev_agent_bench", "dev_team_bench", None, 1,
        at, at, None,
    )  # fmt: skip


def _audit(name: str, at: int) -> tuple[object, ...]:
    return ("development", at, "dev_agent_bench", "memory.set", f"default/{name}", True, "")


def _schema() -> list[str]:
    return [s for step in migrations("environment") for s in statements(step.sql)]


class Raw:
    """SQLite used by hand on one thread: the engine's own rows and audit rows, nothing decided,
    nothing checked, a write-ahead log. `tuned`: with our driver's library and checkpoints."""

    def __init__(
        self, path: Path, values: Values, *, durability: str = "normal", tuned: bool = False
    ) -> None:
        library: Any = dbapi2 if tuned else sqlite3
        self._values = values
        self._connection = library.connect(str(path), isolation_level=None)
        more = _TUNED if tuned else ()
        for pragma in (*_PRAGMAS, f"synchronous={durability}", *more):
            self._connection.execute(f"PRAGMA {pragma}")
        for statement in _schema():
            self._connection.execute(statement)

    def fill(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), 1000):
            self._commit(names[start : start + 1000], range(start, start + 1000))

    async def set_batch(self, chance: random.Random) -> None:
        """RAW_BATCH writes and their audit rows, one commit."""
        names = [key(chance) for _ in range(RAW_BATCH)]
        self._commit(names, [chance.randrange(len(self._values)) for _ in names])

    async def set(self, chance: random.Random) -> None:
        await self.write(key(chance), drawn(chance, self._values))

    async def get(self, chance: random.Random) -> None:
        await self.read(key(chance))

    async def write(self, name: str, value: dict[str, Any]) -> None:
        at, execute = time.time_ns() // 1000, self._connection.execute
        execute("BEGIN IMMEDIATE")
        execute(_UPSERT, _record(name, _encode(value), at))
        execute(_AUDIT, _audit(name, at))
        execute("COMMIT")

    async def read(self, name: str) -> object:
        row = self._connection.execute(_BODY, (*_PLACE, name)).fetchone()
        return None if row is None else _decode(row[0])

    async def scan(self, name: str, count: int) -> object:
        rows = self._connection.execute(_SCAN, (*_PLACE, name, count)).fetchall()
        return [_decode(row[0]) for row in rows]

    def close(self) -> None:
        self._connection.close()

    def _commit(self, names: Sequence[str], numbers: Iterable[int]) -> None:
        at, values = time.time_ns() // 1000, self._values
        bodies = [
            _encode(values[number % len(values)]) for number, _ in zip(numbers, names, strict=False)
        ]
        rows = [_record(name, body, at) for name, body in zip(names, bodies, strict=True)]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_UPSERT, rows)
        self._connection.executemany(_AUDIT, [_audit(name, at) for name in names])
        self._connection.execute("COMMIT")


class SwarmDBStyle:
    """A storage class as many projects have one: Python's sqlite3 with a rollback journal and
    synchronous FULL, one commit a call, indexes on what is looked for."""

    def __init__(self, path: Path, values: Values) -> None:
        self._values = values
        self._connection = sqlite3.connect(str(path), timeout=10)
        self._connection.executescript(_STYLE)

    def fill(self, names: Sequence[str]) -> None:
        for number, name in enumerate(names):
            self._store(name, self._values[number % len(self._values)])
        self._connection.commit()

    async def set(self, chance: random.Random) -> None:
        await self.write(key(chance), drawn(chance, self._values))

    async def get(self, chance: random.Random) -> None:
        await self.read(key(chance))

    async def write(self, name: str, value: dict[str, Any]) -> None:
        self._store(name, value)
        self._connection.commit()

    async def read(self, name: str) -> object:
        query = "SELECT value FROM session_memory WHERE session_id = ? AND key = ?"
        row = self._connection.execute(query, ("bench", name)).fetchone()
        return None if row is None else json.loads(row[0])

    async def scan(self, name: str, count: int) -> object:
        query = "SELECT value FROM session_memory WHERE session_id = ? AND key >= ?"
        ordered = f"{query} ORDER BY key LIMIT ?"
        rows = self._connection.execute(ordered, ("bench", name, count)).fetchall()
        return [json.loads(row[0]) for row in rows]

    def insert_event(self, event: dict[str, Any]) -> None:
        """One event with its metadata, durable when this returns."""
        self._connection.execute(
            "INSERT INTO agent_events (event_id, event_type, agent_id, agent_type, timestamp,"
            " metadata) VALUES (?, ?, ?, ?, ?, ?)",
            (
                str(uuid.uuid4()), event["event_type"], event["agent_id"], event["agent_type"],
                event["timestamp"], json.dumps(event["metadata"]),
            ),
        )  # fmt: skip
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()

    def _store(self, name: str, value: dict[str, Any]) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO session_memory (session_id, memory_type, key, value, timestamp)"
            " VALUES ('bench', 'semantic', ?, ?, ?)",
            (name, json.dumps(value), datetime.now(UTC).isoformat()),
        )


class Yardstick:
    """A fixed piece of work, some 50 ms long, that tells how much of the machine there is to be
    had at the moment: counting words in Python, and inserts. Its file never reaches the disk.

    Use it as a context manager.
    """

    def __init__(self, path: Path, values: Values) -> None:
        self._values = values
        self._connection = sqlite3.connect(str(path), isolation_level=None)
        for pragma in ("journal_mode=memory", "synchronous=off"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE piece (key TEXT PRIMARY KEY, body BLOB)")

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def measure(self) -> float:
        """Pieces of that work a second."""
        started = time.perf_counter()
        for number in range(YARDSTICK_PIECES):
            self._piece(number)
        return YARDSTICK_PIECES / (time.perf_counter() - started)

    def _piece(self, number: int) -> None:
        rows = []
        for place, value in enumerate(self._values[:YARDSTICK_ROWS]):
            counted: dict[str, int] = {}
            for word in value["text"].split():
                counted[word] = counted.get(word, 0) + 1
            ranked = sorted(counted, key=lambda word: (-counted[word], word))
            rows.append((f"k{number % 8}-{place}", _encode([value, ranked])))
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR REPLACE INTO piece VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")


class Naive:
    """aiosqlite as its documentation shows it, for the same work: under a lock, read whose record
    it is, decide, write it and its audit row, commit."""

    def __init__(self, connection: aiosqlite.Connection, values: Values) -> None:
        self._connection = connection
        self._values = values
        self._lock = asyncio.Lock()

    async def fill(self, names: Sequence[str]) -> None:
        at, values = time.time_ns() // 1000, self._values
        rows = [
            _record(name, _encode(values[number % len(values)]), at)
            for number, name in enumerate(names)
        ]
        await self._connection.executemany(_UPSERT, rows)
        await self._connection.commit()

    async def set(self, chance: random.Random) -> None:
        await self.write(key(chance), drawn(chance, self._values))

    async def get(self, chance: random.Random) -> None:
        await self.read(key(chance))

    async def write(self, name: str, value: dict[str, Any]) -> None:
        body, at = _encode(value), time.time_ns() // 1000
        async with self._lock:
            async with self._connection.execute(_OWNER, (*_PLACE, name)) as rows:
                owner = await rows.fetchone()
            if owner is not None and owner[2] != "dev_team_bench":
                raise Denied(f"{name} belongs to {owner[1]}")
            await self._connection.execute(_UPSERT, _record(name, body, at))
            await self._connection.execute(_AUDIT, _audit(name, at))
            await self._connection.commit()

    async def read(self, name: str) -> object:
        async with self._connection.execute(_BODY, (*_PLACE, name)) as rows:
            row = await rows.fetchone()
        return None if row is None else _decode(row[0])

    async def scan(self, name: str, count: int) -> object:
        async with self._connection.execute(_SCAN, (*_PLACE, name, count)) as rows:
            return [_decode(row[0]) for row in await rows.fetchall()]


@asynccontextmanager
async def open_naive(path: Path, values: Values) -> AsyncIterator[Naive]:
    connection = aiosqlite.Connection(lambda: dbapi2.connect(str(path)), 64)
    async with connection:
        for pragma in (*_PRAGMAS, "synchronous=normal"):
            await connection.execute(f"PRAGMA {pragma}")
        for statement in _schema():
            await connection.execute(statement)
        await connection.commit()
        yield Naive(connection, values)
