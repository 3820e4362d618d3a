"""Sample answers to what the panels ask for. Loaded by conftest; pure views, no fixtures."""

from __future__ import annotations

import math
from typing import Any

from swarmdeck.engine import actions, views
from swarmdeck.engine.metrics.names import unit_of
from swarmdeck.engine.metrics.readings import kind_of, place_of

NOW_US = 1_795_000_000_000_000
GIB = 1 << 30

LATENCIES = tuple(
    views.BucketView(upto_us=float(upto), count=count)
    for upto, count in (
        (200, 0), (400, 12), (600, 140), (800, 900), (1_000, 2_600), (1_200, 3_900),
        (1_600, 2_800), (2_000, 1_500), (2_600, 620), (3_400, 140), (4_400, 22), (6_000, 3),
        (9_000, 0),
    )
)  # fmt: skip

SUBJECTS = tuple(
    views.SubjectView(id=ident, name=name, swarm="dev_swarm_7m2pz0tb", teams=(), role=role)
    for ident, name, role in (
        ("operator", "operator", "system"),
        *((f"dev_agent_{n:08d}", f"worker {n}", "agent") for n in range(8)),
    )
)
_RIGHTS = (("rwd", "level"), ("rw-", "level"), ("r--", "grant"), ("---", "default"))


def lanes(environment: str | None) -> list[views.LaneView]:
    """Ten lanes, the urgent ones short."""
    return [
        views.LaneView(
            environment=environment or "development", priority=priority,
            ready=(11 - priority) * 40 if priority < 9 else 0, delayed=3 * (priority == 5),
            leased=2 * (priority % 3), dead=priority == 2,
            oldest_at_us=NOW_US - (11 - priority) * 47_000_000 if priority < 9 else None,
        )
        for priority in range(10, 0, -1)
    ]  # fmt: skip


def matrix(action: actions.AclMatrix, total: int = 140) -> views.MatrixView:
    """A matrix of so many records, one window of it."""
    subjects = SUBJECTS
    if action.subjects:
        subjects = tuple(
            views.SubjectView(id=ident, name="worker 1", swarm=None, teams=(), role="agent")
            for ident in action.subjects
        )
    numbers = range(action.offset, min(total, action.offset + action.limit))
    rows = tuple(
        views.MatrixRow(
            key=f"digest:lib/module_{n}.py", namespace="demo",
            level=("private", "team", "swarm", "public")[n % 4], owner="dev_agent_00000002",
            team="dev_team_k3j9ws1a",
            cells=tuple(
                views.CellView(rights=rights, rule=rule)
                for rights, rule in (
                    _RIGHTS[(n + place) % 4] for place in range(len(subjects))
                )
            ),
        )
        for n in numbers
    )  # fmt: skip
    more = action.offset + action.limit < total
    return views.MatrixView(environment=action.environment, subjects=subjects, rows=rows, more=more)


def decisions(action: actions.AclWho) -> list[views.DecisionView]:
    """Who may do what to a record."""
    return [
        views.DecisionView(
            allowed=n % 3 > 0, rule="level" if n % 3 else "default",
            detail="the owner's team reads it" if n % 3 else "nothing allows it",
            subject=f"dev_agent_{n // 3:08d}", action=("read", "write", "delete")[n % 3],
            environment=action.environment, namespace=action.namespace, key=action.key,
            level="team", owner="dev_agent_00000002",
        )
        for n in range(9)
    ]  # fmt: skip


def explanation(action: actions.Explain) -> views.ExplanationView:
    """Why a message does not run."""
    return views.ExplanationView(
        subject=action.subject, kind="message", environment="development", state="delayed",
        verdict="It waits: it was asked to, and then three more urgent ones come first.",
        reasons=(
            views.ReasonView(rule="delayed", text="it is not due before 14:03:59"),
            views.ReasonView(
                rule="priority",
                text="732 ready messages of its target have a higher priority and are claimed "
                "first; at the pace of the last minute that takes four minutes more",
            ),
            views.ReasonView(rule="attempts", text="1 of 3 attempts is spent", blocks=False),
        ),
        remedies=(
            f"swarmdeck queue edit {action.subject} --delay 0",
            f"swarmdeck queue edit {action.subject} --priority 10",
        ),
    )  # fmt: skip


def alert(number: int, **more: Any) -> views.AlertView:
    fields: dict[str, Any] = {
        "id": f"alert_{number:04d}",
        "rule": ("dead-letters", "agents-failing", "slow-writer")[number % 3],
        "severity": "critical" if number % 2 else "warning",
        "state": ("firing", "firing", "acknowledged", "resolved", "resolved")[min(number, 4)],
        "environment": "research",
        "subject": "dev_swarm_7m2pz0tb",
        "since_at_us": NOW_US - (number + 1) * 400_000_000,
        "resolved_at_us": None if number < 3 else NOW_US - 60_000_000,
        "acknowledged_by": "operator" if number == 2 else "",
        "detail": "12 messages of research failed for good",
        "hint": "4 shows them",
    }
    return views.AlertView(**(fields | more))


_PROBED = (
    ("disk", "disk", "", "ok", "71.2 GB of 252 GB are free", "ALERT_ONLY", 0),
    ("memory", "memory", "", "ok", "71 GB of 96 GB are available; limits are guarded",
     "ALERT_ONLY", 0),
    ("production", "store", "production", "ok", "written and read back", "RESTART", 0),
    ("development", "store", "development", "suspect", "no answer within 10 s", "RESTART", 1),
    ("dev_swarm_7m2pz0tb", "agents", "development", "failed",
     "7 of 8 agents are there; dev_agent_00000002 failed: killed by SIGKILL", "RECREATE", 3),
    ("dev_swarm_7m2pz0tb", "http", "development", "ok", "200 OK", "RECREATE", 3),
)  # fmt: skip


def finding(number: int, **more: Any) -> views.FindingView:
    subject, probe, environment, status, detail, policy, attempts = _PROBED[number % len(_PROBED)]
    fields: dict[str, Any] = {
        "subject": subject, "probe": probe, "environment": environment, "status": status,
        "detail": detail, "latency_ms": 3.0 + number * 4, "policy": policy, "attempts": attempts,
        "attempts_max": 3, "since_at_us": NOW_US - (number + 1) * 130_000_000,
        "checked_at_us": NOW_US - 12_000_000,
        "outcome": "8 agents were replaced by 8 new ones" if attempts == 3 else "",
        "address": "http://127.0.0.1:8080/health" if policy == "RECREATE" else "",
        "breaker": "closed" if probe == "http" else "",
    }  # fmt: skip
    return views.FindingView(**(fields | more))


def recovery(number: int, **more: Any) -> views.RecoveryView:
    found = finding(number)
    fields: dict[str, Any] = {
        "subject": found.subject, "environment": found.environment, "policy": found.policy,
        "state": "spent" if found.attempts == 3 else "idle", "standby": "",
        "address": found.address, "attempts": found.attempts, "attempts_max": 3,
        "attempted_at_us": NOW_US - 400_000_000 if found.attempts else None,
        "healthy_since_at_us": None, "next_at_us": None, "outcome": found.outcome,
        "successor": "", "set": False, "changed_at_us": None, "changed_by": "",
    }  # fmt: skip
    return views.RecoveryView(**(fields | more))


def happening(number: int, **more: Any) -> views.JournalView:
    severity = ("info", "info", "warning", "critical")[number % 4]
    fields: dict[str, Any] = {
        "sequence": 1_000 - number,
        "at_us": NOW_US - number * 9_000_000,
        "environment": "development",
        "kind": ("swarm", "agent", "memory", "alert")[number % 4],
        "subject": "dev_swarm_7m2pz0tb",
        "severity": severity,
        "text": f"worker {number} said so",
    }
    return views.JournalView(**(fields | more))


def admission(action: actions.MemoryAdmit | actions.MemoryBudget) -> views.AdmissionView:
    """It fits up to 14 GB of its own."""
    fits = action.base_bytes <= 14 * GIB
    return views.AdmissionView(
        environment=action.environment, accepted=fits, base_before_bytes=10 * GIB,
        base_after_bytes=action.base_bytes, max_before_bytes=14 * GIB,
        max_after_bytes=action.max_bytes, buffer_before_bytes=8 * GIB,
        buffer_after_bytes=8 * GIB - max(0, action.base_bytes - 10 * GIB),
        allocated_bytes=4 * GIB, borrowed_before_bytes=0, borrowed_after_bytes=0,
        reason="" if fits else "the budgets of all would be 6 GB more than the host has",
        hint="" if fits else "14 GB fit",
        holders=(
            views.HolderView(
                swarm="prod_swarm_4kd81xq2", environment="production", bytes=6 * GIB,
                borrowed_bytes=0, lenders=(),
            ),
        ),
    )  # fmt: skip


def measured(bench: views.BenchView, place: int) -> views.BenchView:
    """A result beside a baseline, with its repeats and latencies."""
    ratio, verdict = ((1.31, "better"), (1.01, "same"), (0.82, "worse"), (None, ""))[place % 4]
    return views.BenchView(
        **{name: getattr(bench, name) for name in ("name", "workload", "ops_s", "p50_us")},
        p99_us=bench.p99_us, concurrency=bench.concurrency, operations=bench.operations,
        at_us=bench.at_us, ratio=ratio, verdict=verdict, latencies=LATENCIES,
        baseline="release" if verdict else "", encryption=place == 2,
        repeats=tuple(bench.ops_s * share for share in (0.93, 1.0, 0.97, 1.04, 0.99)),
    )  # fmt: skip


BENCHMARKS = tuple(
    measured(views.BenchView(
        name=name, workload=name, ops_s=ops_s, p50_us=p50_us, p99_us=p99_us, concurrency=100,
        operations=int(ops_s), at_us=NOW_US - 600_000_000,
    ), place)
    for place, (name, ops_s, p50_us, p99_us) in enumerate((
        ("memory set", 52_100.0, 1_810.0, 3_400.0),
        ("memory get", 411_000.0, 2.1, 9.4),
        ("queue send, claim, ack", 18_300.0, 5_100.0, 9_900.0),
        ("access decision", 1_230_000.0, 0.8, 1.4),
    ))
)  # fmt: skip


PLACES = ("production", "development", "testing", "research", "staging")
DAY_US = 86_400_000_000


def vault(action: actions.VaultStatus | None = None, state: str = "open") -> views.VaultView:
    """A vault whose key is a passphrase; research is being rotated, testing has sealed nothing."""
    wanted = action.environment if action is not None else None
    rings = tuple(_ring(name, place, state) for place, name in enumerate(PLACES)
                  if wanted in {None, name})  # fmt: skip
    reason = "it was sealed by operator" if state == "sealed" else ""
    return views.VaultView(
        state=state, source="passphrase", place="typed after each start", reason=reason,
        environments=rings,
    )  # fmt: skip


def _ring(name: str, place: int, state: str) -> views.KeyringView:
    keys = tuple(
        views.DataKeyView(
            id=number + 1, kind=kind, state="active", uses=41_300 * (place + number + 1),
            created_at_us=NOW_US - (40 + place) * DAY_US,
            rotate_at_us=NOW_US + (50 - 20 * place) * DAY_US,
        )
        for number, kind in enumerate(("private", "team", "rest"))
    )  # fmt: skip
    if name == "research":
        keys += (
            views.DataKeyView(id=4, kind="private", state="retiring", uses=2_140_000,
                              created_at_us=NOW_US - 91 * DAY_US),
        )  # fmt: skip
    return views.KeyringView(
        environment=name, state=state, reason="", keys=() if name == "testing" else keys,
        rotating=0.43 if name == "research" else None,
    )  # fmt: skip


def backup(number: int, **more: Any) -> views.BackupView:
    environment = PLACES[number % 3]
    fields: dict[str, Any] = {
        "name": f"{environment}-202611{20 - number:02d}-020000",
        "environment": environment,
        "created_at_us": NOW_US - (number + 1) * DAY_US,
        "size_bytes": (216 + 31 * number) << 20,
        "records": 128_440 - 900 * number,
        "messages": 18_225,
        "audit_rows": 512_003,
        "schema_version": 2,
        "status": ("verified", "verified", "unverified", "failed")[number % 4],
        "detail": ("every record was opened", "every record was opened", "",
                   "the manifest's signature does not match")[number % 4],
        "elapsed_s": 2.4,
    }  # fmt: skip
    return views.BackupView(**(fields | more))


def database(place: int, **more: Any) -> views.DatabaseView:
    name = (*PLACES, "coordination")[place]
    fields: dict[str, Any] = {
        "environment": name,
        "path": f"instances/{name}/{name}.db",
        "schema_version": 2,
        "size_bytes": (880 >> place) << 20,
        "wal_bytes": (410 if place == 1 else 4) << 20,
        "page_size": 4096,
        "tables": ("memory", "message", "agent"),
        "records": 120_000 >> place,
        "messages": 40_000 >> place,
        "batches": 91_000,
        "operations": 4_100_000,
        "free_bytes": (12 << 20) * (place % 3),
        "pinned_readers": int(place == 1),
        "pinned_s": 94.0 if place == 1 else 0.0,
    }
    return views.DatabaseView(**(fields | more))


def statement(number: int, **more: Any) -> views.StatementView:
    fields: dict[str, Any] = {
        "environment": PLACES[number % 2],
        "statement": f"SELECT key, level FROM memory WHERE env = ? LIMIT {number + 1}",
        "count": 40 - number,
        "p99_ms": 310.0 + 40 * number,
        "max_ms": 1_240.0,
        "plan": "SEARCH memory USING INDEX memory_key (env=?)\nUSE TEMP B-TREE FOR ORDER BY",
        "last_at_us": NOW_US - number * 600_000_000,
    }
    return views.StatementView(**(fields | more))


def chain(place: int, **more: Any) -> views.ChainView:
    fields: dict[str, Any] = {
        "environment": PLACES[place],
        "status": "failed" if place == 3 else "ok",
        "detail": "row 4,211 does not follow from the row before" if place == 3 else "every row "
        "follows from the one before",
        "rows": 51_003,
        "first": 1,
        "last": 51_003,
        "checkpoints": 52,
        "outside": 51,
        "elapsed_s": 0.4,
        "hint": "the copy outside the data directory says what was there" if place == 3 else "",
    }  # fmt: skip
    return views.ChainView(**(fields | more))


def breaking(**more: Any) -> views.GrantView:
    """A break-glass read with eleven minutes left."""
    fields: dict[str, Any] = {
        "id": "prod_grant_glass001", "environment": "production", "subject": "operator",
        "effect": "allow", "resource": "memory", "level": "private", "actions": ("read",),
        "namespace": "default", "key_prefix": "card:4711", "granted_by": "operator",
        "created_at_us": NOW_US - 240_000_000, "expires_at_us": NOW_US + 660_000_000,
        "kind": "break-glass", "reason": "the customer is locked out",
    }  # fmt: skip
    return views.GrantView(**(fields | more))


def flow(environment: str | None, **more: Any) -> views.FlowView:
    fields: dict[str, Any] = {
        "environment": environment or "development", "mode": "running", "reason": "",
        "changed_at_us": None, "changed_by": "", "open": 41, "limit": 1_000, "waiting": 0,
    }  # fmt: skip
    return views.FlowView(**(fields | more))


_READINGS = {
    "host": {"cpu_percent": 38.2, "available_bytes": 71 * GIB, "used_bytes": 5 * GIB,
             "allocated_bytes": 19 * GIB, "load_1m": 2.1},
    "engine": {"loop_lag_ms": 1.4, "cpu_percent": 6.1, "rss_bytes": 96 << 20, "clients": 2},
    "queue": {"ready": 751, "oldest_s": 74.0, "sends_per_s": 112.5, "acks_per_s": 108.1},
    "store": {"commits_per_s": 214.0, "commit_ms_p99": 7.2, "cache_hit_percent": 99.1},
    "development": {"used_bytes": 3 * GIB, "cpu_percent": 31.0, "ready": 732, "oldest_s": 74.0,
                    "sends_per_s": 98.2, "claims_per_s": 97.9, "acks_per_s": 97.0},
    "dev_swarm_7m2pz0tb": {"used_bytes": 1 * GIB, "cpu_percent": 30.2, "live": 8, "ready": 7},
    "dev_agent_00000002": {"used_bytes": 134 << 20, "cpu_percent": 4.2, "leased": 2, "done": 962},
}  # fmt: skip


def measurements(action: actions.MetricsList) -> list[views.MeasurementView]:
    return [
        views.MeasurementView(
            subject=subject, kind=kind_of(subject), environment=place_of(subject),
            at_us=NOW_US - 40_000_000, step_s=30, readings=readings,
        )
        for subject, readings in _READINGS.items()
        if action.environment in {None, place_of(subject)}
    ]  # fmt: skip


def series(action: actions.MetricsShow) -> list[views.SeriesView]:
    """Waves with a gap in the middle, as the window has steps; of a longer one extremes too."""
    readings = _READINGS.get(action.subject, {"used_bytes": 1 << 30, "cpu_percent": 12.0})
    step_s, count = {"1h": (30, 120), "6h": (30, 720), "24h": (300, 288)}.get(
        action.window, (3600, 168)
    )
    return [
        _wave(action, name, value, step_s, count)
        for name, value in readings.items()
        if not action.metric or name in action.metric
    ]


def _wave(
    action: actions.MetricsShow, name: str, latest: float, step_s: int, count: int
) -> views.SeriesView:
    def at(place: int) -> float | None:
        share = place / count
        swing = 1 + 0.6 * math.sin(9 * (share - 1)) + 0.1 * (place * 7 % 5)
        return None if 0.45 < share < 0.55 else latest * swing

    values = tuple(map(at, range(count)))
    known = [value for value in values if value is not None]
    highs = tuple(None if value is None else value * 1.3 for value in values)
    return views.SeriesView(
        subject=action.subject, metric=name, unit=unit_of(name), window=action.window,
        step_s=step_s, first_at_us=NOW_US - step_s * count * 1_000_000, latest=latest,
        mean=sum(known) / len(known), least=min(known), greatest=max(known), measured=len(known),
        values=values, highs=highs if step_s > 30 else (),
    )  # fmt: skip


def schedule(number: int, **more: Any) -> views.ScheduleView:
    """One every minute, one on weekdays, one that waits for room, one that is paused."""
    fields: dict[str, Any] = {
        "id": f"dev_schedule_{number + 1}",
        "environment": ("development", "production", "research", "testing")[number % 4],
        "name": ("tidy up", "morning report", "digest", "probe")[number % 4],
        "state": ("active", "active", "late", "paused")[number % 4],
        "kind": ("sweep", "report", "digest", "probe")[number % 4],
        "to": "dev_swarm_7m2pz0tb" if number % 4 == 2 else None, "priority": 5,
        "every_s": (60.0, None, 900.0, 5.0)[number % 4],
        "cron": "30 6 * * mon-fri" if number % 4 == 1 else None,
        "zone": "Europe/Berlin" if number % 4 == 1 else "UTC", "overlap": False, "expires_s": None,
        "max_attempts": 3,
        "next_at_us": (
            NOW_US + 40_000_000, NOW_US + 9 * 3_600_000_000, NOW_US - 5, None,
        )[number % 4],
        "last_at_us": NOW_US - 130_000_000 * (number + 1),
        "last_message": f"dev_msg_{number + 40:08d}", "runs": 1_204 * (number + 1),
        "skipped": 3 * (number % 4), "created_by": "operator", "created_at_us": NOW_US - DAY_US,
        "reason": "the queue of research is full: 1,000 of 1,000 messages are open"
        if number % 4 == 2 else "",
    }  # fmt: skip
    return views.ScheduleView(**(fields | more))


def proposal(number: int, **more: Any) -> views.ProposalView:
    """One that waits for ballots, one with some, one that was achieved, failed, expired."""
    status = ("pending", "in_progress", "achieved", "failed", "expired")[number % 5]
    approve, reject, abstain = ((0, 0, 0), (2, 1, 0), (9, 0, 1), (3, 4, 0), (1, 0, 0))[number % 5]
    is_open = status in {"pending", "in_progress"}
    made_us = NOW_US - 410_000_000 * (number + 1)
    fields: dict[str, Any] = {
        "id": f"dev_consensus_{230 - number}",
        "environment": ("development", "production", "research")[number % 3],
        "title": ("Deploy 1.4 to everybody", "Phase 2 is done", "Drop the old parser")[number % 3],
        "type": ("gate", "validation", "approval", "decision")[number % 4],
        "target_type": "phase" if number % 3 == 1 else None,
        "target": "2" if number % 3 == 1 else None,
        "strategy": "weighted", "status": status, "threshold": 0.9,
        "score": approve / (approve + reject) if approve + reject else None,
        "approve": approve, "reject": reject, "abstain": abstain,
        "participants": ("dev_swarm_7m2pz0tb",) if number % 2 else (), "loop": 1 + number % 3,
        "proposer": f"dev_agent_{number % 5:08d}" if number % 5 else "operator",
        "level": "swarm", "team": None, "swarm": "dev_swarm_7m2pz0tb", "created_at_us": made_us,
        "deadline_at_us": NOW_US + 1_500_000_000 if is_open else None,
        "closed_at_us": None if is_open else NOW_US - 90_000_000,
        "closed_by": None if is_open else "operator",
        "reason": "too few were sure" if status == "failed" else "",
    }  # fmt: skip
    return views.ProposalView(**(fields | more))


def conflict(number: int, **more: Any) -> views.ConflictView:
    """One of each state, of each severity."""
    state = ("unresolved", "escalated", "in_progress", "resolved")[number % 4]
    held = state in {"in_progress", "resolved"}
    fields: dict[str, Any] = {
        "id": f"dev_conflict_{61 - number}",
        "environment": ("development", "research", "production")[number % 3],
        "title": ("Both write plan.md", "Stale copy of the schema", "Each waits")[number % 3],
        "type": ("resource", "version", "dependency")[number % 3],
        "severity": ("medium", "critical", "high", "low")[number % 4],
        "one": "dev_agent_00000001", "other": f"dev_agent_{2 + number % 3:08d}",
        "strategy": "manual", "auto": False, "state": state,
        "attempts": (0, 3, 1, 2)[number % 4], "threshold": 3, "times": 1 + number % 2,
        "holder": "dev_agent_00000002" if held else None, "reporter": "dev_agent_00000001",
        "level": "swarm", "team": None, "swarm": "dev_swarm_7m2pz0tb",
        "created_at_us": NOW_US - 77_000_000 * (number + 1), "updated_at_us": NOW_US - 9_000_000,
        "escalated_at_us": NOW_US - 9_000_000 if state == "escalated" else None,
        "resolved_at_us": NOW_US - 9_000_000 if state == "resolved" else None,
        "reason": "neither gives way" if number % 4 else "",
    }  # fmt: skip
    return views.ConflictView(**(fields | more))


def task(number: int, **more: Any) -> views.TaskView:
    """One that is ready, one that waits, one under work, one that is blocked, one that is late …"""
    status = ("pending", "pending", "in_progress", "blocked", "in_progress")[number % 5]
    waits = 2 if number % 5 == 1 else 0
    late = number % 5 == 4
    fields: dict[str, Any] = {
        "id": f"dev_task_{number + 1}",
        "environment": ("development", "production", "research")[number % 3],
        "title": (
            "plan the release", "build the wheel", "write the guide", "run the stress programmes",
            "sign the release",
        )[number % 5],
        "type": ("planning", "build", "docs", "test", "release")[number % 5],
        "status": status, "ready": number % 5 == 0, "waits": waits, "overdue": late,
        "priority": max(1, 10 - number // 4), "level": "public", "owner": "operator", "team": None,
        "swarm": None, "agent": f"dev_agent_{number % 4:08d}" if number % 5 > 1 else None,
        "parent": None, "progress": (0.0, 0.0, 60.0, 0.0, 95.0)[number % 5],
        "confidence": 0.8 if number % 2 else None, "estimated_hours": 3.5, "actual_hours": None,
        "deadline_at_us": NOW_US + (-900_000_000 if late else 7_200_000_000)
        if number % 5 in (0, 4) else None,
        "attempt": int(status == "in_progress"), "max_attempts": 3, "reason": "",
        "blockers": ("waits for the licence",) if status == "blocked" else (), "version": 3,
        "created_at_us": NOW_US - 3_600_000_000 * (number + 1), "updated_at_us": NOW_US,
        "started_at_us": NOW_US - 600_000_000 if status == "in_progress" else None,
        "ended_at_us": None,
    }  # fmt: skip
    return views.TaskView(**(fields | more))


def node(sequence: int, depth: int, **more: Any) -> views.TaskNodeView:
    """A line of a tree."""
    of = task(sequence)
    fields: dict[str, Any] = {
        "sequence": sequence, "subject": of.id, "depth": depth, "title": of.title,
        "status": of.status, "kind": "hard" if depth else "", "condition": "",
        "state": "waiting" if depth else "", "agent": of.agent, "progress": of.progress,
        "again": False,
    }  # fmt: skip
    return views.TaskNodeView(**(fields | more))


def dependency(number: int, **more: Any) -> views.DependencyView:
    fields: dict[str, Any] = {
        "id": f"dev_dependency_{number}", "environment": "development",
        "task": f"dev_task_{number + 1}", "needs": f"dev_task_{number}", "kind": "hard",
        "condition": "", "state": "waiting", "status": "pending", "resolved_at_us": None,
        "resolved_by": "", "created_by": "operator", "created_at_us": NOW_US - 60_000_000,
    }  # fmt: skip
    return views.DependencyView(**(fields | more))


def event(number: int, **more: Any) -> views.EventView:
    """One that waits, one under work, one that is tried again, one that failed for good …"""
    status = ("pending", "processing", "pending", "failed", "completed", "expired")[number % 6]
    again, held = number % 6 == 2, status == "processing"
    taken = status in {"processing", "failed", "completed"} or again
    fields: dict[str, Any] = {
        "id": f"dev_event_{4_120 - number}",
        "environment": ("development", "production", "research")[number % 3],
        "type": ("build.done", "test.failed", "deploy.wanted", "review.asked")[number % 4],
        "source": f"dev_agent_{number % 5:08d}" if number % 5 else "operator",
        "target": "dev_swarm_7m2pz0tb" if number % 4 == 2 else None,
        "priority": (5, 8, 10, 0)[number % 4], "status": status,
        "level": "public" if number % 5 == 0 else "swarm", "team": None,
        "swarm": "dev_swarm_7m2pz0tb", "parent": None, "chain": f"dev_event_{4_120 - number}",
        "tags": ("main", "nightly") if number % 2 else (), "attempt": int(taken),
        "retries": 3 if status == "failed" else int(again), "max_retries": 3,
        "holder": "dev_agent_00000002" if taken else None,
        "created_at_us": NOW_US - 41_000_000 * (number + 1), "updated_at_us": NOW_US - 9_000_000,
        "expires_at_us": NOW_US + DAY_US - 41_000_000 * (number + 1),
        "due_at_us": NOW_US + 4_000_000 if again else None,
        "lease_until_us": NOW_US + 21_000_000 if held else None,
        "duration_s": 1.25 if taken and not held else None,
        "error": "the branch is gone" if again or status == "failed" else "",
    }  # fmt: skip
    return views.EventView(**(fields | more))


def measure(number: int, **more: Any) -> views.MeasureView:
    """Counters, gauges, timers of several agents."""
    fields: dict[str, Any] = {
        "id": f"dev_measure_{number + 1}",
        "environment": ("development", "production", "research")[number % 3],
        "name": ("tasks.done", "queue.depth", "step.took", "answer.tokens")[number % 4],
        "kind": ("counter", "gauge", "timer", "histogram")[number % 4],
        "unit": ("", "", "s", "tokens")[number % 4],
        "labels": ({"queue": "digest", "step": "plan"}, {}, {"step": "plan"})[number % 3],
        "last": (1.0, 42.0, 1.25, 8_120.0)[number % 4],
        "updated_at_us": NOW_US - 7_000_000 * (number + 1),
        "source": f"dev_agent_{number % 5:08d}", "level": "swarm", "team": None,
        "swarm": "dev_swarm_7m2pz0tb", "keep_days": 30.0, "created_at_us": NOW_US - DAY_US,
    }  # fmt: skip
    return views.MeasureView(**(fields | more))


def recorded(action: actions.MetricQuery) -> views.MeasuredView:
    """A day that goes up and down, with a gap."""
    values = tuple(None if 30 < n < 40 else float(n * 7 % 23 + n / 10) for n in range(120))
    return views.MeasuredView(
        environment=action.environment, name=action.name, kind="timer", unit="s", aggregate="p50",
        series=1, window_s=action.since_s, step_s=action.since_s // 120,
        first_at_us=NOW_US - action.since_s * 1_000_000, count=1_204, sum=9_411.5, avg=7.8,
        min=0.1, max=33.9, last=1.2, p50=7.1, p95=21.0, p99=30.4, values=values,
    )  # fmt: skip


def artifact(number: int, **more: Any) -> views.ArtifactView:
    """Code of a few versions, a model made from data, one whose content is damaged."""
    kinds = ("code", "documentation", "model", "data", "report", "config", "binary")
    names = ("src/parser.py", "docs/design.md", "models/ranker", "data/train.parquet",
             "reports/nightly.html", "deploy.toml", "bin/worker")  # fmt: skip
    place = number % len(kinds)
    damaged, checked = number == 4, number % 3 == 0
    size = (7_412, 31_077, 402_653_184, 1_288_490_188, 88_064, 912, 5_242_880)[place]
    fields: dict[str, Any] = {
        "id": f"{('dev', 'prod')[number % 2]}_artifact_{412 - number}",
        "environment": ("development", "production")[number % 2],
        "name": names[place], "version": 1 + number % 9, "type": kinds[place],
        "format": names[place].rpartition(".")[2] if "." in names[place] else "",
        "size_bytes": size, "stored_bytes": size // 2, "chunks": 1 + size // (1 << 20),
        "state": "damaged" if damaged else "checked" if checked else "stored",
        "level": "team" if number % 4 == 1 else "swarm",
        "owner": f"dev_agent_{number % 5:08d}" if number % 5 else "operator",
        "team": None, "swarm": "dev_swarm_7m2pz0tb", "author": f"dev_agent_{number % 3:08d}",
        "parent": f"dev_artifact_{40 + number}" if place == 2 else None,
        "created_at_us": NOW_US - 1_900_000_000 * (number + 1),
        "checked_at_us": NOW_US - 60_000_000 if damaged or checked else None,
        "damage": "chunk 3 of 7 (bytes 2,097,152 to 3,145,727) is damaged" if damaged else "",
    }  # fmt: skip
    return views.ArtifactView(**(fields | more))


def lineage(_action: actions.ArtifactLineage) -> list[views.LineageView]:
    told = (
        (-2, "data/train.parquet", "data"),
        (-1, "models/ranker", "model"),
        (0, "reports/nightly.html", "report"),
        (1, "reports/summary.md", "documentation"),
    )
    return [
        views.LineageView(
            id=f"dev_artifact_{400 + depth}", environment="development", depth=depth, name=name,
            version=2, type=kind, size_bytes=88_064, state="stored", author="dev_agent_00000002",
            created_at_us=NOW_US - 90_000_000,
        )
        for depth, name, kind in told
    ]  # fmt: skip


def history(_action: actions.QueueHistory) -> list[views.HistoryView]:
    """A message that failed once, whose second holder was killed."""
    told = (
        ("operator", "send", "digest"), ("dev_agent_00000001", "claim", "attempt 1"),
        ("dev_agent_00000001", "nack", "ValueError: no such file"),
        ("dev_agent_00000002", "claim", "attempt 2"),
        ("engine", "take_back", "dev_agent_00000002 ended while it held this (attempt 2)"),
        ("dev_agent_00000003", "claim", "attempt 3"),
    )  # fmt: skip
    return [
        views.HistoryView(
            environment="development", sequence=900 + n, at_us=NOW_US - (60 - n * 9) * 1_000_000,
            actor=actor, action=action, detail=detail,
        )
        for n, (actor, action, detail) in enumerate(told)
    ]  # fmt: skip


ANSWERS: dict[type[actions.Action], Any] = {
    actions.ScheduleList: lambda a: [
        each for n in range(4) if a.environment in {None, (each := schedule(n)).environment}
    ],
    actions.ScheduleShow: lambda _: schedule(0, body={"path": "lib"}),
    actions.ScheduleCreate: lambda _: schedule(0),
    actions.SchedulePause: lambda _: schedule(3),
    actions.ScheduleResume: lambda _: schedule(0),
    actions.MetricSeries: lambda a: [
        each
        for n in range(a.offset, min(24, a.offset + a.limit))
        if a.environment in {None, (each := measure(n)).environment}
    ],
    actions.MetricQuery: recorded,
    actions.ConsensusList: lambda a: [
        each
        for n in range(a.offset, min(30, a.offset + a.limit))
        if a.environment in {None, (each := proposal(n)).environment}
    ],
    actions.ConsensusShow: lambda a: proposal(1, id=a.id, body={"commit": "a1b2"}),
    actions.ConflictList: lambda a: [
        each
        for n in range(a.offset, min(30, a.offset + a.limit))
        if a.environment in {None, (each := conflict(n)).environment}
    ],
    actions.ConflictShow: lambda a: conflict(1, id=a.id, body={"file": "plan.md"}),
    actions.EventList: lambda a: [
        each
        for n in range(a.offset, min(60, a.offset + a.limit))
        if a.environment in {None, (each := event(n)).environment}
    ],
    actions.TaskList: lambda a: [
        each
        for n in range(a.offset, min(40, a.offset + a.limit))
        if a.environment in {None, (each := task(n)).environment}
    ],
    actions.TaskShow: lambda a: task(
        0, id=a.id, requirements={"scope": ["engine"]}, needs=("dev_task_7",)
    ),
    actions.TaskGraph: lambda a: [node(0, 0, subject=a.id), node(1, 1), node(2, 2, state="met")],
    actions.DependencyList: lambda _a: [dependency(n) for n in range(1, 4)],
    actions.EventChain: lambda a: [event(0, id=a.id)],
    actions.EventShow: lambda a: event(0, id=a.id, payload={"branch": "main", "ok": True}),
    actions.EventRetry: lambda a: event(0, id=a.id),
    actions.ArtifactList: lambda a: [
        each
        for n in range(a.offset, min(30, a.offset + a.limit))
        if a.environment in {None, (each := artifact(n)).environment}
    ],
    actions.ArtifactShow: lambda a: artifact(
        0, id=a.id, sha256="5891" * 16, metadata={"tests": 31}
    ),
    actions.ArtifactPut: lambda _: artifact(0),
    actions.ArtifactVersions: lambda a: [
        artifact(
            7 * n,
            id=a.id if not n else f"dev_artifact_{n}",
            version=9 - n,
            environment="development",
        )
        for n in range(6)
    ],
    actions.ArtifactLineage: lineage,
    actions.QueueHistory: history,
    actions.QueueFlow: lambda a: [flow(a.environment)],
    actions.QueuePause: lambda a: flow(a.environment, mode="paused"),
    actions.QueueDrain: lambda a: flow(a.environment, mode="draining"),
    actions.QueueResume: lambda a: flow(a.environment),
    actions.QueueLanes: lambda a: lanes(a.environment),
    actions.AclMatrix: matrix,
    actions.AclWho: decisions,
    actions.Explain: explanation,
    actions.AlertList: lambda a: [alert(n) for n in range(2 if a.firing else 5)],
    actions.AlertAck: lambda a: alert(0, id=a.id, state="acknowledged"),
    actions.HealthList: lambda _: [finding(n) for n in range(6)],
    actions.HealthCheck: lambda a: [finding(n) for n in range(6)],
    actions.RecoveryList: lambda _: [recovery(n) for n in range(5)],
    actions.RecoverySet: lambda a: recovery(4, subject=a.subject, policy=a.policy),
    actions.RecoveryReset: lambda a: recovery(4, subject=a.subject, attempts=0),
    actions.JournalList: lambda _: [happening(n) for n in range(40)],
    actions.MemoryAdmit: admission,
    actions.MemoryBudget: admission,
    actions.VaultStatus: vault,
    actions.VaultSeal: lambda _: vault(state="sealed"),
    actions.VaultUnseal: lambda _: vault(),
    actions.VaultRotate: lambda _: vault(),
    actions.VaultRekey: lambda _: vault(),
    actions.BackupList: lambda _: [backup(n) for n in range(9)],
    actions.BackupCreate: lambda a: backup(0, environment=a.environment),
    actions.BackupVerify: lambda a: backup(0, environment=a.environment, name=a.name),
    actions.BackupRestore: lambda a: backup(0, environment=a.environment, name=a.name),
    actions.DatabaseStats: lambda _: [database(n) for n in range(6)],
    actions.DatabaseSlow: lambda _: [statement(n) for n in range(3)],
    actions.AuditVerify: lambda _: [chain(n) for n in range(5)],
    actions.MetricsList: measurements,
    actions.MetricsShow: series,
    actions.AclBreakglass: lambda _: breaking(),
    actions.AgentToken: lambda a: views.TokenView(
        agent=a.id, token="sdk_dev_k3j9ws1a_" + "q7" * 20, expires_at_us=NOW_US + DAY_US
    ),
}
EMPTY: dict[type[actions.Action], Any] = {
    actions.AclMatrix: lambda a: views.MatrixView(environment=a.environment, subjects=(), rows=()),
    actions.DatabaseStats: lambda _: [database(n, records=0, messages=0) for n in range(6)],
}
"""What an empty store answers instead; every other list is empty."""
