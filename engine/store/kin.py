"""Errors of ours that are also those of Python's sqlite3 module.

Code written for that module catches its classes; the driver has classes of its own, which nobody
outside could catch. So what the synchronous side of the store raises is both: `except
sqlite3.IntegrityError` finds it, and so does `except SwarmDeckError`. Only the classes come from
that module. Its library opens nothing: two libraries in one process undo each other's locks.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from pysqlite3 import dbapi2

from ..errors import (
    Busy,
    Conflict,
    Corrupt,
    Defect,
    InvalidInput,
    OutcomeUnknown,
    StorageError,
    SwarmDeckError,
)

_BUSY: Final = frozenset({5, 6})
_DISK: Final = frozenset({8, 10, 13, 14})  # read-only, failed, full, cannot be opened
_FULL: Final = 13
_DAMAGED: Final = frozenset({11, 26})


class IntegrityError(Conflict, sqlite3.IntegrityError):
    """A constraint of a table refuses the row."""


class InvalidValue(InvalidInput, sqlite3.IntegrityError, ValueError):
    """A value that no row may hold: not one of the words of its column, no time, no JSON."""


class StatementError(InvalidInput, sqlite3.OperationalError):
    """SQL that cannot run here."""


class Locked(Busy, sqlite3.OperationalError):
    """Somebody else writes, and did not finish in time. Nothing was changed."""


class DiskError(StorageError, sqlite3.OperationalError):
    """The disk refused. Nothing was changed."""


class CommitUnknown(OutcomeUnknown, sqlite3.OperationalError):
    """The disk failed during the commit: read back before you repeat it."""


class DamagedFile(Corrupt, sqlite3.DatabaseError):
    """The file is damaged, somebody else's, or from a newer release."""


class ProgrammingError(InvalidInput, sqlite3.ProgrammingError):
    """A call that makes no sense here: on what is closed, or with other parameters."""


class InterfaceError(InvalidInput, sqlite3.InterfaceError):
    """A value of a type the database has no room for."""


class DataError(InvalidInput, sqlite3.DataError):
    """A number or text that is too large."""


class NotSupportedError(InvalidInput, sqlite3.NotSupportedError):
    """What this library cannot do."""


class InternalError(Defect, sqlite3.InternalError):
    """A fault within the library."""


_BY_CLASS: Final[tuple[tuple[type[Exception], type[SwarmDeckError], str], ...]] = (
    (dbapi2.IntegrityError, IntegrityError, "look at what is stored under the same key"),
    (dbapi2.ProgrammingError, ProgrammingError, "look at the call and its parameters"),
    (dbapi2.OperationalError, StatementError, "look at the statement"),
    (dbapi2.InterfaceError, InterfaceError, "pass text, bytes, numbers or None"),
    (dbapi2.DataError, DataError, "store less in one value"),
    (dbapi2.NotSupportedError, NotSupportedError, ""),
    (dbapi2.InternalError, InternalError, "report it"),
)


def kin(error: Exception, what: str, *, committing: bool = False) -> SwarmDeckError:
    """The error of both families for one of the driver's, with its code and name for SQLite's
    result. `committing`: it came out of COMMIT itself, so that what was written may be stored."""
    if isinstance(error, SwarmDeckError):
        return error
    code = int(getattr(error, "sqlite_errorcode", 0) or 0)
    found = _by_code(error, code & 0xFF, what, committing=committing) or _by_class(error, what)
    # Those who look deeper than the class look for these, as in the standard library.
    found.sqlite_errorcode = code  # type: ignore[attr-defined]
    found.sqlite_errorname = getattr(error, "sqlite_errorname", "")  # type: ignore[attr-defined]
    return found


def _by_code(
    error: Exception, primary: int, what: str, *, committing: bool
) -> SwarmDeckError | None:
    if primary in _BUSY:
        return Locked(f"{what}: {error}", hint="somebody else writes: try again")
    if primary in _DAMAGED:
        return DamagedFile(f"{what}: {error}", hint="restore it from a copy")
    if primary not in _DISK:
        return None
    if committing and primary != _FULL:
        return CommitUnknown(
            f"{what} failed while committing: {error}",
            hint="the change may be stored or not: read it back before you repeat it",
        )
    hint = "free some disk space" if primary == _FULL else "check the disk and its rights"
    return DiskError(f"{what} was not changed: {error}", hint=hint)


def _by_class(error: Exception, what: str) -> SwarmDeckError:
    for theirs, ours, hint in _BY_CLASS:
        if isinstance(error, theirs):
            return ours(f"{what}: {error}", hint=hint)
    return StatementError(f"{what}: {error}", hint="look at the statement")
