"""What part of the messages somebody looks at, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import InvalidInput
from ..model import MessageState
from ..views import MessageView
from .statements import DELAYED, DONE, LEASED, READY, STATES
from .views import Row

if TYPE_CHECKING:
    from .desk import Desk

MOST_MERGED: Final = 20_000  # rows of one queue that are merged with those of others

_OPEN: Final = (READY, DELAYED, LEASED)


class Wish(NamedTuple):
    """Which messages, None is any, and how they are ordered; without a state, those that have
    not ended, or those that `holder` holds.

    `contains` is a text in id, kind, sender, holder, target or error, in any case. `order` is
    urgency (open ones by priority, then oldest first; ended ones newest first), age (oldest
    first), kind or attempts (fewest first), both then by urgency and age; `descending` turns it
    around.
    """

    state: MessageState | None = None
    kind: str | None = None
    holder: str | None = None
    sender: str | None = None
    contains: str = ""
    order: str = "urgency"
    descending: bool = False

    @property
    def states(self) -> tuple[int, ...]:
        if self.state is not None:
            return (STATES.index(self.state),)
        return (LEASED,) if self.holder is not None else _OPEN

    @property
    def ended(self) -> bool:
        return self.states[0] >= DONE

    @property
    def filtered(self) -> bool:
        """Whether more than the state says which messages are wanted."""
        return bool(self.kind or self.holder or self.sender or self.contains)


async def list_over(
    queues: Sequence[Desk], wanted: Wish, *, offset: int, limit: int
) -> list[MessageView]:
    """A page of the messages of several queues, without their bodies, in one order. Raises
    InvalidInput for a page too deep to be merged, Unavailable when looking takes too long."""
    found = [(queue, queue.total(wanted)) for queue in queues]
    filled = [(queue, total) for queue, total in found if total != 0]
    spans = _spans([total for _, total in filled], offset, limit)
    reading = [
        queue.rows(wanted, skip, take)
        for (queue, _), (skip, take) in zip(filled, spans, strict=True)
    ]
    pages = await asyncio.gather(*reading)
    rows = [(queue, row) for (queue, _), page in zip(filled, pages, strict=True) for row in page]
    if len(filled) > 1:
        key = _KEYS["ended" if wanted.ended and wanted.order == "urgency" else wanted.order]
        rows.sort(key=lambda pair: key(pair[1]), reverse=wanted.descending)
        before = offset - sum(skip for skip, _ in spans)
        rows = rows[before : before + limit]
    return [queue.view(row) for queue, row in rows]


def _spans(totals: Sequence[int | None], offset: int, limit: int) -> list[tuple[int, int]]:
    """What to leave out and what to read of each queue. All that come before a row in its own
    queue come before it in the whole, and so do at most all of the other queues: what is far
    enough ahead of the page needs not be read."""
    if len(totals) == 1:
        return [(offset, limit)]
    spans = []
    for number, own in enumerate(totals):
        others = [*totals[:number], *totals[number + 1 :]]
        known = [total for total in others if total is not None]
        skip = max(0, offset - sum(known)) if len(known) == len(others) else 0
        end = offset + limit if own is None else min(own, offset + limit)
        if end - skip > MOST_MERGED:
            raise InvalidInput(
                f"row {offset:,} of several environments is too far down to be merged",
                hint="name one environment, or filter",
            )
        spans.append((skip, max(0, end - skip)))
    return spans


def _urgency(row: Row) -> tuple[Any, ...]:
    return (-row[2], row[10], row[0])


_KEYS: Final[dict[str, Callable[[Row], tuple[Any, ...]]]] = {
    "urgency": _urgency,
    "ended": lambda row: (-row[10], -row[0]),
    "age": lambda row: (row[10], row[0]),
    "kind": lambda row: (row[1], *_urgency(row)),
    "attempts": lambda row: (row[4], *_urgency(row)),
}
