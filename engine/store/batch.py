"""What runs on the writer's thread: a batch of operations, in one transaction where that goes.

A batch that one value breaks is run again, each operation by itself. On a full disk what stores
nothing goes on, in the room of the reserve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from ..errors import StorageError
from . import driver
from .chain import Chain
from .disk import Disk, blame, is_disk_trouble
from .log import sync_log
from .transaction import Operation, Transaction

LOOK_AFTER: Final = 32  # operations: asking how long the log is costs as much as a small insert


class Turn(NamedTuple):
    """One turn of the writer: on which connection, of whose file, and when."""

    raw: driver.Raw
    env: str
    chain: Chain
    disk: Disk
    now_us: int


def run_batch(
    raw: driver.Raw,
    env: str,
    chain: Chain,
    disk: Disk,
    now_us: int,
    batch: Sequence[Operation],
) -> list[Any]:
    """Commit a batch; one outcome an operation. On a full disk what stores a value is refused and
    the others use the reserve."""
    turn = Turn(raw, env, chain, disk, now_us)
    if disk.is_short and not disk.has_room(raw):
        outcomes: list[Any] = [disk.refusal(env) for _ in batch]
    else:
        disk.full = False
        outcomes = _attempt_all(turn, batch)
        if not disk.full:
            disk.unseen += len(batch)
            if disk.unseen >= LOOK_AFTER:
                disk.unseen = 0
                with suppress(driver.Error):
                    disk.log_pages = _log_pages(raw)
            return outcomes
    _make_room(turn, batch, outcomes)
    return outcomes


def _make_room(turn: Turn, batch: Sequence[Operation], outcomes: list[Any]) -> None:
    """Run what a full disk has refused and stores no value, in the room of the reserve."""
    waiting = [
        number
        for number, outcome in enumerate(outcomes)
        if isinstance(outcome, StorageError) and not batch[number].grows
    ]
    chosen = [batch[number] for number in waiting]
    if chosen and not turn.disk.failed:
        again = _attempt_all(turn, chosen)
        for number, outcome in zip(waiting, again, strict=True):
            outcomes[number] = outcome
    turn.disk.full = True
    with suppress(driver.Error, StorageError):  # the disk knows of it
        checkpoint(turn.raw, turn.chain, turn.disk)


def _attempt_all(turn: Turn, batch: Sequence[Operation]) -> list[Any]:
    """Commit a batch; one outcome an operation. A batch that one bad value broke is rolled back
    and its operations run singly, so that each caller answers for its own."""
    outcomes = _attempt(turn, batch)
    if outcomes is not None:
        return outcomes
    found: list[Any] = []
    for operation in batch:
        if turn.disk.failed:
            trouble = turn.disk.trouble
            found.append(StorageError(f"the {turn.env} database was not changed: {trouble}"))
            continue
        single = _attempt(turn, [operation], last=True)
        found.extend(single or ())
    return found


def _attempt(turn: Turn, batch: Sequence[Operation], *, last: bool = False) -> list[Any] | None:
    """Outcomes of a batch in one transaction, or None when it should be run singly."""
    raw, env, chain, disk, now_us = turn
    committing = False
    try:
        raw.execute("BEGIN IMMEDIATE")
        tx = Transaction(raw, env, now_us, chain.current(raw))
        outcomes: list[Any] = []
        for run in runs(batch):
            outcomes.extend(type(run[0]).apply(tx, run))
        head = tx.write_audit()
        committing = True
        raw.execute("COMMIT")
        chain.moved(head)
    except Exception as error:  # noqa: BLE001 - one caller's fault must not fail the others
        chain.forget()
        disk.note(error)
        with suppress(driver.Error):  # a failed disk may refuse that too
            raw.rollback()
        if last or len(batch) == 1 or is_disk_trouble(error):
            return [blame(error, env, committing=committing) for _ in batch]
        return None
    return outcomes


def runs(batch: Sequence[Operation]) -> Iterable[list[Operation]]:
    """The batch cut where the class of operation changes; order is kept."""
    if len(batch) == 1:
        yield list(batch)
        return
    run: list[Operation] = []
    kind: type[Operation] | None = None
    for operation in batch:
        if type(operation) is not kind:
            if run:
                yield run
            run, kind = [], type(operation)
        run.append(operation)
    if run:
        yield run


def _log_pages(raw: driver.Raw) -> int:
    """How many pages the log holds since it was last begun anew."""
    found = raw.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    return 0 if found is None else max(0, int(found[1]))


def rebuild(raw: driver.Raw) -> None:
    raw.execute("VACUUM")
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def checkpoint(raw: driver.Raw, chain: Chain, disk: Disk) -> None:
    """Copy the log into the file as far as no reader holds it back, and put what is committed on
    the disk. Never left to SQLite, which would pass over a disk that fails. Raises StorageError."""
    try:
        found = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        busy, pages, copied = (1, 0, 0) if found is None else found
        if busy or pages != copied:  # with nothing to copy SQLite syncs nothing
            sync_log(disk.path)
    except driver.Error as error:
        disk.note(error)
        raise
    except OSError as error:
        disk.failed = str(error)
        raise StorageError(f"{disk.path.name} was not synced: {error.strerror}") from error
    if not busy:
        disk.log_pages = 0
    chain.flushed()
