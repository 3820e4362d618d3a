"""A view written out: what is on the screen as CSV or JSON, in a file of its own.

Pure but for `write_new`; the console's commands are in `sharing`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ..engine.errors import Conflict, InvalidInput, Unavailable
from ..engine.parameters import suggestion

Format = Literal["csv", "json"]
FORMATS: Final[tuple[Format, ...]] = ("csv", "json")

MOST_ROWS: Final = 10_000
"""The most rows a view is written out with."""

LINES: Final = ("line",)
"""The columns of a view that is a text."""

# A spreadsheet takes a cell that begins with one of these for a formula, and cells come from
# agents: an apostrophe before it makes it a text again.
_FORMULA: Final = re.compile(r"[=@\t\r]|[+-](?![\d.,\s]*$)")


@dataclass(frozen=True, slots=True)
class Export:
    """What a screen shows, as text: `rows` have a cell for each of `columns`.

    `read` makes the same of other rows of the view, for a query that is asked again for more of
    them; None where the rows shown are all there are.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[Any]], Export] | None = None


def text_export(title: str, lines: Sequence[str]) -> Export:
    """A text to write out, a row for each line."""
    return Export(title, LINES, tuple((line,) for line in lines))


def as_csv(export: Export) -> str:
    """A heading and a line for each row, quoted where needed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(export.columns)
    writer.writerows([_harmless(cell) for cell in row] for row in export.rows)
    return out.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def as_json(export: Export) -> str:
    """A list of objects, one for each row, by the names of the columns."""
    rows = [dict(zip(export.columns, row, strict=True)) for row in export.rows]
    return msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n"


def file_name(title: str, suffix: Format, at_us: int) -> str:
    """`messages-dead-20261121-034529.csv`: the view and the moment (UTC)."""
    words = "-".join(re.findall(r"[a-z0-9_]+", title.casefold()))[:60] or "view"
    moment = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return f"{words}-{moment:%Y%m%d-%H%M%S}.{suffix}"


def read_arguments(arguments: Sequence[str]) -> tuple[Format, str]:
    """Format and file out of what was typed behind `:export`. The end of the file's name tells
    the format too; without either it is CSV. Raises InvalidInput."""
    words = list(arguments)
    named: Format | None = next((each for each in FORMATS if words[:1] == [each]), None)
    if named is not None:
        del words[0]
    if len(words) > 1:
        hint = suggestion(words[0], FORMATS, "usage: export [csv | json] [FILE]")
        raise InvalidInput(f"export does not take {len(words)} files", hint=hint)
    file = words[0] if words else ""
    ending = Path(file).suffix.removeprefix(".").casefold()
    by_ending: Format = "json" if ending == "json" else "csv"
    return named or by_ending, file


def written(export: Export, suffix: Format) -> str:
    """The view in that format."""
    return as_json(export) if suffix == "json" else as_csv(export)


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Blocks. Raises Conflict for one that is, Unavailable
    where the system refuses."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise Conflict(f"{path} is there already", hint="name another file") from error
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", hint="name another file"
        ) from error
