"""A batch as its caller holds it. Written over the port, the same here and over the socket."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .. import codec
from ..errors import ErrorReport, InvalidInput, SwarmDeckError
from ..model import parse_priority
from ..port import Port

MAX_OPERATIONS: Final = 10_000

_NAMESPACE: Final = "default"


class Outcome(msgspec.Struct, frozen=True):
    """What became of one operation: its `value`, or the `error` that failed it alone. A set has
    its new version, a delete whether there was such a key, an increment the sum, a message its
    id."""

    value: Any = None
    error: SwarmDeckError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


class Batch:
    """Operations of one actor in one environment, gathered and then stored with one commit.

        async with memory.batch() as batch:
            batch.set("a", 1)
            batch.incr("count")
            batch.send("digest", {"key": "a"})
        batch.outcomes[1].value

    They are done in the order given, each seeing those before it. Without `all_or_nothing` one
    that is refused fails alone; with it the first one refused fails all, and nothing is stored.
    A batch that is left by an error stores nothing. Made by `Memory.batch` and `Engine.batch`.
    """

    def __init__(
        self, port: Port, actor: str, environment: str, *, all_or_nothing: bool = False
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._call = port.call
        self._actor = actor
        self._environment = environment
        self._atomic = all_or_nothing
        self._items: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        """Operations that wait for `commit`."""
        return len(self._items)

    def set(
        self,
        key: str,
        value: Any,  # noqa: ANN401 - JSON types or bytes
        *,
        level: str | int | None = None,
        ttl_s: float | None = None,
        namespace: str = _NAMESPACE,
        if_version: int | None = None,
    ) -> int:
        """Add a `Memory.set`; its place among the outcomes. This and the following raise
        InvalidInput for a value that cannot be stored and for an operation too many."""
        format_, body = codec.encode(value)
        return self._add(("set", namespace, key, format_, body, level, ttl_s, if_version))

    def delete(
        self, key: str, *, namespace: str = _NAMESPACE, if_version: int | None = None
    ) -> int:
        """Add a `Memory.delete`."""
        return self._add(("delete", namespace, key, if_version))

    def incr(self, key: str, by: int = 1, *, namespace: str = _NAMESPACE) -> int:
        """Add a `Memory.incr`."""
        return self._add(("incr", namespace, key, by))

    def decr(self, key: str, by: int = 1, *, namespace: str = _NAMESPACE) -> int:
        """Add a `Memory.decr`."""
        return self.incr(key, -by, namespace=namespace)

    def send(
        self,
        kind: str,
        body: Any = None,  # noqa: ANN401 - JSON types
        *,
        priority: int | str = 5,
        delay_s: float = 0,
        expires_s: float | None = None,
        key: str | None = None,
        to: str | None = None,
        max_attempts: int | None = None,
    ) -> int:
        """Add a `Queue.send`, which does not wait for room."""
        text, urgency = codec.encode_json(body), parse_priority(priority)
        return self._add(("send", kind, text, urgency, delay_s, expires_s, key, to, max_attempts))

    def _add(self, item: tuple[Any, ...]) -> int:
        if len(self._items) >= MAX_OPERATIONS:
            raise InvalidInput(
                f"more than {MAX_OPERATIONS:,} operations in one batch", hint="commit it in parts"
            )
        self._items.append(item)
        return len(self._items) - 1

    async def commit(self) -> list[Outcome]:
        """Store what was gathered, durable as the environment promises; what became of each, in
        order. The batch is empty again.

        With `all_or_nothing` raises the error of the first operation refused. Raises Unavailable
        when the engine or its disk does not answer, and then the operations stay gathered."""
        items = self._items[:]
        rows = await self._call("batch.commit", self._actor, self._environment, items, self._atomic)
        del self._items[: len(items)]
        self.outcomes = [_outcome(row) for row in rows]
        return self.outcomes

    async def __aenter__(self) -> Batch:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.commit()


def _outcome(row: list[Any]) -> Outcome:
    if len(row) == 1:
        return Outcome(row[0])
    return Outcome(error=ErrorReport(*row).error())
