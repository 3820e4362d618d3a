"""Where the rows of a table come from: a sequence that is at hand, or pages that are read.

`LazyRows` is what a table needs of rows that live elsewhere. `PagedRows` keeps the pages of one
listing that were read last. `PlainRows` shows a sequence through the same calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# How far around its old place a row is looked for before all rows are, in two steps; how many may
# fail to turn up there before the rest is not looked for one by one; from how many on it never is.
_NEXT: Final = 8
_NEAR: Final = 1_000
_MOST_MISSED: Final = 8
_MOST_SINGLE: Final = 2_000


@runtime_checkable
class LazyRows(Protocol[R_co]):
    """Rows in the order of a listing, known by their index. No call blocks or reads."""

    @property
    def exact(self) -> bool:
        """Whether `len` is the number of rows there are; else there are at least so many."""
        ...

    def __len__(self) -> int:
        """Rows known to exist. It may grow and shrink."""
        ...

    def get(self, index: int) -> R_co | None:
        """The row at `index`, None while it is not here. The cost is that of a look-up."""
        ...

    def index_of(self, key: str) -> int | None:
        """Where the row of that key is, None when it is not among the rows that are here."""
        ...

    def loaded(self, first: int, last: int) -> Iterator[tuple[int, R_co]]:
        """The rows from `first` to `last` that are here, ascending, each with its index. The cost
        is that of the rows that are here, not of the range."""
        ...


class PlainRows(Generic[R]):
    """A sequence as rows that are all here, in its own order or a sorted one.

    The sequence is kept, not copied, and no index of its keys is built: a row is looked for
    around its old place first, and all missing ones are found in one pass over the keys.
    """

    exact: Final = True

    def __init__(self, rows: Sequence[R], key: Callable[[R], str]) -> None:
        self.source = rows
        self._key = key
        self._order: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def get(self, index: int) -> R | None:
        """The row at `index`, None beyond the end."""
        if not 0 <= index < len(self.source):
            return None
        return self.source[index if self._order is None else self._order[index]]

    def index_of(self, key: str) -> int | None:
        """Where the row of that key is; looks at every row when there is none."""
        return self.follow({key: 0}).get(key)

    def loaded(self, first: int, last: int) -> Iterator[tuple[int, R]]:
        """The rows from `first` to `last`, each with its index."""
        indexes = range(max(0, first), min(last + 1, len(self)))
        return zip(indexes, self._rows(indexes), strict=True)

    def sort(self, value: Callable[[R], Any] | None, *, descending: bool = False) -> None:
        """Order the rows by a value of theirs; None gives back the order of the sequence."""
        if value is None:
            self._order = None
            return
        values = [value(row) for row in self.source]
        self._order = sorted(range(len(values)), key=values.__getitem__, reverse=descending)

    def follow(self, places: Mapping[str, int]) -> dict[str, int]:
        """Where the rows of these keys are now, given where each was seen last. Keys without a
        row are left out."""
        if len(places) > _MOST_SINGLE:
            return self._scan(set(places))
        found: dict[str, int] = {}
        missed: set[str] = set()
        shift = 0
        # From top to bottom each row has moved by about as much as the one before it.
        for key, before in sorted(places.items(), key=itemgetter(1)):
            if len(missed) > _MOST_MISSED:
                missed.add(key)
            elif (at := self._near(key, before + shift)) is not None:
                found[key] = at
                shift = at - before
            else:
                missed.add(key)
        return found | self._scan(missed) if missed else found

    def _near(self, key: str, place: int) -> int | None:
        """Where the key is within `_NEAR` rows of `place`."""
        for reach in (0, _NEXT, _NEAR):
            window = range(max(0, place - reach), min(place + reach + 1, len(self)))
            keys = list(map(self._key, self._rows(window)))
            if key in keys:
                return window.start + keys.index(key)
        return None

    def _scan(self, wanted: set[str]) -> dict[str, int]:
        """Where these keys are first, in a pass that ends with the last of them."""
        everywhere = range(len(self))
        # Most rows that are not near are nowhere: that alone is found out in half the time.
        if wanted.isdisjoint(map(self._key, self._rows(everywhere))):
            return {}
        keys = map(self._key, self._rows(everywhere))
        found: dict[str, int] = {}
        for at in compress(everywhere, map(wanted.__contains__, keys)):
            found.setdefault(self._key(self._at(at)), at)
            if len(found) == len(wanted):
                break
        return found

    def _at(self, index: int) -> R:
        return self.source[index if self._order is None else self._order[index]]

    def _rows(self, indexes: range) -> Iterator[R]:
        if self._order is not None:
            return map(self.source.__getitem__, self._order[indexes.start : indexes.stop])
        if len(indexes) == len(self.source):
            return iter(self.source)
        return map(self.source.__getitem__, indexes)


@dataclass(slots=True)
class _Page(Generic[R]):
    rows: Sequence[R]
    offsets: dict[str, int]
    stale: bool = False


class PagedRows(Generic[R]):
    """The pages of a listing that were wanted last, at most `capacity` of `page_rows` rows each.

    Whoever reads the listing asks `wants` which pages the rows on the screen need, hands them over
    with `put` and shows the object to its table again. After `expire` all pages are wanted anew,
    and until the new ones are here the rows of before are shown: a refresh never blanks the table.

    `key` tells a row from all others. `capacity` must exceed the pages that one screen touches.
    """

    def __init__(
        self, key: Callable[[R], str], *, page_rows: int = 100, capacity: int = 32
    ) -> None:
        if page_rows < 1 or capacity < 1:
            raise ValueError("a page has at least one row, and one page is kept")
        self.page_rows = page_rows
        self.capacity = capacity
        self._key = key
        self._total = 0
        self._exact = False
        # Whether the end was seen since the rows were last said to have changed.
        self._settled = False
        # The least recently wanted page first.
        self._pages: OrderedDict[int, _Page[R]] = OrderedDict()

    @property
    def exact(self) -> bool:
        """Whether `len` is the number of rows there are; else there are at least so many."""
        return self._exact

    def __len__(self) -> int:
        return self._total

    def get(self, index: int) -> R | None:
        """The row at `index`, None while its page is not here."""
        page = self._pages.get(index // self.page_rows)
        offset = index % self.page_rows
        return page.rows[offset] if page is not None and offset < len(page.rows) else None

    def index_of(self, key: str) -> int | None:
        """Where the row of that key is, None when no page that is here has it. While pages of
        before are still shown a key can be on two of them; the new one counts."""
        fallback = None
        for number, page in reversed(self._pages.items()):
            offset = page.offsets.get(key)
            if offset is None:
                continue
            if not page.stale:
                return number * self.page_rows + offset
            if fallback is None:
                fallback = number * self.page_rows + offset
        return fallback

    def loaded(self, first: int, last: int) -> Iterator[tuple[int, R]]:
        """The rows from `first` to `last` that are here, ascending, each with its index."""
        for number in sorted(self._pages):
            start = number * self.page_rows
            if start <= last and start + self.page_rows > first:
                for index, row in enumerate(self._pages[number].rows, start):
                    if first <= index <= last:
                        yield index, row

    def wants(self, first: int, last: int) -> tuple[int, ...]:
        """Pages to read so that the rows from `first` to `last` are here and new, ascending.

        Where the end is not certain and the range reaches the last known row, the page that would
        have the next one is wanted too. The pages of the range are the last ones to be given up.
        """
        if self._settled:
            last = min(last, self._total - 1)
        elif last >= self._total - 1:
            last = self._total  # there may be one row more than is known
        numbers = range(max(0, first) // self.page_rows, last // self.page_rows + 1)
        for number in numbers:
            if number in self._pages:
                self._pages.move_to_end(number)
        return tuple(number for number in numbers if self._is_wanted(number))

    def put(self, page: int, rows: Sequence[R]) -> None:
        """Take the rows of a page, numbered from 0. One that is not full ends the listing; one
        beyond the known end shows that there are more rows. `rows` is kept, not copied.

        Raises ValueError for a page below 0 or with more than `page_rows` rows.
        """
        if page < 0 or len(rows) > self.page_rows:
            raise ValueError(f"page {page} with {len(rows)} rows of at most {self.page_rows}")
        start = page * self.page_rows
        offsets = {self._key(row): at for at, row in enumerate(rows)}
        self._pages[page] = _Page(rows, offsets)
        self._pages.move_to_end(page)
        self._learn_end(start, start + len(rows))
        while len(self._pages) > self.capacity:
            self._pages.popitem(last=False)

    def set_total(self, total: int, *, exact: bool = True) -> None:
        """Say how many rows there are: so many, or unless `exact` at least so many. What was
        known beyond them is forgotten."""
        if total < 0:
            raise ValueError(f"{total} rows")
        self._total = total
        self._exact = self._settled = exact
        for number, page in list(self._pages.items()):
            left = total - number * self.page_rows
            if left <= 0:
                del self._pages[number]
            elif left < len(page.rows):
                page.rows = page.rows[:left]
                page.offsets = {key: at for key, at in page.offsets.items() if at < left}

    def expire(self) -> None:
        """Want all pages anew; their rows stay until the new ones come. For a refresh, and where
        the listing is asked for in another order or with another filter."""
        for page in self._pages.values():
            page.stale = True
        self._settled = False

    def clear(self) -> None:
        """Forget everything, as for another listing."""
        self._pages.clear()
        self._total = 0
        self._exact = self._settled = False

    def _is_wanted(self, number: int) -> bool:
        page = self._pages.get(number)
        if page is None or page.stale:
            return True
        return len(page.rows) < min(self.page_rows, self._total - number * self.page_rows)

    def _learn_end(self, start: int, end: int) -> None:
        """What a page with rows from `start` to before `end` says of the number of rows."""
        if end - start == self.page_rows:
            if end > self._total:
                self._total = end
                self._exact = self._settled = False
        elif end > start:
            self.set_total(end)
        elif start <= self._total:
            # Nothing here: the listing ends at this page's start or before.
            self.set_total(start, exact=start == 0 or self.get(start - 1) is not None)


def follow(
    rows: LazyRows[R], key_of: Callable[[R], str], key: str | None, place: int
) -> int | None:
    """Where the row of `key` is now that was at `place`; None when it is not among those here."""
    if key is None:
        return None
    row = rows.get(place)
    if row is not None and key_of(row) == key:
        return place
    if isinstance(rows, PlainRows):
        return rows.follow({key: place}).get(key)
    return rows.index_of(key)
