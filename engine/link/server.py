"""The engine's end of the socket: where it listens, and who is connected."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..clock import Clock, SystemClock
from ..errors import Busy, Denied, Unavailable
from .backend import Backend, CheckedVerb
from .connection import Connection
from .peers import Client, LoginLimiter
from .protocol import Notice

MAX_CONNECTIONS: Final = 1024
CLOSE_S: Final = 0.5  # how long closing waits for clients to read their last words

log = logging.getLogger(__name__)


class LinkServer:
    """Serves a backend on a unix socket. Use it as an async context manager."""

    def __init__(
        self,
        path: Path,
        backend: Backend,
        *,
        on_agent_connected: Callable[[str], None] = lambda _: None,
        on_agent_lost: Callable[[str], None] = lambda _: None,
        on_attached: Callable[[Client], None] = lambda _: None,
        limiter: LoginLimiter | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`path` must be free and in a private directory. The callbacks hear of an agent's
        first connection, of the loss of its last, and of each connection of an operator."""
        self.clock = clock or SystemClock()
        self.limiter = limiter or LoginLimiter(self.clock)
        self.backend = backend
        self.verbs = {name: CheckedVerb(name, verb) for name, verb in backend.verbs.items()}
        self._path = path
        self._on_agent_connected = on_agent_connected
        self._on_agent_lost = on_agent_lost
        self._on_attached = on_attached
        self._clients: dict[Connection, Client] = {}
        self._connections: set[Connection] = set()
        self._agents: dict[str, set[Connection]] = {}
        self._group = asyncio.TaskGroup()
        self._ending = False
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def agents(self) -> frozenset[str]:
        """Ids of the agents that are connected."""
        return frozenset(self._agents)

    async def __aenter__(self) -> LinkServer:
        self._server = await self._listen(self._path)
        await self._group.__aenter__()
        return self

    async def move(self, path: Path) -> None:
        """Listen at another place, because somebody has removed the socket. Who is connected
        stays so. Raises Unavailable."""
        before, self._server = self._server, await self._listen(path)
        self._path = path
        if before is not None:
            before.close()

    async def _listen(self, path: Path) -> asyncio.Server:
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(path))
            path.chmod(0o600)
            loop = asyncio.get_running_loop()
            return await loop.create_unix_server(partial(Connection, self), sock=listener)
        except OSError as error:
            listener.close()
            raise Unavailable(f"cannot serve on {path}: {error.strerror}") from error

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        if self._server is not None:
            self._server.close()
            await self._close_connections()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)
        await self._group.__aexit__(None, None, None)

    def notify(self, agent: str, word: str) -> int:
        """Say a word, such as `stop`, to an agent; returns how many connections heard it."""
        heard = self._agents.get(agent, set())
        for connection in heard:
            connection.send(Notice(word))
        return len(heard)

    @property
    def clients(self) -> tuple[Client, ...]:
        """The operators that are connected, in the order they came."""
        return tuple(self._clients.values())

    def attached(self, connection: Connection, client: Client) -> None:
        self._clients[connection] = client
        self._on_attached(client)

    def expel(self, agent: str, why: str = "it is not registered any more") -> None:
        """Close the connections of an agent whose right to them has ended: its calls under way
        are denied, and nothing more is delivered, not even what waits to be sent."""
        for connection in tuple(self._agents.get(agent, ())):
            connection.expel(Denied(f"agent {agent} was disconnected: {why}"))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a verb that needs a task. `work` raises nothing."""
        return self._group.create_task(work)

    def opened(self, connection: Connection) -> None:
        if self._ending:  # it came in while the listener closed: an agent tries the next engine
            raise Unavailable("the engine is closing")
        if len(self._connections) >= MAX_CONNECTIONS:
            raise Busy(f"{MAX_CONNECTIONS} connections are open", hint="close one and try again")
        self._connections.add(connection)
        self._empty.clear()

    def joined(self, agent: str, connection: Connection) -> None:
        connections = self._agents.setdefault(agent, set())
        connections.add(connection)
        if len(connections) == 1:
            self._on_agent_connected(agent)

    def lost(self, agent: str | None, connection: Connection) -> None:
        self._connections.discard(connection)
        self._clients.pop(connection, None)
        if not self._connections:
            self._empty.set()
        connections = self._agents.get(agent or "", set())
        if connection in connections:
            connections.remove(connection)
            if not connections:
                del self._agents[agent or ""]
                self._on_agent_lost(agent or "")

    async def _close_connections(self) -> None:
        for connection in tuple(self._connections):
            connection.farewell()
        if self._connections:
            try:
                await asyncio.wait_for(self._empty.wait(), CLOSE_S)
            except TimeoutError:
                log.warning("closing: %d clients did not read", len(self._connections))
        for connection in tuple(self._connections):
            connection.abort()
        if self._connections:
            await self._empty.wait()
