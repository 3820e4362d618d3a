"""A batch as it comes from its caller: every operation checked, then one hop to the writer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from .. import codec
from ..errors import InvalidInput, SwarmDeckError
from ..memory.operations import MemoryOperation
from ..memory.store import MemoryStore
from ..model import Principal
from ..queue import MessageQueue
from ..queue.delivery import Send
from ..store.database import Database
from .handle import MAX_OPERATIONS
from .operation import Commit, Step, failed, wire

MAX_BYTES: Final = 16 << 20  # of values and bodies: others wait behind their transaction


class SetItem(msgspec.Struct, frozen=True, array_like=True, tag="set"):
    namespace: str
    key: str
    format: int
    body: bytes
    level: str | int | None = None
    ttl_s: float | None = None
    if_version: int | None = None


class DeleteItem(msgspec.Struct, frozen=True, array_like=True, tag="delete"):
    namespace: str
    key: str
    if_version: int | None = None


class IncrItem(msgspec.Struct, frozen=True, array_like=True, tag="incr"):
    namespace: str
    key: str
    by: int = 1


class SendItem(msgspec.Struct, frozen=True, array_like=True, tag="send"):
    kind: str
    body: bytes
    priority: int = 5
    delay_s: float = 0
    expires_s: float | None = None
    key: str | None = None
    to: str | None = None
    max_attempts: int | None = None


Item: TypeAlias = SetItem | DeleteItem | IncrItem | SendItem


def commit(
    database: Database,
    memory: MemoryStore,
    queue: MessageQueue,
    principal: Principal,
    items: Sequence[Sequence[Any]],
    *,
    atomic: bool,
    check: bool,
) -> asyncio.Future[list[list[Any]]]:
    """Store all that may be stored or, `atomic`, all or none: for each operation [value], or the
    code, message, hint and retryable of its error. `check`: values come from outside. Raises
    InvalidInput for a batch that is not well formed, and what refuses an atomic one early."""
    wanted = _read(items)
    steps = _drafted(memory, queue, principal, wanted, atomic=atomic, check=check)
    if all(isinstance(step, SwarmDeckError) for step in steps):
        nothing: asyncio.Future[list[list[Any]]] = asyncio.get_running_loop().create_future()
        nothing.set_result([wire(step) for step in steps])
        return nothing
    operation = Commit(memory, queue, principal, steps, atomic=atomic)
    queue.number(operation.sends)
    return database.submit(operation)


def _read(items: Sequence[Sequence[Any]]) -> list[Item]:
    if len(items) > MAX_OPERATIONS:
        raise InvalidInput(
            f"{len(items):,} operations in one batch", hint=f"at most {MAX_OPERATIONS:,}"
        )
    try:
        wanted = msgspec.convert(items, list[Item])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"a batch is not well formed: {error}") from error
    size_bytes = sum(len(item.body) for item in wanted if isinstance(item, SetItem | SendItem))
    if size_bytes > MAX_BYTES:
        raise InvalidInput(
            f"the values have {size_bytes:,} bytes together, at most {MAX_BYTES:,} fit one batch",
            hint="commit it in parts",
        )
    return wanted


def _drafted(
    memory: MemoryStore,
    queue: MessageQueue,
    principal: Principal,
    items: Sequence[Item],
    *,
    atomic: bool,
    check: bool,
) -> list[Step]:
    """An operation or its error for each. An atomic batch gives back the room it took in the queue
    before it raises the first one."""
    steps: list[Step] = []
    for number, item in enumerate(items):
        try:
            steps.append(_draft(memory, queue, principal, item, check=check))
        except SwarmDeckError as error:
            if atomic:
                queue.unsent(sum(isinstance(step, Send) for step in steps))
                raise failed(number, len(items), error) from error
            steps.append(error)
    return steps


def _draft(
    memory: MemoryStore, queue: MessageQueue, principal: Principal, item: Item, *, check: bool
) -> MemoryOperation | Send:
    match item:
        case SetItem(namespace, key, format_, body, level, ttl_s, if_version):
            if check:
                codec.check(format_, body)
            return memory.draft_set(
                principal, namespace, key, format_, body, level, ttl_s, if_version
            )
        case DeleteItem(namespace, key, if_version):
            return memory.draft_delete(principal, namespace, key, if_version)
        case IncrItem(namespace, key, by):
            return memory.draft_incr(principal, namespace, key, by)
        case SendItem():
            return queue.draft(principal, msgspec.structs.astuple(item))
