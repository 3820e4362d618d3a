"""What all views are made of."""

from __future__ import annotations

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all views."""


class Done(View, frozen=True, kw_only=True):
    """The answer of an action that has nothing more to say."""

    changed: int = 1
    detail: str = ""
