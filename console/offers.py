"""Which keys can do something here: the footer names no key in vain. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..engine.errors import NotFound
from . import prefill
from .keymap import Key, fields_of, fill

_NEEDS: Final[Mapping[str, Callable[[Any], object]]] = {
    "why": prefill.why,
    "edit": prefill.edit,
}
"""The console's own words that only some rows are for."""

_OF_ROWS: Final = frozenset({"describe", "copy"})
"""Those that any row will do for."""


def acts(key: Key, row: object, subject: str = "", environment: str = "") -> bool:
    """Whether a key has something to act on, on a screen about `subject` with `row` selected.
    A row whose state forbids it counts: what is pressed is answered with the reason."""
    if row is None and key.run in _OF_ROWS:
        return False
    needs = _NEEDS.get(key.run)
    if needs is None:
        return fill(key.run, row, subject, environment) is not None
    try:
        needs(row)
    except NotFound:
        return False
    return True


def is_of_row(key: Key) -> bool:
    """Whether what a key does is done to the row under the cursor, and so where that is."""
    return key.run in _NEEDS or bool(set(fields_of(key.run)) - {"subject"})
