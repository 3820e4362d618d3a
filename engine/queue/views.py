"""Messages as people look at them: queries on the reader's side and the rows as views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from .. import codec
from ..errors import NotFound
from ..model import Environment
from ..store.database import Reader
from ..vault import Ring, letters
from ..vault.letters import Letter
from ..views import LaneView, MessageView
from . import statements as sql
from .counters import Priorities
from .statements import DEAD, DONE, STATES

Row = Sequence[Any]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of the messages addressed to one target. `redelivered` counts deliveries
    after the first; `done_by` says who finished how many."""

    sent: int
    done: int
    dead: int
    redelivered: int
    done_by: dict[str, int]


def show(
    environment: Environment, ident: int, shown: str, ring: Ring
) -> Callable[[Reader], MessageView]:
    """One message with its body and result. Raises NotFound, Sealed, Damaged."""

    def query(reader: Reader) -> MessageView:
        row = reader.execute(sql.SELECT_SHOWN, (ident, reader.env)).fetchone()
        values = reader.execute(sql.SELECT_VALUES, (ident, reader.env)).fetchone()
        if row is None or values is None:
            raise NotFound(f"no message {shown}")
        kind, sender, target = row[1], row[7], row[9]
        body = letters.unprotect(ring, Letter(ident, kind, sender, target), values[0])
        result = values[1] and letters.unprotect(ring, letters.of_result(ident), values[1])
        return view(environment, (*row, body, result))

    return query


def lanes(environment: Environment, priorities: Priorities) -> list[LaneView]:
    """All priorities, the most urgent first."""
    return [
        LaneView(
            environment=environment.value,
            priority=priority,
            oldest_at_us=priorities.ages[priority].oldest_us,
            **priorities.counts(priority),
        )
        for priority in range(10, 0, -1)
    ]


def tally(target: str) -> Callable[[Reader], Tally]:
    """Read from the rows of the whole file: for a report, not for a loop."""

    def query(reader: Reader) -> Tally:
        rows = reader.execute(sql.TALLY, (reader.env, target)).fetchall()
        done_by = {row[0]: row[2] for row in rows if row[1] == DONE}
        return Tally(
            sent=sum(row[2] for row in rows),
            done=sum(done_by.values()),
            dead=sum(row[2] for row in rows if row[1] == DEAD),
            redelivered=sum(row[3] for row in rows),
            done_by=done_by,
        )

    return query


def view(environment: Environment, row: Row) -> MessageView:
    """A row of SELECT_SHOWN, with body and result behind it or without."""
    (ident, kind, priority, state, attempt, spent, max_attempts, sender, holder, target,
     created_us, due_us, lease_us, expires_us, error, *values) = row  # fmt: skip
    body, result = values or (None, None)
    return MessageView(
        id=f"{environment.prefix}_msg_{ident}",
        environment=environment.value,
        kind=kind,
        priority=priority,
        state=STATES[state].value,
        attempt=attempt,
        max_attempts=spent + max_attempts,
        sender=sender,
        holder=holder,
        to=target or None,
        created_at_us=created_us,
        due_at_us=due_us,
        lease_until_us=lease_us,
        expires_at_us=expires_us,
        error=error,
        body=None if body is None else codec.decode_json(body),
        result=None if result is None else codec.decode_json(result),
    )
