"""Records and messages moved to new keys in the background, a hundred at a time.

A pass walks each table once by row. It takes up rows whose key is retiring, and rows of before
there were keys. Whoever writes meanwhile writes with the active key, so what a pass has left behind
stays behind; a retiring key without rows is destroyed. Where the passes stand is in the rows
themselves: after a kill the next one finds what is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ..store.aside import Aside
from ..store.database import Database, Reader, Transaction
from . import letters, tables
from .columns import COLUMNS
from .ring import KINDS, Ring
from .tables import Moved, Table

DUTY: Final = 0.1  # part of the writer's time that a rotation may take
LOOK_S: Final = 600.0  # for a look at every row
SYSTEM: Final = "system"

_DESTROY: Final = """
UPDATE data_key SET state = 'destroyed', wrapped = NULL, destroyed_at = ?
WHERE env = ? AND id = ? AND state = 'retiring'"""
_SHRED: Final = """
UPDATE data_key SET state = 'destroyed', wrapped = NULL, destroyed_at = ?
WHERE env = ? AND class = ? AND state != 'destroyed'"""
_DELETE: Final = """
DELETE FROM memory WHERE env = ?
  AND (key_id IN (SELECT id FROM data_key WHERE env = ? AND class = ?)
       OR (key_id IS NULL
           AND CASE level WHEN 1 THEN 'private' WHEN 2 THEN 'team' ELSE 'rest' END = ?))"""
_BLANK: Final = """
UPDATE message SET body = ?, result = CASE WHEN result IS NOT NULL THEN ? END WHERE env = ?"""
_BLANK_COLUMN: Final = "UPDATE {table} SET {name} = ? WHERE env = ? AND {name} IS NOT NULL"
_DELETE_SCHEDULES: Final = "DELETE FROM schedule WHERE env = ?"
# Their files go next, as those of which no row speaks.
_DELETE_ARTIFACTS: Final = (
    "DELETE FROM artifact WHERE env = ?",
    "DELETE FROM artifact_content WHERE env = ?",
)
_LAST_KEY: Final = "SELECT ifnull(max(id), 0) FROM data_key WHERE env = ? AND class = ?"
_ANY_KEY: Final = "SELECT EXISTS (SELECT 1 FROM data_key WHERE env = ?)"


class Protection(Protocol):
    """What a rotation asks of the vault."""

    def is_protected(self, environment: str) -> bool: ...
    def set_protected(self, environment: str) -> None: ...


class Records(Protocol):
    """The records in memory, to begin anew after some were deleted behind them."""

    records: int

    async def reload(self) -> None: ...


class Rotation:
    """What becomes of the keys of one environment. Belongs to the engine's loop. `progress` is
    how far a pass is, 0 to 1, None while there is none."""

    def __init__(self, ring: Ring, database: Database, vault: Protection, records: Records) -> None:
        self.progress: float | None = None
        self._ring = ring
        self._database = database
        self._vault = vault
        self._records = records
        self._aside = Aside(database, limit_s=LOOK_S)
        self._env = ring.environment
        self._turn = asyncio.Lock()
        self._tables: tuple[Table, ...] = (
            tables.Records(ring),
            tables.Messages(ring),
            tables.Schedules(ring),
            *(tables.Texts(ring, column) for column in COLUMNS),
        )
        self._at = 0  # the table that is walked
        self._after = 0
        self._end = 0
        self._damaged = 0
        self._idle = False  # nothing is left to do until keys are replaced

    async def tick(self, due_us: int, budget_s: float) -> None:
        """Replace what was made before `due_us`, then work for `budget_s` at most."""
        if self._turn.locked():
            return
        async with self._turn:
            await self._replace_due(due_us)
            started = time.monotonic()
            while self._has_work() and time.monotonic() - started < budget_s:
                await self._step()

    async def run(self, actor: str, tell: Callable[[float], object], duty: float = DUTY) -> None:
        """Replace the keys now and move every record. Takes `duty` of the writer's time."""
        async with self._turn:
            await self._replace(KINDS, actor)
            while self._has_work():
                started = time.monotonic()
                await self._step()
                tell(1.0 if self.progress is None else self.progress)
                await asyncio.sleep((time.monotonic() - started) * (1 / duty - 1))

    def _has_work(self) -> bool:
        if self._idle:
            return False
        bare = not self._vault.is_protected(self._env)
        retiring = any(key.state == "retiring" for key in self._ring.known())
        return retiring or (bare and (self._records.records > 0 or bool(self._ring.known())))

    # --- replacing ----------------------------------------------------------------------------

    async def _replace_due(self, due_us: int) -> None:
        due = [
            key.kind
            for key in self._ring.known()
            if key.state == "active" and key.created_us <= due_us
        ]
        if due:
            await self._replace(due, SYSTEM)

    async def _replace(self, kinds: Sequence[str], actor: str) -> None:
        def change(tx: Transaction) -> None:
            self._ring.replace(tx, kinds)
            tx.audit(actor, "vault.rotate", self._env, detail=", ".join(kinds))

        await self._database.write(change, topic="vault")
        self._idle = False
        self._at = self._after = 0
        self.progress = 0.0

    # --- one pass -----------------------------------------------------------------------------

    async def _step(self) -> None:
        """One batch, or what follows the last of a pass."""
        table = self._tables[self._at]
        if self._after == 0:
            self._damaged = self._damaged if self._at else 0
            self._end = await self._database.read(table.last)
        if self._after < self._end:
            moved = await self._database.write(self._batch)
            self._after, self._damaged = moved.after, self._damaged + moved.damaged
            part = min(1.0, self._after / max(1, self._end))
            self.progress = (self._at + part) / len(self._tables)
        if self._after >= self._end:
            self._at, self._after = self._at + 1, 0
            if self._at == len(self._tables):
                self._at = 0
                await self._conclude()

    def _batch(self, tx: Transaction) -> Moved:
        self._ring.prepare(tx)
        bare = not self._vault.is_protected(self._env)
        return self._tables[self._at].move(tx, self._after, bare=bare)

    async def _conclude(self) -> None:
        """After a pass: destroy the keys that nothing is left of."""
        left = False
        for key in [key for key in self._ring.known() if key.state == "retiring"]:
            left |= not await self._destroyed(key.id)
        left |= not await self._is_protected_now()
        # What is left is damaged, and stays where it is: another pass would find the same.
        self._idle = not left or self._damaged > 0
        if self._idle:
            self.progress = None

    async def _destroyed(self, ident: int) -> bool:
        """Destroy a retiring key, if it has no rows. Nobody writes with it any more, so what a
        look finds gone stays gone."""
        env = self._env
        if await self._look(lambda reader: any(t.holds(reader, ident) for t in self._tables)):
            return False

        def change(tx: Transaction) -> None:
            tx.execute(_DESTROY, (tx.now_us, env, ident))
            tx.audit(SYSTEM, "vault.destroy", env, detail=f"key {ident}")
            self._ring.changed(tx)

        await self._database.write(change, topic="vault")
        return True

    async def _is_protected_now(self) -> bool:
        if not self._vault.is_protected(self._env):
            if await self._look(lambda reader: any(t.is_bare(reader) for t in self._tables)):
                return False
            # The note is on the disk at once. A power loss must not take the keys and leave it.
            await self._database.flush()
            self._vault.set_protected(self._env)
        return True

    async def confirm(self) -> None:
        """Before the environment closes: where keys were made, note that all rows have a check."""
        if self._ring.known() and not self._vault.is_protected(self._env):
            made = await self._database.read(
                lambda reader: reader.execute(_ANY_KEY, (self._env,)).fetchone()
            )
            if made == (1,):
                await self._is_protected_now()

    # --- shredding ----------------------------------------------------------------------------

    async def shred(self, kinds: Sequence[str], actor: str) -> int:
        """Destroy the keys of some classes and delete what they sealed, also from the free pages
        and the log of the file; how many records. Messages and rows of other tables stay,
        without what they said; schedules and artifacts go."""
        async with self._turn:
            gone: int = await self._database.write(
                lambda tx: self._shred(tx, kinds, actor), topic="memory"
            )
            await self._database.write(self._ring.begin_anew)
            await self._records.reload()
            await self._database.rebuild()
        return gone

    def _shred(self, tx: Transaction, kinds: Sequence[str], actor: str) -> int:
        env, gone = self._env, 0
        for kind in kinds:
            tx.execute(_SHRED, (tx.now_us, env, kind))
            gone += tx.execute(_DELETE, (env, env, kind, kind)).rowcount
            if kind == letters.KIND:
                last = tx.execute(_LAST_KEY, (env, kind)).fetchone()
                blank = letters.blank(last[0] if last else 0)
                tx.execute(_BLANK, (blank, blank, env))
                for statement in (_DELETE_SCHEDULES, *_DELETE_ARTIFACTS):
                    tx.execute(statement, (env,))
                for table, name, *_ in COLUMNS:
                    tx.execute(_BLANK_COLUMN.format(table=table, name=name), (blank, env))
        tx.audit(actor, "vault.shred", env, detail=f"{', '.join(kinds)}: {gone} records")
        self._ring.shredded(tx)
        return gone

    async def _look(self, query: Callable[[Reader], bool]) -> bool:
        """Answer what has to pass every row: beside those who read."""
        return await self._aside.read(query, rows=self._records.records)
