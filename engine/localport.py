"""The port of whoever opened the engine in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from .actions import Action
from .dispatch import Receipt
from .events import Callback
from .events import Subscription as EventSubscription
from .model import OPERATOR_PRINCIPAL, check_name
from .port import Ready, Subscription

if TYPE_CHECKING:
    from .core import Core

_WAITS: Final = (asyncio.Future, CoroutineType)


class LocalPort:
    """Acts as the operator."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def dispatch(self, action: Action) -> Receipt:
        return self._core.dispatch(action, OPERATOR_PRINCIPAL)

    def call(self, verb: str, actor: str, environment: str, *args: object) -> Awaitable[Any]:
        core = self._core
        answer = core.data_plane.trusted[verb](core.acting(actor), environment, *args)
        if type(answer) is tuple:  # a record of the cache: asking what it is not costs more
            return Ready(answer)
        return answer if isinstance(answer, _WAITS) else Ready(answer)

    def bound(self, verb: str, actor: str, environment: str) -> Callable[..., Any]:
        return self._core.data_plane.bound(verb, self._core.actor(actor), environment)

    def events(self) -> EventSubscription:
        return self._core.bus.subscribe()

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types, bytes
        return await self._core.publish(channel, body, OPERATOR_PRINCIPAL)

    async def subscribe(self, channel: str, callback: Callback) -> Subscription:
        return self._core.bus.listen(check_name(channel, "channel"), callback)

    async def close(self) -> None:
        """Nothing to do: whoever opened the engine closes it."""
