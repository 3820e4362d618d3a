"""A batch on the writer's thread: decided one after the other, stored together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeAlias

from ..errors import SwarmDeckError
from ..memory.operations import MemoryOperation
from ..memory.staging import Staging
from ..memory.store import MemoryStore
from ..model import Principal
from ..queue import MessageQueue
from ..queue.delivery import Send
from ..store.database import Operation, Transaction

Step: TypeAlias = MemoryOperation | Send | SwarmDeckError


class Notes:
    """What the operations of a batch write down, until it is known whether they count."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, bool, str]] = []

    def audit(
        self, actor: str, action: str, object_: str, *, allowed: bool = True, detail: str = ""
    ) -> None:
        self._rows.append((actor, action, object_, allowed, detail))

    def write(self, tx: Transaction, *, refusals_only: bool = False) -> None:
        """Put them into the trail. Of a batch that is given up only what was refused happened."""
        for actor, action, object_, allowed, detail in self._rows:
            if not (allowed and refusals_only):
                tx.audit(actor, action, object_, allowed=allowed, detail=detail)


class Commit(Operation):
    """One batch: memory operations, messages, and errors of those that were refused early."""

    __slots__ = ("_atomic", "_memory", "_principal", "_queue", "_steps", "grows", "sends", "topic")

    def __init__(
        self,
        memory: MemoryStore,
        queue: MessageQueue,
        principal: Principal,
        steps: Sequence[Step],
        *,
        atomic: bool,
    ) -> None:
        self._principal = principal
        self._memory = memory
        self._queue = queue
        self._steps = steps
        self._atomic = atomic
        self.sends = [step for step in steps if isinstance(step, Send)]
        self.grows = any(not isinstance(step, SwarmDeckError) and step.grows for step in steps)
        self.topic = "memory queue" if self.sends else "memory"

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        return [operation.store(tx) for operation in operations]

    def store(self, tx: Transaction) -> list[Any] | SwarmDeckError:
        """What became of each step, or the error that fails an atomic batch with nothing of it
        staged."""
        notes, staging = Notes(), Staging(self._memory, tx)
        outcomes: list[Any] = []
        for number, step in enumerate(self._steps):
            outcome = _decided(step, notes, staging)
            if self._atomic and isinstance(outcome, SwarmDeckError):
                notes.write(tx, refusals_only=True)
                return failed(number, len(self._steps), outcome)
            outcomes.append(outcome)
        staging.flush()
        notes.write(tx)
        idents = iter(Send.apply(tx, self.sends) if self.sends else ())
        return [next(idents) if isinstance(each, Send) else each for each in outcomes]

    def committed(self, outcome: list[Any]) -> list[list[Any]]:
        stored: list[Send] = []
        rows: list[list[Any]] = []
        for step, found in zip(self._steps, outcome, strict=True):
            if isinstance(found, SwarmDeckError):
                rows.append(wire(found))
            elif isinstance(step, Send):
                if found == step.ident:
                    stored.append(step)
                else:
                    self._queue.sent(step, created=False)
                rows.append([step.shown(found)])
            elif isinstance(step, MemoryOperation):
                rows.append([step.committed(found)])
        if stored:
            self._queue.stored(stored)
        self._memory.batched(self._principal, len(rows))
        return rows

    def fail(self, error: Exception) -> None:
        if self.sends:
            self._queue.unsent(len(self.sends))
        super().fail(error)


def _decided(step: Step, notes: Notes, staging: Staging) -> Any:  # noqa: ANN401 - each has its own
    """The outcome of a memory operation or its error; a message is stored later."""
    if not isinstance(step, MemoryOperation):
        return step
    try:
        return step.decide(notes, staging)
    except SwarmDeckError as error:
        return step.refused(notes, error)


def failed(number: int, count: int, error: SwarmDeckError) -> SwarmDeckError:
    """Why an atomic batch was given up: the error of the operation that was refused."""
    text = f"operation {number + 1} of {count}: {error.message}; nothing was stored"
    return type(error)(text, hint=error.hint)


def wire(outcome: Any) -> list[Any]:  # noqa: ANN401 - a value or an error
    """An outcome as it crosses the socket."""
    if not isinstance(outcome, SwarmDeckError):
        return [outcome]
    report = outcome.report()
    return [report.code, report.message, report.hint, report.retryable]
