"""What the tables show of each view: columns, their widths, words and tones.

Ages are reckoned from the moment of the pull, not from this process's clock, so that a row changes
only when its data does. Priority 0 columns always show; those with a higher one collapse first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ..engine import views
from ..engine.model import PREFIXES
from ..widgets import Column, mark_of, state_text
from ..widgets.format import clock, micros, rate
from . import wording
from .wording import DASH

Cell = Callable[[Any], str]

ID_CELLS: Final = 23
"""The longest id that the engine makes: `research_swarm_` and eight characters."""

BEAT_S: Final = 10.0
"""A heartbeat comes every 5 s; older than this, one was missed."""

_EFFECTS: Final = {"allow": "good", "deny": "bad"}


class Moment:
    """The time of the last pull; every table of the console reads it."""

    __slots__ = ("us",)

    def __init__(self, us: int = 0) -> None:
        self.us = us


def place_style(name: str) -> str:
    """The style of an environment's name."""
    return name if name in PREFIXES else "muted"


def _plain(value: object) -> str:
    return DASH if value is None or value == "" else str(value)


def _of(name: str) -> Cell:
    """The field itself; a dash for nothing."""
    return lambda view: _plain(getattr(view, name))


def _size(name: str) -> Cell:
    return lambda view: wording.size(getattr(view, name))


def _number(name: str) -> Cell:
    return lambda view: f"{getattr(view, name):,}" if getattr(view, name) else DASH


def text(name: str, field: str = "", width: int = 10, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of words."""
    return Column(name, _of(field or name), width=width, **more)


def number(name: str, field: str = "", width: int = 8, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of counts, to the right; sorted by value."""
    field = field or name
    return Column(
        name, _number(field), width=width, align="right", sort=lambda v: getattr(v, field), **more
    )


def amount(name: str, field: str = "", width: int = 8, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of sizes, to the right; sorted by bytes."""
    field = field or name
    return Column(
        name, _size(field), width=width, align="right", sort=lambda v: getattr(v, field), **more
    )


def state(width: int = 11, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of states: symbol, word and colour."""
    return Column(
        "state",
        lambda view: state_text(view.state),
        width=width,
        style=lambda view: mark_of(view.state).style,
        sort=lambda view: view.state,
        **more,
    )


def where(name: str = "environment", field: str = "", **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of environments, each in its own style."""
    field = field or name
    return Column(
        name, _of(field), width=11, style=lambda view: place_style(getattr(view, field)), **more
    )


def age(name: str, field: str, moment: Moment, **more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of ages; newest first when sorted upwards."""
    return Column(
        name,
        lambda view: wording.ago(moment.us, getattr(view, field)),
        width=8,
        align="right",
        sort=lambda view: -getattr(view, field),
        **more,
    )


def expiry(moment: Moment, **more: Any) -> Column[Any]:  # noqa: ANN401
    return Column(
        "expires",
        lambda view: wording.left(moment.us, view.expires_at_us),
        width=8,
        align="right",
        **more,
    )


def swarms(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("id", width=ID_CELLS),
        text("name", width=16, priority=3),
        where(),
        state(),
        Column("ready", _swarm_ready, width=5, align="right", style=_swarm_ready_style),
        amount("used", "used_bytes", width=7),
        amount("memory", "memory_bytes", width=7),
        amount("borrowed", "borrowed_bytes", priority=2),
        number("restarts", priority=1),
        age("age", "created_at_us", moment, priority=4),
        text("why", "reason", width=20, priority=5, grow=1),
    )


def _swarm_ready(swarm: views.SwarmView) -> str:
    return f"{swarm.agents_ready}/{swarm.agents_wanted}"


def _swarm_ready_style(swarm: views.SwarmView) -> str:
    return "text" if swarm.agents_ready >= swarm.agents_wanted else "warning"


def agents(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("id", width=ID_CELLS),
        text("name", width=16, priority=2),
        text("type", width=11, priority=5),
        state(),
        text("pid", width=7, align="right"),
        Column("heart", _heartbeat, width=7, align="right", style=_heartbeat_style),
        amount("used", "used_bytes", width=7),
        number("held", "leased", width=4),
        number("done", width=6),
        number("restarts", priority=3),
        text("swarm", width=ID_CELLS, priority=4),
        text("why", "reason", width=20, priority=6, grow=1),
    )


def _heartbeat(agent: views.AgentView) -> str:
    """Quiet while it beats: the seconds show only when one was missed."""
    age_s = agent.heartbeat_age_s
    if age_s is None:
        return DASH
    return "beating" if age_s < BEAT_S else wording.span(age_s // 10 * 10)


def _heartbeat_style(agent: views.AgentView) -> str:
    return "warning" if agent.heartbeat_age_s and agent.heartbeat_age_s >= BEAT_S else "muted"


def messages(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        number("prio", "priority", width=4, sort_name="urgency"),
        text("kind", width=13, sort_name="kind"),
        state(),
        Column("tries", _attempts, width=5, align="right", sort_name="attempts"),
        age("age", "created_at_us", moment, sort_name="age"),
        Column("note", lambda m: _message_note(m, moment), width=26, grow=1, style=_note_style),
        where(priority=2),
        text("sender", width=ID_CELLS, priority=3),
        text("id", width=ID_CELLS, priority=4),
    )


def _attempts(message: views.MessageView) -> str:
    return f"{message.attempt}/{message.max_attempts}"


def _message_note(message: views.MessageView, moment: Moment) -> str:
    """What matters of a message in its state: who holds it, when it is due, why it died."""
    if message.state == "leased":
        return f"{wording.left(moment.us, message.lease_until_us)} left, {message.holder or DASH}"
    if message.state == "delayed":
        return f"due in {wording.left(moment.us, message.due_at_us)}"
    if message.error:
        return message.error
    return f"for {message.to}" if message.to else ""


def _note_style(message: views.MessageView) -> str:
    return "bad" if message.error and message.state != "leased" else "muted"


def environments(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("environment", _home, width=12, style=_home_style),
        state(width=13, priority=3),
        amount("plan", "base_bytes"),
        amount("at most", "max_bytes", priority=4),
        amount("allocated", "allocated_bytes", width=9),
        amount("used", "used_bytes"),
        amount("borrowed", "borrowed_bytes"),
        Column("from", lambda e: lenders(e.lenders), width=26, priority=2, style="muted"),
        amount("lent", "lent_bytes", priority=1),
        amount("one more", "available_bytes", priority=3),
        Column("full in", _full_in, width=8, align="right", style=_full_style, priority=1),
        Column("agents", _agents_of_limit, width=7, align="right", priority=4),
        number("records", width=9, priority=5),
        text("isolation", width=9, priority=6),
        text("durability", priority=7),
        text("a crash loses", "loss_window", width=24, priority=8),
    )


def _home(environment: views.EnvironmentView) -> str:
    """Its name, with the mark of its state while that is not as usual."""
    unusual = environment.state != "open"
    return f"{mark_of(environment.state).symbol if unusual else ''}{environment.name}"


def _home_style(environment: views.EnvironmentView) -> str:
    unusual = environment.state != "open"
    return mark_of(environment.state).style if unusual else place_style(environment.name)


def lenders(loans: Sequence[views.LoanView]) -> str:
    """From whom how much, or a dash: `buffer 2 GB, staging 1 GB`."""
    return ", ".join(f"{loan.lender} {wording.size(loan.bytes)}" for loan in loans) or DASH


def _full_in(environment: views.EnvironmentView) -> str:
    return wording.soon(environment.full_in_s)


def _full_style(environment: views.EnvironmentView) -> str:
    """Alarming within the hour: until then it can be seen to in time."""
    full_in_s = environment.full_in_s
    if full_in_s is None:
        return "muted"
    return "bad" if full_in_s < 600 else "warning" if full_in_s < 3_600 else "text"


def borrowers(moment: Moment) -> tuple[Column[Any], ...]:
    """The swarms of an environment as holders of its memory."""
    return (
        text("id", width=ID_CELLS),
        text("name", width=16, priority=2, grow=1),
        state(),
        amount("memory", "memory_bytes"),
        amount("used", "used_bytes"),
        amount("borrowed", "borrowed_bytes"),
        Column("from", lambda s: lenders(s.lenders), width=26, priority=1, style="muted"),
        Column("agents", _swarm_ready, width=6, align="right", priority=3),
        age("age", "created_at_us", moment, priority=4),
    )


def _agents_of_limit(environment: views.EnvironmentView) -> str:
    return f"{environment.agents}/{environment.agent_limit}"


def records(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("key", width=24, grow=2, sort_name="key"),
        text("namespace", width=12),
        text("level", width=7, sort_name="level"),
        amount("size", "size_bytes", sort_name="size"),
        number("version", width=7, sort_name="version"),
        age("changed", "updated_at_us", moment, priority=1, sort_name="changed"),
        expiry(moment, priority=2, sort_name="expires"),
        text("owner", width=ID_CELLS, priority=3, sort_name="owner"),
        text("team", width=ID_CELLS, priority=4),
    )


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A data key of an environment, or an environment that has none yet (`id` 0)."""

    environment: str
    ring: str
    id: int = 0
    kind: str = ""
    state: str = ""
    created_at_us: int | None = None
    uses: int = 0
    rotate_at_us: int | None = None
    rotating: float | None = None


def data_keys(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        Column("records", lambda k: state_text(k.ring), width=10,
               style=lambda k: mark_of(k.ring).style),
        text("class", "kind", width=8),
        Column("key", lambda k: str(k.id) if k.id else "none yet", width=8, align="right"),
        Column("state", lambda k: state_text(k.state) if k.state else DASH, width=11,
               style=lambda k: mark_of(k.state).style if k.state else "muted"),
        Column("age", lambda k: wording.ago(moment.us, k.created_at_us), width=8, align="right",
               priority=1),
        number("uses", width=13, priority=2),
        Column("due in", lambda k: _due(k, moment), width=8, align="right",
               style=lambda k: "warning" if _due(k, moment) == "over" else "text"),
        Column("rotation", _rotation, width=9, align="right", style="accent"),
    )  # fmt: skip


def _due(key: KeyRow, moment: Moment) -> str:
    return wording.left(moment.us, key.rotate_at_us) if key.state == "active" else DASH


def _rotation(key: KeyRow) -> str:
    return DASH if key.rotating is None else f"{key.rotating * 100:.0f} %"


STATUSES: Final = {"verified": "good", "ok": "good", "unverified": "warning", "warning": "warning",
                   "failed": "bad"}  # fmt: skip


def status(**more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of what a check has found."""
    return Column(
        "status",
        lambda view: state_text(view.status),
        width=12,
        style=lambda view: STATUSES.get(view.status, "text"),
        **more,
    )


def backups(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("name", width=26, grow=1),
        where(),
        status(),
        age("age", "created_at_us", moment),
        amount("size", "size_bytes"),
        number("records", width=9, priority=1),
        number("messages", width=9, priority=2),
        number("audit rows", "audit_rows", width=10, priority=3),
        text("detail", width=24, priority=4, grow=1),
    )


def databases(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        amount("size", "size_bytes"),
        amount("free", "free_bytes"),
        amount("log", "wal_bytes"),
        Column("pinned", _pinned, width=10, align="right",
               style=lambda d: "warning" if d.pinned_readers else "muted"),
        number("records", width=9),
        number("messages", width=9, priority=1),
        number("batches", width=10, priority=2),
        number("operations", width=11, priority=2),
        number("schema", "schema_version", width=6, priority=3),
        text("path", width=24, priority=4, grow=1, style="muted"),
    )  # fmt: skip


def _pinned(database: views.DatabaseView) -> str:
    """Readers that keep the log from being used anew, and for how long."""
    readers = database.pinned_readers
    return f"{readers}, {wording.span(database.pinned_s // 10 * 10)}" if readers else DASH


def statements(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        text("statement", width=24, grow=1),
        number("count", width=6),
        Column("99 %", lambda s: f"{s.p99_ms:,.0f} ms", width=9, align="right",
               sort=lambda s: s.p99_ms),
        Column("longest", lambda s: f"{s.max_ms:,.0f} ms", width=9, align="right",
               sort=lambda s: s.max_ms),
        age("last", "last_at_us", moment, priority=1),
    )  # fmt: skip


def chains(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        where(),
        status(),
        number("rows", width=10),
        Column("covers", lambda c: f"{c.first:,} to {c.last:,}" if c.rows else DASH, width=20,
               priority=1),
        number("signed", "checkpoints", width=7),
        number("outside", width=7),
        text("detail", width=24, grow=1),
    )  # fmt: skip


def checks(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("name", width=14),
        status(),
        text("detail", width=24, grow=2),
        text("hint", width=20, grow=1, priority=1, style="muted"),
    )


def grants(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("subject", width=ID_CELLS),
        Column("effect", _effect, width=7, style=lambda g: _EFFECTS.get(g.effect, "text")),
        Column("may", _letters, width=4),
        text("level", width=7),
        Column("keys", _grant_keys, width=24, grow=1),
        expiry(moment),
        text("kind", width=11, priority=2),
        Column("when", _when, width=18, priority=2),
        where(priority=1),
        text("by", "granted_by", width=12, priority=3),
        text("id", width=18, priority=4),
    )


def _grant_keys(grant: views.GrantView) -> str:
    """What records it is about: of a break-glass read one alone."""
    star = "" if grant.kind == "break-glass" else "*"
    return f"{grant.namespace}:{grant.key_prefix}{star}"


def _when(grant: views.GrantView) -> str:
    """At what times of the week it counts: `09:00-17:30 mon tue`, or always."""
    parts = [grant.hours, " ".join(grant.days)]
    if any(parts) and grant.zone != "UTC":
        parts.append(grant.zone)
    return " ".join(part for part in parts if part) or "always"


def _letters(grant: views.GrantView) -> str:
    """The rights as the matrix writes them: `rw-`."""
    rights = (("r", "read"), ("w", "write"), ("d", "delete"))
    return "".join(letter if right in grant.actions else "-" for letter, right in rights)


def _effect(grant: views.GrantView) -> str:
    return f"{'✗' if grant.effect == 'deny' else '✓'} {grant.effect}"


def audit(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("time", lambda entry: clock(entry.at_us), width=8),
        text("actor", width=ID_CELLS),
        text("action", width=15),
        Column(
            "risk",
            lambda entry: RISKS.get(entry.risk, _NONE)[0],
            width=10,
            style=lambda entry: RISKS.get(entry.risk, _NONE)[1],
        ),
        Column("outcome", _outcome, width=9, style=_outcome_style),
        text("object", width=16, grow=2),
        where(priority=1),
        text("detail", width=30, priority=2, grow=1),
    )


def _outcome(entry: views.AuditView | views.DecisionView) -> str:
    return "✓ allowed" if entry.allowed else "✗ denied"


def _outcome_style(entry: views.AuditView | views.DecisionView) -> str:
    return "text" if entry.allowed else "bad"


def benchmarks(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("workload", "name", width=24),
        Column("rate", lambda b: rate(b.ops_s), width=8, align="right", sort=lambda b: b.ops_s),
        Column("median", lambda b: micros(b.p50_us), width=8, align="right"),
        Column("99 %", lambda b: micros(b.p99_us), width=8, align="right"),
        Column("verdict", _verdict, width=8, style=lambda b: VERDICTS.get(b.verdict, _NONE)[1]),
        Column("ratio", _ratio, width=6, align="right", sort=lambda b: b.ratio or 0.0),
        text("against", "baseline", width=12, priority=3),
        Column("values", _wrapping, width=9, priority=4),
        number("callers", "concurrency", width=7, priority=2),
        number("calls", "operations", width=9, priority=1),
        age("age", "at_us", moment, priority=2),
    )


_NONE: Final = (DASH, "muted")
VERDICTS: Final = {
    "better": ("▲ better", "good"),
    "same": ("= same", "text"),
    "worse": ("▼ worse", "bad"),
}
"""How a verdict is written: a symbol and a word, and its style."""


def _verdict(bench: views.BenchView) -> str:
    return VERDICTS.get(bench.verdict, _NONE)[0]


def _ratio(bench: views.BenchView) -> str:
    return DASH if bench.ratio is None else f"{bench.ratio:.2f}"


def _wrapping(bench: views.BenchView) -> str:
    """What was done to each value besides storing it."""
    parts = (("sealed", bench.encryption), ("packed", bench.compression))
    return " ".join(word for word, done in parts if done) or "plain"


def decisions(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        text("subject", width=ID_CELLS),
        text("right", "action", width=7),
        Column("outcome", _outcome, width=9, style=_outcome_style),
        text("rule", width=14),
        text("why", "detail", width=20, grow=1),
        where(priority=2),
        text("level", width=8, priority=1),
    )


RISKS: Final = {
    "low": ("· low", "muted"),
    "medium": ("▪ medium", "text"),
    "high": ("▲ high", "warning"),
    "critical": ("✗ critical", "bad"),
}
"""How the risk of what was done is written, and its style."""

SEVERITIES: Final = {
    "info": ("· info", "muted"),
    "warning": ("▲ warning", "warning"),
    "critical": ("✗ critical", "bad"),
}
"""How a severity is written: a symbol and a word, and its style."""


def severity(**more: Any) -> Column[Any]:  # noqa: ANN401
    """A column of severities."""
    return Column(
        "severity",
        lambda view: SEVERITIES.get(view.severity, _NONE)[0],
        width=10,
        style=lambda view: SEVERITIES.get(view.severity, _NONE)[1],
        **more,
    )


def alerts(moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("state", _firing, width=10, style=lambda a: "bad" if _fires(a) else "muted"),
        severity(),
        text("rule", width=14),
        text("subject", width=ID_CELLS, priority=1),
        age("since", "since_at_us", moment),
        text("what", "detail", width=20, grow=1),
        where(priority=2),
    )


def _fires(alert: views.AlertView) -> bool:
    return alert.state == "firing"


def _firing(alert: views.AlertView) -> str:
    return "✗ firing" if _fires(alert) else f"✓ {alert.state}"


def journal(_moment: Moment) -> tuple[Column[Any], ...]:
    return (
        Column("time", lambda event: clock(event.at_us), width=8),
        severity(),
        text("kind", width=12, priority=2),
        text("subject", width=ID_CELLS, priority=1),
        text("what happened", "text", width=24, grow=1),
        where(priority=3),
    )


BY_VIEW: Final[dict[type[msgspec.Struct], Callable[[Moment], tuple[Column[Any], ...]]]] = {
    views.SwarmView: swarms,
    views.AgentView: agents,
    views.MessageView: messages,
    views.EnvironmentView: environments,
    views.RecordView: records,
    views.GrantView: grants,
    views.AuditView: audit,
    views.BenchView: benchmarks,
    views.DecisionView: decisions,
    views.AlertView: alerts,
    views.EventView: journal,
    views.BackupView: backups,
    views.DatabaseView: databases,
    views.StatementView: statements,
    views.ChainView: chains,
    views.CheckView: checks,
}


def columns_for(kind: type[msgspec.Struct], moment: Moment) -> tuple[Column[Any], ...]:
    """The columns of a view; one without a table of its own shows every field."""
    made = BY_VIEW.get(kind)
    if made is not None:
        return made(moment)
    return tuple(
        text(name.replace("_", " "), name, width=14, grow=1, priority=min(9, place // 2))
        for place, name in enumerate(kind.__struct_fields__)
    )
