"""Messages as people look at them: queries on the reader's side and the rows as views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from .. import codec
from ..errors import NotFound
from ..model import Environment, MessageState
from ..store.database import Reader
from ..views import MessageView
from . import statements as sql
from .statements import DEAD, DELAYED, DONE, LEASED, READY, STATES

_OPEN: Final = (LEASED, READY, DELAYED)

Row = Sequence[Any]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of the messages addressed to one target. `redelivered` counts deliveries
    after the first; `done_by` says who finished how many."""

    sent: int
    done: int
    dead: int
    redelivered: int
    done_by: dict[str, int]


class Wanted(NamedTuple):
    """A listing. `targets` and `holders` are where ready and done messages may be."""

    state: MessageState | None
    kind: str | None
    holder: str | None
    limit: int
    targets: Sequence[str]
    holders: Sequence[str]

    @property
    def states(self) -> tuple[int, ...]:
        if self.state is not None:
            return (STATES.index(self.state),)
        return (LEASED,) if self.holder is not None else _OPEN


def show(environment: Environment, ident: int, shown: str) -> Callable[[Reader], MessageView]:
    """One message with its body and result. Raises NotFound."""

    def query(reader: Reader) -> MessageView:
        row = reader.execute(sql.SELECT_SHOWN, (ident, reader.env)).fetchone()
        values = reader.execute(sql.SELECT_VALUES, (ident, reader.env)).fetchone()
        if row is None or values is None:
            raise NotFound(f"no message {shown}")
        return _view(environment, (*row, *values))

    return query


def list_(environment: Environment, wanted: Wanted) -> Callable[[Reader], list[MessageView]]:
    """Open messages most urgent first, ended ones newest first; bodies are left out. Of the
    leased and delayed, those whose time comes soonest are considered."""

    order = _urgency if wanted.states[0] <= LEASED else _newest

    def query(reader: Reader) -> list[MessageView]:
        runs = [run for state in wanted.states for run in _runs(reader, state, wanted)]
        rows = islice(merge(*runs, key=order), wanted.limit)
        return [_view(environment, row) for row in rows]

    return query


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


def _runs(reader: Reader, state: int, wanted: Wanted) -> Iterator[Iterable[Row]]:
    """Rows of one state as runs that are in order, each read only as far as it is needed."""
    env, kind, holder, limit = reader.env, wanted.kind, wanted.holder, wanted.limit
    if state == READY and holder is None:
        yield from _ready_runs(reader, wanted)
    elif state == DELAYED and holder is None:
        rows = reader.execute(sql.LIST_DELAYED, (env, kind, kind, limit)).fetchall()
        yield sorted(rows, key=_urgency)
    elif state == LEASED:
        held = (env, kind, kind, holder, holder, limit)
        yield sorted(reader.execute(sql.LIST_LEASED, held).fetchall(), key=_urgency)
    elif state == DONE:
        for each in wanted.holders if holder is None else (holder,):
            yield reader.execute(sql.LIST_DONE, (env, each, kind, kind, limit))
    elif state > DONE:
        yield reader.execute(sql.LIST_FINISHED, (env, state, kind, kind, holder, holder, limit))


def _ready_runs(reader: Reader, wanted: Wanted) -> Iterator[Iterable[Row]]:
    for target in wanted.targets:
        if wanted.kind is None:
            yield reader.execute(sql.LIST_READY, (reader.env, target, wanted.limit))
        else:
            place = (reader.env, target, wanted.kind, wanted.limit)
            yield reader.execute(sql.LIST_READY_KIND, place)


def _urgency(row: Row) -> tuple[int, int]:
    return -row[2], row[0]


def _newest(row: Row) -> int:
    return -int(row[0])


def _view(environment: Environment, row: Row) -> MessageView:
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
