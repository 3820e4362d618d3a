"""Where one can go: a screen by name and what it is about."""

from __future__ import annotations

from typing import Any

import msgspec

from ..engine.actions import Action


class Place(msgspec.Struct, frozen=True):
    """A screen and its subject: an id for `swarm`, `agent`, `message`, `records` and `logs`.

    `action` is the query whose answer a `result` shows, `row` the view a `detail` shows. `filter`,
    `environment` and `state` narrow a table; empty is all of it, or what it begins with.
    """

    name: str
    subject: str = ""
    action: Action | None = None
    row: Any = None
    filter: str = ""
    environment: str = ""
    state: str = ""
