"""One page of what several environments hold, each of them in order already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from ..errors import InvalidInput

MOST_MERGED: Final = 20_000  # rows of one environment that are merged with those of others

K = TypeVar("K")
V = TypeVar("V")


class Paged(Protocol):
    """An action that asks for a page."""

    @property
    def offset(self) -> int: ...
    @property
    def limit(self) -> int: ...


async def page_of(
    kept: Sequence[K],
    read: Callable[[K, int, int], Awaitable[Sequence[V]]],
    asked: Paged,
    key: Callable[[V], Any],
    *,
    reverse: bool = False,
) -> list[V]:
    """What `read(one, offset, limit)` gives of the only one, or of several merged by `key`. Raises
    InvalidInput for a page that is too far down to be merged."""
    if len(kept) == 1:
        return list(await read(kept[0], asked.offset, asked.limit))
    end = asked.offset + asked.limit
    if end > MOST_MERGED:
        raise InvalidInput(
            f"row {end:,} of several environments is too far down to be merged",
            hint="name one environment, or filter",
        )
    pages = await asyncio.gather(*(read(each, 0, end) for each in kept))
    found = sorted((each for page in pages for each in page), key=key, reverse=reverse)
    return found[asked.offset : end]
