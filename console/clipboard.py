"""What is copied to the clipboard: rows as JSON, and the line that asks for them.

The terminal carries it (OSC 52), also over SSH; a terminal that cannot drops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..engine.errors import InvalidInput
from ..engine.model import format_size

MOST_BYTES: Final = 100_000
"""More than this many terminals cut or drop, which nobody would notice before pasting."""


def rows_json(rows: Sequence[Any]) -> str:
    """One row as a JSON object, several as a list. Bytes are base64."""
    wanted = rows[0] if len(rows) == 1 else list(rows)
    return msgspec.json.format(msgspec.json.encode(wanted)).decode()


def check_copy(text: str) -> str:
    """The text, when a clipboard can be trusted to take it. Raises InvalidInput."""
    size_bytes = len(text.encode(errors="replace"))
    if size_bytes > MOST_BYTES:
        raise InvalidInput(
            f"{format_size(size_bytes)} are too much for the clipboard, which takes "
            f"{format_size(MOST_BYTES)}",
            hint="mark fewer rows, or write the view to a file:  :export json",
        )
    return text
