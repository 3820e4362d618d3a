"""The peers of `bench compare`, opened by name; those that are SQLite are in `baselines.py`.

redis: redis-py's asyncio client over TCP on this host, as it connects unless told otherwise, to a
server of our own, append-only file synced every second (or with every write). diskcache and
sqlitedict: with the settings they come with, but for sqlitedict's log, which is a write-ahead one.
All encode and decode values as we do.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ..errors import Unavailable
from .baselines import Raw, SwarmDBStyle, Values, open_naive
from .measure import drawn, key
from .mixes import Store

if TYPE_CHECKING:
    from redis.asyncio import Redis

NAMES: Final = ("raw", "tuned", "naive", "redis", "diskcache", "sqlitedict", "swarmdb-style")
AT_ONCE: Final = frozenset({"naive", "redis"})
"""Those whose callers wait beside each other; the others block, one after the other."""

UNORDERED: Final = frozenset({"diskcache", "sqlitedict"})
"""Those that know no order of keys, so that nothing can be scanned."""

CONNECTIONS: Final = 300
_PORTS: Final = 5  # somebody else may take one between finding and using it
_UP_S: Final = 10.0
_INDEX: Final = "index"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Peer(Store, Protocol):
    """A store to measure, which the first records are in."""

    async def set(self, chance: random.Random) -> None: ...

    async def get(self, chance: random.Random) -> None: ...


def absent(name: str) -> str:
    """Why a peer cannot be measured here and what helps; empty where it can."""
    if name in {"redis", "streams"}:
        return "" if shutil.which("redis-server") else "redis-server is not installed"
    if name in {"diskcache", "sqlitedict"}:
        from importlib.util import find_spec  # noqa: PLC0415 - only for these

        return "" if find_spec(name) else f"{name} is not installed: pip install swarmdeck[peers]"
    return ""


@asynccontextmanager
async def open_peer(
    name: str, scratch: Path, values: Values, names: Sequence[str], *, durability: str = "normal"
) -> AsyncIterator[Peer]:
    """A peer that has a record below each of `names`. `durability`: normal or full, where it
    knows both. Raises Unavailable where it is not installed."""
    if why := absent(name):
        raise Unavailable(why, hint=f"or leave {name} out of --peers")
    scratch.mkdir(parents=True, exist_ok=True)
    if name == "redis":
        sync = "everysec" if durability == "normal" else "always"
        async with redis_server(scratch, sync) as server, server.client() as client:
            redis = RedisPeer(client, values)
            await redis.fill(names)
            yield redis
    elif name == "naive":
        async with open_naive(scratch / "naive.db", values) as naive:
            await naive.fill(names)
            yield naive
    else:
        blocking = _blocking(name, scratch, values, durability)
        try:
            blocking.fill(names)
            yield blocking
        finally:
            blocking.close()


def _blocking(
    name: str, scratch: Path, values: Values, durability: str
) -> Raw | SwarmDBStyle | Boxed:
    if name == "diskcache":
        return Diskcache(scratch / name, values)
    if name == "sqlitedict":
        return Sqlitedict(scratch / f"{name}.db", values)
    if name == "swarmdb-style":
        return SwarmDBStyle(scratch / f"{name}.db", values)
    return Raw(scratch / f"{name}.db", values, durability=durability, tuned=name == "tuned")


class Boxed:
    """What both libraries for a store like a dict have in common."""

    _box: Any

    def __init__(self, values: Values) -> None:
        self._values = values

    def fill(self, names: Sequence[str]) -> None:
        raise NotImplementedError

    async def set(self, chance: random.Random) -> None:
        await self.write(key(chance), drawn(chance, self._values))

    async def get(self, chance: random.Random) -> None:
        await self.read(key(chance))

    async def write(self, name: str, value: dict[str, Any]) -> None:
        self._box[name] = value

    async def read(self, name: str) -> object:
        return self._box.get(name)

    async def scan(self, name: str, count: int) -> object:
        raise NotImplementedError(f"{type(self).__name__} knows no order of keys")

    def close(self) -> None:
        self._box.close()


class Diskcache(Boxed):
    """diskcache.Cache; it has no place for a codec, so values are encoded outside it."""

    def __init__(self, folder: Path, values: Values) -> None:
        super().__init__(values)
        import diskcache  # noqa: PLC0415 - optional

        self._box = diskcache.Cache(str(folder))

    def fill(self, names: Sequence[str]) -> None:
        with self._box.transact():
            for number, name in enumerate(names):
                self._box[name] = _encode(self._values[number % len(self._values)])

    async def write(self, name: str, value: dict[str, Any]) -> None:
        self._box[name] = _encode(value)

    async def read(self, name: str) -> object:
        found = self._box.get(name)
        return None if found is None else _decode(found)


class Sqlitedict(Boxed):
    """sqlitedict.SqliteDict with autocommit."""

    def __init__(self, path: Path, values: Values) -> None:
        super().__init__(values)
        import sqlitedict  # noqa: PLC0415 - optional

        self._box = sqlitedict.SqliteDict(
            str(path), autocommit=True, journal_mode="WAL", encode=_encode, decode=_decode
        )

    def fill(self, names: Sequence[str]) -> None:
        values = self._values
        self._box.update({n: values[number % len(values)] for number, n in enumerate(names)})


class RedisPeer:
    """Values below their keys, and the keys in a sorted set, so that they can be scanned: as
    YCSB's own binding does it. Only inserting touches the set."""

    def __init__(self, client: Redis, values: Values) -> None:
        self._client = client
        self._values = values
        self._known: set[str] = set()

    async def fill(self, names: Sequence[str]) -> None:
        self._known.update(names)
        for start in range(0, len(names), 1000):
            pipeline = self._client.pipeline(transaction=False)
            for number, name in enumerate(names[start : start + 1000]):
                pipeline.set(name, _encode(self._values[number % len(self._values)]))
                pipeline.zadd(_INDEX, {name: 0})
            await pipeline.execute()

    async def set(self, chance: random.Random) -> None:
        body = _encode(drawn(chance, self._values))
        await self._client.set(key(chance), body)

    async def get(self, chance: random.Random) -> None:
        await self.read(key(chance))

    async def write(self, name: str, value: dict[str, Any]) -> None:
        await self._client.set(name, _encode(value))
        if name not in self._known:
            self._known.add(name)
            await self._client.zadd(_INDEX, {name: 0})

    async def read(self, name: str) -> object:
        body = await self._client.get(name)
        return None if body is None else _decode(body)

    async def scan(self, name: str, count: int) -> object:
        found: Any = await self._client.zrangebylex(_INDEX, f"[{name}", "+", 0, count)
        bodies = await self._client.mget(found) if found else []
        return [_decode(body) for body in bodies if body is not None]


class RedisServer:
    """A redis-server of our own."""

    def __init__(self, port: int, path: Path) -> None:
        self._port = port
        self._path = path

    def client(self) -> Redis:
        """A client over TCP; close it before the server ends. Callers beyond CONNECTIONS wait."""
        from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415 - a slow import

        pool = BlockingConnectionPool(
            host="127.0.0.1", port=self._port, max_connections=CONNECTIONS, timeout=None
        )
        return Redis.from_pool(pool)

    def nearby(self) -> Redis:
        """A client over the server's unix socket, which takes less time."""
        from redis.asyncio import Redis  # noqa: PLC0415 - a slow import

        return Redis(unix_socket_path=str(self._path), max_connections=CONNECTIONS)


@asynccontextmanager
async def redis_server(scratch: Path, appendfsync: str = "everysec") -> AsyncIterator[RedisServer]:
    """Raises Unavailable where there is none, or it does not come up."""
    program = shutil.which("redis-server")
    if program is None:
        raise Unavailable(
            "redis-server is not installed", hint="install it, or leave redis out of --peers"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "redis.sock"
    for _ in range(_PORTS):
        port = _free_port()
        server = await asyncio.create_subprocess_exec(
            program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(path),
            "--dir", str(scratch), "--appendonly", "yes", "--appendfsync", appendfsync,
            "--save", "", stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            if await _is_up(server, path):
                yield RedisServer(port, path)
                return
        finally:
            if server.returncode is None:
                server.terminate()
            await server.wait()
    raise Unavailable("redis-server does not come up", hint="or leave redis out of --peers")


async def _is_up(server: asyncio.subprocess.Process, path: Path) -> bool:
    async with asyncio.timeout(_UP_S):
        while not path.exists() and server.returncode is None:  # noqa: ASYNC110 - another makes it
            await asyncio.sleep(0.02)
    return server.returncode is None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
