"""Who uses an engine: its operators by their user at the operating system, agents by their tokens.

An engine acts for the user it was opened by, and only that user and root may attach. Which user and
program that was is recorded: a row in the coordination file's audit trail when an engine opens, and
when somebody attaches, at most one a minute for each user and program.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from .clock import Clock
from .environment import Place
from .errors import SwarmDeckError
from .journal import Journal
from .model import OPERATOR, Principal, environment_of, printable
from .store.database import Database, Transaction
from .swarms.presence import RENEW
from .views import ClientView, Done, SettingChangeView, TokenView

if TYPE_CHECKING:
    from .link.peers import Client, Refusal
    from .link.server import LinkServer

ATTACH_EVERY_S: Final = 60.0
RENEW_EVERY_S: Final = 60.0  # an agent that was asked is asked again after
MAX_KNOWN: Final = 256
MAX_SHOWN: Final = 32
MAX_DETAIL: Final = 500  # characters of a row of the trail

log = logging.getLogger(__name__)


class Identified(Protocol):
    """An engine, to whoever uses it."""

    clock: Clock
    journal: Journal
    coordination: Database

    @property
    def places(self) -> Mapping[str, Place]: ...

    @property
    def link(self) -> LinkServer | None: ...


class Identity:
    """The identities of one engine. All of it belongs to the engine's loop."""

    def __init__(self, engine: Identified) -> None:
        self.user = user_name(os.getuid())
        self._engine = engine
        self._attached: OrderedDict[tuple[int, str], float] = OrderedDict()
        self.seen: set[str] = set()  # agents the operator has acted as since `_acted_s`
        self._acted_s = engine.clock.monotonic_s()
        self._asked: dict[str, float] = {}

    # --- operators --------------------------------------------------------------------------

    def opened(self, release: str) -> None:
        """Record who opened the engine."""
        detail = f"{self.user}, uid {os.getuid()}, process {os.getpid()}, release {release}"
        self._record(self._engine.coordination, OPERATOR, "engine.open", "engine", detail)

    def reloaded(self, actor: str, changes: Sequence[SettingChangeView]) -> None:
        """Record that settings were read again, and which of them changed."""
        names = ", ".join(change.name for change in changes)
        detail = f"{names or 'nothing'} changed"[:MAX_DETAIL]
        self._record(self._engine.coordination, actor, "engine.reload", "engine", detail)

    def attached(self, client: Client) -> None:
        """Record who attached, unless that was done within the last minute."""
        peer = client.peer
        key, now_s = (peer.uid, client.program), self._engine.clock.monotonic_s()
        if now_s - self._attached.get(key, -ATTACH_EVERY_S) < ATTACH_EVERY_S:
            return
        self._attached[key] = now_s
        self._attached.move_to_end(key)
        if len(self._attached) > MAX_KNOWN:
            self._attached.popitem(last=False)
        detail = f"{user_name(peer.uid)}, uid {peer.uid}, process {peer.pid} {client.program}"
        self._record(self._engine.coordination, OPERATOR, "operator.attach", "engine", detail)

    def acted(self, agent: str) -> None:
        """Record that the operator acts as an agent: once a minute for each of them."""
        if agent in self.seen:
            return
        self.seen.add(agent)
        home = self._engine.places[environment_of(agent)].database
        self._record(home, OPERATOR, "operator.act", agent, f"as this agent, by {self.user}")

    def clients(self) -> tuple[ClientView, ...]:
        """The operators attached now, the latest of them."""
        link = self._engine.link
        return tuple(
            ClientView(
                user=user_name(each.peer.uid),
                uid=each.peer.uid,
                pid=each.peer.pid,
                program=each.program,
                since_at_us=each.since_us,
            )
            for each in (link.clients[-MAX_SHOWN:] if link is not None else ())
        )

    # --- agents -----------------------------------------------------------------------------

    async def issue(self, agent: str, ttl_s: float, principal: Principal) -> TokenView:
        """A new token for an agent without a process. Raises NotFound, Conflict."""
        registry = self._engine.places[environment_of(agent)].registry
        fresh = await registry.tokens.issue(registry.agent(agent), ttl_s, principal.id)
        return TokenView(agent=agent, token=fresh.token, expires_at_us=fresh.expires)

    async def revoke(self, agent: str, principal: Principal) -> Done:
        """Void an agent's token. When this returns its connections have ended. Raises NotFound."""
        registry = self._engine.places[environment_of(agent)].registry
        await registry.revoke_token(agent, actor=principal.id)
        self._engine.journal.note(
            "agent", agent, f"its token was revoked by {principal.id}",
            environment=registry.environment.value, severity="warning",
        )  # fmt: skip
        return Done(changed=1, detail=f"revoked the token of {agent}")

    def voided(self, agent: str, why: str) -> None:
        """An agent's token counts no more: nothing more is delivered to it."""
        self._asked.pop(agent, None)
        if (link := self._engine.link) is not None:
            link.expel(agent, why)

    def refused(self, refusal: Refusal) -> None:
        """Record a wrong token. Whose it claimed to be is not known to be true."""
        agent, peer, blocked_s = refusal
        said = f"wrong token from process {peer.pid} of {user_name(peer.uid)}"
        if blocked_s:
            said += f"; none is looked at for {blocked_s:g} s"
        try:
            place = self._engine.places[environment_of(agent)]
        except SwarmDeckError:
            place = None
        known = place is not None and place.refusal is None and agent in place.registry.agents
        home = place.database if place is not None and known else self._engine.coordination
        self._record(
            home,
            "unknown",
            "agent.login",
            agent if known else printable(agent)[:80],
            said,
            allowed=False,
        )

    def tick(self) -> None:
        """Once a second: have agents renew their tokens in time, and end what has expired."""
        now_s = self._engine.clock.monotonic_s()
        if now_s - self._acted_s >= ATTACH_EVERY_S:
            self._acted_s = now_s
            self.seen.clear()
        link = self._engine.link
        if link is None:
            return
        connected = link.agents.__contains__
        for place in tuple(self._engine.places.values()):
            for agent, ended in place.registry.tokens.ending(connected):
                if ended:
                    self.voided(agent, "its token has expired")
                elif now_s - self._asked.get(agent, -RENEW_EVERY_S) >= RENEW_EVERY_S:
                    self._asked[agent] = now_s
                    link.notify(agent, RENEW)
        for gone in self._asked.keys() - link.agents:
            del self._asked[gone]

    @staticmethod
    def _record(
        database: Database, actor: str, action: str, object_: str, detail: str,
        *, allowed: bool = True,
    ) -> None:  # fmt: skip
        def change(tx: Transaction) -> None:
            tx.audit(actor, action, object_, allowed=allowed, detail=detail)

        task = asyncio.ensure_future(database.write(change))
        task.add_done_callback(_heed)


def user_name(uid: int) -> str:
    """The name of a user of this host, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _heed(done: asyncio.Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        log.warning("who uses the engine could not be recorded: %s", error)
