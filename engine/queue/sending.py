"""What comes into a queue: one message, several, one for each member of a group."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..errors import Conflict, NotFound
from ..model import Principal, printable
from ..settings import QueueSettings
from ..store.database import Database, Operation
from ..vault import Ring
from . import arguments
from .broadcast import Said, SendMany, check_size, key_for
from .delivery import Keeper, Send
from .desk import Desk
from .line import Directory, Line
from .statements import DELAYED, READY


class Sending(Desk):
    """Sending. The methods check their arguments at once (InvalidInput, NotFound, Denied,
    Unavailable, Busy) and answer with a future; they take what crosses the wire."""

    _keeper: Keeper
    _line: Line

    def __init__(
        self, database: Database, keyring: Ring, settings: QueueSettings, directory: Directory
    ) -> None:
        super().__init__(database, keyring)
        self._settings = settings
        self._directory = directory
        self._loop = asyncio.get_running_loop()

    def send(  # noqa: PLR0913, PLR0917 - the fields of a message, as on the wire
        self,
        principal: Principal,
        kind: str,
        body: bytes,
        priority: int = 5,
        delay_s: float = 0,
        expires_s: float | None = None,
        key: str | None = None,
        to: str | None = None,
        max_attempts: int | None = None,
        wait_s: float = 0,
    ) -> asyncio.Future[str]:
        """Store a message; answers with its id. `body` is a JSON text, `to` an agent, team or
        swarm. A `key` that was used before stores nothing and answers with the first id, as
        long as that message is kept. In a full queue it waits up to `wait_s` for room, behind
        those who wait already; a caller that cancels meanwhile has sent nothing. Raises Busy
        when there is no room, NotFound for an unknown `to`, Conflict for one that has ended."""
        self._admit(principal)
        self.keyring.require()
        if wait_s:
            arguments.micros(wait_s, 0, arguments.MAX_WAIT_S, "wait")
        send = self._drafted(
            principal, kind, body, priority, delay_s, expires_s, key, to, max_attempts
        )
        if self.flow.takes():
            return self.hand_over(send)
        return self.flow.wait(principal.id, 1, len(send.text), wait_s, lambda: self.hand_over(send))

    def send_many(
        self, principal: Principal, messages: Sequence[Sequence[Any]], wait_s: float = 0
    ) -> asyncio.Future[list[str]]:
        """Store up to 1,000 messages in one transaction, all or none; answers with their ids in
        order. Each is [kind, body, priority, delay_s, expires_s, key, to, max_attempts], as
        `send` takes them. They wait for room together. Raises as `send` does."""
        self._admit(principal)
        self.keyring.require()
        check_size(len(messages), sum(len(message[1]) for message in messages))
        sends = [self._drafted(principal, *message) for message in messages]
        return self._send_together(sends, None, wait_s)

    def broadcast(  # noqa: PLR0913, PLR0917 - the fields of a message, as on the wire
        self,
        principal: Principal,
        kind: str,
        body: bytes,
        to: str | None = None,
        priority: int = 5,
        delay_s: float = 0,
        expires_s: float | None = None,
        key: str | None = None,
        max_attempts: int | None = None,
        wait_s: float = 0,
    ) -> asyncio.Future[list[str]]:
        """Send one message to each agent of a swarm or team, or of the whole environment, but not
        to the sender itself: all or none; answers with their ids. Who joins later gets none. A
        `key` counts for each agent: said again, only those who have none yet get one. Raises as
        `send` does."""
        self._admit(principal)
        self.keyring.require()
        members = self._directory.members(self.target(to) or None)
        others = [member for member in members if member != principal.id]
        check_size(len(others), len(body) * len(others))
        sends = [
            self._drafted(
                principal, kind, body, priority, delay_s, expires_s,
                key_for(key, member), member, max_attempts,
            )
            for member in others
        ]  # fmt: skip
        said = Said(principal.id, to or "", f"{kind} to {len(others)} agents")
        return self._send_together(sends, said, wait_s)

    def _send_together(
        self, sends: Sequence[Send], said: Said | None, wait_s: float
    ) -> asyncio.Future[list[str]]:
        if wait_s:
            arguments.micros(wait_s, 0, arguments.MAX_WAIT_S, "wait")
        if not sends:
            nobody: asyncio.Future[list[str]] = self._loop.create_future()
            nobody.set_result([])
            return nobody
        together = SendMany()
        together.keeper, together.sends, together.said = self._keeper, sends, said

        def hand_over() -> asyncio.Future[list[str]]:
            for send in sends:
                self._number_it(send)
            return self._database.submit(together)

        if self.flow.takes(len(sends)):
            return hand_over()
        size_bytes = sum(len(send.text) for send in sends)
        return self.flow.wait(sends[0].sender, len(sends), size_bytes, wait_s, hand_over)

    def _drafted(  # noqa: PLR0913, PLR0917 - the fields of a message, as on the wire
        self,
        principal: Principal,
        kind: str,
        body: bytes,
        priority: int,
        delay_s: float,
        expires_s: float | None,
        key: str | None,
        to: str | None,
        max_attempts: int | None,
    ) -> Send:
        """A message that has no id yet, its fields checked."""
        send = Send()
        send.keeper = self._keeper
        send.sender = principal.id
        send.kind = arguments.kind(kind)
        send.target = self.target(to)
        send.priority = arguments.whole(priority, 1, 10, "priority")
        send.delay_us = arguments.wait(delay_s)
        send.expires_us = 0 if expires_s is None else arguments.expiry(expires_s, send.delay_us)
        send.key = None if key is None else arguments.dedup_key(key)
        most = self._settings.max_attempts if max_attempts is None else max_attempts
        send.max_attempts = arguments.whole(most, 1, arguments.MAX_ATTEMPTS, "max_attempts")
        send.text = arguments.body(body)
        return send

    def draft(self, principal: Principal, message: Sequence[Any]) -> Send:
        """A message for somebody else's operation: room for it is taken, its id comes with
        `number`. Who gives it up says `unsent`. Takes and raises what `send_many` does."""
        self._admit(principal)
        self.keyring.require()
        send = self._drafted(principal, *message)
        self.flow.require()
        return send

    def number(self, sends: Sequence[Send]) -> None:
        """Give drafts their ids. They must go to the store before the next one gets an id."""
        for send in sends:
            self._number_it(send)

    def due(self, deadline_us: int) -> None:
        """Something has to be done at that time."""
        raise NotImplementedError

    def _number_it(self, send: Send) -> None:
        """Give a message its id. It must go to the store before the next one gets an id."""
        self._last_id += 1
        send.ident = self._last_id
        if not send.delay_us:
            self.counters.lanes.sending(send.target, send.kind, send.ident)
            self._line.mark(send.target, send.kind, 1)

    def hand_over(self, send: Send, within: Operation | None = None) -> asyncio.Future[Any]:
        """Store a message, or what stores it `within`, for which room was taken."""
        self._number_it(send)
        return self._database.submit(within or send)

    # --- after a commit ---------------------------------------------------------------------

    def sent(self, send: Send, *, created: bool) -> None:
        """A send was committed; `created` is false when its key was known."""
        if created:
            self.stored((send,))
            return
        if not send.delay_us:
            self.counters.lanes.sent(send.target, send.kind, send.ident)
        self.flow.settled()

    def stored(self, sends: Sequence[Send]) -> None:
        """Sends of one commit were stored, in the order of their ids. Those into one lane are
        counted together: most of a batch are."""
        found: dict[tuple[bool, str, str, int], int] = {}
        for send in sends:
            place = (send.delay_us > 0, send.target, send.kind, send.priority)
            found[place] = found.get(place, 0) + 1
            if send.deadline_us is not None:
                self.due(send.deadline_us)
        counters, last, sent_us = self.counters, sends[-1].ident, sends[-1].sent_us
        for (delayed, target, kind, priority), count in found.items():
            state = DELAYED if delayed else READY
            counters.added(state, target, kind, priority, sent_us, count)
            if not delayed:
                counters.lanes.sent(target, kind, last)
                self._line.mark(target, kind)
        self.flow.settled(len(sends))

    def unsent(self, count: int = 1) -> None:
        """So many sends have failed."""
        self.flow.settled(count)

    # --- checks -----------------------------------------------------------------------------

    def target(self, to: str | None) -> str:
        """Whom a message is for, '' for anyone. Raises NotFound, Conflict for one that has
        ended."""
        if to is None:
            return ""
        if not self._directory.knows(arguments.text(to, "target")):
            raise NotFound(
                f"nobody in {self.environment} is called {printable(to)}",
                hint="a message goes to an agent, a team or a swarm",
            )
        if why := self._directory.ended(to):
            raise Conflict(why, hint="send to one that runs: see swarmdeck swarm list")
        return to
