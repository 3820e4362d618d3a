"""What part of the messages somebody looks at, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..model import MessageState
from ..views import MessageView

if TYPE_CHECKING:
    from .service import MessageQueue


class Wish(NamedTuple):
    """Which messages, None is any, and how they are ordered."""

    state: MessageState | None = None
    kind: str | None = None
    holder: str | None = None
    sender: str | None = None
    contains: str = ""
    order: str = "urgency"
    descending: bool = False


async def list_over(
    queues: Sequence[MessageQueue], wanted: Wish, *, offset: int, limit: int
) -> list[MessageView]:
    """A page of the messages of several queues, in one order."""
    found = [
        await queue.list(
            state=wanted.state, kind=wanted.kind, holder=wanted.holder, limit=offset + limit
        )
        for queue in queues
    ]
    return [row for rows in found for row in rows][offset : offset + limit]
