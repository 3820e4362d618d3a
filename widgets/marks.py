"""The marked rows of a table, by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Marks:
    """Marked keys, each with where its row was seen last, and the key a range starts from."""

    __slots__ = ("_keys", "last", "places")

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.last: str | None = None
        self._keys: frozenset[str] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, key: str) -> bool:
        return key in self.places

    @property
    def keys(self) -> frozenset[str]:
        """The marked keys, put together once for each change."""
        if self._keys is None:
            self._keys = frozenset(self.places)
        return self._keys

    def toggle(self, key: str, place: int) -> None:
        """Mark the key or unmark it; the next range starts from it."""
        if self.places.pop(key, None) is None:
            self.places[key] = place
        self.last = key
        self._keys = None

    def add(self, marks: Iterable[tuple[str, int]]) -> None:
        """Mark all these keys."""
        self.places.update(marks)
        self._keys = None

    def move(self, places: Mapping[str, int]) -> bool:
        """Keep the marks that have a place in `places`, and these places; whether a mark went."""
        kept = {key: places[key] for key in self.places if key in places}
        went = len(kept) < len(self.places)
        self.places = kept
        self._keys = None if went else self._keys
        return went

    def clear(self) -> None:
        """Unmark all."""
        self.places.clear()
        self.last = None
        self._keys = None
