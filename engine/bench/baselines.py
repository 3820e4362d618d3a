"""What people would use instead, doing the same work: raw SQLite, one commit a write, Redis.

The only module beside the driver that may name SQLite, on files of its own. `raw` writes the
very rows the engine writes, in batches, with nothing else: through Python's own sqlite3 as anyone
would write it; `tuned` is the same through our driver, with the library and bindings we use.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiosqlite
import msgspec
from pysqlite3 import dbapi2

from ..errors import Denied, Unavailable
from ..store.migrate import migrations, statements
from .measure import Run, key

if TYPE_CHECKING:
    from redis.asyncio import Redis

RAW_BATCH: Final = 100
YARDSTICK_PIECES: Final = 40
YARDSTICK_ROWS: Final = 50
_PRAGMAS: Final = (
    "journal_mode=wal", "synchronous=normal", "cache_size=-16384", "wal_autocheckpoint=8000",
)  # fmt: skip
_UPSERT: Final = """
INSERT INTO memory (env, namespace, key, format, body, level, owner, team, swarm, version,
                    created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (env, namespace, key) DO UPDATE SET
    format = excluded.format, body = excluded.body, version = version + 1,
    updated_at = max(excluded.updated_at, updated_at + 1)"""
_OWNER: Final = """
SELECT level, owner, team, version FROM memory WHERE env = ? AND namespace = ? AND key = ?"""
_AUDIT: Final = """
INSERT INTO audit (env, at, actor, action, object, allowed, detail) VALUES (?, ?, ?, ?, ?, ?, ?)"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def _record(name: str, body: bytes, at: int) -> tuple[object, ...]:
    return (
        "development", "default", name, 0, body, 2, "dev_agent_bench", "dev_team_bench", None, 1,
        at, at, None,
    )  # fmt: skip


def _audit(name: str, at: int) -> tuple[object, ...]:
    return ("development", at, "dev_agent_bench", "memory.set", f"default/{name}", True, "")


def _schema() -> list[str]:
    return [s for step in migrations("environment") for s in statements(step.sql)]


def raw_sets(path: Path, values: list[dict[str, Any]], seconds: float, *, tuned: bool) -> Run:
    """Batches of RAW_BATCH rows and audit rows through executemany, on this thread."""
    library: Any = dbapi2 if tuned else sqlite3
    connection = library.connect(str(path), isolation_level=None)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    for statement in _schema():
        connection.execute(statement)
    chance = random.Random(1)  # noqa: S311 - the same work in every run
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        at = time.time_ns() // 1000
        names = [key(chance) for _ in range(RAW_BATCH)]
        bodies = [_encode(values[chance.randrange(len(values))]) for _ in names]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            _UPSERT, [_record(n, b, at) for n, b in zip(names, bodies, strict=True)]
        )
        connection.executemany(_AUDIT, [_audit(name, at) for name in names])
        connection.execute("COMMIT")
        count += RAW_BATCH
    elapsed = time.perf_counter() - started
    connection.close()
    return Run(count, elapsed, [])


class Yardstick:
    """A fixed piece of work, some 50 ms long, that tells how much of the machine there is to be
    had at the moment: counting words in Python, and inserts. Its file never reaches the disk.

    Use it as a context manager.
    """

    def __init__(self, path: Path, values: list[dict[str, Any]]) -> None:
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

    def __init__(self, connection: aiosqlite.Connection, values: list[dict[str, Any]]) -> None:
        self._connection = connection
        self._values = values
        self._lock = asyncio.Lock()

    async def set(self, chance: random.Random) -> None:
        name, at = key(chance), time.time_ns() // 1000
        body = _encode(self._values[chance.randrange(len(self._values))])
        async with self._lock:
            async with self._connection.execute(_OWNER, ("development", "default", name)) as rows:
                owner = await rows.fetchone()
            if owner is not None and owner[2] != "dev_team_bench":
                raise Denied(f"{name} belongs to {owner[1]}")
            await self._connection.execute(_UPSERT, _record(name, body, at))
            await self._connection.execute(_AUDIT, _audit(name, at))
            await self._connection.commit()


@asynccontextmanager
async def open_naive(path: Path, values: list[dict[str, Any]]) -> AsyncIterator[Naive]:
    connection = aiosqlite.Connection(lambda: dbapi2.connect(str(path)), 64)
    async with connection:
        for pragma in _PRAGMAS:
            await connection.execute(f"PRAGMA {pragma}")
        for statement in _schema():
            await connection.execute(statement)
        await connection.commit()
        yield Naive(connection, values)


class RedisPeer:
    """redis-py's asyncio client over a unix socket, append-only file synced every second."""

    def __init__(self, client: Redis, values: list[dict[str, Any]]) -> None:
        self._client = client
        self._values = values

    async def set(self, chance: random.Random) -> None:
        body = _encode(self._values[chance.randrange(len(self._values))])
        await self._client.set(key(chance), body)

    async def get(self, chance: random.Random) -> None:
        body = await self._client.get(key(chance))
        if body is not None:
            _decode(body)

    async def fill(self, names: list[str]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for number, name in enumerate(names):
            pipeline.set(name, _encode(self._values[number % len(self._values)]))
        await pipeline.execute()


@asynccontextmanager
async def open_redis(scratch: Path, values: list[dict[str, Any]]) -> AsyncIterator[RedisPeer]:
    """A redis-server of our own, ended at the end. Raises Unavailable where there is none."""
    async with redis_server(scratch) as connect, connect() as client:
        yield RedisPeer(client, values)


@asynccontextmanager
async def redis_server(
    scratch: Path, appendfsync: str = "everysec"
) -> AsyncIterator[Callable[[], Redis]]:
    """What makes clients of a redis-server of our own; close them before it ends. Raises
    Unavailable where there is none."""
    from redis.asyncio import Redis  # noqa: PLC0415 - a slow import, only for this peer

    program = shutil.which("redis-server")
    if program is None:
        raise Unavailable(
            "redis-server is not installed", hint="install it, or leave redis out of --peers"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    socket = scratch / "redis.sock"
    server = await asyncio.create_subprocess_exec(
        program, "--port", "0", "--unixsocket", str(socket), "--dir", str(scratch),
        "--appendonly", "yes", "--appendfsync", appendfsync, "--save", "",
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(10):
            while not socket.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.02)
        yield lambda: Redis(unix_socket_path=str(socket), max_connections=300)
    finally:
        server.terminate()
        await server.wait()
