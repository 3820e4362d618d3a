"""Messages that wait for somebody who is gone, handed to somebody who is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from ..errors import Damaged
from ..store.database import Transaction
from ..vault import Ring, letters
from ..vault.letters import Letter
from .counters import Move

STEP_ROWS: Final = 100  # messages one transaction moves: callers wait behind it

# Of every open message that nobody works on: ready ones by their index, delayed ones among all.
SELECT_READY: Final = """
SELECT id, state, target, kind, priority, created_at, sender, body
FROM message INDEXED BY message_ready
WHERE env = ? AND target IN (SELECT value FROM json_each(?)) AND state = 0 AND id > ?
ORDER BY id LIMIT ?"""
SELECT_DELAYED: Final = """
SELECT id, state, target, kind, priority, created_at, sender, body
FROM message INDEXED BY message_delayed
WHERE env = ? AND target IN (SELECT value FROM json_each(?)) AND state = 1 AND id > ?
ORDER BY id LIMIT ?"""
READDRESS: Final = """
UPDATE message SET target = ?, body = ?, updated_at = max(?, updated_at + 1) WHERE id = ?"""


class Readdressed(NamedTuple):
    """`last` is the id to go on after, None when the end was reached; `kept` counts messages whose
    body does not match its seal: they stay where they are."""

    moves: list[Move]
    kept: int
    last: int | None


def readdress(
    ring: Ring, targets: Sequence[str], to: str, statement: str, after: int, why: str
) -> Callable[[Transaction], Readdressed]:
    """Move the next messages of `statement` from `targets` to `to`. Raises Sealed: a body is bound
    to whom it is for, and is sealed anew."""

    def change(tx: Transaction) -> Readdressed:
        wanted = msgspec.json.encode(targets).decode()
        rows = tx.execute(statement, (tx.env, wanted, after, STEP_ROWS)).fetchall()
        moves = []
        for ident, state, target, kind, priority, sent_us, sender, body in rows:
            sealed = _sealed_anew(ring, tx, Letter(ident, kind, sender, target), body, to)
            if sealed is not None:
                tx.execute(READDRESS, (to, sealed, tx.now_us, ident))
                moves.append(
                    Move(ident, state, state, target, kind, priority, sent_us, to_target=to)
                )
        if moves:
            tx.audit("engine", "queue.readdress", f"{len(moves)} messages", detail=why)
        last = rows[-1][0] if len(rows) == STEP_ROWS else None
        return Readdressed(moves, len(rows) - len(moves), last)

    return change


def _sealed_anew(ring: Ring, tx: Transaction, letter: Letter, body: bytes, to: str) -> bytes | None:
    """The body as it is stored for another target; None of one that cannot be opened."""
    if ring.is_shredded(letters.key_of(body)):
        return None
    try:
        text = letters.unprotect(ring, letter, body)
    except Damaged:
        return None
    [sealed] = letters.protect(ring, tx, [(letter._replace(target=to), text)])
    return sealed
