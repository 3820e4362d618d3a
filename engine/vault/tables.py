"""The tables whose rows keys protect, as a rotation walks them: by row, a batch at a time.

What a walk takes up are rows whose key is retiring and, while not everything is protected yet
(`bare`), rows of before there were keys.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from ..errors import Damaged
from ..memory.records import COLUMNS, Entry, Place
from ..store.database import Reader, Transaction
from . import letters
from .columns import Column
from .letters import Letter
from .ring import Ring

BATCH: Final = 100
WINDOW: Final = 500  # rows looked at in one transaction at most

_LAST_RECORD: Final = "SELECT ifnull(max(rowid), 0) FROM memory WHERE env = ?"
_RECORDS: Final = f"""
SELECT rowid, {COLUMNS} FROM memory
WHERE rowid > ? AND rowid <= ? AND env = ?
  AND (key_id IN (SELECT id FROM data_key WHERE env = ? AND state = 'retiring')
       OR (key_id IS NULL AND ?))
ORDER BY rowid LIMIT ?"""  # noqa: S608 - constants
_MOVE_RECORD: Final = """
UPDATE memory SET format = ?, key_id = ?, body = ?, mac = ?
WHERE env = ? AND namespace = ? AND key = ? AND version = ? AND key_id IS ?"""
_RECORD_OF_KEY: Final = "SELECT EXISTS (SELECT 1 FROM memory WHERE env = ? AND key_id = ?)"
_BARE_RECORD: Final = "SELECT EXISTS (SELECT 1 FROM memory WHERE env = ? AND key_id IS NULL)"

_LAST_MESSAGE: Final = "SELECT ifnull(max(id), 0) FROM message WHERE env = ?"
# Form and key id of a text are its first five bytes; JSON begins with a byte below 0x80.
_MESSAGES: Final = """
SELECT id, kind, sender, target, body, result FROM message
WHERE id > ? AND id <= ? AND env = ?
  AND (substr(body, 2, 4) IN (SELECT unhex(printf('%08X', id)) FROM data_key
                              WHERE env = ? AND state = 'retiring')
       OR substr(result, 2, 4) IN (SELECT unhex(printf('%08X', id)) FROM data_key
                                   WHERE env = ? AND state = 'retiring')
       OR (? AND (substr(body, 1, 1) < x'80' OR substr(result, 1, 1) < x'80')))
ORDER BY id LIMIT ?"""
_MOVE_MESSAGE: Final = "UPDATE message SET body = ?, result = ? WHERE id = ? AND env = ?"
_MESSAGE_OF_KEY: Final = """
SELECT EXISTS (SELECT 1 FROM message WHERE env = ?
               AND (substr(body, 1, 1) >= x'80' AND substr(body, 2, 4) = ?
                    OR substr(result, 1, 1) >= x'80' AND substr(result, 2, 4) = ?))"""
_BARE_MESSAGE: Final = """
SELECT EXISTS (SELECT 1 FROM message WHERE env = ?
               AND (substr(body, 1, 1) < x'80' OR substr(result, 1, 1) < x'80'))"""

_LAST_SCHEDULE: Final = "SELECT ifnull(max(id), 0) FROM schedule WHERE env = ?"
_SCHEDULES: Final = """
SELECT id, kind, created_by, target, body FROM schedule
WHERE id > ? AND id <= ? AND env = ?
  AND substr(body, 2, 4) IN (SELECT unhex(printf('%08X', id)) FROM data_key
                             WHERE env = ? AND state = 'retiring')"""
_MOVE_SCHEDULE: Final = "UPDATE schedule SET body = ? WHERE id = ?"
_SCHEDULE_OF_KEY: Final = """
SELECT EXISTS (SELECT 1 FROM schedule WHERE env = ? AND substr(body, 2, 4) = ?)"""


class Moved(NamedTuple):
    """How far a batch came, and how many of its rows were damaged and stay as they are."""

    after: int
    damaged: int


class Table(Protocol):
    """A table with protected rows."""

    def last(self, reader: Reader) -> int:
        """The last row there is."""
        ...

    def move(self, tx: Transaction, after: int, *, bare: bool) -> Moved:
        """Protect up to BATCH rows anew, with the active keys."""
        ...

    def holds(self, reader: Reader, key_id: int) -> bool:
        """Whether a row is left that this key protects."""
        ...

    def is_bare(self, reader: Reader) -> bool:
        """Whether a row is left that nothing protects."""
        ...


class Records:
    """The table `memory`."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    def last(self, reader: Reader) -> int:
        return _number(reader, _LAST_RECORD, reader.env)

    def move(self, tx: Transaction, after: int, *, bare: bool) -> Moved:
        ring, env = self._ring, tx.env
        until = after + WINDOW
        rows = tx.execute(_RECORDS, (after, until, env, env, bare, BATCH)).fetchall()
        held: dict[Place, tuple[int | None, Entry]] = {}
        for _, *row in rows:
            with suppress(Damaged):
                held[str(row[0]), str(row[1])] = row[3], ring.open(row)
        sealed = ring.protect_all(tx, {place: entry for place, (_, entry) in held.items()})
        tx.executemany(_MOVE_RECORD, [
            (form, key_id, body, mac, env, namespace, key, version,
             held[str(namespace), str(key)][0])
            for _, namespace, key, form, key_id, body, mac, _, _, _, _, version, *_ in sealed
        ])  # fmt: skip
        return Moved(int(rows[-1][0]) if len(rows) == BATCH else until, len(rows) - len(held))

    def holds(self, reader: Reader, key_id: int) -> bool:
        return bool(_number(reader, _RECORD_OF_KEY, reader.env, key_id))

    def is_bare(self, reader: Reader) -> bool:
        return bool(_number(reader, _BARE_RECORD, reader.env))


class Messages:
    """The table `message`: bodies and results."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    def last(self, reader: Reader) -> int:
        return _number(reader, _LAST_MESSAGE, reader.env)

    def move(self, tx: Transaction, after: int, *, bare: bool) -> Moved:
        ring, env = self._ring, tx.env
        until = after + WINDOW
        bounds = (after, until, env, env, env, bare, BATCH)
        rows = tx.execute(_MESSAGES, bounds).fetchall()
        texts: dict[Letter, bytes] = {}
        damaged = 0
        for ident, kind, sender, target, body, result in rows:
            pair = [(Letter(ident, kind, sender, target), body)]
            pair += [(letters.of_result(ident), result)] if result is not None else []
            try:
                texts |= {letter: letters.unprotect(ring, letter, text) for letter, text in pair}
            except Damaged:
                damaged += 1
        found = dict(zip(texts, letters.protect(ring, tx, texts.items()), strict=True))
        bodies = {letter.ident: text for letter, text in found.items() if letter.field == 0}
        tx.executemany(_MOVE_MESSAGE, [
            (body, found.get(letters.of_result(ident)), ident, env)
            for ident, body in bodies.items()
        ])  # fmt: skip
        return Moved(int(rows[-1][0]) if len(rows) == BATCH else until, damaged)

    def holds(self, reader: Reader, key_id: int) -> bool:
        name = key_id.to_bytes(4, "big")
        return bool(_number(reader, _MESSAGE_OF_KEY, reader.env, name, name))

    def is_bare(self, reader: Reader) -> bool:
        return bool(_number(reader, _BARE_MESSAGE, reader.env))


class Schedules:
    """The table `schedule`: what their messages say."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    def last(self, reader: Reader) -> int:
        return _number(reader, _LAST_SCHEDULE, reader.env)

    def move(self, tx: Transaction, after: int, *, bare: bool) -> Moved:
        ring, env = self._ring, tx.env
        until = after + BATCH
        texts: dict[Letter, bytes] = {}
        damaged = 0
        for ident, kind, sender, target, body in tx.execute(_SCHEDULES, (after, until, env, env)):
            letter = Letter(ident, kind, sender, target, letters.SCHEDULE)
            try:
                texts[letter] = letters.unprotect(ring, letter, body)
            except Damaged:
                damaged += 1
        found = zip(texts, letters.protect(ring, tx, texts.items()), strict=True)
        tx.executemany(_MOVE_SCHEDULE, [(body, letter.ident) for letter, body in found])
        return Moved(until, damaged)

    def holds(self, reader: Reader, key_id: int) -> bool:
        return bool(_number(reader, _SCHEDULE_OF_KEY, reader.env, key_id.to_bytes(4, "big")))

    def is_bare(self, reader: Reader) -> bool:
        return False  # there were keys before there were schedules


class Texts:
    """A column of another table."""

    def __init__(self, ring: Ring, column: Column) -> None:
        self._ring = ring
        self._column = column
        name, table = column.name, column.table
        self._last = f"SELECT ifnull(max(id), 0) FROM {table} WHERE env = ?"  # noqa: S608 - ours
        self._rows = f"""
            {column.selected} WHERE id > ? AND id <= ? AND env = ?
              AND substr({name}, 2, 4) IN (SELECT unhex(printf('%08X', id)) FROM data_key
                                           WHERE env = ? AND state = 'retiring')
            ORDER BY id LIMIT ?"""  # noqa: S608 - names of our own
        self._move = f"UPDATE {table} SET {name} = ? WHERE id = ? AND env = ?"  # noqa: S608 - ours
        self._of_key = (
            f"SELECT EXISTS (SELECT 1 FROM {table} WHERE env = ? AND substr({name}, 2, 4) = ?)"  # noqa: S608 - ours
        )

    def last(self, reader: Reader) -> int:
        return _number(reader, self._last, reader.env)

    def move(self, tx: Transaction, after: int, *, bare: bool) -> Moved:
        until = after + WINDOW
        bounds = (after, until, tx.env, tx.env, BATCH)
        rows = tx.execute(self._rows, bounds).fetchall()
        texts: dict[Letter, bytes] = {}
        for ident, text, *bound in rows:
            letter = self._column.letter(ident, *bound)
            with suppress(Damaged):
                texts[letter] = letters.unprotect(self._ring, letter, text)
        found = zip(texts, letters.protect(self._ring, tx, texts.items()), strict=True)
        tx.executemany(self._move, [(text, letter.ident, tx.env) for letter, text in found])
        return Moved(int(rows[-1][0]) if len(rows) == BATCH else until, len(rows) - len(texts))

    def holds(self, reader: Reader, key_id: int) -> bool:
        return bool(_number(reader, self._of_key, reader.env, key_id.to_bytes(4, "big")))

    def is_bare(self, reader: Reader) -> bool:
        return False  # there were keys before there were such columns


def any_bare(reader: Reader) -> bool:
    """Whether a file holds anything that nothing protects. Looks at every row."""
    found = (_BARE_RECORD, _BARE_MESSAGE)
    return any(_number(reader, statement, reader.env) for statement in found)


def _number(reader: Reader, statement: str, *parameters: object) -> int:
    row = reader.execute(statement, parameters).fetchone()
    return int(row[0]) if row else 0
