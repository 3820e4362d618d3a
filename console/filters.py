"""What is typed behind `/`: which rows of a table are shown.

Terms stand beside each other with blanks between them and must all hold:

    text          some column contains it        "two words", 'a=b'   exactly this text
    -f text       its letters come in this order in some column
    key=value     the column or field is that    key!=value            is anything else
    key>5  key<5  key>=5  key<=5                 numbers, sizes (512MB) and ages (10m)
    !term         the opposite of any of these

A key is the name of a column, shown or not, or of a field of the view; a value may end with `*`.
Everything here is pure.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from ..engine.errors import InvalidInput
from ..engine.model import printable
from ..engine.parameters import suggestion

Kind = type[msgspec.Struct]

_TERM: Final = re.compile(r"([^\W\d][\w .%-]*?)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_MEASURE: Final = re.compile(r"(\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s*([a-zμ%]*)")
# Folding the case of the micro sign gives the Greek letter.
_SCALES: Final[Mapping[str, float]] = {
    "": 1, "%": 1, "k": 1e3, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
    "us": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3_600, "d": 86_400,
}  # fmt: skip
_TIMES: Final = frozenset({"us", "μs", "ms", "s", "m", "h", "d"})
_COMPARED: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
# A field may be named without its unit: `size` for `size_bytes`, `created` for `created_at_us`.
_UNITS: Final = ("", "_bytes", "_s", "_ms", "_us", "_at_us", "_until_us")
_LEAST_MOMENT_US: Final = 1e14
"""A sort value beyond this is a moment in microseconds since the epoch, and compared by age."""


class Shown(Protocol):
    """What a filter needs of a column."""

    @property
    def name(self) -> str: ...
    @property
    def cell(self) -> Callable[[Any], str]: ...
    @property
    def sort(self) -> Callable[[Any], Any] | None: ...


class Term(msgspec.Struct, frozen=True):
    """One term as typed. `key` and `sign` are empty for a text; `sign` is `-f` for letters in
    order."""

    value: str
    key: str = ""
    sign: str = ""
    inverse: bool = False


class Measure(msgspec.Struct, frozen=True):
    """A number with a unit: bytes, seconds, or plain. `timed` when the unit was one of time."""

    number: float
    timed: bool = False


class Filter(msgspec.Struct, frozen=True):
    """A filter as typed and as read. An empty one lets every row through."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    @property
    def contains(self) -> str:
        """The text the engine could look for itself: that of the only term, when it is a plain
        one; empty otherwise."""
        only = self.terms[0] if len(self.terms) == 1 else None
        return only.value if only is not None and only == Term(only.value) else ""

    def matcher(
        self, columns: Sequence[Shown], kind: Kind | None, now_us: int
    ) -> Callable[[Any], bool]:
        """Whether a row is let through, as a function. `kind` is the view the rows are of, None
        when that is not known yet: then any key is taken. `now_us` is what ages are reckoned to.
        Raises InvalidInput for an unknown key and for a bound that is no number."""
        rows = _Rows(columns, kind, now_us)
        tests = [_test(term, rows) for term in self.terms]
        return lambda row: all(test(row) for test in tests)


def read_filter(text: str) -> Filter:
    """The filter in a typed text. Never raises: what can be wrong depends on the table."""
    return Filter(text.strip(), tuple(_terms(_words(text))))


def keys(columns: Sequence[Shown], kind: Kind | None) -> list[str]:
    """Every key a filter may name here: the columns in their order, then the other fields."""
    named = [_plain(column.name) for column in columns]
    fields = kind.__struct_fields__ if kind is not None else ()
    return list(dict.fromkeys((*named, *fields)))


# --- reading --------------------------------------------------------------------------------


def _words(text: str) -> Iterable[tuple[str, bool]]:
    """The words of a text, and whether each began with a quote. A quote that is not closed ends
    with the text: it is still being typed."""
    word, quote, quoted, begun = "", "", False, False
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
            word += letter if quote else ""
        elif letter in "\"'":
            quote, quoted, begun = letter, quoted or not word, True
        elif letter.isspace():
            if begun:
                yield word, quoted
            word, quoted, begun = "", False, False
        else:
            word, begun = word + letter, True
    if begun:
        yield word, quoted


def _terms(words: Iterable[tuple[str, bool]]) -> Iterable[Term]:
    fuzzy = False
    for word, quoted in words:
        if word == "-f" and not quoted:
            fuzzy = True
        elif word:
            yield Term(word, sign="-f") if fuzzy else Term(word) if quoted else _term(word)
            fuzzy = False


def _term(word: str) -> Term:
    inverse = len(word) > 1 and word.startswith("!")
    found = _TERM.fullmatch(word[1:] if inverse else word)
    if found is None:
        return Term(word[1:] if inverse else word, inverse=inverse)
    key, sign, value = found.groups()
    return Term(value, key, sign, inverse)


def measure(text: str) -> Measure | None:
    """`5`, `1,234`, `512MB`, `1.5 GB`, `10m`, `2 h 5 m`, `87 µs`; None for anything else."""
    rest, total, timed, found = text.strip().casefold(), 0.0, False, False
    while rest:
        part = _MEASURE.match(rest)
        if part is None or part[2] not in _SCALES or (found and not timed):
            return None
        total += float(part[1].replace(",", "")) * _SCALES[part[2]]
        timed, found = part[2] in _TIMES, True
        rest = rest[part.end() :].lstrip()
    return Measure(total, timed) if found else None


# --- looking at rows ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Key:
    """What a key stands for in a table."""

    column: Shown | None
    field: str


class _Rows:
    """The rows of one table, as filters see them."""

    def __init__(self, columns: Sequence[Shown], kind: Kind | None, now_us: int) -> None:
        self._columns = columns
        self._kind = kind
        self._now_us = now_us

    def cells(self, row: Any) -> list[str]:  # noqa: ANN401 - any view
        """The text of every column, also of those there is no room for."""
        return [column.cell(row).casefold() for column in self._columns]

    def key(self, name: str) -> _Key:
        """What `name` stands for. Raises InvalidInput."""
        wanted = _plain(name)
        column = next((each for each in self._columns if _plain(each.name) == wanted), None)
        fields = self._kind.__struct_fields__ if self._kind is not None else ()
        field = next((wanted + unit for unit in _UNITS if wanted + unit in fields), "")
        if column is None and not field and self._kind is not None:
            known = keys(self._columns, self._kind)
            hint = suggestion(wanted, known, f"one of {', '.join(known)}")
            raise InvalidInput(f"no column or field {printable(name)}", hint=hint)
        return _Key(column, field)

    def texts(self, key: _Key, row: Any) -> list[str]:  # noqa: ANN401
        """The texts that stand under a key: of its field and of its column."""
        found = [key.column.cell(row)] if key.column is not None else []
        value = getattr(row, key.field, None) if key.field else None
        if isinstance(value, tuple):
            found += [str(each) for each in value]
        elif key.field:
            found.append("" if value is None else _written(value))
        return [text.casefold() for text in found]

    def number(self, key: _Key, row: Any, bound: Measure) -> float | None:  # noqa: ANN401
        """The number under a key, in the unit of `bound`: bytes, seconds, or the field's own."""
        value = key.column.sort(row) if key.column is not None and key.column.sort else None
        if isinstance(value, int | float) and abs(value) >= _LEAST_MOMENT_US:
            return self._age_s(abs(value))
        if not isinstance(value, int | float) and key.field:
            value = getattr(row, key.field, None)
            if isinstance(value, int | float) and key.field.endswith(("_at_us", "_until_us")):
                return self._age_s(value)
            if isinstance(value, int | float) and bound.timed:
                return value * _scale(key.field)
        if isinstance(value, int | float):
            return float(value)
        shown = measure(_leading(key.column.cell(row))) if key.column is not None else None
        return None if shown is None else shown.number

    def _age_s(self, at_us: float) -> float:
        """How far away a moment is, before or behind us."""
        return abs(self._now_us - at_us) / 1e6


def _leading(cell: str) -> str:
    """The number a cell begins with: of `7/8` and of `12.3k/s` what stands before the slash."""
    return cell.lstrip("< ").partition("/")[0]


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip()).casefold()


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scale(field: str) -> float:
    """What a field's number is in seconds."""
    return 1e-6 if field.endswith("_us") else 1e-3 if field.endswith("_ms") else 1


def _test(term: Term, rows: _Rows) -> Callable[[Any], bool]:
    test = _plain_test(term, rows) if not term.key else _key_test(term, rows)
    return (lambda row: not test(row)) if term.inverse else test


def _plain_test(term: Term, rows: _Rows) -> Callable[[Any], bool]:
    wanted = term.value.casefold()
    if term.sign == "-f":
        return lambda row: any(_in_order(wanted, cell) for cell in rows.cells(row))
    return lambda row: any(wanted in cell for cell in rows.cells(row))


def _in_order(letters: str, text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in letters)


def _key_test(term: Term, rows: _Rows) -> Callable[[Any], bool]:
    key = rows.key(term.key)
    if term.sign in _COMPARED:
        return _number_test(term, key, rows)
    wanted, same = term.value.casefold(), term.sign == "="
    begun = wanted.removesuffix("*") if wanted.endswith("*") else None
    bound = measure(wanted)

    def holds(row: Any) -> bool:  # noqa: ANN401 - any view
        texts = rows.texts(key, row)
        if begun is not None:
            return same is any(text.startswith(begun) for text in texts)
        equal = wanted in texts or (
            bound is not None and rows.number(key, row, bound) == bound.number
        )
        return same is equal

    return holds


def _number_test(term: Term, key: _Key, rows: _Rows) -> Callable[[Any], bool]:
    bound = measure(term.value)
    if bound is None:
        said = printable(term.value) if term.value else "nothing"
        raise InvalidInput(
            f"{term.key}{term.sign} needs a number, not {said}", hint="such as 5, 512MB or 10m"
        )
    compared = _COMPARED[term.sign]

    def holds(row: Any) -> bool:  # noqa: ANN401 - any view
        number = rows.number(key, row, bound)
        return number is not None and compared(number, bound.number)

    return holds
