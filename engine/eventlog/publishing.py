"""Events are published by the thousand: all that wait for the writer go in with one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from ..acl.rows import Rows
from ..errors import NotFound, SwarmDeckError
from ..model import Environment, Principal, Right
from ..store.database import Operation, Transaction
from ..vault import Ring, letters
from ..vault.letters import Letter
from . import rows
from .rows import Standing

_LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'event'"
_INSERT: Final = """
INSERT INTO event (id, env, type, owner, team, swarm, level, target, lane, priority, parent, chain,
                   tags, max_retries, ttl_us, expires_at, payload, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class Draft(msgspec.Struct, frozen=True):
    """An event that is to be published. `text` is its payload as JSON, `parent` a number."""

    type: str
    text: bytes
    standing: Standing
    priority: int
    parent: int | None
    tags: str
    ttl_us: int
    max_retries: int


class Keeper(Protocol):
    """What operations on events need of those they belong to."""

    environment: Environment
    ring: Ring
    rows: Rows

    def published(self, idents: Sequence[int], due_us: int) -> None:
        """On the loop: these were committed, and the first of them expires then."""
        ...

    def due(self, deadline_us: int) -> None: ...


class Publish(Operation):
    """Store the events of one call, all or none; answers with their ids. `chains` are theirs and
    `at_us` is when, once that is known."""

    __slots__ = ("at_us", "chains", "drafts", "keeper", "principal")
    topic = "events"
    grows = True

    def __init__(self, keeper: Keeper, principal: Principal, drafts: Sequence[Draft]) -> None:
        self.keeper = keeper
        self.principal = principal
        self.drafts = drafts
        self.chains: Sequence[int] = ()
        self.at_us = 0

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        keeper = operations[0].keeper
        ids = tx.overlay(keeper)
        last: int = ids["last"] if "last" in ids else _last(tx)
        outcomes: list[Any] = []
        stored: list[tuple[int, Draft, int]] = []
        for operation in operations:
            try:
                chains = [operation.chain(tx, draft) for draft in operation.drafts]
            except SwarmDeckError as error:
                outcomes.append(error)
                continue
            numbers = range(last + 1, last + 1 + len(chains))
            last += len(chains)
            operation.at_us = tx.now_us
            operation.chains = [
                number if chain is None else chain
                for number, chain in zip(numbers, chains, strict=True)
            ]
            stored += zip(numbers, operation.drafts, operation.chains, strict=True)
            outcomes.append(numbers)
        ids["last"] = last
        _store(tx, keeper, stored)
        return outcomes

    def chain(self, tx: Transaction, draft: Draft) -> int | None:
        """The chain of an event that follows from another; None: it begins one. Raises NotFound
        for a parent that its publisher may not read."""
        if draft.parent is None:
            return None
        found = rows.find(tx, draft.parent)
        ident = rows.shown(self.keeper.environment, draft.parent)
        if found is None:
            raise NotFound(f"no event {ident}")
        self.keeper.rows.require(self.principal, Right.READ, found[0], ident)
        return found[0].chain

    @classmethod
    def settle(cls, operations: Sequence[Self], outcomes: Sequence[Any]) -> None:
        """Answer all, and tell those who listen once."""
        keeper = operations[0].keeper
        told: list[int] = []
        ttl_us = min(draft.ttl_us for operation in operations for draft in operation.drafts)
        head = rows.shown(keeper.environment, 0)[:-1]
        for operation, outcome in zip(operations, outcomes, strict=True):
            if type(outcome) is not range:
                operation.fail(outcome)
                continue
            told += outcome
            if not operation.future.done():
                operation.future.set_result([f"{head}{number}" for number in outcome])
        if told:
            keeper.published(told, ttl_us)


def _last(tx: Transaction) -> int:
    row = tx.execute(_LAST).fetchone()
    return int(row[0]) if row else 0


def _store(tx: Transaction, keeper: Keeper, stored: Sequence[tuple[int, Draft, int]]) -> None:
    texts: list[tuple[Letter, bytes]] = [
        (rows.letter(number, draft.type, draft.standing), draft.text) for number, draft, _ in stored
    ]
    if not texts:
        return
    env, now_us = tx.env, tx.now_us
    found = []
    for (number, draft, chain), payload in zip(
        stored, letters.protect(keeper.ring, tx, texts), strict=True
    ):
        stands = draft.standing
        found.append((
            number, env, draft.type, stands.owner, stands.team, stands.swarm, int(stands.level),
            stands.target, stands.lane, draft.priority, draft.parent, chain, draft.tags,
            draft.max_retries, draft.ttl_us, now_us + draft.ttl_us, payload, now_us, now_us,
        ))  # fmt: skip
    tx.insert_many(_INSERT, found)
    head = rows.shown(keeper.environment, 0)[:-1]
    for number, draft, _ in stored:
        tx.audit(draft.standing.owner, "event.publish", f"{head}{number}", detail=draft.type)
