"""Who is at the other end of a connection, and how often it may present a wrong token."""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ..clock import Clock
from ..errors import Busy, Denied
from ..model import printable

FREE_FAILURES: Final = 5  # wrong tokens of one process for one agent, in
WINDOW_S: Final = 60.0
FREE_ANYWHERE: Final = 50  # the same for one agent, of all processes
FIRST_BLOCK_S: Final = 15.0  # doubled with each failure after it
LAST_BLOCK_S: Final = 900.0
MAX_TRACKED: Final = 4096
TOLD_PER_MINUTE: Final = 30  # refusals that are told to the audit trail
COMMAND_BYTES: Final = 32

_CREDENTIALS: Final = struct.Struct("3i")


class Peer(NamedTuple):
    """A process at the other end, as the kernel knows it."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Who connected. Its process may be gone by now."""
    size = _CREDENTIALS.size
    pid, uid, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return Peer(pid, uid)


def program_of(pid: int) -> str:
    """The name of a process, never its arguments: those may hold values."""
    try:
        with Path(f"/proc/{pid}/comm").open("rb") as file:
            name = file.read(COMMAND_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "".join(character for character in name if character.isprintable())


class Client(msgspec.Struct, frozen=True):
    """An operator's connection. `program` is the name of its process."""

    peer: Peer
    program: str
    since_us: int


class Refusal(NamedTuple):
    """A wrong token, to be told. `blocked_s` is how long no other is looked at now, or 0."""

    agent: str
    peer: Peer
    blocked_s: float


class _Failures:
    """Wrong tokens of late, under one name."""

    __slots__ = ("count", "since_s", "until_s")

    def __init__(self, now_s: float) -> None:
        self.count = 0
        self.since_s = now_s
        self.until_s = 0.0

    def failed(self, now_s: float, free: int) -> float:
        """One more; for how long nothing is looked at now."""
        if now_s - max(self.since_s, self.until_s) > (LAST_BLOCK_S if self.until_s else WINDOW_S):
            self.count, self.since_s, self.until_s = 0, now_s, 0.0
        self.count += 1
        over = self.count - free
        block_s = min(LAST_BLOCK_S, FIRST_BLOCK_S * 2.0 ** min(over, 20)) if over >= 0 else 0.0
        if block_s:
            self.until_s = now_s + block_s
        return block_s


class LoginLimiter:
    """Counts wrong tokens by agent and process, and by agent alone. While one of them is blocked
    no token is looked at, so guessing gains nothing; the process that was last accepted for an
    agent is not blocked by what others do. In memory only; time is injected.

    `told` hears of the first wrong token under a name and of each block, a bounded number a minute.
    """

    def __init__(self, clock: Clock, told: Callable[[Refusal], object] = lambda _: None) -> None:
        self._clock = clock
        self._told = told
        self._failures: OrderedDict[tuple[str, int], _Failures] = OrderedDict()
        self._accepted: OrderedDict[str, int] = OrderedDict()
        self._tellings = (0.0, 0)

    def check(self, agent: str, peer: Peer) -> None:
        """Raises Busy while no token of this process, or for this agent, is looked at."""
        now_s = self._clock.monotonic_s()
        names = [(agent, peer.pid)]
        if self._accepted.get(agent) != peer.pid:
            names.append((agent, 0))
        for name in names:
            known = self._failures.get(name)
            if known is not None and known.until_s > now_s:
                left_s = known.until_s - now_s
                raise Busy(
                    f"too many wrong tokens for agent {printable(agent)}",
                    hint=f"try again in {left_s:.0f} s",
                )

    def accepted(self, agent: str, peer: Peer) -> None:
        """The right token."""
        self._failures.pop((agent, peer.pid), None)
        self._accepted[agent] = peer.pid
        self._accepted.move_to_end(agent)
        if len(self._accepted) > MAX_TRACKED:
            self._accepted.popitem(last=False)

    def failed(self, agent: str, peer: Peer) -> None:
        """A wrong token."""
        now_s = self._clock.monotonic_s()
        one = self._count((agent, peer.pid), now_s, FREE_FAILURES)
        every = self._count((agent, 0), now_s, FREE_ANYWHERE)
        blocked_s = max(one[1], every[1])
        if one[0] == 1 or blocked_s:
            self._tell(Refusal(agent, peer, blocked_s), now_s)

    def _count(self, name: tuple[str, int], now_s: float, free: int) -> tuple[int, float]:
        known = self._failures.get(name)
        if known is None:
            known = self._failures[name] = _Failures(now_s)
            if len(self._failures) > MAX_TRACKED:
                self._failures.popitem(last=False)
        self._failures.move_to_end(name)
        blocked_s = known.failed(now_s, free)
        return known.count, blocked_s

    def _tell(self, refusal: Refusal, now_s: float) -> None:
        since_s, count = self._tellings
        if now_s - since_s > WINDOW_S:
            since_s, count = now_s, 0
        self._tellings = since_s, count + 1
        if count < TOLD_PER_MINUTE:
            self._told(refusal)


def check_peer(uid: int, own: int) -> None:
    """Only the same user and root may talk to an engine. Raises Denied."""
    if uid not in {own, 0}:
        raise Denied(f"uid {uid} may not use the engine of uid {own}")
