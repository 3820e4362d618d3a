"""What is done to proposals: made, voted on, closed. Each is one transaction."""

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
from ..views import ProposalView
from . import rows
from .rows import Proposal, Tally

ENGINE: Final = "engine"
NEVER_US: Final = 1 << 62
STEP_ROWS: Final = 100  # expired or deleted in one transaction

_INSERT: Final = """
INSERT INTO consensus (env, title, type, target_type, target, strategy, threshold, participants,
                       loop, status, owner, team, swarm, level, deadline, body, created_at,
                       updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?)"""
_STORE_BODY: Final = "UPDATE consensus SET body = ? WHERE id = ?"
# An id that is told is one that seals can bind: the ballot gets its reason after its number.
_CAST: Final = """
INSERT INTO ballot (env, proposal, voter, vote, confidence, reason, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, x'', ?, ?)
ON CONFLICT (proposal, voter) DO UPDATE
SET vote = excluded.vote, confidence = excluded.confidence, updated_at = excluded.updated_at
RETURNING id"""
_STORE_REASON: Final = "UPDATE ballot SET reason = ? WHERE id = ?"
_VOTED: Final = "UPDATE consensus SET status = 'in_progress', updated_at = ? WHERE id = ?"
_CLOSE: Final = """
UPDATE consensus SET status = ?, score = ?, closed_at = ?, closed_by = ?, reason = ?, updated_at = ?
WHERE id = ?"""
_LATE: Final = f"""
SELECT {rows.COLUMNS} FROM consensus
WHERE env = ? AND closed_at IS NULL AND deadline <= ? ORDER BY deadline LIMIT ?"""  # noqa: S608
_ENDED: Final = """
SELECT id FROM consensus WHERE env = ? AND closed_at IS NOT NULL AND closed_at <= ?
ORDER BY closed_at LIMIT ?"""
_DELETE: Final = "DELETE FROM consensus WHERE id = ?"
_DEADLINE: Final = """
SELECT min(deadline) FROM consensus
WHERE env = ? AND closed_at IS NULL AND deadline IS NOT NULL"""
_OLDEST: Final = "SELECT min(closed_at) FROM consensus WHERE env = ? AND closed_at IS NOT NULL"


class Draft(msgspec.Struct, frozen=True):
    """A proposal that is not stored yet, its fields checked."""

    title: str
    type: str
    target_type: str | None
    target: str | None
    strategy: str
    threshold: int
    participants: tuple[str, ...]
    loop: int
    standing: Standing
    deadline_us: int | None
    text: bytes


class Ballot(msgspec.Struct, frozen=True):
    """What somebody says to a proposal. `confidence` is millionths."""

    vote: str
    confidence: int
    reason: bytes


class Keeper(Protocol):
    """What changes need of those who keep the proposals."""

    ids: Numbered
    rows: Rows
    ring: Ring


def propose(keeper: Keeper, draft: Draft) -> Callable[[Transaction], int]:
    """Store a proposal; its number. Raises Sealed."""

    def change(tx: Transaction) -> int:
        keeper.ring.prepare(tx)  # before there is a row that it would have to have keys for
        stands = draft.standing
        invited = msgspec.json.encode(draft.participants).decode()
        row = (
            tx.env, draft.title, draft.type, draft.target_type, draft.target, draft.strategy,
            draft.threshold, invited, draft.loop, stands.owner, stands.team, stands.swarm,
            int(stands.level), draft.deadline_us, b"", tx.now_us, tx.now_us,
        )  # fmt: skip
        number = tx.execute(_INSERT, row).lastrowid
        assert number is not None
        found = rows.find(tx, number)
        assert found is not None
        [body] = letters.protect(keeper.ring, tx, [(found[0].letter, draft.text)])
        tx.execute(_STORE_BODY, (body, number))
        shown = keeper.ids.shown(number)
        tx.audit(stands.owner, "consensus.propose", shown, detail=draft.type)
        return number

    return change


def vote(
    keeper: Keeper, principal: Principal, number: int, ballot: Ballot
) -> Callable[[Transaction], ProposalView]:
    """Cast a ballot, or replace the one cast before. Raises NotFound, Denied for who is not among
    the participants, Conflict for a proposal that is closed or late, Sealed."""

    def change(tx: Transaction) -> ProposalView:
        found = _open(tx, keeper, principal, number, Right.READ)
        _require_invited(found, principal, keeper.ids.shown(number))
        keeper.ring.prepare(tx)
        said = (ballot.vote, ballot.confidence)
        row = (tx.env, number, principal.id, *said, tx.now_us, tx.now_us)
        [[ident]] = tx.execute(_CAST, row).fetchall()
        letter = rows.ballot_letter(ident, number, principal.id, *said)
        [reason] = letters.protect(keeper.ring, tx, [(letter, ballot.reason)])
        tx.execute(_STORE_REASON, (reason, ident))
        tx.execute(_VOTED, (tx.now_us, number))
        detail = f"{ballot.vote}, confidence {ballot.confidence / rows.MILLION:g}"
        tx.audit(principal.id, "consensus.vote", keeper.ids.shown(number), detail=detail)
        return _now(tx, keeper, number)

    return change


def close(
    keeper: Keeper, principal: Principal, number: int, status: str, reason: str, action: str
) -> Callable[[Transaction], ProposalView]:
    """End a proposal by hand, with what its ballots come to now: for who made it and those who
    may delete it. Raises NotFound, Denied, Conflict for one that is closed or late."""

    def change(tx: Transaction) -> ProposalView:
        found = _open(tx, keeper, principal, number, Right.DELETE)
        _end(tx, found, status, (tx.now_us, principal.id, reason))
        detail = f"{status}: {reason}" if reason else status
        tx.audit(principal.id, action, keeper.ids.shown(number), detail=detail)
        return _now(tx, keeper, number)

    return change


def _open(
    tx: Transaction, keeper: Keeper, principal: Principal, number: int, right: Right
) -> Proposal:
    row, shown = rows.find(tx, number), keeper.ids.shown(number)
    found = None if row is None else row[0]
    keeper.rows.require(principal, right, found, shown)
    assert found is not None
    status = found.status_at(tx.now_us)
    if status not in rows.OPEN:
        raise Conflict(f"{shown} is closed: it is {status}", hint="propose it again")
    return found


def _require_invited(found: Proposal, principal: Principal, shown: str) -> None:
    mine = {principal.id, *principal.teams, principal.swarm}
    if found.participants and mine.isdisjoint(found.participants):
        raise Denied(
            f"{principal.id} does not take part in {shown}",
            hint="swarmdeck consensus show says who does",
        )


def _end(tx: Transaction, found: Proposal, status: str, by: tuple[int, str, str]) -> None:
    tally = rows.tallies(tx, [found.ident]).get(found.ident, Tally())
    tx.execute(_CLOSE, (status, tally.score, *by, tx.now_us, found.ident))


def _now(tx: Transaction, keeper: Keeper, number: int) -> ProposalView:
    found = rows.find(tx, number)
    assert found is not None
    tally = rows.tallies(tx, [number]).get(number, Tally())
    return rows.view(keeper.ids, found[0], tally, tx.now_us)


# --- time -------------------------------------------------------------------------------------


def expire(keeper: Keeper) -> Callable[[Transaction], int]:
    """Note that up to STEP_ROWS proposals were not closed in time; how many."""

    def change(tx: Transaction) -> int:
        late = tx.execute(_LATE, (tx.env, tx.now_us, STEP_ROWS)).fetchall()
        for found in map(rows.proposal, late):
            _end(tx, found, "expired", (found.deadline_us or tx.now_us, ENGINE, ""))
            tx.audit(ENGINE, "consensus.expire", keeper.ids.shown(found.ident), detail=found.type)
        return len(late)

    return change


def clean(kept_us: int) -> Callable[[Transaction], int]:
    """Delete up to STEP_ROWS that were closed longer ago, with their ballots; how many."""

    def change(tx: Transaction) -> int:
        old = tx.execute(_ENDED, (tx.env, tx.now_us - kept_us, STEP_ROWS)).fetchall()
        tx.executemany(_DELETE, old)
        if old:
            tx.audit(ENGINE, "consensus.clean", f"{len(old)} proposals")
        return len(old)

    return change


def deadline(kept_us: int) -> Callable[[Reader], int]:
    """When something is due next; NEVER_US while there is nothing."""

    def query(reader: Reader) -> int:
        late, old = (
            reader.execute(statement, (reader.env,)).fetchone()
            for statement in (_DEADLINE, _OLDEST)
        )
        next_us = NEVER_US if late is None or late[0] is None else int(late[0])
        clean_us = NEVER_US if old is None or old[0] is None else int(old[0]) + kept_us
        return min(next_us, clean_us)

    return query
