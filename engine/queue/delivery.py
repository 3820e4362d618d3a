"""What senders and holders of messages do, as operations of the writer.

Everything in `apply` runs on the writer's thread inside the transaction and decides from the
rows alone. Everything in `committed` runs on the loop after the commit, in commit order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..errors import Conflict, NotFound, SwarmDeckError
from ..model import Principal
from ..store.database import Operation, Transaction
from ..vault import Ring, letters
from ..vault.letters import Letter
from . import statements as sql
from .counters import Move
from .statements import DEAD, DELAYED, LEASED, READY, STATES

if TYPE_CHECKING:
    from .claiming import Claim, Taken


class Writes(Protocol):
    """Memory writes that go with an ack. What they look like is the store's own affair."""

    def check_writes(self, writes: Iterable[Sequence[Any]], /) -> Sequence[Any]:
        """The writes verified, before anything is queued. Raises InvalidInput."""
        ...

    def stage(
        self,
        tx: Transaction,
        worker: Principal,
        sender: Principal | None,
        writes: Sequence[Any],
        /,
    ) -> Any:  # noqa: ANN401
        """Write all of them, on the writer's thread, with the authority of both; or raise a
        SwarmDeckError and write none. The answer goes to `committed`."""
        ...

    def committed(self, staged: Any, /) -> None:  # noqa: ANN401
        """On the loop after the commit, in commit order."""
        ...


class Keeper(Protocol):
    """What operations tell the queue after their commit, on the loop."""

    prefix: str
    writes: Writes
    keyring: Ring

    def sent(self, send: Send, *, created: bool) -> None: ...
    def stored(self, sends: Sequence[Send]) -> None: ...
    def unsent(self, count: int = 1) -> None: ...
    def claimed(self, claim: Claim, taken: Taken) -> None: ...
    def unclaimed(self, claim: Claim, error: Exception) -> None: ...
    def finished(self, ident: int) -> None: ...
    def moved(self, moves: Sequence[Move]) -> None: ...
    def due(self, deadline_us: int) -> None: ...


class QueueOperation(Operation):
    """`future` is answered with what `committed` returns."""

    __slots__ = ("keeper",)
    topic = "queue"
    keeper: Keeper

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        return [operation.change(tx) for operation in operations]

    def change(self, tx: Transaction) -> Any:  # noqa: ANN401 - each operation has its own
        """The change of one operation: its outcome, or the error that fails it alone."""
        raise NotImplementedError

    def shown(self, ident: int) -> str:
        """The id as people see it."""
        return f"{self.keeper.prefix}_msg_{ident}"


class Send(QueueOperation):
    """Store a message. A key that is known stores nothing and answers with the first id."""

    __slots__ = ("body", "deadline_us", "delay_us", "expires_us", "ident", "key", "kind",
                 "max_attempts", "priority", "sender", "sent_us", "target", "text")  # fmt: skip
    grows = True

    ident: int
    sender: str
    kind: str
    target: str
    priority: int
    delay_us: int
    expires_us: int
    key: str | None
    max_attempts: int
    text: bytes
    body: bytes  # the text as it is stored
    sent_us: int
    deadline_us: int | None

    @property
    def letter(self) -> Letter:
        return Letter(self.ident, self.kind, self.sender, self.target)

    @property
    def state(self) -> int:
        return DELAYED if self.delay_us else READY

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[int]:
        """The id each message has. What has no key needs no answer from the store, so that all
        of it is inserted together."""
        keeper, env, now_us = operations[0].keeper, tx.env, tx.now_us
        bodies = letters.protect(keeper.keyring, tx, [(op.letter, op.text) for op in operations])
        plain: list[tuple[object, ...]] = []
        timed: list[tuple[object, ...]] = []
        for op, body in zip(operations, bodies, strict=True):
            op.body = body
            op.sent_us = now_us
            if op.key is not None:
                continue
            if op.delay_us or op.expires_us:
                timed.append(op.row(tx))
                continue
            op.deadline_us = None
            plain.append((op.ident, env, op.kind, op.target, op.priority, op.max_attempts,
                          op.sender, now_us, now_us, body))  # fmt: skip
        tx.insert_many(sql.INSERT_PLAIN, plain)
        tx.insert_many(sql.INSERT, timed)
        head = f"{keeper.prefix}_msg_"
        outcomes = []
        for op in operations:
            ident = op.ident if op.key is None else op.change(tx)
            if ident == op.ident:
                tx.audit(op.sender, "queue.send", f"{head}{ident}", detail=op.kind)
            outcomes.append(ident)
        return outcomes

    def row(self, tx: Transaction) -> tuple[object, ...]:
        now_us = tx.now_us
        due_us = now_us + self.delay_us if self.delay_us else None
        expires_us = now_us + self.expires_us if self.expires_us else None
        self.deadline_us = due_us or expires_us  # a message never expires before it is due
        return (self.ident, tx.env, self.kind, self.target, self.priority, self.state,
                self.max_attempts, self.sender, self.key, due_us, expires_us, now_us, now_us,
                self.body)  # fmt: skip

    def change(self, tx: Transaction) -> int:
        if tx.execute(sql.INSERT_ONCE, self.row(tx)).rowcount:
            return self.ident
        row = tx.execute(sql.SELECT_BY_KEY, (tx.env, self.key)).fetchone()
        assert row is not None, "a key in conflict has a row"
        return int(row[0])

    def committed(self, outcome: int) -> str:
        self.keeper.sent(self, created=outcome == self.ident)
        return self.shown(outcome)

    @classmethod
    def settle(cls, operations: Sequence[Self], outcomes: Sequence[Any]) -> None:
        keeper = operations[0].keeper
        head = f"{keeper.prefix}_msg_"
        stored = [op for op, ident in zip(operations, outcomes, strict=True) if ident == op.ident]
        if stored:
            keeper.stored(stored)
        for op, outcome in zip(operations, outcomes, strict=True):
            if type(outcome) is not int:
                op.fail(outcome)
                continue
            if outcome != op.ident:
                keeper.sent(op, created=False)
            if not op.future.done():
                op.future.set_result(f"{head}{outcome}")

    def fail(self, error: Exception) -> None:
        self.keeper.unsent()
        super().fail(error)


class HolderOperation(QueueOperation):
    """Something that only the holder of a lease may do, and only at its own attempt."""

    __slots__ = ("attempt", "holder", "ident")
    ident: int
    attempt: int
    holder: Principal

    def refusal(self, tx: Transaction) -> SwarmDeckError:
        """Why a lease does not stand."""
        shown = self.shown(self.ident)
        row = tx.execute(sql.SELECT_LEASE, (self.ident, tx.env)).fetchone()
        if row is None:
            return NotFound(f"no message {shown}")
        state, holder, attempt = STATES[row[8]], row[9], row[4]
        whose = f" by {holder}" if state == STATES[LEASED] else ""
        return Conflict(
            f"{shown} is not leased to {self.holder.id} at attempt {self.attempt}: "
            f"it is {state}{whose} at attempt {attempt}",
            hint="the lease was taken back; drop the work and claim again",
        )


class Extend(HolderOperation):
    """Hold a lease for longer, counted from now."""

    __slots__ = ("lease_us",)
    lease_us: int

    def change(self, tx: Transaction) -> int | SwarmDeckError:
        until_us = tx.now_us + self.lease_us
        place = (self.ident, tx.env, self.holder.id, self.attempt)
        if not tx.execute(sql.EXTEND, (until_us, tx.now_us, *place)).rowcount:
            return self.refusal(tx)
        tx.audit(self.holder.id, "queue.extend", self.shown(self.ident))
        return until_us

    def committed(self, outcome: int) -> int:
        self.keeper.due(outcome)
        return outcome


class Ack(HolderOperation):
    """Finish a message, with its result and the memory writes that belong to it."""

    __slots__ = ("result", "sender", "stored", "writes")
    result: bytes | None
    stored: bytes | None  # the result as it is stored
    writes: Sequence[Any]
    sender: Principal | None

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        """None or the staged writes for each. Plain acks are one executemany; only when one of
        them is refused are they done singly, to learn which."""
        with_result = [op for op in operations if op.result is not None]
        if with_result:
            _protect_results(tx, with_result)
        plain = {op.ident: op for op in operations if not op.writes}
        if not _ack_all(tx, plain.values()):
            plain = {}
        return [None if plain.get(op.ident) is op else op.change(tx) for op in operations]

    def row(self, tx: Transaction) -> tuple[object, ...]:
        return (self.stored, tx.now_us, self.ident, tx.env, self.holder.id, self.attempt)

    def change(self, tx: Transaction) -> Any:  # noqa: ANN401 - what the writes staged
        staged: Any = None
        tx.execute("SAVEPOINT ack")
        try:
            if not tx.execute(sql.ACK, self.row(tx)).rowcount:
                raise self.refusal(tx)
            if self.writes:
                staged = self.keeper.writes.stage(tx, self.holder, self.sender, self.writes)
        except SwarmDeckError as error:
            tx.execute("ROLLBACK TO ack")
            staged = error
        else:
            tx.audit(self.holder.id, "queue.ack", self.shown(self.ident))
        tx.execute("RELEASE ack")
        return staged

    def committed(self, outcome: Any) -> None:  # noqa: ANN401 - what the writes staged
        self.keeper.finished(self.ident)
        if self.writes:
            self.keeper.writes.committed(outcome)


def _protect_results(tx: Transaction, acks: Sequence[Ack]) -> None:
    texts = ((letters.of_result(ack.ident), ack.result or b"") for ack in acks)
    found = letters.protect(acks[0].keeper.keyring, tx, texts)
    for ack, stored in zip(acks, found, strict=True):
        ack.stored = stored


def _ack_all(tx: Transaction, acks: Iterable[Ack]) -> bool:
    """Finish these messages, all or none of them."""
    rows = [ack.row(tx) for ack in acks]
    if not rows:
        return False
    if len(rows) == 1:  # done or not, there is nothing to undo
        whole = tx.execute(sql.ACK, rows[0]).rowcount == 1
    else:
        tx.execute("SAVEPOINT acks")
        whole = tx.executemany(sql.ACK, rows).rowcount == len(rows)
        if not whole:
            tx.execute("ROLLBACK TO acks")
        tx.execute("RELEASE acks")
    if whole:
        for ack in acks:
            tx.audit(ack.holder.id, "queue.ack", ack.shown(ack.ident))
    return whole


class Nack(HolderOperation):
    """Give a message up: it is tried again later, or is a dead letter once its attempts are used
    up. The first failure waits `base_s`, each one after twice as long, up to `cap_s`."""

    __slots__ = ("base_s", "cap_s", "delay_us", "error")
    error: str
    delay_us: int | None
    base_s: float
    cap_s: float

    def change(self, tx: Transaction) -> Move | SwarmDeckError:
        row = tx.execute(sql.SELECT_LEASE, (self.ident, tx.env)).fetchone()
        if row is None or (row[8], row[9], row[4]) != (LEASED, self.holder.id, self.attempt):
            return self.refusal(tx)
        target, kind, priority, sent_us, attempt, spent, max_attempts, expires_us = row[:8]
        failures = attempt - spent
        if failures >= max_attempts:
            tx.execute(sql.BURY, (self.error, tx.now_us, self.ident))
            move = Move(self.ident, LEASED, DEAD, target, kind, priority, sent_us)
        else:
            wait_us = self._wait_us(failures)
            due_us = tx.now_us + wait_us if wait_us else None
            state = DELAYED if wait_us else READY
            tx.execute(sql.SETTLE, (state, due_us, self.error, tx.now_us, self.ident))
            deadline_us = min(filter(None, (due_us, expires_us)), default=None)
            lane = target, kind, priority, sent_us
            move = Move(self.ident, LEASED, state, *lane, deadline_us)
        tx.audit(self.holder.id, "queue.nack", self.shown(self.ident), detail=self.error)
        return move

    def _wait_us(self, failures: int) -> int:
        if self.delay_us is not None:
            return self.delay_us
        return int(min(self.cap_s, self.base_s * 2.0 ** (failures - 1)) * 1_000_000)

    def committed(self, outcome: Move) -> str:
        self.keeper.moved((outcome,))
        return str(STATES[outcome.after])
