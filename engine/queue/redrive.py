"""Dead letters made ready again, all of them or those of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..model import Principal
from ..store.database import Transaction
from . import statements as sql
from .counters import Move
from .statements import DEAD, READY

STEP_ROWS = 200  # dead letters one transaction makes ready: callers wait behind it


def redrive(
    principal: Principal, idents: Sequence[int], shown: Callable[[int], str]
) -> Callable[[Transaction], list[Move]]:
    """Make these messages ready as `retry` does, if they are still dead letters. Each has a row of
    its own in the trail, so that its history tells of it."""

    def change(tx: Transaction) -> list[Move]:
        moves = []
        for ident in idents:
            found = tx.execute(sql.SELECT_STEERED, (ident, tx.env)).fetchone()
            if found is None or found[0] != DEAD:
                continue
            row = tx.execute(sql.RETRY, (tx.now_us, tx.now_us, ident)).fetchone()
            assert row is not None, "a message that was just read is there"
            moves.append(Move(ident, DEAD, READY, *row))
            tx.audit(principal.id, "queue.retry", shown(ident), detail="was dead, with others")
        return moves

    return change
