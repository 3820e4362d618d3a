"""Several messages at once: stored together, or none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from ..errors import InvalidInput
from ..store.database import Transaction
from . import arguments
from .delivery import QueueOperation, Send

MAX_AT_ONCE: Final = 1_000  # callers wait behind their transaction
MAX_BYTES_AT_ONCE: Final = 16 << 20


class Said(NamedTuple):
    """What is written down of a broadcast beside its messages."""

    actor: str
    to: str
    detail: str


class SendMany(QueueOperation):
    """Store several messages in one transaction; answers with their ids, in order. One whose key
    is known stores nothing and has the first id."""

    __slots__ = ("said", "sends")
    grows = True
    sends: Sequence[Send]
    said: Said | None

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[list[int]]:
        return [operation.store(tx) for operation in operations]

    def store(self, tx: Transaction) -> list[int]:
        idents = Send.apply(tx, self.sends)
        if self.said is not None:
            actor, to, detail = self.said
            tx.audit(actor, "queue.broadcast", to or tx.env, detail=detail)
        return idents

    def committed(self, outcome: list[int]) -> list[str]:
        return [send.committed(ident) for send, ident in zip(self.sends, outcome, strict=True)]

    def fail(self, error: Exception) -> None:
        self.keeper.unsent(len(self.sends))
        super().fail(error)


def check_size(count: int, size_bytes: int = 0) -> None:
    """Raises InvalidInput for more than goes into one transaction."""
    if count > MAX_AT_ONCE:
        raise InvalidInput(
            f"{count:,} messages at once", hint=f"at most {MAX_AT_ONCE:,}; send them in parts"
        )
    if size_bytes > MAX_BYTES_AT_ONCE:
        raise InvalidInput(
            f"the bodies have {size_bytes:,} bytes together, at most {MAX_BYTES_AT_ONCE:,} fit one "
            "transaction",
            hint="send them in parts",
        )


def key_for(key: str | None, member: str) -> str | None:
    """The idempotency key of one member's message of a broadcast: said again with the same key, it
    reaches only those who have not got it. Raises InvalidInput when it is too long."""
    return None if key is None else arguments.dedup_key(f"{key}/{member}")
