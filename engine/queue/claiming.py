"""Which messages a claim leases, as an operation of the writer, and how one is undone.

Claims of one commit that look in the same lanes look once, and share what they find. A message
that has expired is moved out of the way, one whose body is damaged is a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple, Self

from ..errors import Damaged
from ..store.database import Transaction
from ..vault import letters
from ..vault.letters import Letter
from . import statements as sql
from .counters import Move
from .delivery import Keeper, QueueOperation
from .lanes import Probe
from .statements import DEAD, EXPIRED, LEASED, READY
from .waiters import Waiter

CLEARED_ROWS: Final = 100  # expired messages one step of a claim clears out of its way
CLEARING_STEPS: Final = 4


class Taken(NamedTuple):
    """What a claim found. `exhausted`: it looked at all there was."""

    rows: list[tuple[Any, ...]]
    moves: list[Move]
    exhausted: bool


class Claim(QueueOperation):
    """Lease the most urgent messages of some lanes. The answer goes to the waiter, not to
    `future`: a claim that comes back empty may wait and try again."""

    __slots__ = ("limit", "probes", "waiter")

    def __init__(
        self, keeper: Keeper, waiter: Waiter, probes: tuple[Probe, ...], limit: int
    ) -> None:
        self.keeper = keeper
        self.waiter = waiter
        self.probes = probes
        self.limit = limit

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Taken]:
        """Claims that look in the same lanes look once. Behind a seal there is nothing."""
        if operations[0].keeper.keyring.reason:
            return [Taken([], [], exhausted=True) for _ in operations]
        outcomes: list[Taken] = []
        for probes, group in groupby(operations, key=_probes):
            outcomes.extend(_claim(tx, probes, list(group)))
        return outcomes

    def committed(self, outcome: Taken) -> None:
        self.keeper.claimed(self, outcome)

    def fail(self, error: Exception) -> None:
        self.keeper.unclaimed(self, error)


def _probes(claim: Claim) -> tuple[Probe, ...]:
    return claim.probes


def _claim(tx: Transaction, probes: Sequence[Probe], claims: Sequence[Claim]) -> list[Taken]:
    found = _clear_heads(tx, probes, sum(claim.limit for claim in claims), claims[0])
    shares = _shares(found.heads, [claim.limit for claim in claims])
    opened = _open(tx, [head for share in shares for head in share], claims[0], found.moves)
    whole = found.exhausted and len(opened) == sum(map(len, shares))
    taken, updates = [], []
    for claim, share in zip(claims, shares, strict=True):
        holder, until_us = claim.waiter.principal.id, tx.now_us + claim.waiter.lease_us
        rows = []
        for head in share:
            if (text := opened.get(head.ident)) is None:
                continue
            attempt = head.attempt + 1
            rows.append((head.ident, head.kind, text, head.priority, attempt, until_us,
                         head.sender, head.target, head.sent_us))  # fmt: skip
            updates.append((holder, until_us, tx.now_us, head.ident))
            tx.audit(holder, "queue.claim", claim.shown(head.ident), detail=f"attempt {attempt}")
        taken.append(Taken(rows, [], whole))
    tx.executemany(sql.TAKE, updates)
    taken[0].moves.extend(found.moves)
    return taken


def _open(
    tx: Transaction, heads: Sequence[Head], claim: Claim, moves: list[Move]
) -> dict[int, bytes]:
    """The texts of what is taken. A message whose body does not match its seal is a dead letter:
    nobody could work on it, and it must not stand in the way."""
    ring = claim.keeper.keyring
    texts: dict[int, bytes] = {}
    for head in heads:
        letter = Letter(head.ident, head.kind, head.sender, head.target)
        try:
            texts[head.ident] = letters.unprotect(ring, letter, head.body)
        except Damaged as error:
            tx.execute(sql.BURY, (error.message, tx.now_us, head.ident))
            tx.audit("engine", "queue.damaged", claim.shown(head.ident))
            lane = head.target, head.kind, head.priority, head.sent_us
            moves.append(Move(head.ident, READY, DEAD, *lane))
    return texts


def _shares(heads: Sequence[Head], limits: Sequence[int]) -> list[list[Head]]:
    """Who gets which messages, in order. One that has failed before is handed out alone: if it
    kills whoever works on it, nothing else may use up its attempts with it."""
    shares: list[list[Head]] = []
    at = 0
    for limit in limits:
        share: list[Head] = []
        while at < len(heads) and len(share) < limit and not (share and heads[at].failed):
            share.append(heads[at])
            at += 1
            if heads[at - 1].failed:
                break
        shares.append(share)
    return shares


class Head(NamedTuple):
    """A ready message as its row has it. `rank` 0 is most urgent; `failed`: it was handed out
    before and has not been finished."""

    rank: int
    ident: int
    kind: str
    body: bytes
    priority: int
    attempt: int
    sender: str
    target: str
    sent_us: int
    expires_us: int | None
    failed: int


class _Heads(NamedTuple):
    heads: list[Head]
    moves: list[Move]
    exhausted: bool


def _clear_heads(tx: Transaction, probes: Sequence[Probe], wanted: int, claim: Claim) -> _Heads:
    """The most urgent messages, those that have expired moved out of the way. Bounded: a claim
    behind a heap of expired messages clears a part and is told that it has not seen all."""
    moves: list[Move] = []
    limit = wanted
    for _ in range(CLEARING_STEPS):
        heads = _heads(tx, probes, limit)
        stale = [head.ident for head in heads if head.expires_us and head.expires_us <= tx.now_us]
        if not stale:
            return _Heads(heads[:wanted], moves, exhausted=True)
        moves.extend(_expire_ready(tx, stale, claim))
        limit = max(wanted, CLEARED_ROWS)
    return _Heads([], moves, exhausted=False)


def _heads(tx: Transaction, probes: Sequence[Probe], limit: int) -> list[Head]:
    """The most urgent, merged over the lanes."""
    heads: list[Head] = []
    for target, kind in probes:
        if kind is None:
            cursor = tx.execute(sql.HEADS, (tx.env, target))
        else:
            cursor = tx.execute(sql.HEADS_OF_KIND, (tx.env, target, kind))
        heads += map(Head._make, cursor.fetchmany(limit))
        cursor.close()
    if len(probes) > 1:
        heads.sort()
    return heads[:limit]


def _expire_ready(tx: Transaction, idents: Sequence[int], claim: Claim) -> list[Move]:
    moves = []
    for ident in idents:
        row = tx.execute(sql.SELECT_LEASE, (ident, tx.env)).fetchone()
        assert row is not None, "a head has a row"
        moves.append(Move(ident, READY, EXPIRED, *row[:4]))
        tx.execute(sql.EXPIRE, (tx.now_us, ident))
        tx.audit("engine", "queue.expire", claim.shown(ident))
    return moves


class Untake(QueueOperation):
    """Give back what was claimed for a caller that has gone. Nobody has seen it, so the attempt
    does not count."""

    __slots__ = ("holder", "taken")

    def __init__(self, keeper: Keeper, holder: str, taken: list[tuple[int, int]]) -> None:
        self.keeper = keeper
        self.holder = holder
        self.taken = taken

    def change(self, tx: Transaction) -> list[Move]:
        moves = []
        for ident, attempt in self.taken:
            row = tx.execute(sql.UNTAKE, (tx.now_us, ident, self.holder, attempt)).fetchone()
            if row is not None:
                *lane, left = row
                again = -1 if left else 0
                moves.append(Move(ident, LEASED, READY, *lane)._replace(redelivered=again))
                tx.audit("engine", "queue.untake", self.shown(ident), detail="its claimer has gone")
        return moves

    def committed(self, outcome: list[Move]) -> None:
        self.keeper.moved(outcome)
