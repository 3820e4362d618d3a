"""Health as people ask for it: what was found, how each thing is recovered, and changing that."""

from __future__ import annotations

from typing import Final

import msgspec

from ..environment import Place
from ..errors import Conflict, InvalidInput, NotFound
from ..model import Environment, environment_of, printable
from ..views import FindingView, RecoveryView
from . import recovery as recoveries
from .address import parse_address
from .probes import breaker_of
from .recovery import Policy
from .service import DEVICES, Health, policies_of
from .shown import finding_view, recovery_view

replace = msgspec.structs.replace


class Policies:
    """What actions ask of the health of an engine."""

    def __init__(self, health: Health) -> None:
        self._health = health

    # --- looking ----------------------------------------------------------------------------

    async def findings(self, environment: str | None) -> list[FindingView]:
        """The latest findings, what is ill first; where nobody has looked yet, they are made.
        Raises StorageError."""
        health = self._health
        if not health.findings:
            await health.look()
        found = [
            finding_view(health, each)
            for each in health.findings.values()
            if environment in {None, each.environment}
        ]
        return sorted(found, key=lambda finding: _GRAVEST[finding.status])

    async def check(self, subject: str | None) -> list[FindingView]:
        """Look at everything or at one subject now, and say what was found. Raises NotFound,
        StorageError."""
        health = self._health
        await health.look(subject)
        return [
            finding_view(health, each)
            for each in health.findings.values()
            if subject in {None, each.subject}
        ]

    async def list(self, environment: str | None) -> list[RecoveryView]:
        """How everything that is looked at is recovered, and what was given up."""
        health = self._health
        await health.load()
        if not health.findings:
            await health.look()
        found = [finding.subject for finding in health.findings.values()]
        subjects = dict.fromkeys([*found, *health.recoveries])
        return [
            recovery_view(health, health.recovery(subject))
            for subject in subjects
            if environment in {None, health.environment(subject)}
        ]

    # --- changing ---------------------------------------------------------------------------

    async def set(
        self, subject: str, policy: str, *, standby: str = "", address: str = "", actor: str
    ) -> RecoveryView:
        """Choose what is done about a subject when it is ill. Attempts and cooldown stay as they
        are. Raises NotFound, InvalidInput, Conflict."""
        health = self._health
        await health.load()
        self._require(subject)
        chosen = Policy(policy)
        self._check(subject, chosen, standby, address)
        async with health.changing:
            if health.is_under_way(subject):
                raise Conflict(f"{subject} is being recovered now", hint="try again in a moment")
            before = health.recovery(subject)
            now_us = health.now_us()
            after = replace(
                before, policy=chosen, standby=standby, address=address, changed_at_us=now_us,
                changed_by=actor,
            )  # fmt: skip
            words = " ".join(filter(None, (chosen.value, standby, address)))
            await health.records.keep_recovery(
                after, action="recovery.set", actor=actor, detail=words
            )
            health.recoveries[subject] = after
            if address != before.address:
                await health.close_breaker(breaker_of(subject))
            return recovery_view(health, health.recovery(subject))

    async def reset(self, subject: str, actor: str) -> RecoveryView:
        """Give a subject all its attempts back, without a cooldown, and ask its address again.
        Raises NotFound, Conflict."""
        health = self._health
        await health.load()
        self._require(subject)
        async with health.changing:
            if health.is_under_way(subject):
                raise Conflict(f"{subject} is being recovered now", hint="try again in a moment")
            after = recoveries.forgiven(health.recovery(subject))
            await health.records.keep_recovery(after, action="recovery.reset", actor=actor)
            health.recoveries[subject] = after
            await health.close_breaker(breaker_of(subject))
            return recovery_view(health, health.recovery(subject))

    def _check(self, subject: str, policy: Policy, standby: str, address: str) -> None:
        if policy not in policies_of(subject):
            able = " or ".join(policies_of(subject))
            raise InvalidInput(f"nothing can {_VERBS[policy]} {subject}", hint=f"give it {able}")
        if address:
            parse_address(address)
            if subject in DEVICES or subject in Environment.__members__.values():
                raise InvalidInput(f"only a swarm has an address, and {subject} is none")
        if bool(standby) != (policy is Policy.FAILOVER):
            raise InvalidInput(
                "FAILOVER goes to a standby, and nothing else has one",
                hint=f"swarmdeck recovery set {subject} FAILOVER --standby SWARM",
            )
        if standby:
            self._check_standby(subject, standby)

    def _check_standby(self, subject: str, standby: str) -> None:
        place = self._place(subject)
        swarm = place.registry.swarms.get(standby)
        if swarm is None or swarm.is_over:
            raise NotFound(
                f"no swarm {printable(standby)} runs in {place.environment}",
                hint="a standby is another swarm of the same environment",
            )
        if standby == subject:
            raise InvalidInput("a swarm is no standby of itself")

    def _require(self, subject: str) -> None:
        """Raises NotFound unless it is something that is looked at."""
        known = subject in DEVICES or subject in Environment.__members__.values()
        if not known and subject not in self._place(subject).registry.swarms:
            raise NotFound(f"no swarm {printable(subject)}", hint="see swarmdeck health list")

    def _place(self, swarm: str) -> Place:
        return self._health.places[environment_of(swarm)]


_GRAVEST: Final = {"failed": 0, "suspect": 1, "ok": 2}
_VERBS: Final = {
    Policy.RESTART: "restart",
    Policy.RECREATE: "recreate",
    Policy.SCALE_UP: "scale up",
    Policy.FAILOVER: "take over from",
    Policy.ALERT_ONLY: "watch",
}
