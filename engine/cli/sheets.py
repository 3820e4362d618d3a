"""Tables for other programs: comma-separated values, as RFC 4180 has them."""

from __future__ import annotations

import csv
import io
from typing import Final

from .. import views

_COLUMNS: Final = (
    "environment", "namespace", "key", "level", "owner", "team", "subject", "name", "role",
    "read", "write", "delete", "rule", "note",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def matrix_csv(view: views.MatrixView) -> str:
    """Effective rights, one line for each record and subject under a line of names. `rule` decided
    about reading, `note` is what limits an entry that a right rests on."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for row in view.rows:
        record = (view.environment, row.namespace, row.key, row.level, row.owner, row.team or "")
        for subject, cell in zip(view.subjects, row.cells, strict=True):
            who = (subject.id, subject.name, subject.role)
            rights = ("no" if letter == "-" else "yes" for letter in cell.rights)
            writer.writerow(map(_cell, (*record, *who, *rights, cell.rule, cell.note)))
    return sheet.getvalue()


def _cell(text: str) -> str:
    """Text from data that a spreadsheet takes for text and not for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
