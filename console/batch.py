"""One key on several marked rows: one plan that lists them all, then each of them in turn.

Knows no screen; what runs an action is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ..engine.actions import Action, spec_of
from ..engine.errors import InvalidInput, SwarmDeckError
from . import commands, plans, wording
from .commands import Fill, Run
from .keymap import Key, fields_of, fill
from .plans import PRODUCTION, Plan

AT_ONCE: Final = 8
"""Actions of one batch under way at the same time."""

MOST: Final = 500
"""The most rows one key acts on."""

Runner: TypeAlias = Callable[[Action], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """An action and the row it is for."""

    row: object
    action: Action


@dataclass(slots=True)
class Outcome:
    """What became of the jobs of a batch."""

    done: list[Job] = field(default_factory=list)
    refused: list[tuple[Job, SwarmDeckError]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """`7 done, 1 refused: dev_msg_00000003 is leased`."""
        said = f"{len(self.done):,} done"
        if not self.refused:
            return said
        reasons = dict.fromkeys(error.message for _, error in self.refused)
        more = f" (+{len(reasons) - 3} more reasons)" if len(reasons) > 3 else ""
        first = "; ".join(list(reasons)[:3])
        return f"{said}, {len(self.refused):,} refused: {first}{more}"


def jobs(key: Key, rows: Sequence[object], subject: str) -> list[Job]:
    """What a key asks for on several rows; empty when it is not a matter of rows, such as a key
    that shows something. Raises InvalidInput where only one row at a time can be meant."""
    if len(rows) < 2 or not set(fields_of(key.run)) - {"subject"}:
        return []
    found = [_job(key, row, subject) for row in rows[: MOST + 1]]
    wanted = [job for job in found if job is not None]
    if wanted and len(found) > MOST:
        raise InvalidInput(f"more than {MOST} rows are marked", hint="U unmarks all")
    return wanted


def _job(key: Key, row: object, subject: str) -> Job | None:
    words = fill(key.run, row, subject)
    if words is None:
        raise InvalidInput(f"{key.help}: not for all rows that are marked", hint="U unmarks all")
    intent = commands.interpret(words)
    if isinstance(intent, Fill):
        raise InvalidInput("a form is for one row at a time", hint="U unmarks all")
    if isinstance(intent, Run) and not spec_of(intent.action).query:
        return Job(row, intent.action)
    return None


async def plan(run: Runner, wanted: Sequence[Job]) -> tuple[Plan, list[Job], Outcome]:
    """One plan for jobs that destroy something, the jobs it is about, and those that are refused
    already because there is nothing to act on. Raises the error of a batch of which none is left.
    """
    outcome = Outcome()
    found = await _each(wanted, lambda job: _look(run, job.action))
    seen: list[tuple[Job, Plan]] = []
    for job, answer in found:
        if isinstance(answer, SwarmDeckError):
            outcome.refused.append((job, answer))
        else:
            seen.append((job, answer))
    if not seen:
        raise outcome.refused[0][1]
    return _joined(seen, outcome), [job for job, _ in seen], outcome


async def _look(run: Runner, action: Action) -> Plan:
    looked = plans.look(action)
    return plans.plan_of(action, await run(looked) if looked is not None else None)


def _joined(seen: Sequence[tuple[Job, Plan]], outcome: Outcome) -> Plan:
    """The plans of several objects as one, an object a line; production asks once."""
    name = spec_of(seen[0][0].action).name.replace(".", " ")
    touches = [_line(plan_) for _, plan_ in seen]
    touches += [f"left out: {error.message}" for _, error in outcome.refused]
    strict = any(plan_.words for _, plan_ in seen)
    question = f"{name}: go on with {wording.count(len(seen), 'object')}?"
    return Plan(question, tuple(touches), (PRODUCTION,) if strict else ())


def _line(plan_: Plan) -> str:
    return f"{plan_.question.rstrip('?')}: {plan_.touches[0]}" if plan_.touches else plan_.question


async def run_all(
    run: Runner, wanted: Sequence[Job], outcome: Outcome, advance: Callable[[float, str], None]
) -> None:
    """Run every job, eight at a time, and put down what became of each. `advance` is told the
    share that is through and how many."""

    async def one(job: Job) -> Any:  # noqa: ANN401 - the action's result
        try:
            return await run(job.action)
        finally:
            through[0] += 1
            advance(through[0] / len(wanted), f"{through[0]} of {len(wanted)}")

    through = [0]
    for job, answer in await _each(wanted, one):
        if isinstance(answer, SwarmDeckError):
            outcome.refused.append((job, answer))
        else:
            outcome.done.append(job)


async def _each(
    wanted: Sequence[Job], do: Callable[[Job], Awaitable[Any]]
) -> list[tuple[Job, Any]]:
    """Do something for each job, a few at once; its answer or the error it was refused with."""
    room = asyncio.Semaphore(AT_ONCE)

    async def guarded(job: Job) -> Any:  # noqa: ANN401
        async with room:
            try:
                return await do(job)
            except SwarmDeckError as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(guarded(job)) for job in wanted]
    return [(job, task.result()) for job, task in zip(wanted, tasks, strict=True)]
