"""What an agent proves itself with: tokens that end by themselves, and at once when revoked.

Only hashes are stored. A token is random, so a fast hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from ..clock import Clock
from ..errors import Conflict, Denied
from ..model import printable
from .roster import Agent

LENGTH: Final = 52  # of an alphabet of 32: 260 bits
LIFE_S: Final = 86_400.0
RENEW_LEFT_S: Final = 21_600.0  # with less left it is renewed over the agent's connection
OFFER_S: Final = 60.0  # a token that was told must be taken within


class Change(Protocol):
    """Changes columns of an agent, with an audit row of action, actor and detail."""

    def __call__(
        self, ident: str, changes: dict[str, Any], audit: tuple[str, str, str] | None = None
    ) -> Awaitable[None]: ...


class Fresh(msgspec.Struct, frozen=True):
    """A token that was just made. `expires` is microseconds since the epoch."""

    token: str
    hash: bytes
    expires: int

    def __repr__(self) -> str:
        return f"Fresh(token=…, expires={self.expires})"

    @property
    def columns(self) -> dict[str, Any]:
        return {"token_hash": self.hash, "token_expires": self.expires}


class Tokens:
    """The tokens of one environment's agents. All methods belong to the engine's loop; `agents`
    is what is recorded, `change` records."""

    def __init__(
        self,
        clock: Clock,
        agents: Mapping[str, Agent],
        change: Change,
        on_replaced: Callable[[str, str], object],
    ) -> None:
        """`on_replaced(agent, why)` is called once another token counts instead of the one that
        the agent's connections were opened with."""
        self._clock = clock
        self._agents = agents
        self._change = change
        self._on_replaced = on_replaced
        self._offered: dict[str, Fresh] = {}

    def new(self, life_s: float = LIFE_S) -> Fresh:
        token, token_hash = new_token(self._clock)
        return Fresh(token, token_hash, self._clock.wall_us() + int(life_s * 1_000_000))

    def check(self, ident: str, token: str) -> None:
        """Raises Denied unless this is the token of an agent, and it has not expired. One that
        never had a token is told apart by nothing."""
        agent = self._agents.get(ident)
        expected = agent.token_hash if agent is not None else None
        given = digest(token)
        if not hmac.compare_digest(expected or _NOBODY, given) or agent is None:
            raise Denied(
                f"agent {printable(ident)} did not present its token",
                hint="SWARMDECK_AGENT and SWARMDECK_TOKEN are given to it when it is started",
            )
        if not self.is_valid(agent):
            raise Denied(
                f"the token of agent {ident} has expired",
                hint=f"swarmdeck agent token {ident} makes a new one",
            )

    def is_valid(self, agent: Agent) -> bool:
        """Whether there is a token, and it has not expired."""
        return agent.token_hash is not None and self._left_us(agent) > 0

    def _left_us(self, agent: Agent) -> int:
        return (agent.token_expires or 0) - self._clock.wall_us()

    def ending(self, connected: Callable[[str], bool]) -> Iterator[tuple[str, bool]]:
        """Connected agents whose token should be renewed now; and whether it has ended."""
        for agent in tuple(self._agents.values()):
            left_us = self._left_us(agent)
            if left_us < RENEW_LEFT_S * 1_000_000 and connected(agent.id):
                yield agent.id, left_us <= 0

    # --- changing ---------------------------------------------------------------------------

    async def issue(self, agent: Agent, life_s: float, actor: str) -> Fresh:
        """A new token; the one before is void, and connections opened with it end. Raises
        Conflict for an agent with a process, which keeps a token of its own."""
        if agent.is_live:
            raise Conflict(
                f"agent {agent.id} is a process with a token of its own, renewed by itself",
                hint=f"swarmdeck agent revoke {agent.id} voids that",
            )
        fresh = self.new(life_s)
        detail = f"valid for {life_s:g} s"
        await self._change(agent.id, fresh.columns, ("agent.token", actor, detail))
        self._offered.pop(agent.id, None)
        self._on_replaced(agent.id, "it was given another token")
        return fresh

    async def revoke(self, ident: str, actor: str) -> None:
        """Void a token. When this returns nothing counts or is delivered that came by it."""
        self._offered.pop(ident, None)
        void = {"token_hash": None, "token_expires": None}
        await self._change(ident, void, ("agent.revoke", actor, ""))

    def offer(self, ident: str) -> str:
        """A new token, told to an agent over its connection. It counts once it was taken: should
        the answer be lost, the agent still has the one before."""
        fresh = self._offered[ident] = self.new()
        return fresh.token

    async def take(self, ident: str, token: str) -> None:
        """Let an offered token count instead of the one before. Raises Conflict for any other
        or one offered too long ago."""
        fresh = self._offered.get(ident)
        taken_us = self._clock.wall_us() + int((LIFE_S - OFFER_S) * 1_000_000)
        if (
            fresh is None
            or fresh.expires < taken_us
            or not hmac.compare_digest(fresh.hash, digest(token))
        ):
            raise Conflict("this token was not offered", hint="ask with agent.renew first")
        del self._offered[ident]
        await self._change(ident, fresh.columns, ("agent.renew", ident, ""))

    async def void_expired(self) -> None:
        """Forget the hashes of tokens that have ended."""
        void = {"token_hash": None, "token_expires": None}
        for agent in tuple(self._agents.values()):
            if agent.token_hash is not None and not self.is_valid(agent):
                await self._change(agent.id, void)


def new_token(clock: Clock) -> tuple[str, bytes]:
    """A token to start a process with, and the hash of it that is stored."""
    token = clock.token(LENGTH)
    return token, digest(token)


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


_NOBODY: Final = bytes(32)  # no token has this hash
