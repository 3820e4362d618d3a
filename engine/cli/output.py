"""Views as text for people. Which cell reads how is told by the unit in a field's name.

All text from data passes `safe_text`. A width of None means a pipe: nothing is cut or left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from .. import views
from ..model import format_size
from ..text import ELLIPSIS, safe_json, safe_text

_GAP: Final = "  "
_MIN_COLUMN: Final = 8
_TIMES: Final = (("d", 86_400), ("h", 3600), ("min", 60))
_UNITS: Final = ("_at_us", "_us", "_bytes", "_ms", "_s")
_VALUES: Final = frozenset({"value", "before", "after"})  # of a setting, whose name has the unit
_JSON_FIELDS: Final = frozenset({
    "value", "body", "result", "payload", "resolution", "metadata", "requirements", "deliverables",
})  # fmt: skip
_SHOWN_CHARS: Final = 4096
_NOTHING: Final = "-"
_BENCH: Final = ("name", "ops_s", "p50_us", "p99_us", "concurrency")
_BENCH_COMPARED: Final = ("verdict", "ratio", "baseline")
_BENCH_TITLES: Final = {
    "p50_us": "median", "p99_us": "99 %", "concurrency": "callers", "baseline": "against",
    "at_us": "measured",
}  # fmt: skip

Cell = tuple[str, bool]  # text, and whether it is a number and stands to the right


class Shown(msgspec.Struct, frozen=True):
    """How to show: the terminal's width in cells (None: no terminal) and the time it is."""

    width: int | None
    now_us: int


def as_text(result: Any, shown: Shown) -> str:  # noqa: ANN401 - any result of an action
    """The result of an action as lines of text, each ended."""
    from .pages import LISTS, PAGES  # noqa: PLC0415 - they are made of what is here

    page = _PAGES.get(type(result)) or PAGES.get(type(result))
    if page is not None:
        return page(result, shown)
    if isinstance(result, msgspec.Struct):
        return record(result, shown)
    page = LISTS.get(type(result[0])) if result else None
    if page is not None:
        return page(result, shown)
    if result and isinstance(result[0], views.BenchView):
        return benchmarks(result, shown)
    if result and isinstance(result[0], msgspec.Struct):
        return struct_table(result, shown)
    return _lines([safe_text(str(line)) for line in result] or ["(none)"])


def _keys(page: views.KeyPage, _shown: Shown) -> str:
    more = [f"(more: --cursor {safe_text(page.cursor)})"] if page.cursor is not None else []
    return _lines([*map(safe_text, page.keys), *more])


def as_json(result: Any) -> bytes:  # noqa: ANN401 - any result of an action
    """One JSON document, one line, with nothing in it that acts on a terminal. Bytes are base64."""
    return safe_json(msgspec.json.encode(result).decode()).encode() + b"\n"


def struct_table(rows: Sequence[msgspec.Struct], shown: Shown) -> str:
    """A table with a column for each field that says something in any row."""
    names = [name for name in rows[0].__struct_fields__ if _tells(name, rows)]
    cells = [[cell(row, name, shown.now_us) for name in names] for row in rows]
    return table([heading(name) for name in names], cells, shown.width)


def benchmarks(rows: Sequence[views.BenchView], shown: Shown) -> str:
    """A line for each workload; how its values are protected and how it compares only where any
    row has something to say about it."""
    names = [*_BENCH, *(name for name in _BENCH_COMPARED if _tells(name, rows)), "at_us"]
    values = [(_protected(row), False) for row in rows]
    protected = any(text != _NOTHING for text, _ in values)
    table_rows: list[list[Cell]] = []
    for row, value in zip(rows, values, strict=True):
        found = [cell(row, name, shown.now_us) for name in names]
        table_rows.append([found[0], *([value] if protected else []), *found[1:]])
    titles = [_BENCH_TITLES.get(name, heading(name)) for name in names]
    return table(
        [titles[0], *(["values"] if protected else []), *titles[1:]], table_rows, shown.width
    )


def matrix(view: views.MatrixView, shown: Shown) -> str:
    """A line for each record, a column for each subject: what it may do, and which rule decided
    about reading."""
    names = ["key", "namespace", "level", "owner"]
    rows = [
        [
            *((safe_text(getattr(row, name)), False) for name in names),
            *((safe_text(f"{each.rights} {each.rule}"), False) for each in row.cells),
        ]
        for row in view.rows
    ]
    titles = [*names, *(safe_text(subject.name) for subject in view.subjects)]
    more = "(more: --offset)\n" if view.more else ""
    return table(titles, rows, shown.width) + more if rows else "(no record)\n"


def explanation(view: views.ExplanationView, _shown: Shown) -> str:
    """The verdict, why, and what would change it: a line each, to be read and copied."""
    reasons = [
        f"  {'✗' if reason.blocks else '·'} {safe_text(reason.rule)}: {safe_text(reason.text)}"
        for reason in view.reasons
    ]
    remedies = [f"  $ {safe_text(remedy)}" for remedy in view.remedies]
    return _lines([f"{safe_text(view.subject)}: {safe_text(view.verdict)}", *reasons, *remedies])


def record(view: msgspec.Struct, shown: Shown, indent: str = "") -> str:
    """`name: value` lines; views and rows inside follow under a heading."""
    plain: list[tuple[str, str]] = []
    sections: list[str] = []
    for name in view.__struct_fields__:
        value = getattr(view, name)
        if isinstance(value, msgspec.Struct):
            sections.append(f"{indent}{heading(name)}:\n{record(value, shown, indent + _GAP)}")
        elif isinstance(value, (tuple, list)) and value and isinstance(value[0], msgspec.Struct):
            sections.append(f"\n{indent}{heading(name)}:\n{struct_table(value, shown)}")
        else:
            plain.append((heading(name), cell(view, name, shown.now_us)[0]))
    return pairs(plain, indent) + "".join(sections)


def pairs(rows: Iterable[tuple[str, str]], indent: str = "") -> str:
    """Aligned `name: value` lines."""
    found = list(rows)
    widest = max((len(name) for name, _ in found), default=0)
    return _lines([f"{indent}{name + ':':<{widest + 1}} {value}" for name, value in found])


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], width: int | None) -> str:
    """Aligned columns under headings. When they do not fit, the widest are cut first, then
    columns are left out from the right; the first, which names the row, stays."""
    widths = [
        max([len(title), *(cells(row[column][0]) for row in rows)])
        for column, title in enumerate(headings)
    ]
    widths = _fitted(widths, width)
    right = [all(row[column][1] for row in rows) for column in range(len(widths))]
    titles = [(title, False) for title in headings]
    return _lines([_row(row, widths, right) for row in (titles, *rows)])


def cell(view: msgspec.Struct, name: str, now_us: int) -> Cell:
    """One field as text, in the unit its name tells."""
    value = getattr(view, name)
    if isinstance(view, (views.SettingView, views.SettingChangeView)) and name in _VALUES:
        return _plain(view.name.rpartition(".")[2], value, now_us)
    if name in _JSON_FIELDS and value is not None:
        return _cut(_json_text(value)), False
    return _plain(name, value, now_us)


def heading(name: str) -> str:
    """A field's name without its unit, in words."""
    if name == "ops_s":
        return "ops/s"
    unit = next((unit for unit in _UNITS if name.endswith(unit)), "")
    return name.removesuffix(unit).replace("_", " ")


def duration(seconds: float) -> str:
    """`350 ms`, `12 s`, `5 min`, `3 h`, `12 d`: the largest unit that is at least one."""
    size = abs(seconds)
    if size < 1 and seconds:
        return f"{seconds * 1000:.0f} ms"
    unit, factor = next(((unit, factor) for unit, factor in _TIMES if size >= factor), ("s", 1))
    return f"{seconds / factor:.1f}".removesuffix(".0") + f" {unit}"


def cells(text: str) -> int:
    """How many cells of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_cell_width, text))


# --- one cell -------------------------------------------------------------------------------


def _plain(name: str, value: Any, now_us: int) -> Cell:  # noqa: ANN401 - any field's value
    if value in (None, (), ""):
        return _NOTHING, True  # takes the side of the rows that have something
    if isinstance(value, bool):
        return ("yes" if value else "no"), False
    if isinstance(value, (int, float)):
        return _number(name, value, now_us), True
    if isinstance(value, (tuple, list)):
        return ", ".join(safe_text(_item(item)) for item in value), False
    return safe_text(str(value)), False


def _item(item: object) -> str:
    if isinstance(item, views.LoanView):
        return f"{item.lender} {format_size(item.bytes)}"
    return str(item)


def _number(name: str, value: float, now_us: int) -> str:
    if name == "at_us" or name.endswith(("_at_us", "_until_us")):
        return _when((value - now_us) / 1_000_000)
    for ending, shown in _NUMBERS:
        if name.endswith(ending):
            return shown(value)
    return str(value) if isinstance(value, int) else f"{value:.6g}"


_NUMBERS: Final[tuple[tuple[str, Callable[[float], str]], ...]] = (
    ("bytes", lambda value: format_size(int(value))),
    ("ops_s", lambda value: f"{value:,.0f}"),
    ("_us", lambda value: f"{value:,.1f} µs"),
    ("_ms", lambda value: f"{value:,.1f} ms"),
    ("_percent", lambda value: f"{value:.0f} %"),
    ("_s", duration),
)


def _when(seconds: float) -> str:
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"


def _json_text(value: Any) -> str:  # noqa: ANN401 - any JSON value or bytes
    if isinstance(value, bytes):
        return f"({format_size(len(value))} of bytes)"
    return msgspec.json.encode(value).decode()


def _cut(text: str) -> str:
    """What of a long value is shown, and how long it is."""
    if len(text) <= _SHOWN_CHARS:
        return safe_text(text)
    return f"{safe_text(text, _SHOWN_CHARS)} ({len(text):,} characters; --json has them all)"


def _protected(row: views.BenchView) -> str:
    words = {"LZ4": row.compression, "sealed": row.encryption}
    return ", ".join(word for word, there in words.items() if there) or _NOTHING


def _tells(name: str, rows: Sequence[msgspec.Struct]) -> bool:
    values = [getattr(row, name) for row in rows]
    return any(v not in (None, "", ()) and not isinstance(v, msgspec.Struct) for v in values)


_PAGES: Final[dict[type, Callable[[Any, Shown], str]]] = {
    views.KeyPage: _keys,
    views.Done: lambda done, _shown: _lines([safe_text(done.detail) or "done"]),
    views.MatrixView: matrix,
    views.ExplanationView: explanation,
}


# --- columns --------------------------------------------------------------------------------


def _fitted(widths: list[int], width: int | None) -> list[int]:
    """The widths cut to `width`. The first column names the row and is cut last of all."""
    fitted = list(widths)
    if width is None:
        return fitted
    while (over := sum(fitted) + len(_GAP) * (len(fitted) - 1) - width) > 0:
        if len(fitted) == 1:
            return [width]
        widest = max(range(1, len(fitted)), key=fitted.__getitem__)
        if fitted[widest] <= _MIN_COLUMN:
            fitted.pop()
        else:
            second = max([_MIN_COLUMN, *fitted[1:widest], *fitted[widest + 1 :]])
            fitted[widest] -= max(1, min(over, fitted[widest] - second))
    return fitted


def _row(row: Sequence[Cell], widths: Sequence[int], right: Sequence[bool]) -> str:
    columns = zip(row, widths, right, strict=False)
    return _GAP.join(_padded(text, width, end) for (text, _), width, end in columns).rstrip()


def _padded(text: str, width: int, right: bool) -> str:
    if cells(text) > width:
        while cells(text) > width - 1:
            text = text[:-1]
        text += ELLIPSIS
    blank = " " * (width - cells(text))
    return blank + text if right else text + blank


def _cell_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
