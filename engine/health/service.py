"""Probes in rounds, and what follows from them: recovery within its limits.

A round looks at everything at once, each look within its time. What is ill is recovered by its
policy, one attempt at a time; an attempt is stored before it begins, and where it cannot be stored
nothing is done, so that no attempt is ever uncounted. Attempts run beside the rounds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

import msgspec

from ..alerts.ailments import Ailing
from ..clock import Clock
from ..environment import Place
from ..errors import NotFound, SwarmDeckError
from ..journal import Journal
from ..model import Environment, environment_of
from ..settings import Settings
from ..swarms.roster import Swarm
from . import breaker as breakers
from . import recovery as recoveries
from .breaker import Breaker
from .findings import Finding, Look, Status, found
from .probes import BUS, Probe, breaker_of, probes_of
from .probes import Engine as Probed
from .records import Records
from .recovery import Policy, Recovery, Verdict
from .remedies import ACTOR, Remedies
from .remedies import Engine as Mended
from .shown import finding_view, recovery_view

AT_ONCE: Final = 8  # probes; what they ask is shared with everybody
REMEDIES_AT_ONCE: Final = 2
REMEDY_S: Final = 600.0
REMEDY_BREAKER: Final = "recovery"
DEVICES: Final = frozenset({"disk", "memory", BUS})

log = logging.getLogger(__name__)


class Engine(Probed, Mended, Protocol):
    """What is looked after: an engine."""

    clock: Clock
    journal: Journal


class Health:
    """The health of one engine. All methods belong to its loop. Rounds begin with `begin`; without
    them, in an engine for one command, things are looked at when somebody asks, and nothing is
    recovered."""

    def __init__(self, engine: Engine) -> None:
        settings = engine.settings
        self._engine = engine
        self._clock = engine.clock
        self._settings = settings.health
        self.limits = recoveries.Limits(
            attempts=settings.health.attempts, cooldown_s=settings.health.cooldown_s
        )
        self.breaker_limits = breakers.Limits(**msgspec.structs.asdict(settings.breaker))
        self.records = Records(engine.coordination)
        self.findings: dict[tuple[str, str], Finding] = {}
        self.recoveries: dict[str, Recovery] = {}
        self.breakers: dict[str, Breaker] = {}
        self.remedies = Remedies(engine, self.veto)
        self._loading = asyncio.Lock()
        self._loaded = False
        self._turns = asyncio.Lock()  # one round at a time
        self.changing = asyncio.Lock()  # a recovery: an attempt is counted, or somebody changes it
        self._runner: asyncio.Task[None] | None = None
        self.attempts: dict[str, asyncio.Task[None]] = {}
        self._some = asyncio.Semaphore(REMEDIES_AT_ONCE)

    # --- living -----------------------------------------------------------------------------

    def take(self, settings: Settings) -> None:
        """Go by other settings from the next round on."""
        self._settings = settings.health
        self.limits = recoveries.Limits(
            attempts=settings.health.attempts, cooldown_s=settings.health.cooldown_s
        )
        self.breaker_limits = breakers.Limits(**msgspec.structs.asdict(settings.breaker))

    def begin(self) -> None:
        """Look at everything from now on, again and again. Nothing when it was begun before."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="health")
            self._runner.add_done_callback(_ended)

    async def close(self) -> None:
        """End rounds and attempts. What was under way is counted, and never finished."""
        tasks = [*self.attempts.values(), *([self._runner] if self._runner else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except SwarmDeckError as error:
                log.warning("probes are behind: %s", error.message)
            await asyncio.sleep(self._settings.interval_s)

    async def load(self) -> None:
        """Read what an engine before this one knew. Nothing the second time. Raises
        StorageError."""
        async with self._loading:
            if not self._loaded:
                known, self.breakers = await self.records.load()
                self.recoveries = {name: recoveries.loaded(each) for name, each in known.items()}
                self._loaded = True

    # --- looking ----------------------------------------------------------------------------

    async def round(self) -> None:
        """Look at everything, then recover what is ill. Raises StorageError."""
        await self.look()
        await self._forget_gone()
        for subject in dict.fromkeys(finding.subject for finding in self.findings.values()):
            async with self.changing:
                await self._consider(subject)
        for place in self.places.values():
            for swarm in tuple(place.registry.swarms.values()):
                if swarm.is_over and swarm.heir and swarm.id not in self.attempts:
                    await self._follow(place, swarm)

    async def look(self, subject: str | None = None) -> None:
        """Look at everything, or at one subject, now. Raises NotFound, StorageError."""
        await self.load()
        async with self._turns:
            addresses = {each.subject: each.address for each in self.recoveries.values()}
            probes = list(probes_of(self._engine, addresses))
            chosen = [probe for probe in probes if subject in {None, probe.subject}]
            if subject is not None and not chosen:
                raise NotFound(f"nothing looks at {subject}", hint="see swarmdeck health list")
            some = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._probe(probe, some) for probe in chosen))
            if subject is None:
                there = [(probe.subject, probe.name) for probe in probes]
                self.findings = {key: self.findings[key] for key in there}

    async def _probe(self, probe: Probe, some: asyncio.Semaphore) -> None:
        async with some:
            may = await self._asked(probe.breaker) if probe.breaker else True
            look = await self._look(probe) if may else self._unasked(probe)
        if probe.breaker and may:
            await self.called(probe.breaker, ok=look.ok)
        key = (probe.subject, probe.name)
        self.findings[key] = found(
            self.findings.get(key), probe.subject, probe.name, probe.environment, look
        )

    async def _look(self, probe: Probe) -> Look:
        began_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                detail, ok = await probe.look(), True
        except TimeoutError:
            detail, ok = f"no answer within {self._settings.timeout_s:g} s", False
        except SwarmDeckError as error:
            detail, ok = error.message, False
        elapsed_s = self._clock.monotonic_s() - began_s
        at_us = self._clock.wall_us()
        return Look(ok=ok, detail=detail, latency_s=elapsed_s, at_us=at_us, sure=probe.sure)

    def _unasked(self, probe: Probe) -> Look:
        """A breaker that is open says that it fails."""
        before = self.findings.get((probe.subject, probe.name))
        why = "" if before is None else f": {before.detail.removeprefix(_UNASKED)}"
        detail = why.removeprefix(": ") or "it failed again and again"
        at_us = self._clock.wall_us()
        return Look(ok=False, detail=f"{_UNASKED}{detail}", latency_s=0.0, at_us=at_us, sure=True)

    async def _forget_gone(self) -> None:
        """Swarms that are not there any more need no recovery; one whose environment cannot be
        used may be there again."""
        for subject in list(self.recoveries):
            if subject in DEVICES or subject in Environment.__members__.values():
                continue
            place = self._engine.places[environment_of(subject)]
            if place.refusal is None and subject not in place.registry.swarms:
                del self.recoveries[subject]
                self.breakers.pop(breaker_of(subject), None)
                await self.records.forget(subject, breaker_of(subject))

    @property
    def places(self) -> Mapping[str, Place]:
        return self._engine.places

    def now_us(self) -> int:
        return self._clock.wall_us()

    # --- recovering -------------------------------------------------------------------------

    def recovery(self, subject: str) -> Recovery:
        """How a subject is recovered: as somebody has set it, or by default."""
        known = self.recoveries.get(subject)
        return known or Recovery(subject=subject, policy=default_policy(subject))

    def is_ill(self, subject: str) -> bool:
        """Whether a probe of it failed, and that is believed."""
        return any(
            each.status is Status.FAILED
            for each in self.findings.values()
            if each.subject == subject
        )

    def is_still_ill(self, recovery: Recovery) -> bool:
        """Whether a look since the last attempt has found it ill."""
        return any(
            each.checked_us > (recovery.attempted_at_us or 0)
            for each in self.findings.values()
            if each.subject == recovery.subject and each.status is Status.FAILED
        )

    def is_well(self, subject: str) -> bool:
        return all(
            each.status is Status.OK for each in self.findings.values() if each.subject == subject
        )

    def is_under_way(self, subject: str) -> bool:
        return subject in self.attempts

    async def _consider(self, subject: str) -> None:
        if subject in self.attempts or not (self.is_ill(subject) or self.is_well(subject)):
            return  # one is under way, or it is not known yet how it is
        if self._engine.swarms.has_given_way(subject):
            return  # since it was looked at: it is stopped on purpose, and comes back by itself
        before, now_us = self.recovery(subject), self._clock.wall_us()
        recovery, verdict = recoveries.judged(
            before, self.limits, now_us, healthy=self.is_well(subject)
        )
        if recovery is not before and (subject in self.recoveries or recovery.attempts):
            self.recoveries[subject] = recovery
            if recovery.attempts != before.attempts:
                await self.records.keep_recovery(recovery)
        if verdict is Verdict.TRY and await self._asked(REMEDY_BREAKER):
            await self._begin(recovery, now_us)

    async def _begin(self, recovery: Recovery, now_us: int) -> None:
        recovery = recoveries.begun(recovery, self.limits, now_us)
        detail = f"{recovery.policy}, attempt {recovery.attempts} of {self.limits.attempts}"
        await self.records.keep_recovery(
            recovery, action="recovery.try", actor=ACTOR, detail=detail
        )
        self.recoveries[recovery.subject] = recovery
        self.note(recovery.subject, f"{detail}: {self._why(recovery.subject)}", "warning")
        task = asyncio.create_task(
            self._attempt(recovery.subject), name=f"recover {recovery.subject}"
        )
        self.attempts[recovery.subject] = task
        task.add_done_callback(partial(self._over, recovery.subject))

    def _over(self, subject: str, task: asyncio.Task[None]) -> None:
        del self.attempts[subject]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the recovery of %s broke", subject, exc_info=error)

    async def _attempt(self, subject: str) -> None:
        """Carry out an attempt that was stored, and store what came of it."""
        ok = False
        try:
            async with self._some, asyncio.timeout(REMEDY_S):
                outcome, ok = await self.remedies.apply(self.recovery(subject)), True
        except TimeoutError:
            outcome = f"failed: not done within {REMEDY_S:g} s"
        except (SwarmDeckError, OSError) as error:
            outcome = f"failed: {error}"
        recovery = recoveries.ended(self.recovery(subject), self._clock.wall_us(), outcome)
        if ok and recovery.policy is Policy.FAILOVER:
            recovery = msgspec.structs.replace(recovery, successor=recovery.standby)
        self.recoveries[subject] = recovery
        self.note(subject, outcome, "info" if ok else "critical")
        await self.called(REMEDY_BREAKER, ok=ok)
        await self.records.keep_recovery(recovery)

    async def _follow(self, place: Place, swarm: Swarm) -> None:
        try:
            await self.remedies.follow(place, swarm)
        except SwarmDeckError as error:
            log.warning("%s: its messages do not follow: %s", swarm.id, error.message)

    def _why(self, subject: str) -> str:
        return "; ".join(
            f"{each.probe}: {each.detail}"
            for each in self.findings.values()
            if each.subject == subject and each.status is Status.FAILED
        )

    def veto(self) -> str:
        """Why the host should carry no more agents, or nothing."""
        enforcement = self._engine.swarms.keeper.enforcement
        return "" if enforcement is None else enforcement.veto()

    def note(self, subject: str, text: str, severity: str) -> None:
        """Write down for people what recovery does."""
        where = self.environment(subject)
        self._engine.journal.note("recovery", subject, text, environment=where, severity=severity)

    def environment(self, subject: str) -> str:
        """The environment a subject belongs to, empty for the host."""
        if subject in DEVICES:
            return ""
        known = Environment.__members__.values()
        return subject if subject in known else environment_of(subject).value

    def ailing(self) -> Ailing:
        """What alerts are made of. The bus has an alert of its own."""
        return Ailing(
            findings=[finding_view(self, each) for each in self.findings.values()],
            recoveries=[recovery_view(self, each) for each in self.recoveries.values()],
            open_breakers=[
                (name, name.partition(":")[2] or "engine")
                for name, each in self.breakers.items()
                if self._holds(each) and name != BUS
            ],
        )

    def _holds(self, breaker: Breaker) -> bool:
        """Whether calls are not made now; one that nobody asks any more stays open for ever."""
        until_us = breaker.until_us(self.breaker_limits)
        return until_us is not None and self._clock.wall_us() < until_us

    # --- breakers ---------------------------------------------------------------------------

    def breaker(self, name: str) -> Breaker:
        return self.breakers.get(name) or Breaker(name=name)

    async def close_breaker(self, name: str) -> None:
        """Forget what failed: another address is asked, or somebody has mended it."""
        await self._keep(self.breaker(name), Breaker(name=name, changed_at_us=self.now_us()))

    async def _asked(self, name: str) -> bool:
        before = self.breaker(name)
        after, may = breakers.asked(before, self.breaker_limits, self._clock.wall_us())
        if after is not before:
            await self._keep(before, after)
        return may

    async def called(self, name: str, *, ok: bool) -> None:
        """A call behind a breaker has ended."""
        before = self.breaker(name)
        after = breakers.called(before, self.breaker_limits, self._clock.wall_us(), ok=ok)
        await self._keep(before, after)

    async def _keep(self, before: Breaker, after: Breaker) -> None:
        """In memory at once. Stored unless it only counts one more success."""
        self.breakers[after.name] = after
        counts = (before.state, before.failures, before.successes)
        if counts != (after.state, after.failures, after.successes):
            try:
                await self.records.keep_breaker(after)
            except SwarmDeckError as error:
                log.warning("the breaker %s is not stored: %s", after.name, error.message)


_UNASKED: Final = "not asked, its breaker is open: "


def _ended(rounds: asyncio.Task[None]) -> None:
    if not rounds.cancelled() and (error := rounds.exception()) is not None:
        log.error("nothing is probed any more", exc_info=error)


def default_policy(subject: str) -> Policy:
    """What is done about a subject nobody has set a policy for."""
    return Policy.ALERT_ONLY if subject in DEVICES else Policy.RESTART


def policies_of(subject: str) -> tuple[Policy, ...]:
    """What can be done about a subject at all."""
    if subject in DEVICES:
        return (Policy.ALERT_ONLY,)
    if subject in Environment.__members__.values():
        return (Policy.RESTART, Policy.ALERT_ONLY)
    return tuple(Policy)
