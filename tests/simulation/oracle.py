"""What the world outside the engine knows: jobs, who was given them, what was acknowledged.

It is told by those who call the engine, and says at once when the engine has answered what cannot
be. It never looks inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from .loop import Process

MAX_ATTEMPTS: Final = 3
POISON: Final = 99  # attempts that fail


class Violation(AssertionError):
    """The engine has broken a promise."""


@dataclass
class Job:
    """A piece of work that somebody has sent, or tries to. The first `fails` attempts fail."""

    number: int
    environment: str
    kind: str
    priority: int
    work_s: float
    fails: int = 0
    delay_s: float = 0.0
    expires_s: float | None = None
    to: str | None = None
    ident: str = ""  # once a send was acknowledged
    cancelled: bool = False  # somebody has tried to
    retried: bool = False
    given: dict[int, Given] = field(default_factory=dict)
    acknowledged: int = 0  # the attempt whose ack was answered

    @property
    def key(self) -> str:
        return f"job-{self.number}"

    @property
    def body(self) -> dict[str, Any]:
        return {"job": self.number, "work_s": self.work_s, "fails": self.fails}


@dataclass
class Given:
    """A delivery of a message: whose it is, and until when by the engine's own word."""

    agent: str
    process: Process | None
    until_us: int
    over: bool = False  # nacked or acked by its holder, or asked to be


class Oracle:
    """`now_us` is the engine's time. `history` is what two runs of one seed must share."""

    def __init__(self, seconds: Callable[[], float], now_us: Callable[[], int]) -> None:
        self.jobs: dict[int, Job] = {}
        self.idents: dict[tuple[str, str], Job] = {}
        self.records: dict[tuple[str, str], Record] = {}
        self.events = 0
        self._seconds = seconds
        self._now_us = now_us
        self._digest = hashlib.sha256()
        self.tail: list[str] = []

    # --- history ----------------------------------------------------------------------------

    def note(self, *words: object) -> None:
        line = f"{self._seconds():.6f} " + " ".join(map(str, words))
        self.events += 1
        self._digest.update(line.encode() + b"\n")
        self.tail.append(line)
        if len(self.tail) > 400:
            del self.tail[:200]

    def absorb(self, *parts: object) -> None:
        self._digest.update(repr(parts).encode())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    # --- messages ---------------------------------------------------------------------------

    def new_job(self, **fields: Any) -> Job:
        job = Job(number=len(self.jobs) + 1, **fields)
        self.jobs[job.number] = job
        return job

    def sent(self, job: Job, ident: str) -> None:
        self.note("sent", job.key, ident)
        if job.ident and job.ident != ident:
            raise Violation(f"{job.key} is {job.ident} and {ident}: one key, two messages")
        known = self.idents.setdefault((job.environment, ident), job)
        if known is not job:
            raise Violation(f"{ident} was the answer for {known.key} and for {job.key}")
        job.ident = ident

    def delivered(self, agent: str, process: Process | None, message: Any) -> Job:
        """An agent was given a message."""
        self.note("given", message.id, message.attempt, "to", agent)
        job = self.jobs.get(message.body.get("job", 0))
        if job is None or message.body != job.body or message.priority != job.priority:
            raise Violation(f"{message.id} holds what nobody has sent: {message.body}")
        if message.attempt in job.given:
            first = job.given[message.attempt].agent
            raise Violation(
                f"{message.id} attempt {message.attempt} went to {first} and to {agent}"
            )
        if message.attempt > MAX_ATTEMPTS and not job.retried:
            raise Violation(
                f"{message.id} was given out {message.attempt} times, {MAX_ATTEMPTS} are allowed"
            )
        if 0 < job.acknowledged < message.attempt:
            raise Violation(f"{message.id} was given out after it was acknowledged")
        if message.attempt > max(job.given, default=0):  # else the news is old: it was held up
            self._check_taken(job, message, agent)
        job.given[message.attempt] = Given(agent, process, message.lease_until_us)
        return job

    def _check_taken(self, job: Job, message: Any, agent: str) -> None:
        """A message is another's only once the lease before has ended."""
        now_us = self._now_us()
        for given in job.given.values():
            ended = given.over or job.cancelled or job.retried or now_us >= given.until_us
            dead = given.process is not None and not given.process.alive
            if not ended and not dead:
                left_s = (given.until_us - now_us) / 1e6
                raise Violation(
                    f"{message.id} was taken from {given.agent} for {agent}, {left_s:.1f} s early"
                )

    def extended(self, message: Any, until_us: int) -> None:
        given = self.jobs[message.body["job"]].given.get(message.attempt)
        if given is not None and not given.over:
            given.until_us = max(given.until_us, until_us)

    def settling(self, message: Any) -> bool:
        """Its holder gives a message up or finishes it; whether another has it by now."""
        job = self.jobs[message.body["job"]]
        job.given[message.attempt].over = True
        return any(attempt > message.attempt for attempt in job.given)

    def acked(self, agent: str, message: Any, *, stale: bool) -> None:
        self.note("acked", message.id, message.attempt, "by", agent)
        job = self.jobs[message.body["job"]]
        if stale:
            raise Violation(f"a stale ack of {message.id} attempt {message.attempt} was accepted")
        if job.acknowledged:
            raise Violation(f"{message.id} was acknowledged twice")
        job.acknowledged = message.attempt

    # --- records ----------------------------------------------------------------------------

    def record(self, agent: str, key: str) -> Record:
        return self.records.setdefault((agent, key), Record(agent, key))


@dataclass
class Record:
    """A record of one agent as it knows it: what may be there, and the highest version seen. A
    write whose answer was lost may arrive at any time, until a later one is acknowledged."""

    agent: str
    key: str
    possible: set[int | None] = field(default_factory=lambda: {None})
    version: int = 0
    busy: int = 0  # writes under way
    _seen: tuple[int, int | None] = (0, None)

    def read(self, found: tuple[int, int] | None) -> None:
        """Its owner was told this while nobody wrote."""
        value, version = (None, 0) if found is None else found
        if value not in self.possible:
            raise Violation(f"{self.key} of {self.agent} is {value}, not one of {self.possible}")
        if version < self.version:
            raise Violation(f"{self.key} of {self.agent} went back from version {self.version}")
        if version == self._seen[0] and value != self._seen[1]:
            raise Violation(f"{self.key} of {self.agent} has two values at version {version}")
        self.version, self._seen = version, (version, value)
