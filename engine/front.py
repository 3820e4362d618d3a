"""What is asked of an engine from outside: by its socket, and by the port in its process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import __version__
from .actions import Action, name_of
from .authority import Authority
from .bus import Channels
from .dispatch import Dispatcher, Receipt
from .environment import Place
from .errors import Denied, InvalidInput, NotFound, SwarmDeckError
from .identity import Identity
from .journal import Journal
from .model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Principal,
    check_name,
    environment_of,
    home_of,
)
from .places import Places
from .store.volatile import is_volatile

if TYPE_CHECKING:
    from .link.protocol import Greeting


_ON_DISK: Final = ("backup.", "artifact.", "vault.rekey", "doctor", "demo")
"""Actions, or the nouns of some, that are about a data directory or need its socket."""

_STARTS: Final = frozenset({"swarm.create", "swarm.scale"})


class Front:
    """The part of an engine that finds out who asks, and hands over what they ask for."""

    data: Path
    places: Mapping[str, Place]
    opened: Places
    authority: Authority
    identity: Identity
    journal: Journal
    channels: Channels
    _dispatcher: Dispatcher

    def greeting(self) -> Greeting:
        from .link.protocol import VERSION, Greeting  # noqa: PLC0415 - as the server that asks

        return Greeting(VERSION, __version__, os.getpid(), str(self.data))

    def authenticate(self, agent: str, token: str) -> Principal:
        """The agent with this id and token. Raises Denied."""
        try:
            place = self.places[environment_of(agent)]
        except SwarmDeckError as error:
            raise Denied(f"no agent {agent!r}", hint="ids begin with the environment") from error
        self.opened.require(place.environment)
        return place.registry.authenticate(agent, token)

    def acting(self, actor: str) -> Principal:
        """Who acts when the operator says `actor`. Raises NotFound, and Denied where the
        operator's role does not let it act as an agent."""
        if actor == OPERATOR:
            return OPERATOR_PRINCIPAL
        if self.authority.is_limited:
            self.authority.require_acting(actor)
        principal = self.resolve(actor)
        self.identity.acted(actor)
        return principal

    def actor(self, name: str) -> Callable[[], Principal]:
        """What answers like `acting`, for one who acts very often."""
        home = home_of(name)
        if home is None or self.authority.is_limited:
            return partial(self.acting, name)
        places, seen = self.places, self.identity.seen

        def now() -> Principal:
            principal = places[home].registry.principals.get(name)
            return self.acting(name) if principal is None or name not in seen else principal

        return now

    def resolve(self, actor: str) -> Principal:
        """`operator` or an agent as it is now. Raises NotFound."""
        if actor == OPERATOR:
            return OPERATOR_PRINCIPAL
        try:
            return self.places[environment_of(actor)].registry.principal(actor)
        except NotFound:
            self.opened.require(environment_of(actor))
            raise

    def dispatch(self, action: Action, principal: Principal) -> Receipt:
        try:
            self._require_disk(action)
            receipt = self._dispatcher.dispatch(action, principal)
        except SwarmDeckError as error:
            self.journal.refused(action, principal, error)
            raise
        receipt.listen(partial(self._note_failure, action, principal))
        return receipt

    def _require_disk(self, action: Action) -> None:
        """Raises InvalidInput for what an engine in memory has nothing for."""
        if not is_volatile(self.data):
            return
        name = name_of(action)
        processes = name in _STARTS and getattr(action, "agents", 0) > 0
        if processes or name.startswith(_ON_DISK):
            what = "processes need its socket" if processes else "nothing of it is on a disk"
            raise InvalidInput(
                f"{name} does not go with an engine in memory: {what}",
                hint="open one with a data directory",
            )

    def _note_failure(self, action: Action, principal: Principal, receipt: Receipt) -> None:
        if receipt.error is not None:
            self.journal.refused(action, principal, receipt.error)

    async def publish(self, channel: str, body: Any, principal: Principal) -> int:  # noqa: ANN401
        self.check_channel(channel, principal)
        if principal.is_operator and self.authority.is_limited:
            self.authority.require_publish(channel)
        return await self.channels.publish(channel, body)

    def check_channel(self, channel: str, principal: Principal) -> None:
        """The operator uses any channel, an agent those of its environment: `dev.…`. Raises
        InvalidInput for a name that cannot be one, Denied."""
        check_name(channel, "channel")
        if not principal.is_operator:
            prefix = f"{Environment(principal.environment).prefix}."
            if not channel.startswith(prefix):
                raise Denied(
                    f"{principal.id} may not use channel {channel}",
                    hint=f"channels of its environment begin with {prefix}",
                )
