"""Views of keys, tokens, grants, copies, slow statements … as text for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from .. import views
from ..text import safe_text
from ..views.queue import when_of
from .ailments import findings, recoveries
from .measured import measure, measurements, measures, recorded, series
from .output import Cell, Shown, cell, heading, pairs, record, table

_KEYS: Final = ("id", "state", "created_at_us", "uses", "rotate_at_us")
_GRANTS: Final = (
    "id", "kind", "effect", "subject", "environment", "level", "actions", "namespace", "key_prefix",
    "expires_at_us",
)  # fmt: skip
_BACKUPS: Final = (
    "name", "environment", "status", "created_at_us", "size_bytes", "records", "messages",
    "audit_rows", "schema_version", "detail",
)  # fmt: skip
_STATEMENTS: Final = ("environment", "count", "p99_ms", "max_ms", "last_at_us")
_SCHEDULES: Final = (
    "id", "name", "state", "kind", "next_at_us", "last_at_us", "runs", "skipped", "environment",
)  # fmt: skip
_PROPOSALS: Final = (
    "id", "title", "status", "score", "threshold", "approve", "reject", "abstain",
    "deadline_at_us", "type", "target", "environment",
)  # fmt: skip
_CONFLICTS: Final = (
    "id", "title", "state", "severity", "type", "one", "other", "attempts", "threshold", "holder",
    "created_at_us", "environment",
)  # fmt: skip
_EVENTS: Final = (
    "id", "type", "status", "priority", "created_at_us", "source", "target", "level", "retries",
    "error", "environment",
)  # fmt: skip
_TASKS: Final = (
    "id", "title", "status", "priority", "progress", "waits", "deadline_at_us", "agent", "type",
    "environment",
)  # fmt: skip
_NODES: Final = ("title", "status", "kind", "state", "condition", "agent")
_ARTIFACTS: Final = (
    "id", "name", "version", "type", "size_bytes", "state", "created_at_us", "owner", "level",
    "environment",
)  # fmt: skip
_LINEAGE: Final = ("depth", "id", "name", "version", "type", "size_bytes", "state", "author")
_STEPS: Final = ("at_us", "actor", "action", "detail")
_ALWAYS: Final = "always"


def vault(view: views.VaultView, shown: Shown) -> str:
    """Whether records can be read and where the key comes from, then every key."""
    rows = [("vault", _state(view.state, view.reason)), ("key from", _source(view))]
    rows += [
        (safe_text(each.environment), _state(each.state, each.reason) + _rotating(each.rotating))
        for each in view.environments
        if each.state != view.state or each.rotating is not None
    ]
    keys: list[Sequence[Cell]] = [
        [
            (safe_text(ring.environment), False),
            (safe_text(key.kind), False),
            *(cell(key, name, shown.now_us) for name in _KEYS),
        ]
        for ring in view.environments
        for key in ring.keys
    ]
    titles = ["environment", "class", *(heading(name) for name in _KEYS)]
    return pairs(rows) + ("\n" + table(titles, keys, shown.width) if keys else "")


def token(view: views.TokenView, shown: Shown) -> str:
    """The token, and that it is not shown again."""
    return record(view, shown) + "(shown this once: only its hash is kept)\n"


def grant(view: views.GrantView, shown: Shown) -> str:
    """One entry in full, what it does not have left out."""
    plain = {name: getattr(view, name) for name in view.__struct_fields__}
    rows = [
        (heading(name), cell(view, name, shown.now_us)[0])
        for name, value in plain.items()
        if value not in ("", ()) and name not in {"hours", "days", "zone"}
    ]
    return pairs([*rows, ("when", _when(view))])


def grants(rows: Sequence[views.GrantView], shown: Shown) -> str:
    """A line for each entry: what it is, for whom, on what, when, until when, by whom and why."""
    lines = [
        [
            *(cell(row, name, shown.now_us) for name in _GRANTS),
            (_when(row), False),
            cell(row, "granted_by", shown.now_us),
            cell(row, "name", shown.now_us),
            cell(row, "reason", shown.now_us),
        ]
        for row in rows
    ]
    titles = [*(heading(name) for name in _GRANTS), "when", "granted by", "name", "reason"]
    kept = [at for at, title in enumerate(titles) if _says(title, [line[at][0] for line in lines])]
    return table(
        [titles[at] for at in kept], [[line[at] for at in kept] for line in lines], shown.width
    )


def backups(rows: Sequence[views.BackupView], shown: Shown) -> str:
    """A line for each backup."""
    lines = [[cell(row, name, shown.now_us) for name in _BACKUPS] for row in rows]
    return table([heading(name) for name in _BACKUPS], lines, shown.width)


def statements(rows: Sequence[views.StatementView], shown: Shown) -> str:
    """Each slow statement: how often and how slow, its text, its plan a step a line."""
    blocks = []
    for row in rows:
        facts = [f"{heading(name)} {cell(row, name, shown.now_us)[0]}" for name in _STATEMENTS[1:]]
        plan = [f"    {safe_text(step)}" for step in row.plan.splitlines()]
        statement = safe_text(" ".join(row.statement.split()))
        lines = [f"{safe_text(row.environment)}: {', '.join(facts)}", f"  {statement}", *plan]
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join(blocks)


def audit(rows: Sequence[views.AuditView], shown: Shown) -> str:
    """A line for each row of a trail; those that were refused are said to be."""
    titles = ("sequence", "environment", "when", "risk", "actor", "action", "object", "", "detail")
    lines: list[Sequence[Cell]] = [
        [
            (str(row.sequence), True),
            (safe_text(row.environment), False),
            cell(row, "at_us", shown.now_us),
            (safe_text(row.risk), False),
            (safe_text(row.actor), False),
            (safe_text(row.action), False),
            (safe_text(row.object), False),
            ("" if row.allowed else "refused", False),
            (safe_text(row.detail), False),
        ]
        for row in rows
    ]
    return table(titles, lines, shown.width)


def _state(state: str, reason: str) -> str:
    return safe_text(f"{state}: {reason}" if reason else state)


def _source(view: views.VaultView) -> str:
    return safe_text(f"{view.source}, {view.place}" if view.place else view.source)


def _rotating(share: float | None) -> str:
    return "" if share is None else f", new keys for {share:.0%}"


def _when(view: views.GrantView) -> str:
    if not view.hours and not view.days:
        return _ALWAYS
    return safe_text(
        " ".join(part for part in (",".join(view.days), view.hours, view.zone) if part)
    )


def _says(title: str, column: Sequence[str]) -> bool:
    """Whether a column tells more than that there is nothing of the kind."""
    usual = {"kind": {"entry"}, "when": {_ALWAYS}}.get(title, set())
    return bool(set(column) - usual - {"-"})


PAGES: Final[dict[type, Callable[[Any, Shown], str]]] = {
    views.VaultView: vault,
    views.TokenView: token,
    views.GrantView: grant,
    views.MeasureView: measure,
    views.MeasuredView: recorded,
}


def schedules(rows: Sequence[views.ScheduleView], shown: Shown) -> str:
    """A line for each schedule, with its rhythm in words."""
    names = [*_SCHEDULES, *(["reason"] if any(row.reason for row in rows) else [])]
    cells = [
        [
            *(cell(row, name, shown.now_us) for name in names[:3]),
            (safe_text(when_of(row)), False),
            *(cell(row, name, shown.now_us) for name in names[3:]),
        ]
        for row in rows
    ]
    titles = [heading(name) for name in names]
    return table([*titles[:3], "when", *titles[3:]], cells, shown.width)


def history(rows: Sequence[views.HistoryView], shown: Shown) -> str:
    """A line for each step of a message, oldest first."""
    return table(
        [heading(name) for name in _STEPS],
        [[cell(row, name, shown.now_us) for name in _STEPS] for row in rows],
        shown.width,
    )


def proposals(rows: Sequence[views.ProposalView], shown: Shown) -> str:
    """A line for each proposal, with how its ballots stand beside what it needs."""
    names = [*_PROPOSALS, *(["reason"] if any(row.reason for row in rows) else [])]
    return _rows(names, rows, shown)


def conflicts(rows: Sequence[views.ConflictView], shown: Shown) -> str:
    """A line for each conflict."""
    names = [*_CONFLICTS, *(["reason"] if any(row.reason for row in rows) else [])]
    return _rows(names, rows, shown)


def _rows(names: Sequence[str], rows: Sequence[views.View], shown: Shown) -> str:
    cells = [[cell(row, name, shown.now_us) for name in names] for row in rows]
    return table([heading(name) for name in names], cells, shown.width)


def events(rows: Sequence[views.EventView], shown: Shown) -> str:
    """A line for each event; what it says only where it was taken."""
    names = [*_EVENTS, *(["payload"] if any(row.payload is not None for row in rows) else [])]
    return table(
        [heading(name) for name in names],
        [[cell(row, name, shown.now_us) for name in names] for row in rows],
        shown.width,
    )


def artifacts(rows: Sequence[views.ArtifactView], shown: Shown) -> str:
    """A line for each version, and what is damaged of those that are."""
    names = [*_ARTIFACTS, *(["damage"] if any(row.damage for row in rows) else [])]
    return table(
        [heading(name) for name in names],
        [[cell(row, name, shown.now_us) for name in names] for row in rows],
        shown.width,
    )


def lineage(rows: Sequence[views.LineageView], shown: Shown) -> str:
    """A line for each step: below 0 what it was made from, above what was made from it."""
    return table(
        [heading(name) for name in _LINEAGE],
        [[cell(row, name, shown.now_us) for name in _LINEAGE] for row in rows],
        shown.width,
    )


def tasks(rows: Sequence[views.TaskView], shown: Shown) -> str:
    """A line for each task; one that can be begun is said to be ready."""
    ready = [replace(row, status="ready") if row.ready else row for row in rows]
    return table(
        [heading(name) for name in _TASKS],
        [[cell(row, name, shown.now_us) for name in _TASKS] for row in ready],
        shown.width,
    )


def nodes(rows: Sequence[views.TaskNodeView], shown: Shown) -> str:
    """A tree: what stands further in is needed by what stands above it."""
    return table(
        ["task", *map(heading, _NODES)],
        [
            [
                (safe_text(f"{'  ' * row.depth}{row.subject}"), False),
                *(cell(row, name, shown.now_us) for name in _NODES),
            ]
            for row in rows
        ],
        shown.width,
    )


LISTS: Final[dict[type, Callable[[Any, Shown], str]]] = {
    views.GrantView: grants,
    views.BackupView: backups,
    views.StatementView: statements,
    views.AuditView: audit,
    views.ScheduleView: schedules,
    views.TaskView: tasks,
    views.TaskNodeView: nodes,
    views.EventView: events,
    views.ProposalView: proposals,
    views.ConflictView: conflicts,
    views.HistoryView: history,
    views.ArtifactView: artifacts,
    views.LineageView: lineage,
    views.FindingView: findings,
    views.MeasurementView: measurements,
    views.MeasureView: measures,
    views.RecoveryView: recoveries,
    views.SeriesView: series,
}
