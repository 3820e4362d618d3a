"""What nobody speaks of goes, and what was stored is looked through.

A process that was killed leaves parts, and contents whose row was never committed. They are found
by comparing the directories with the rows, one directory at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import Damaged, SwarmDeckError
from ..model import Principal, format_size
from ..store.database import Reader
from ..views import CheckView
from . import rows
from .aside import aside
from .content import Walk
from .rows import Content
from .service import Artifacts, known_among

PASS_EVERY_S: Final = 600.0
BATCH: Final = 50
MOST_NAMED: Final = 4
_OF_CONTENT: Final = "SELECT id FROM artifact WHERE env = ? AND content = ? ORDER BY id LIMIT ?"
_LAST: Final = "SELECT ifnull(max(id), 0) FROM artifact_content WHERE env = ?"
_ROWS: Final = f"""
SELECT {rows.COLUMNS}, a.metadata FROM artifact a
WHERE a.env = ? AND a.id > ? ORDER BY a.id LIMIT ?"""  # noqa: S608 - ours

Progress = Callable[[float, str], object]


class Sweep:
    """Deletes files that no row speaks of. Belongs to the engine's loop; `is_behind` while a pass
    is not over."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._fans: list[str] = []
        self._next_s = 0.0

    @property
    def is_behind(self) -> bool:
        return bool(self._fans)

    async def finish(self) -> int:
        """A whole pass, now; how many files are gone. Raises StorageError."""
        self._next_s, gone = 0.0, 0
        self._fans.clear()
        while True:
            gone += await self.run(1.0)
            if not self._fans:
                return gone

    async def run(self, budget_s: float) -> int:
        """Go on with a pass, or begin one when it is time, for about `budget_s` seconds; how many
        files are gone. Raises StorageError."""
        artifacts, gone = self._artifacts, 0
        until_s = artifacts.clock.monotonic_s() + budget_s
        if artifacts.held:
            return 0
        if not self._fans:
            if artifacts.clock.monotonic_s() < self._next_s:
                return 0
            self._next_s = artifacts.clock.monotonic_s() + PASS_EVERY_S
            gone = await artifacts.clear_parts()
            await aside(artifacts.files.drop_staged)
            self._fans = await aside(artifacts.files.fans)
        while self._fans and artifacts.clock.monotonic_s() < until_s:
            gone += await self._step(self._fans.pop())
        return gone

    async def _step(self, fan: str) -> int:
        artifacts = self._artifacts
        async with artifacts.turn:  # none is between its file and its row
            if artifacts.held:
                return 0
            found = await aside(artifacts.files.addresses, fan)
            known = await artifacts.database.read(lambda reader: known_among(reader, found))
            for address in found:
                if address not in known:
                    await aside(artifacts.files.remove, address)
        return len(found) - len(known)


async def check(
    artifacts: Artifacts, principal: Principal, ident: str, progress: Progress
) -> CheckView:
    """Read one version whole and say what is wrong with it. Raises NotFound, Sealed."""
    found, metadata, held = await artifacts.readable(principal, "artifact.verify", ident)
    artifacts.ring.require()
    try:
        rows.metadata_of(artifacts.ring, found, metadata, ident)
        await _walk(artifacts, held, ident, principal.id, lambda part: progress(part, ident))
    except Damaged as error:
        return _failed(ident, error)
    return CheckView(
        name=ident, status="ok", detail=f"{held.chunks:,} chunks, {format_size(held.size)}, SHA-256"
    )


async def check_all(
    artifacts: Artifacts, principal: Principal, progress: Progress
) -> list[CheckView]:
    """Read every content of an environment whole, and compare every row with its seal: what is
    wrong, and how much is in order. Raises Sealed, StorageError."""
    artifacts.ring.require()
    place = artifacts.environment.value
    found = await _rows(artifacts)
    whole = size = after = 0
    last = await artifacts.database.read(_last)
    while batch := await artifacts.database.read(_contents(after)):
        for held in batch:
            after = held.ident
            shown = await artifacts.database.read(_holders(artifacts, held))
            progress(after / max(1, last, after), shown)
            try:
                await _walk(artifacts, held, shown, principal.id)
            except Damaged as error:
                found.append(_failed(shown, error))
            else:
                whole, size = whole + 1, size + held.size
    status = "failed" if found else "ok"
    detail = f"{whole:,} contents, {format_size(size)}, are in order"
    return [*found, CheckView(name=place, status=status, detail=detail)]


async def _walk(
    artifacts: Artifacts,
    held: Content,
    shown: str,
    actor: str,
    tell: Callable[[float], object] = lambda _: None,
) -> None:
    async with artifacts.opened(held, shown, actor, whole=True) as reader:
        walk = Walk(reader)
        while await aside(walk.step):
            tell(walk.part)


async def _rows(artifacts: Artifacts) -> list[CheckView]:
    """What is wrong with rows of artifacts."""
    found: list[CheckView] = []
    after = 0
    while batch := await artifacts.database.read(_artifacts(after)):
        for row in batch:
            artifact = rows.of_row(row)
            after = artifact.ident
            shown = artifacts.shown(after)
            try:
                rows.metadata_of(artifacts.ring, artifact, row[15], shown)
            except Damaged as error:
                found.append(_failed(shown, error))
    return found


def _artifacts(after: int) -> Callable[[Reader], list[tuple[Any, ...]]]:
    return lambda reader: reader.execute(_ROWS, (reader.env, after, BATCH)).fetchall()


def _last(reader: Reader) -> int:
    row = reader.execute(_LAST, (reader.env,)).fetchone()
    return int(row[0]) if row else 0


def _contents(after: int) -> Callable[[Reader], list[Content]]:
    return lambda reader: rows.contents(reader, after, BATCH)


def _holders(artifacts: Artifacts, held: Content) -> Callable[[Reader], str]:
    """The ids of those that have a content, some of many."""

    def query(reader: Reader) -> str:
        bounds = (reader.env, held.address, MOST_NAMED + 1)
        found = [artifacts.shown(row[0]) for row in reader.execute(_OF_CONTENT, bounds)]
        more = " …" if len(found) > MOST_NAMED else ""
        return ", ".join(found[:MOST_NAMED]) + more or f"content {held.ident}"

    return query


def _failed(shown: str, error: SwarmDeckError) -> CheckView:
    detail = error.message.removeprefix(f"{shown}: ")
    return CheckView(name=shown, status="failed", detail=detail, hint=error.hint)
