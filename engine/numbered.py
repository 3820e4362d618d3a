"""Rows that are numbered by their table and shown under ids such as `dev_conflict_12`."""

from __future__ import annotations

from typing import Final

import msgspec

from .errors import NotFound
from .model import Environment, printable

MAX_NUMBER: Final = (1 << 63) - 1


class Numbered(msgspec.Struct, frozen=True):
    """The ids of one noun in one environment."""

    environment: Environment
    noun: str

    def shown(self, number: int) -> str:
        """The id as people see it."""
        return f"{self.environment.prefix}_{self.noun}_{number}"

    def number(self, ident: str) -> int:
        """The number in an id. Raises NotFound for what cannot be one here."""
        head, _, digits = ident.rpartition("_")
        plain = digits.isascii() and digits.isdigit() and len(digits) <= 19 and digits[0] != "0"
        value = int(digits) if plain and head == f"{self.environment.prefix}_{self.noun}" else 0
        if not 0 < value <= MAX_NUMBER:
            hint = f"ids look like {self.shown(1)}"
            raise NotFound(f"no {self.noun} {printable(ident)}", hint=hint)
        return value
