"""The views one has seen, to go back and forth between them. Pure."""

from __future__ import annotations

from typing import Final, TypeAlias

from .places import Place

Path: TypeAlias = tuple[Place, ...]
"""The places one upon the other, the first screen first: what the crumbs say."""

MOST: Final = 50


class Trail:
    """Paths in the order they were gone, where one is among them, and where one was before."""

    def __init__(self, first: Path) -> None:
        self._paths = [first]
        self._at = 0
        self._before: int | None = None

    @property
    def here(self) -> Path:
        return self._paths[self._at]

    def keep(self, path: Path) -> None:
        """Where one is has been narrowed since: this is how it is to be found again."""
        self._paths[self._at] = path

    def went(self, path: Path) -> None:
        """One came to another view; what lay ahead is forgotten."""
        del self._paths[self._at + 1 :]
        self._paths.append(path)
        self._move(len(self._paths) - 1)
        if len(self._paths) > MOST:
            del self._paths[0]
            self._at -= 1
            self._before = self._before - 1 if self._before else None

    def step(self, by: int) -> Path | None:
        """The view so many steps back (negative) or ahead, where one is now; None at the end."""
        if not 0 <= self._at + by < len(self._paths):
            return None
        self._move(self._at + by)
        return self.here

    def swap(self) -> Path | None:
        """The view before this one, where one is now; None when there is none."""
        if self._before is None or self._before >= len(self._paths):
            return None
        self._move(self._before)
        return self.here

    def _move(self, at: int) -> None:
        self._before, self._at = self._at, at
