"""What agents hold: memory and queue, bound to who acts and where.

Written once over the port, so they behave the same in the engine's process and over its socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from . import codec
from .codec import JSON, decode_json
from .errors import InvalidInput
from .model import parse_priority
from .port import Port

if TYPE_CHECKING:
    from .batch import Batch

DEFAULT_NAMESPACE: Final = "default"
DEFAULT_LEASE_S: Final = 30.0


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """A memory write that goes with an ack. Fields as in `Memory.set`."""

    key: str
    value: Any
    level: str | int | None = None
    ttl_s: float | None = None
    namespace: str = DEFAULT_NAMESPACE
    if_version: int | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be sent with others. Fields as in `Queue.send`."""

    kind: str
    body: Any = None
    priority: int | str = 5
    delay_s: float = 0
    expires_s: float | None = None
    key: str | None = None
    to: str | None = None
    max_attempts: int | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was claimed. It is the claimer's until `lease_until_us` (microseconds since
    the epoch); `attempt` counts its deliveries from 1 and fences late acks."""

    id: str
    kind: str
    body: Any
    priority: int
    attempt: int
    lease_until_us: int
    sender: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a message that was sent. `state` is ready, delayed or leased while it is
    open; done with its `result`; dead, expired or cancelled with its last `error`."""

    id: str
    state: str
    result: Any
    error: str
    attempt: int
    max_attempts: int

    @property
    def is_open(self) -> bool:
        """Whether it may still be worked on."""
        return self.state in _OPEN


_OPEN: Final = frozenset({"ready", "delayed", "leased"})


class Memory:
    """Records of one environment, as one actor sees them.

    All methods raise InvalidInput for a bad key, level or value and Unavailable when the engine
    or its disk does not answer. A record the actor may not read looks like a missing one; a
    write or delete it may not do raises Denied.
    """

    def __init__(self, port: Port, actor: str, environment: str) -> None:
        self._port = port
        self._call = port.call
        self._actor = actor
        self._environment = environment
        self._read = port.bound("memory.get", actor, environment)
        self._write = port.bound("memory.set", actor, environment)

    def batch(self, *, all_or_nothing: bool = False) -> Batch:
        """Writes and messages that are stored with one commit: of up to 10,000 those that are
        allowed or, with `all_or_nothing`, all or none."""
        from .batch import Batch  # noqa: PLC0415 - most programs need none

        return Batch(self._port, self._actor, self._environment, all_or_nothing=all_or_nothing)

    async def set(
        self,
        key: str,
        value: Any,  # noqa: ANN401 - JSON types or bytes
        *,
        level: str | int | None = None,
        ttl_s: float | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        if_version: int | None = None,
    ) -> int:
        """Store a value; returns its new version, durable as the environment promises.

        `level` (private, team, swarm, public, system or 1 to 5) None keeps what is there; a new
        record is private. `ttl_s` None lasts for ever. `if_version` stores only over exactly
        that version, 0 only where there is none, else Conflict.
        """
        format_, body = codec.encode(value)
        version: int = await self._write(namespace, key, format_, body, level, ttl_s, if_version)
        return version

    async def get(
        self,
        key: str,
        default: Any = None,  # noqa: ANN401 - whatever the caller wants for a missing key
        *,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> Any:  # noqa: ANN401 - JSON types or bytes
        """The value of a key, or `default`."""
        found = self._read(namespace, key)
        if found is None:
            return default
        if type(found) is not tuple:
            found = await found
            if found is None:
                return default
        return decode_json(found[1]) if found[0] == JSON else found[1]

    async def get_versioned(
        self, key: str, *, namespace: str = DEFAULT_NAMESPACE
    ) -> tuple[Any, int] | None:
        """Value and version of a key, for a later `if_version`; None where there is none."""
        found = await self._call("memory.get", self._actor, self._environment, namespace, key)
        return None if found is None else (codec.decode(found[0], found[1]), found[2])

    async def has(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> bool:
        """Whether `get` would find a value."""
        there: bool = await self._call("memory.has", self._actor, self._environment, namespace, key)
        return there

    async def delete(
        self, key: str, *, namespace: str = DEFAULT_NAMESPACE, if_version: int | None = None
    ) -> bool:
        """Delete a key; whether there was one. Raises Denied, Conflict."""
        gone: bool = await self._call(
            "memory.delete", self._actor, self._environment, namespace, key, if_version
        )
        return gone

    async def clear(self, *, namespace: str | None = DEFAULT_NAMESPACE, prefix: str = "") -> int:
        """Delete every key the actor may delete; how many. `namespace` None means all."""
        count: int = await self._call(
            "memory.clear", self._actor, self._environment, namespace, prefix
        )
        return count

    async def mget(
        self, keys: Iterable[str], *, namespace: str = DEFAULT_NAMESPACE
    ) -> dict[str, Any]:
        """The values of those keys that have one."""
        wanted = list(keys)
        found = await self._call("memory.mget", self._actor, self._environment, namespace, wanted)
        return {
            key: codec.decode(item[0], item[1])
            for key, item in zip(wanted, found, strict=True)
            if item is not None
        }

    async def mset(
        self,
        values: Mapping[str, Any],
        *,
        level: str | int | None = None,
        ttl_s: float | None = None,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> dict[str, int]:
        """Store all values or none; their new versions."""
        items = [[key, *codec.encode(value)] for key, value in values.items()]
        versions = await self._call(
            "memory.mset", self._actor, self._environment, namespace, items, level, ttl_s
        )
        return dict(zip(values, versions, strict=True))

    async def keys(
        self,
        prefix: str = "",
        *,
        namespace: str = DEFAULT_NAMESPACE,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> tuple[list[str], str | None]:
        """One page of keys in byte order, and the cursor of the next (None at the end)."""
        page, following = await self._call(
            "memory.keys", self._actor, self._environment, namespace, prefix, limit, cursor
        )
        return list(page), following

    async def setex(
        self,
        key: str,
        ttl_s: float,
        value: Any,  # noqa: ANN401 - JSON types or bytes
        *,
        level: str | int | None = None,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> int:
        """`set` with a time to live, in the order of arguments people know."""
        return await self.set(key, value, level=level, ttl_s=ttl_s, namespace=namespace)

    async def incr(self, key: str, by: int = 1, *, namespace: str = DEFAULT_NAMESPACE) -> int:
        """Add to a whole number (0 where there is none); the sum. Raises Conflict on others."""
        total: int = await self._call(
            "memory.incr", self._actor, self._environment, namespace, key, by
        )
        return total

    async def decr(self, key: str, by: int = 1, *, namespace: str = DEFAULT_NAMESPACE) -> int:
        """`incr` downwards."""
        return await self.incr(key, -by, namespace=namespace)


class Queue:
    """Messages of one environment, as one actor sends and claims them."""

    def __init__(self, port: Port, actor: str, environment: str) -> None:
        self._call = port.call
        self._actor = actor
        self._environment = environment

    async def send(  # noqa: PLR0913 - the fields of a message
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
        wait_s: float = 0,
    ) -> str:
        """Send a message; its id, durable as the environment promises.

        `priority` 1 to 10 (10 first) or low, medium, high, critical. `delay_s` holds it back,
        `expires_s` drops it if nobody has finished it by then. A second send with the same `key`
        answers the first id. `to` addresses an agent, team or swarm. After `max_attempts`
        deliveries (3 by default) it is a dead letter. Raises InvalidInput, NotFound, and Busy
        while the queue is full or drained: `wait_s` (60 at most) waits in line for room, and a
        caller that is cancelled while it waits has sent nothing.
        """
        text = codec.encode_json(body)
        ident: str = await self._call(
            "queue.send", self._actor, self._environment,
            kind, text, parse_priority(priority), delay_s, expires_s, key, to, max_attempts,
            wait_s,
        )  # fmt: skip
        return ident

    async def send_many(self, messages: Iterable[Draft], *, wait_s: float = 0) -> list[str]:
        """Send up to 1,000 messages in one transaction, all of them or none; their ids, in
        order. They wait for room together. Raises as `send` does."""
        drafts = [_outgoing(message) for message in messages]
        idents: list[str] = await self._call(
            "queue.send_many", self._actor, self._environment, drafts, wait_s
        )
        return idents

    async def broadcast(  # noqa: PLR0913 - the fields of a message
        self,
        kind: str,
        body: Any = None,  # noqa: ANN401 - JSON types
        *,
        to: str | None = None,
        priority: int | str = 5,
        delay_s: float = 0,
        expires_s: float | None = None,
        key: str | None = None,
        max_attempts: int | None = None,
        wait_s: float = 0,
    ) -> list[str]:
        """Send a message of its own to each agent that is now in a swarm or team, or by default in
        the environment, but not to the actor itself: to all or to none; their ids. A second
        broadcast with the same `key` reaches only agents that have not got it. Raises as `send`
        does."""
        idents: list[str] = await self._call(
            "queue.broadcast", self._actor, self._environment,
            kind, codec.encode_json(body), to, parse_priority(priority), delay_s, expires_s, key,
            max_attempts, wait_s,
        )  # fmt: skip
        return idents

    async def claim(
        self,
        limit: int = 1,
        *,
        lease_s: float = DEFAULT_LEASE_S,
        wait_s: float = 0,
        kinds: Sequence[str] | None = None,
    ) -> list[Message]:
        """Up to `limit` messages, most urgent first, held for `lease_s`. Returns as soon as one
        is there; waits up to `wait_s` (60 at most) for it, else an empty list."""
        claimed = await self._call(
            "queue.claim", self._actor, self._environment,
            limit, lease_s, wait_s, None if kinds is None else list(kinds),
        )  # fmt: skip
        return [
            Message(
                id=ident, kind=kind, body=codec.decode_json(body), priority=priority,
                attempt=attempt, lease_until_us=until_us, sender=sender,
            )
            for ident, kind, body, priority, attempt, until_us, sender in claimed
        ]  # fmt: skip

    async def extend(self, message: Message, lease_s: float = DEFAULT_LEASE_S) -> int:
        """Hold a message for `lease_s` from now; until when, in microseconds since the epoch.
        Raises Conflict when it is no longer the actor's."""
        until_us: int = await self._call(
            "queue.extend", self._actor, self._environment, message.id, message.attempt, lease_s
        )
        return until_us

    async def ack(
        self,
        message: Message,
        result: Any = None,  # noqa: ANN401 - JSON types
        *,
        writes: Iterable[Write] = (),
    ) -> None:
        """Finish a message: its result and all memory writes in one transaction, or nothing.
        Raises Conflict when it is no longer the actor's, Denied or Conflict for a write."""
        text = None if result is None else codec.encode_json(result)
        await self._call(
            "queue.ack", self._actor, self._environment,
            message.id, message.attempt, text, [_wire(write) for write in writes],
        )  # fmt: skip

    async def nack(self, message: Message, *, error: str = "", delay_s: float | None = None) -> str:
        """Give a message back after a failure; its new state: ready, delayed or dead."""
        state: str = await self._call(
            "queue.nack", self._actor, self._environment,
            message.id, message.attempt, error, delay_s,
        )  # fmt: skip
        return state

    async def result(self, ident: str, *, wait_s: float = 0) -> Result:
        """What has become of a message the actor has sent; waits up to `wait_s` (60 at most) until
        it is done, dead, expired or cancelled. A coordinator and the operator ask for any. Raises
        NotFound, also for a message of somebody else, and Busy when too many wait."""
        state, text, error, attempt, most = await self._call(
            "queue.result", self._actor, self._environment, ident, wait_s
        )
        result = None if text is None else codec.decode_json(text)
        return Result(
            id=ident, state=state, result=result, error=error, attempt=attempt, max_attempts=most
        )


def _outgoing(draft: Draft) -> tuple[Any, ...]:
    if not isinstance(draft, Draft):
        raise InvalidInput(f"{type(draft).__name__} is not a Draft", hint="Draft(kind=…, body=…)")
    return (
        draft.kind, codec.encode_json(draft.body), parse_priority(draft.priority), draft.delay_s,
        draft.expires_s, draft.key, draft.to, draft.max_attempts,
    )  # fmt: skip


def _wire(write: Write) -> list[Any]:
    if not isinstance(write, Write):
        raise InvalidInput(f"{type(write).__name__} is not a Write", hint="writes=[Write(key=…)]")
    return [
        write.namespace, write.key, *codec.encode(write.value), write.level, write.ttl_s,
        write.if_version,
    ]  # fmt: skip
