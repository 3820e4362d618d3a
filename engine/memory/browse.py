"""What part of the records somebody looks at, and in which order."""

from __future__ import annotations

from typing import NamedTuple


class Browse(NamedTuple):
    """A page of records. `contains` is a text in any column, `order` the name of one."""

    namespace: str | None
    prefix: str = ""
    contains: str = ""
    order: str = "key"
    descending: bool = False
    offset: int = 0
    limit: int = 200
