"""Sample answers to what the panels ask for. Loaded by conftest; pure views, no fixtures."""

from __future__ import annotations

from typing import Any

from swarmdeck.engine import actions, views

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
        "state": "firing" if number < 2 else "resolved",
        "environment": "research",
        "subject": "dev_swarm_7m2pz0tb",
        "since_at_us": NOW_US - (number + 1) * 400_000_000,
        "resolved_at_us": None if number < 2 else NOW_US - 60_000_000,
        "detail": "12 messages of research failed for good",
        "hint": "4 shows them",
    }
    return views.AlertView(**(fields | more))


def happening(number: int, **more: Any) -> views.EventView:
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
    return views.EventView(**(fields | more))


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

ANSWERS: dict[type[actions.Action], Any] = {
    actions.QueueLanes: lambda a: lanes(a.environment),
    actions.AclMatrix: matrix,
    actions.AclWho: decisions,
    actions.Explain: explanation,
    actions.AlertList: lambda a: [alert(n) for n in range(2 if a.firing else 5)],
    actions.EventList: lambda _: [happening(n) for n in range(40)],
    actions.MemoryAdmit: admission,
    actions.MemoryBudget: admission,
}
EMPTY: dict[type[actions.Action], Any] = {
    actions.AclMatrix: lambda a: views.MatrixView(environment=a.environment, subjects=(), rows=()),
}
"""What an empty store answers instead; every other list is empty."""
