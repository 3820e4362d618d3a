"""Memory operations as events, for as long as somebody listens.

Thousands a second are nobody's business most of the time. So a store is told to tell: while
somebody listens to their channel it is a `ToldStore`, which is a MemoryStore whose calls say how
they ended, and else the plain one, which has nothing to ask itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from ..errors import SwarmDeckError
from ..events import OPERATIONS, EventBus, Published
from ..memory import MemoryStore
from ..model import Principal

T = TypeVar("T")

_part: Final[ContextVar[bool]] = ContextVar("part of another operation", default=False)


class MemoryOperation(msgspec.Struct, frozen=True):
    """A call on records that has ended. `operation` is get, mget, set, mset, incr, delete, level,
    clear, keys or batch; `key` is empty where it was about several, of which there are `count`.
    `error` is the code of what refused it, empty if nothing did."""

    environment: str
    actor: str
    operation: str
    namespace: str
    key: str = ""
    count: int = 1
    error: str = ""


class ToldStore(MemoryStore):
    """A store that says of each call how it ended. Made of a MemoryStore by `MemoryWatch`."""

    tell: Callable[[MemoryOperation], None]

    def get(self, principal: Principal, namespace: str, key: str) -> Any:  # noqa: ANN401
        if _part.get():
            return super().get(principal, namespace, key)
        done = self._begun(principal, "get", namespace, key)
        return self._followed(done, partial(super().get, principal, namespace, key))

    async def mget(
        self, principal: Principal, namespace: str, keys: Sequence[str]
    ) -> list[tuple[int, bytes, int] | None]:
        done = self._begun(principal, "mget", namespace, count=len(keys))
        token = _part.set(True)
        try:
            return await self._awaited(done, super().mget(principal, namespace, keys))
        finally:
            _part.reset(token)

    def set(self, principal: Principal, namespace: str, key: str, *args: Any) -> Any:  # noqa: ANN401
        done = self._begun(principal, "set", namespace, key)
        return self._followed(done, partial(super().set, principal, namespace, key, *args))

    def mset(
        self,
        principal: Principal,
        namespace: str,
        items: Sequence[Sequence[Any]],
        *args: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        done = self._begun(principal, "mset", namespace, count=len(items))
        return self._followed(done, partial(super().mset, principal, namespace, items, *args))

    def incr(self, principal: Principal, namespace: str, key: str, by: int) -> Any:  # noqa: ANN401
        done = self._begun(principal, "incr", namespace, key)
        return self._followed(done, partial(super().incr, principal, namespace, key, by))

    def delete(self, principal: Principal, namespace: str, key: str, *args: Any) -> Any:  # noqa: ANN401
        done = self._begun(principal, "delete", namespace, key)
        return self._followed(done, partial(super().delete, principal, namespace, key, *args))

    def set_level(self, principal: Principal, namespace: str, key: str, *args: Any) -> Any:  # noqa: ANN401
        done = self._begun(principal, "level", namespace, key)
        return self._followed(done, partial(super().set_level, principal, namespace, key, *args))

    async def clear(self, principal: Principal, namespace: str | None, prefix: str = "") -> int:
        done = self._begun(principal, "clear", namespace or "*", count=0)
        return await self._awaited(done, super().clear(principal, namespace, prefix))

    async def keys(
        self,
        principal: Principal,
        namespace: str,
        *args: Any,  # noqa: ANN401
    ) -> tuple[list[str], str | None]:
        done = self._begun(principal, "keys", namespace, count=0)
        return await self._awaited(done, super().keys(principal, namespace, *args))

    def batched(self, principal: Principal, count: int) -> None:
        self.tell(self._begun(principal, "batch", "*", count=count))

    # --- how it ended -----------------------------------------------------------------------

    def _begun(
        self, principal: Principal, operation: str, namespace: str, key: str = "", count: int = 1
    ) -> MemoryOperation:
        env = self._database.env
        return MemoryOperation(env, principal.id, operation, namespace, key, count)

    def _followed(self, done: MemoryOperation, call: Callable[[], Any]) -> Any:  # noqa: ANN401
        """The answer of a call, and how it ended once that is known."""
        try:
            answer = call()
        except SwarmDeckError as error:
            self._ended(done, error)
            raise
        if asyncio.iscoroutine(answer):
            return self._awaited(done, answer)
        if asyncio.isfuture(answer):
            answer.add_done_callback(partial(self._settled, done))
        else:
            self.tell(done)
        return answer

    async def _awaited(self, done: MemoryOperation, work: Coroutine[Any, Any, T]) -> T:
        try:
            answer = await work
        except SwarmDeckError as error:
            self._ended(done, error)
            raise
        self.tell(done)
        return answer

    def _settled(self, done: MemoryOperation, future: asyncio.Future[Any]) -> None:
        self._ended(done, None if future.cancelled() else future.exception())

    def _ended(self, done: MemoryOperation, error: BaseException | None) -> None:
        code = error.code if isinstance(error, SwarmDeckError) else ""
        self.tell(msgspec.structs.replace(done, error=code))


class MemoryWatch:
    """Makes stores tell while somebody listens."""

    def __init__(self, bus: EventBus, stores: Iterable[MemoryStore]) -> None:
        self._bus = bus
        self._stores = stores

    def turn(self, *, wanted: bool) -> None:
        """Let every store tell, or none."""
        for store in self._stores:
            store.__class__ = ToldStore if wanted else MemoryStore
            if isinstance(store, ToldStore):
                store.tell = self._tell

    def _tell(self, operation: MemoryOperation) -> None:
        self._bus.publish(Published(OPERATIONS, msgspec.to_builtins(operation)))
