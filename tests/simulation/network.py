"""The unix sockets of the simulated host: bytes that take their time, come in pieces, and stop
coming when either end is killed."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

from .loop import PROCESS, Process, VirtualLoop

LATENCY_S = (0.00002, 0.0008)
SPLIT = 0.02  # of what arrives comes in two pieces
_END = b""


class Peer:
    """What the kernel says of the other end."""

    def __init__(self, pid: int, uid: int) -> None:
        self._said = struct.pack("3i", pid, uid, uid)

    def getsockopt(self, *_: int) -> bytes:
        return self._said


class Wire(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, context: Context) -> None:
        super().__init__()
        self.context = context
        self.owner: Process | None = context.get(PROCESS)
        self.protocol: Any = None
        self.other: Wire = self
        self.peer: Peer | None = None
        self.inbox: deque[bytes] = deque()
        self._network = network
        self._loop = network.loop
        self._high = 64 * 1024
        self._in_flight = 0
        self._was_lost_early = False
        self._closing = self._lost = self._reading_paused = self._writing_paused = False

    # --- what a protocol asks -----------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.peer if name == "socket" else default

    def is_closing(self) -> bool:
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = self._high if high is None else high

    def get_write_buffer_size(self) -> int:
        return max(0, self._in_flight - self._high)  # the kernel takes the rest

    def write(self, data: Any) -> None:
        if self._closing or not data:
            return
        self._in_flight += len(data)
        self._send(bytes(data))
        if self._in_flight > self._high and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        for _ in self.inbox:
            self._loop.call_soon(self._arrive, context=self.context)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._send(_END)
            self._loop.call_soon(self.lose, context=self.context)

    def abort(self) -> None:
        if not self._lost:
            self._closing = True
            self.inbox.clear()
            self.other.reset()
            self._loop.call_soon(self.lose, context=self.context)

    # --- what happens to it -------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        self.other.inbox.append(data)
        self._network.later(self.other._arrive, self.other.context)

    def _arrive(self) -> None:
        """The next piece has come, whichever it is: they keep their order."""
        if self._reading_paused or not self.inbox or self._lost or self.protocol is None:
            return
        data = self.inbox.popleft()
        if data == _END:
            self.close()
            return
        if len(data) > 1 and self._network.chance.random() < SPLIT:
            cut = self._network.chance.randrange(1, len(data))
            self.inbox.appendleft(data[cut:])
            data = data[:cut]
            self._network.later(self._arrive, self.context)
        self.other._taken(len(data))
        if not self._closing:
            self.protocol.data_received(data)

    def made(self) -> None:
        """Whoever connected has its protocol now: what the other end did first comes to it."""
        self.resume_reading()
        if self._was_lost_early:
            self._network.later(self.lose, self.context)

    def _taken(self, size: int) -> None:
        self._in_flight -= size
        if self._writing_paused and self._in_flight <= self._high // 4:
            self._writing_paused = False
            self._loop.call_soon(self._resume, context=self.context)

    def _resume(self) -> None:
        if not self._lost:
            self.protocol.resume_writing()

    def reset(self) -> None:
        """The other end is gone, with what was on its way."""
        self.inbox.clear()
        self._network.later(self.lose, self.context)

    def lose(self) -> None:
        if self.protocol is None:
            self._was_lost_early = True
        elif not self._lost:
            self._lost = self._closing = True
            self.protocol.connection_lost(None)


class Server:
    """What asyncio gives for a listener."""

    def __init__(self, network: Network, path: str, listener: Any) -> None:
        self._network, self._path, self._listener = network, path, listener

    def close(self) -> None:
        self._network.forget(self._path)
        if self._listener is not None:
            self._listener.close()

    async def wait_closed(self) -> None:
        """Nothing to wait for."""


class Network:
    """All sockets by path, and all connections."""

    def __init__(self, loop: VirtualLoop, seed: int, uid: int) -> None:
        self.loop = loop
        self.chance = random.Random(f"network {seed}")
        self.slow_s = 0.0  # added to everything, as long as the host is busy
        self._uid = uid
        self._listeners: dict[str, tuple[Context, Callable[[], Any]]] = {}
        self._wires: list[Wire] = []
        self._last_pid = 0

    def later(self, work: Callable[[], None], context: Context) -> None:
        delay_s = self.chance.uniform(*LATENCY_S) + self.slow_s
        self.loop.call_later(delay_s, work, context=context)

    def serve(self, path: str, factory: Callable[[], Any], listener: Any) -> Server:
        where = str(Path(path).resolve())
        self._listeners[where] = copy_context(), factory
        return Server(self, where, listener)

    def forget(self, path: str) -> None:
        self._listeners.pop(path, None)

    async def connect(self, factory: Callable[[], Any], path: str) -> tuple[Wire, Any]:
        """Both ends of a new connection, made in their own processes."""
        await asyncio.sleep(self.chance.uniform(*LATENCY_S))
        found = self._listeners.get(str(Path(path).resolve()))
        owner = None if found is None else found[0].get(PROCESS)
        if found is None or (owner is not None and not owner.alive):
            raise ConnectionRefusedError(path)
        near, far = Wire(self, copy_context()), Wire(self, found[0])
        near.other, far.other = far, near
        self._last_pid += 1
        near.peer = far.peer = Peer(1_000_000_000 + self._last_pid, self._uid)
        self._wires = [wire for wire in self._wires if not wire._lost] + [near, far]
        accepted: asyncio.Future[None] = self.loop.create_future()

        def accept() -> None:
            far.protocol = found[1]()
            far.protocol.connection_made(far)
            self.later(lambda: accepted.done() or accepted.set_result(None), near.context)

        self.later(accept, far.context)
        await accepted
        near.protocol = factory()
        near.protocol.connection_made(near)
        near.made()
        return near, near.protocol

    def cut(self, process: Process) -> int:
        """Lose all connections of a process, as its end or a failing host does; how many."""
        cut = 0
        for wire in [each for each in self._wires if each.owner is process and not each._lost]:
            wire.inbox.clear()
            wire.other.reset()
            if process.alive:
                wire.reset()
            else:
                wire._lost = wire._closing = True
            cut += 1
        return cut
