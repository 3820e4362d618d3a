"""What is wrong now: rules about one moment, looked at once a second in what the overview shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ..events import Enforced, Reclaimed
from ..model import AgentState, SwarmState, format_size
from ..store.pins import Pinned
from ..views import ConflictView, EnvironmentView, Overview, ScheduleView, SwarmView
from .ailments import Ailing, of_health
from .finding import Finding

OLDEST_READY_S: Final = 300.0
SWARM_ILL_S: Final = 30.0
USED_OF_ALLOCATED: Final = 0.90
ALLOCATED_OF_PLAN: Final = 0.90
RECLAIM_SHOWN_S: Final = 60.0
BREACH_SHOWN_S: Final = 300.0
HOST_AVAILABLE: Final = 0.10
WAL_BYTES: Final = 256 << 20
PINNED_BYTES: Final = 64 << 20
PINNED_S: Final = 60.0
LOOP_LAG_MS: Final = 250.0
LOOP_LAG_S: Final = 5.0
WRITER_QUEUE: Final = 10_000
BUS_LOST_S: Final = 5.0
SCHEDULE_LATE_S: Final = 300.0
VERIFY: Final = "swarmdeck audit verify"
UNSEAL: Final = "swarmdeck vault unseal"
CONFIRM_CLOCK: Final = "swarmdeck clock confirm"

_ILL: Final = frozenset({AgentState.STALE, AgentState.EXITED, AgentState.FAILED})


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. `reclaims` is what was taken back and when, `breaches` who was killed for
    what it held, `ignored` the stored budgets that do not fit, `disks` what is wrong with the disk
    below a file, `rolled_back` how a file contradicts its signed audit trail, `unsigned` why a
    trail is not signed, `pinned` who reads for long, `ailing` what probes and recovery know, `late`
    the schedules that have not sent for SCHEDULE_LATE_S what is due, `escalated` the conflicts that
    call for a person, `overdue` how many tasks of an environment should have ended, and some of
    them."""

    overview: Overview
    reclaims: Iterable[tuple[int, Reclaimed]] = ()
    breaches: Iterable[tuple[int, Enforced]] = ()
    ignored: Mapping[str, str] = {}
    disks: Mapping[str, str] = {}
    rolled_back: Mapping[str, str] = {}
    unsigned: Mapping[str, str] = {}
    pinned: Mapping[str, Pinned] = {}
    ailing: Ailing = Ailing()
    late: Iterable[ScheduleView] = ()
    overdue: Mapping[str, tuple[int, Sequence[str]]] = {}
    escalated: Iterable[ConflictView] = ()


def findings(sight: Sight) -> Iterator[Finding]:
    """All that one look can tell."""
    overview = sight.overview
    for environment in overview.environments:
        yield from _of_environment(environment)
        yield from _of_queue(environment, overview.at_us)
    yield from _of_swarms(overview)
    yield from _of_host(overview)
    yield from _of_engine(overview)
    yield from _of_clock(overview)
    yield from _of_vault(overview)
    yield from _of_reclaims(sight)
    yield from of_health(sight.ailing, _quarantined(overview), overview.at_us)
    yield from _of_breaches(sight)
    yield from _of_readers(sight)
    yield from _of_trails(sight)
    for conflict in sight.escalated:
        yield _of_conflict(conflict)
    for name, (overdue, named) in sight.overdue.items():
        if overdue:
            yield _of_tasks(name, overdue, named)
    for schedule in sight.late:
        yield _of_schedule(schedule, overview.at_us)
    for name, what in sight.disks.items():
        yield Finding(
            "disk",
            name,
            what,
            "free some disk space: deleting records still works"
            if "full" in what
            else "swarmdeck doctor",
            name if name in {each.name for each in overview.environments} else "",
            "critical",
        )
    for name, why in sight.ignored.items():
        yield Finding(
            "budget-ignored",
            name,
            f"the stored budget does not fit and is not in force: {why}",
            f"swarmdeck explain {name}",
            name,
        )


def _quarantined(overview: Overview) -> frozenset[str]:
    return frozenset(
        each.name for each in overview.environments if each.state in {"quarantined", "restoring"}
    )


def _of_trails(sight: Sight) -> Iterator[Finding]:
    known = {each.name for each in sight.overview.environments}
    for name, what in sight.rolled_back.items():
        hint = f"{VERIFY} {name}" if name in known else VERIFY
        yield Finding(
            "audit-rolled-back", name, what, hint, name if name in known else "", "critical"
        )
    for name, why in sight.unsigned.items():
        environment = name if name in known else ""
        yield Finding("audit-unsigned", name, why, "swarmdeck doctor", environment)


def _of_environment(environment: EnvironmentView) -> Iterator[Finding]:
    name = environment.name
    if environment.state == "quarantined":
        yield Finding(
            "quarantined",
            name,
            environment.reason,
            f"swarmdeck explain {name}",
            name,
            "critical",
        )
    if environment.queue.dead:
        yield Finding(
            "dead-letters",
            name,
            f"{environment.queue.dead:,} of its messages are dead letters",
            f"swarmdeck queue dead {name}",
            name,
        )
    used, allocated = environment.used_bytes, environment.allocated_bytes
    if allocated and used > allocated * USED_OF_ALLOCATED:
        yield Finding(
            "memory-used",
            name,
            f"uses {format_size(used)} of the {format_size(allocated)} its swarms were granted",
            f"swarmdeck explain {name}",
            name,
            "critical" if used > allocated else "warning",
        )


def _of_queue(environment: EnvironmentView, now_us: int) -> Iterator[Finding]:
    name, queue = environment.name, environment.queue
    held = queue.ready + queue.delayed + queue.leased
    if environment.queue_mode != "running":
        does = "is paused" if environment.queue_mode == "paused" else "is being drained"
        why = f": {environment.queue_reason}" if environment.queue_reason else ""
        yield Finding(
            "queue-paused",
            name,
            f"its queue {does} with {held:,} messages open{why}",
            f"swarmdeck queue resume {name}",
            name,
        )
    if environment.queue_limit and held >= environment.queue_limit:
        yield Finding(
            "queue-full",
            name,
            f"{held:,} messages are open, its limit is {environment.queue_limit:,}: nothing more "
            "is taken in",
            f"swarmdeck queue lanes {name}",
            name,
        )
    if environment.queue_mode != "paused":
        yield from _of_oldest(environment, now_us)


def _of_oldest(environment: EnvironmentView, now_us: int) -> Iterator[Finding]:
    name, sent_us = environment.name, environment.oldest_ready_at_us
    if sent_us is None:
        return
    age_s = (now_us - sent_us) / 1_000_000
    if age_s > OLDEST_READY_S:
        who = f"{environment.agents} agents run" if environment.agents else "no agent runs"
        yield Finding(
            "oldest-ready",
            name,
            f"a message has been ready for {age_s / 60:.0f} min, and {who}",
            f"swarmdeck queue list {name} --state ready --order age",
            name,
        )


def _of_conflict(conflict: ConflictView) -> Finding:
    """Its title may be for few: it is not told."""
    tries = f" after {conflict.attempts} attempts" if conflict.attempts else ""
    return Finding(
        "conflict-escalated",
        conflict.id,
        f"a {conflict.type} conflict of {conflict.severity} severity was escalated{tries}",
        f"swarmdeck conflict show {conflict.id}",
        conflict.environment,
        "critical" if conflict.severity == "critical" else "warning",
    )


def _of_schedule(schedule: ScheduleView, now_us: int) -> Finding:
    late_s = (now_us - (schedule.next_at_us or now_us)) / 1_000_000
    why = f": {schedule.reason}" if schedule.reason else ""
    return Finding(
        "schedule-late",
        schedule.id,
        f"{schedule.name} has been due for {late_s / 60:.0f} min{why}",
        f"swarmdeck explain {schedule.id}",
        schedule.environment,
    )


def _of_tasks(name: str, late: int, named: Sequence[str]) -> Finding:
    which = ", ".join(named) + (" …" if late > len(named) else "")
    return Finding(
        "tasks-overdue",
        name,
        f"{late:,} of its tasks should have ended: {which}",
        f"swarmdeck task list {name} --status overdue",
        name,
    )


def _of_swarms(overview: Overview) -> Iterator[Finding]:
    ill: dict[str, int] = {}
    for agent in overview.agents:
        if agent.swarm is not None and agent.state in _ILL:
            ill[agent.swarm] = ill.get(agent.swarm, 0) + 1
    for swarm in overview.swarms:
        if swarm.state == SwarmState.RUNNING:
            yield from _of_swarm(swarm, ill.get(swarm.id, 0))


def _of_swarm(swarm: SwarmView, ill: int) -> Iterator[Finding]:
    issues = []
    if swarm.agents_live + swarm.agents_coming < swarm.agents_wanted:
        issues.append(f"{swarm.agents_live} of {swarm.agents_wanted} agents run")
    if ill:
        issues.append(f"{ill} {'agent is' if ill == 1 else 'agents are'} stale or ended")
    if swarm.used_bytes > swarm.memory_bytes:
        used, granted = format_size(swarm.used_bytes), format_size(swarm.memory_bytes)
        issues.append(f"uses {used} of its {granted}")
    if swarm.gave_way:
        yield Finding(
            "gave-way",
            swarm.id,
            f"stopped for more important ones: {swarm.gave_way}. It comes back when there is room",
            "swarmdeck memory plan",
            swarm.environment,
            "critical",
        )
    if issues:
        dead = swarm.agents_wanted > 0 and swarm.agents_live == 0
        yield Finding(
            "swarm-ill",
            swarm.id,
            "; ".join(issues),
            f"swarmdeck explain {swarm.id}",
            swarm.environment,
            "critical" if dead else "warning",
            SWARM_ILL_S,
        )


def _of_host(overview: Overview) -> Iterator[Finding]:
    host = overview.host
    capacity = host.buffer_bytes + sum(each.base_bytes for each in overview.environments)
    if host.allocated_bytes > capacity * ALLOCATED_OF_PLAN:
        yield Finding(
            "plan-allocated",
            "host",
            f"{format_size(host.allocated_bytes)} of the {format_size(capacity)} for swarms are "
            "allocated",
            "swarmdeck memory plan",
        )
    if host.available_bytes < host.total_bytes * HOST_AVAILABLE:
        yield Finding(
            "host-memory",
            "host",
            f"{format_size(host.available_bytes)} of {format_size(host.total_bytes)} are available",
            "swarmdeck memory plan",
            severity="critical",
        )


def _of_engine(overview: Overview) -> Iterator[Finding]:
    engine = overview.engine
    if engine.wal_bytes > WAL_BYTES:
        text = f"the write-ahead logs hold {format_size(engine.wal_bytes)}"
        yield Finding("wal", "engine", text, "swarmdeck db stats")
    if engine.loop_lag_ms > LOOP_LAG_MS:
        text = f"the engine's loop is {engine.loop_lag_ms:.0f} ms late"
        yield Finding("loop-lag", "engine", text, after_s=LOOP_LAG_S)
    if engine.writer_queue > WRITER_QUEUE:
        text = f"{engine.writer_queue:,} changes wait for the disk"
        yield Finding("writer-queue", "engine", text, "swarmdeck db stats", severity="critical")
    if engine.bus == "redis lost":
        text = "Redis is configured and does not answer; channels stay within this engine"
        yield Finding("bus", "engine", text, "swarmdeck doctor", after_s=BUS_LOST_S)


def _of_clock(overview: Overview) -> Iterator[Finding]:
    if overview.clock:
        yield Finding("clock-jump", "clock", overview.clock, CONFIRM_CLOCK, severity="critical")


def _of_vault(overview: Overview) -> Iterator[Finding]:
    """Sealed as a whole, or where its key does not open strict environments, these."""
    vault = overview.vault
    if vault.state == "sealed":
        what = f"no record and no message can be read or written: {vault.reason}"
        yield Finding("sealed", "vault", what, UNSEAL, severity="critical")
        return
    for environment in overview.environments:
        if environment.state == "sealed":
            name = environment.name
            yield Finding("sealed", name, environment.reason, "swarmdeck vault status", name)


def _of_readers(sight: Sight) -> Iterator[Finding]:
    """A read that stays open keeps the log from being used anew, and it grows."""
    for name, pinned in sight.pinned.items():
        if pinned.oldest_s > PINNED_S and pinned.log_bytes > PINNED_BYTES:
            yield Finding(
                "log-pinned",
                name,
                f"{pinned.what} has been open for {pinned.oldest_s:.0f} s and keeps the "
                f"write-ahead log of {format_size(pinned.log_bytes)} from shrinking",
                f"swarmdeck db stats {name}",
                name,
            )


def _of_breaches(sight: Sight) -> Iterator[Finding]:
    """Swarms whose agents were killed lately for holding more than their share."""
    since_us = sight.overview.at_us - int(BREACH_SHOWN_S * 1_000_000)
    places = {swarm.id: swarm.environment for swarm in sight.overview.swarms}
    lately = [event for at_us, event in sight.breaches if at_us >= since_us]
    for swarm in {event.swarm: None for event in lately if event.swarm in places}:
        own = [event for event in lately if event.swarm == swarm]
        times = "" if len(own) == 1 else f"; {len(own)} times in {BREACH_SHOWN_S / 60:.0f} min"
        yield Finding(
            "memory-breach",
            swarm,
            f"{own[-1].agent} {own[-1].text}{times}",
            f"swarmdeck swarm health {swarm}",
            places[swarm],
            "critical" if len(own) > 1 else "warning",
        )


def _of_reclaims(sight: Sight) -> Iterator[Finding]:
    since_us = sight.overview.at_us - int(RECLAIM_SHOWN_S * 1_000_000)
    places = {swarm.id: swarm.environment for swarm in sight.overview.swarms}
    for at_us, event in sight.reclaims:
        if at_us >= since_us and event.swarm in places:
            yield Finding(
                "memory-taken-back",
                event.swarm,
                f"{format_size(event.bytes)} it had borrowed went back for {event.for_environment}",
                f"swarmdeck explain {event.swarm}",
                places[event.swarm],
            )
