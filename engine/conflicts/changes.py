"""What is done about conflicts: reported, worked on, resolved, escalated. Each is one
transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from ..acl.grants import Standing
from ..acl.rows import Rows
from ..errors import Conflict, Denied
from ..model import Principal, Right
from ..numbered import Numbered
from ..store.database import Reader, Transaction
from ..vault import Ring, letters
from . import rows
from .rows import Found

ENGINE: Final = "engine"
NEVER_US: Final = 1 << 62
STEP_ROWS: Final = 100  # deleted in one transaction
MOST_ESCALATED: Final = 200  # of which alerts tell

_ENDING: Final = (Right.WRITE, Right.DELETE)

_INSERT: Final = """
INSERT INTO conflict (env, title, type, severity, one, other, strategy, auto, state, threshold,
                      owner, team, swarm, level, body, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'unresolved', ?, ?, ?, ?, ?, x'', ?, ?)"""
_STORE_BODY: Final = "UPDATE conflict SET body = ? WHERE id = ?"
_SAME: Final = f"""
SELECT {rows.COLUMNS} FROM conflict
WHERE env = ? AND type = ? AND state <> 'resolved'
  AND ((one = ? AND other = ?) OR (one = ? AND other = ?)) ORDER BY id LIMIT 20"""  # noqa: S608
_AGAIN: Final = """
UPDATE conflict SET times = times + 1, severity = max(severity, ?), updated_at = ? WHERE id = ?"""
_SET: Final = """
UPDATE conflict
SET state = ?, attempts = ?, holder = ?, reason = ?, escalated_at = ?, resolved_at = ?,
    resolution = ?, updated_at = ?
WHERE id = ?"""
_ESCALATED: Final = f"""
SELECT {rows.COLUMNS} FROM conflict WHERE env = ? AND state = 'escalated'
ORDER BY severity DESC, id LIMIT ?"""  # noqa: S608
_OLD: Final = """
SELECT id FROM conflict WHERE env = ? AND state = 'resolved' AND resolved_at <= ?
ORDER BY resolved_at LIMIT ?"""
_DELETE: Final = "DELETE FROM conflict WHERE id = ?"
_OLDEST: Final = "SELECT min(resolved_at) FROM conflict WHERE env = ? AND state = 'resolved'"


class Draft(msgspec.Struct, frozen=True):
    """A conflict that is not stored yet, its fields checked."""

    title: str
    type: str
    severity: int
    one: str
    other: str
    strategy: str
    auto: bool
    threshold: int
    standing: Standing
    text: bytes


class Keeper(Protocol):
    """What changes need of those who keep the conflicts."""

    ids: Numbered
    rows: Rows
    ring: Ring


Change = Callable[[Transaction], Found]
Fields = dict[str, str | int | None]


def report(keeper: Keeper, principal: Principal, draft: Draft) -> Change:
    """Store a conflict. One between the same two of the same type that is not resolved yet and
    that `principal` may read is the same one, reported again. Raises Sealed."""

    def change(tx: Transaction) -> Found:
        for same in _same(tx, draft):
            shown = keeper.ids.shown(same.ident)
            if keeper.rows.allows(principal, Right.READ, same, shown):
                tx.execute(_AGAIN, (draft.severity, tx.now_us, same.ident))
                tx.audit(principal.id, "conflict.report", shown, detail="again")
                return _now(tx, same.ident)
        return _store(tx, keeper, principal, draft)

    return change


def _same(tx: Transaction, draft: Draft) -> list[Found]:
    pair = (draft.one, draft.other)
    found = tx.execute(_SAME, (tx.env, draft.type, *pair, *reversed(pair))).fetchall()
    return [rows.conflict(row) for row in found]


def _store(tx: Transaction, keeper: Keeper, principal: Principal, draft: Draft) -> Found:
    keeper.ring.prepare(tx)  # before there is a row that it would have to have keys for
    stands = draft.standing
    row = (
        tx.env, draft.title, draft.type, draft.severity, draft.one, draft.other, draft.strategy,
        draft.auto, draft.threshold, stands.owner, stands.team, stands.swarm, int(stands.level),
        tx.now_us, tx.now_us,
    )  # fmt: skip
    number = tx.execute(_INSERT, row).lastrowid
    assert number is not None
    found = _now(tx, number)
    [body] = letters.protect(keeper.ring, tx, [(found.letter, draft.text)])
    tx.execute(_STORE_BODY, (body, number))
    detail = f"{draft.type}, {rows.SEVERITIES[draft.severity - 1]}"
    tx.audit(principal.id, "conflict.report", keeper.ids.shown(number), detail=detail)
    return found


def begin(keeper: Keeper, principal: Principal, number: int) -> Change:
    """Work on it. Raises Conflict for one that is resolved or that somebody else works on."""

    def change(tx: Transaction) -> Found:
        found, shown = _concerning(tx, keeper, principal, number)
        if found.state == "in_progress":
            raise Conflict(
                f"{found.holder} works on {shown}", hint="swarmdeck conflict reopen frees it"
            )
        _set(tx, found, {"state": "in_progress", "holder": principal.id})
        tx.audit(principal.id, "conflict.begin", shown)
        return _now(tx, number)

    return change


def attempt(keeper: Keeper, principal: Principal, number: int, reason: str) -> Change:
    """An attempt to resolve it has failed: as many as its threshold escalate it."""

    def change(tx: Transaction) -> Found:
        found, shown = _concerning(tx, keeper, principal, number)
        attempts = found.attempts + 1
        changes: Fields = {"attempts": attempts, "reason": reason}
        if escalates := attempts >= found.threshold and found.state != "escalated":
            changes |= {"state": "escalated", "holder": None, "escalated_us": tx.now_us}
        elif found.state == "unresolved":
            changes |= {"state": "in_progress", "holder": principal.id}
        _set(tx, found, changes)
        detail = f"attempt {attempts} of {found.threshold}{', escalated' if escalates else ''}"
        tx.audit(principal.id, "conflict.attempt", shown, detail=detail)
        return _now(tx, number)

    return change


def resolve(keeper: Keeper, principal: Principal, number: int, resolution: bytes) -> Change:
    """It is over; `resolution` says how. Raises Sealed."""

    def change(tx: Transaction) -> Found:
        found, shown = _concerning(tx, keeper, principal, number)
        [sealed] = letters.protect(keeper.ring, tx, [(found.resolution_letter, resolution)])
        ended: Fields = {"state": "resolved", "holder": principal.id, "resolved_us": tx.now_us}
        _set(tx, found, ended, sealed)
        tx.audit(principal.id, "conflict.resolve", shown)
        return _now(tx, number)

    return change


def escalate(keeper: Keeper, principal: Principal, number: int, reason: str) -> Change:
    """Call for a person, whatever was attempted. Raises Conflict for one that is escalated."""

    def change(tx: Transaction) -> Found:
        found, shown = _concerning(tx, keeper, principal, number)
        if found.state == "escalated":
            raise Conflict(f"{shown} is escalated already")
        up: Fields = {"state": "escalated", "holder": None, "escalated_us": tx.now_us}
        _set(tx, found, up | {"reason": reason or found.reason})
        tx.audit(principal.id, "conflict.escalate", shown, detail=reason)
        return _now(tx, number)

    return change


def reopen(keeper: Keeper, principal: Principal, number: int, reason: str) -> Change:
    """Begin anew, whatever has become of it. Raises Conflict for one nobody has begun."""

    def change(tx: Transaction) -> Found:
        found, shown = _concerning(tx, keeper, principal, number, ended=True)
        if found.state == "unresolved":
            raise Conflict(f"{shown} is unresolved already")
        again: Fields = {"state": "unresolved", "attempts": 0, "holder": None, "reason": reason}
        _set(tx, found, again | {"escalated_us": None, "resolved_us": None})
        tx.audit(principal.id, "conflict.reopen", shown, detail=reason)
        return _now(tx, number)

    return change


def _concerning(
    tx: Transaction, keeper: Keeper, principal: Principal, number: int, *, ended: bool = False
) -> tuple[Found, str]:
    """A conflict that `principal` may do something about: one of the two, and who may write or
    delete the row, as the operator may. Raises NotFound, Denied, Conflict for one that is resolved
    unless `ended`."""
    row, shown = rows.find(tx, number), keeper.ids.shown(number)
    found = None if row is None else row[0]
    keeper.rows.require(principal, Right.READ, found, shown)
    assert found is not None
    between = {found.one, found.other}
    is_one = not between.isdisjoint({principal.id, principal.swarm, *principal.teams})
    may = (keeper.rows.allows(principal, each, found, shown) for each in _ENDING)
    if not is_one and not any(may):
        raise Denied(
            f"{principal.id} may not change conflict {shown}",
            hint="those it is between may, and who may write or delete it",
        )
    if found.state == "resolved" and not ended:
        raise Conflict(f"{shown} is resolved", hint="swarmdeck conflict reopen begins it anew")
    return found, shown


def _set(
    tx: Transaction,
    found: Found,
    changes: Fields,
    resolution: bytes | None = None,
) -> None:
    now = msgspec.structs.replace(found, **changes)
    tx.execute(_SET, (
        now.state, now.attempts, now.holder, now.reason, now.escalated_us, now.resolved_us,
        resolution, tx.now_us, now.ident,
    ))  # fmt: skip


def _now(tx: Transaction, number: int) -> Found:
    found = rows.find(tx, number)
    assert found is not None
    return found[0]


# --- time -------------------------------------------------------------------------------------


def escalated(tx: Transaction) -> list[Found]:
    """The escalated ones, the most severe first, up to MOST_ESCALATED. Read in the order of the
    changes, so that what is in memory misses none."""
    found = tx.execute(_ESCALATED, (tx.env, MOST_ESCALATED))
    return [rows.conflict(row) for row in found]


def clean(kept_us: int) -> Callable[[Transaction], int]:
    """Delete up to STEP_ROWS that were resolved longer ago; how many."""

    def change(tx: Transaction) -> int:
        old = tx.execute(_OLD, (tx.env, tx.now_us - kept_us, STEP_ROWS)).fetchall()
        tx.executemany(_DELETE, old)
        if old:
            tx.audit(ENGINE, "conflict.clean", f"{len(old)} conflicts")
        return len(old)

    return change


def oldest(reader: Reader) -> int:
    """When the one was resolved that was first; NEVER_US while none is."""
    row = reader.execute(_OLDEST, (reader.env,)).fetchone()
    return NEVER_US if row is None or row[0] is None else int(row[0])
