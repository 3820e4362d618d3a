"""Which messages a page shows: statements that find ids in an order, and what they cost.

A million messages can be ready. What makes a page of them cheap is, in this order:

- The counts by priority say which priorities a page touches; the others are never passed.
- Within a priority the order is that of the ids. In one lane that is the order of its index;
  over many lanes rows are read by their ids, as long as enough of them belong to the page, else
  all of that priority are sorted.
- Any other order or filter passes all messages of the states asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from ..errors import InvalidInput
from ..store.contains import containing
from ..store.database import Reader
from . import statements as sql
from .counters import Counters
from .listing import Wish
from .statements import CANCELLED, DEAD, DELAYED, DONE, EXPIRED, LEASED, READY
from .views import Row

_OPEN_ORDERS: Final = {
    "urgency": ("priority DESC", "id"),
    "age": ("id",),
    "kind": ("kind", "priority DESC", "id"),
    "attempts": ("attempt", "priority DESC", "id"),
}
_ENDED_ORDERS: Final = _OPEN_ORDERS | {"urgency": ("id DESC",)}
_TEXTS: Final = ("kind", "sender", "ifnull(holder, '')", "target", "error")

SORTING: Final = 4  # to sort the messages of many lanes costs as much as to pass so many each

_to_json = msgspec.json.Encoder().encode


class Facts(NamedTuple):
    """What is known of a queue without asking its file."""

    counters: Counters
    env: str
    prefix: str
    last_id: int


class Part(NamedTuple):
    """A statement, or a part of one, with its parameters."""

    text: str
    parameters: tuple[object, ...] = ()


class Look(NamedTuple):
    """A statement that answers ids in order, and about how many rows it passes."""

    part: Part
    passes: int


class Slice(NamedTuple):
    """What a page takes of one priority, in the order of ids."""

    priority: int
    skip: int
    take: int


def total(counters: Counters, wanted: Wish) -> int | None:
    """How many messages a wish is about, None where only the file could say."""
    return None if wanted.filtered else _count(counters, wanted.states)


def looks(facts: Facts, wanted: Wish, skip: int, take: int) -> list[Look]:
    """How to find a page: the ids of all looks, one after the other. Raises InvalidInput."""
    if wanted.order not in _OPEN_ORDERS:
        raise InvalidInput(f"messages have no order {wanted.order}", hint=", ".join(_OPEN_ORDERS))
    if wanted.filtered:
        return [_any_order(facts, wanted, skip, take)]
    if wanted.order == "urgency" and not wanted.ended:
        parts = slices(facts.counters, wanted, skip, take)
        return [_of_priority(facts, wanted, part) for part in parts]
    count = _count(facts.counters, wanted.states)
    passes = _passed_by_id(skip + take, count, facts.last_id)
    if _is_by_id(wanted) and wanted.states[0] <= DONE and passes <= count:
        return [Look(_by_id(facts, wanted, Slice(0, skip, take)), passes)]
    return [_any_order(facts, wanted, skip, take)]


def read(found: Sequence[Look]) -> Callable[[Reader], list[Row]]:
    """The rows of a page, without bodies."""

    def query(reader: Reader) -> list[Row]:
        answers = (reader.execute(look.part.text, look.part.parameters) for look in found)
        idents = [row[0] for answer in answers for row in answer]
        listed = (_to_json(idents).decode(), reader.env)
        rows = {row[0]: row for row in reader.execute(sql.SELECT_PAGE, listed)}
        return [rows[ident] for ident in idents]

    return query


def idents(state: int, kind: str | None) -> Callable[[Reader], array[int]]:
    """The ids of all messages in a state (of one kind)."""
    statement = sql.IDS_OF_STATE.format(index=_INDEXES[state], state=_condition(state))

    def query(reader: Reader) -> array[int]:
        rows = reader.execute(statement, (reader.env, kind, kind))
        return array("q", (row[0] for row in rows))

    return query


def slices(counters: Counters, wanted: Wish, skip: int, take: int) -> Iterator[Slice]:
    """What a page takes of each priority, most urgent first (`descending`: last)."""
    by = counters.priorities.by
    for priority in range(1, 11) if wanted.descending else range(10, 0, -1):
        count = sum(by[state][priority] for state in wanted.states)
        if skip < count and take > 0:
            part = min(take, count - skip)
            yield Slice(priority, skip, part)
            take -= part
        skip = max(0, skip - count)


def _of_priority(facts: Facts, wanted: Wish, part: Slice) -> Look:
    by = facts.counters.priorities.by
    counts = {s: by[s][part.priority] for s in wanted.states if by[s][part.priority]}
    targets = facts.counters.lanes.filled() if READY in counts else ()
    count, rows = sum(counts.values()), part.skip + part.take
    if len(targets) > 1:
        passes = _passed_by_id(rows, count, facts.last_id) + len(targets)
        if passes <= SORTING * count:
            return Look(_by_id(facts, wanted, part, targets), passes)
        rows = count
    arms = [_arm_of_priority(facts.env, state, targets, part.priority) for state in counts]
    passes = rows + count - counts.get(READY, 0)
    return Look(_together(arms, _turned(wanted, ("id",)), part), passes)


def _arm_of_priority(env: str, state: int, targets: Sequence[str], priority: int) -> Part:
    if state != READY:
        some = sql.OF_PRIORITY.format(index=_INDEXES[state], state=state)
        return Part(some, (env, priority))
    if len(targets) > 1:
        return Part(sql.LANES_OF_PRIORITY, (_to_json(targets).decode(), env, priority))
    return Part(sql.LANE_OF_PRIORITY, (env, targets[0], priority))


def _by_id(facts: Facts, wanted: Wish, part: Slice, targets: Sequence[str] = ()) -> Part:
    """Read messages by their ids; upwards, those of a priority from the first of them on."""
    states = ", ".join(map(str, wanted.states))
    where = f"env = ? AND state IN ({states})"
    parameters: tuple[object, ...] = (facts.env,)
    if part.priority:
        where, parameters = f"{where} AND priority = ?", (*parameters, part.priority)
    if part.priority and not wanted.descending:
        firsts = [_firsts(facts.env, state, targets, part.priority) for state in wanted.states]
        first = " UNION ALL ".join(arm.text for arm in firsts)
        lowest = f"SELECT min(id) FROM ({first})"  # noqa: S608 - parts of our own, also below
        where += f" AND id >= coalesce(({lowest}), 0)"
        parameters += tuple(value for arm in firsts for value in arm.parameters)
    order = ", ".join(_turned(wanted, _orders(wanted)[-1:]))
    found = f"SELECT id FROM message NOT INDEXED WHERE {where}"  # noqa: S608
    return Part(f"{found} ORDER BY {order} LIMIT ? OFFSET ?", (*parameters, part.take, part.skip))


def _firsts(env: str, state: int, targets: Sequence[str], priority: int) -> Part:
    if state == READY:
        return Part(sql.FIRSTS_OF_PRIORITY, (env, priority, _to_json(targets).decode()))
    return _arm_of_priority(env, state, (), priority)


def _any_order(facts: Facts, wanted: Wish, skip: int, take: int) -> Look:
    """Read all messages of the states, and sort what no index has in order."""
    order = _orders(wanted)
    targets = facts.counters.lanes.filled(wanted.kind)
    arms = [_arm(facts, wanted, state, targets) for state in wanted.states]
    found = _together(arms, _turned(wanted, order), Slice(0, skip, take))
    finished = wanted.states[0] > DONE and not wanted.filtered and _is_by_id(wanted)
    passes = skip + take if finished else _count(facts.counters, wanted.states)
    return Look(found, passes)


def _arm(facts: Facts, wanted: Wish, state: int, targets: Sequence[str]) -> Part:
    index = _INDEXES[state]
    if state == READY and wanted.kind is not None:
        index = "message_ready_kind"
    columns = dict.fromkeys(("id", *(column.split()[0] for column in _orders(wanted))))
    parts = [Part(f"env = ? AND state = {_condition(state)}", (facts.env,))]
    if state == READY and len(targets) == 1:
        parts.append(Part("target = ?", (targets[0],)))
    parts += _filters(facts, wanted)
    where = " AND ".join(part.text for part in parts)
    text = f"""
SELECT {", ".join(columns)} FROM message INDEXED BY {index} WHERE {where}"""  # noqa: S608
    return Part(text, tuple(value for part in parts for value in part.parameters))


def _filters(facts: Facts, wanted: Wish) -> Iterator[Part]:
    for column in ("kind", "holder", "sender"):
        value = getattr(wanted, column)
        if value is not None:
            yield Part(f"{column} = ?", (value,))
    if wanted.contains:
        shown = f"'{facts.prefix}_msg_' || id"
        yield Part(*containing(wanted.contains, (shown, *_TEXTS)))


def _together(arms: Sequence[Part], order: Sequence[str], part: Slice) -> Part:
    text = " UNION ALL ".join(arm.text for arm in arms)
    parameters = [value for arm in arms for value in arm.parameters]
    return Part(
        f"{text} ORDER BY {', '.join(order)} LIMIT ? OFFSET ?",
        (*parameters, part.take, part.skip),
    )


def _orders(wanted: Wish) -> tuple[str, ...]:
    return (_ENDED_ORDERS if wanted.ended else _OPEN_ORDERS)[wanted.order]


def _is_by_id(wanted: Wish) -> bool:
    return _orders(wanted) in {("id",), ("id DESC",)}


def _turned(wanted: Wish, order: Sequence[str]) -> list[str]:
    if not wanted.descending:
        return list(order)
    return [
        column.removesuffix(" DESC") if column.endswith(" DESC") else f"{column} DESC"
        for column in order
    ]


def _condition(state: int) -> str:
    """The state, in the words of its index."""
    return f"{state} AND state >= 4" if state > DONE else str(state)


def _count(counters: Counters, states: Sequence[int]) -> int:
    counts = counters.counts()
    return sum(getattr(counts, counts.__struct_fields__[state]) for state in states)


def _passed_by_id(rows: int, count: int, last_id: int) -> int:
    """How many rows one passes by id to find `rows` of `count`, spread over all ids."""
    return rows * last_id // max(1, count)


_INDEXES: Final = {
    READY: "message_ready",
    DELAYED: "message_delayed",
    LEASED: "message_leased",
    DONE: "message_done",
    DEAD: "message_finished",
    EXPIRED: "message_finished",
    CANCELLED: "message_finished",
}
