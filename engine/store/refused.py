"""A database that cannot be used, in the place of one that can."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, cast

from ..clock import Clock
from ..errors import SwarmDeckError
from . import driver
from .chain import Chain
from .database import Database
from .disk import Disk
from .prepare import StoreOptions


class RefusedDatabase(Database):
    """Answers everything with one error. It has no connection, so the file stays as it is."""

    def __init__(
        self, path: Path, env: str, options: StoreOptions, clock: Clock, refusal: SwarmDeckError
    ) -> None:
        nothing = cast("driver.Connection", None)
        disk = Disk(path, "environment", None)
        super().__init__(disk, env, options, clock, nothing, Chain(options.durability), None)
        self.refusal = refusal
        self.condemn(refusal)

    async def pragmas(self) -> NoReturn:
        raise self.refusal.again()

    async def schema_version(self) -> NoReturn:
        raise self.refusal.again()

    async def close(self) -> None:
        """Nothing is open."""
