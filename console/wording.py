"""How the console writes numbers, times and errors.

Everything here returns plain text; the widgets make it safe to paint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from typing import Any, Final

from ..engine import views
from ..engine.errors import ErrorReport, SwarmDeckError
from ..engine.events import (
    AgentChanged,
    EngineStopping,
    Event,
    Finished,
    Gap,
    Reclaimed,
    SwarmChanged,
)
from ..engine.model import format_size
from ..widgets import mark_of, state_text
from ..widgets.format import UNKNOWN

DASH: Final = UNKNOWN
"""What stands for nothing."""

TOAST_TITLES: Final = {
    "invalid_input": "Not accepted",
    "config": "Configuration",
    "not_found": "Not found",
    "denied": "Denied",
    "conflict": "It has moved on",
    "busy": "Busy",
    "engine_busy": "In use by another process",
    "over_budget": "Over budget",
    "unavailable": "Not available",
    "storage": "The disk refused; nothing was changed",
    "outcome_unknown": "Outcome unknown; look before you repeat",
    "corrupt": "Damaged or newer data",
    "damaged": "A record does not match its seal",
    "sealed": "The vault is sealed",
    "defect": "A defect of SwarmDeck",
}
"""The error table of this border: what a toast says above the message."""

_WARNINGS: Final = {"busy", "engine_busy", "conflict", "not_found", "invalid_input", "over_budget"}


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 swarm`, `2 swarms`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(size_bytes: int) -> str:
    """A size in seven cells at most, or a dash for nothing at all."""
    number, _, unit = format_size(size_bytes).partition(" ")
    if not size_bytes:
        return DASH
    return f"{float(number):.0f} {unit}" if len(number) > 4 else f"{number} {unit}"


def span(seconds: float) -> str:
    """A length of time in at most two units: `12 s`, `3 m`, `2 h 5 m`, `4 d 1 h`."""
    whole_s = max(0, int(seconds))
    if whole_s < 60:
        return f"{whole_s} s"
    minutes, hours, days = whole_s // 60 % 60, whole_s // 3_600 % 24, whole_s // 86_400
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h")) if number]
    if minutes and not days:
        parts.append(f"{minutes} m")
    return " ".join(parts)


def ago(now_us: int, at_us: int | None) -> str:
    """How long before `now_us`, or a dash. The first minute is one step, so that a table at rest
    stays still."""
    if at_us is None:
        return DASH
    seconds = (now_us - at_us) / 1e6
    return "< 1 m" if seconds < 60 else span(seconds)


def left(now_us: int, at_us: int | None) -> str:
    """How long until `at_us`, `over` when it has passed, or a dash. The last minute goes in steps
    of ten seconds, so that a table at rest seldom moves."""
    if at_us is None:
        return DASH
    if at_us <= now_us:
        return "over"
    seconds = (at_us - now_us) / 1e6
    return f"< {ceil(seconds / 10) * 10} s" if seconds <= 50 else span(ceil(seconds / 60) * 60)


def soon(seconds: float | None) -> str:
    """A forecast, as coarse as it is sure: `< 5 m`, `15 m`, `3 h`, `> 1 d`, or a dash."""
    if seconds is None:
        return DASH
    if seconds < 300:
        return "< 5 m"
    if seconds < 3_600:
        return f"{int(seconds // 300) * 5} m"
    return f"{int(seconds // 3_600)} h" if seconds < 86_400 else "> 1 d"


def loans(lenders: Iterable[views.LoanView]) -> str:
    """From whom memory is borrowed: `2 GB from buffer, 1 GB from staging`."""
    return ", ".join(f"{size(loan.bytes)} from {loan.lender}" for loan in lenders)


def report_of(error: SwarmDeckError | ErrorReport) -> ErrorReport:
    return error if isinstance(error, ErrorReport) else error.report()


def toast_of(error: SwarmDeckError | ErrorReport) -> tuple[str, str, str]:
    """Title, message and severity (Textual's words) of the toast for an error."""
    report = report_of(error)
    severity = "warning" if report.code in _WARNINGS else "error"
    message = f"{report.message}\n{report.hint}" if report.hint else report.message
    return TOAST_TITLES.get(report.code, report.code), message, severity


def done(name: str, result: object) -> str:
    """What an action has done, in one line."""
    outcome = _OUTCOMES.get(type(result), lambda _: "done")
    return f"{name}: {outcome(result)}"


def _swarm(swarm: views.SwarmView) -> str:
    agents = f"{swarm.agents_ready} of {count(swarm.agents_wanted, 'agent')} ready"
    return f"{swarm.id} is {swarm.state}, {agents}, {size(swarm.memory_bytes)}"


def _state(view: views.AgentView | views.MessageView) -> str:
    return f"{view.id} is {view.state}"


def _team(team: views.TeamView) -> str:
    return f"{team.id} has {count(len(team.members), 'member')}"


def _demo(demo: views.DemoView) -> str:
    workers = sum(1 for agent in demo.agents if agent.done)
    return (
        f"{count(demo.done, 'file')} digested ({size(demo.bytes)}) by {count(workers, 'agent')} "
        f"in {demo.elapsed_s:.1f} s; {demo.dead:,} dead, {demo.redelivered:,} delivered again"
    )


def _vault(vault: views.VaultView) -> str:
    rotating = [each.environment for each in vault.environments if each.rotating is not None]
    if rotating:
        return f"new keys for {', '.join(rotating)}"
    return f"the vault is {vault.state}, its key from {vault.source}"


def _backup(backup: views.BackupView) -> str:
    what = f"{backup.name} of {backup.environment}, {size(backup.size_bytes)}, {backup.status}"
    return f"{what} in {backup.elapsed_s:.1f} s"


_OUTCOMES: Final[dict[type, Callable[[Any], str]]] = {
    views.SwarmView: _swarm,
    views.AgentView: _state,
    views.MessageView: _state,
    views.MeasureView: lambda row: f"{row.name} is at {row.last:g}",
    views.ProposalView: lambda proposal: f"{proposal.id} is {proposal.status}",
    views.ConflictView: lambda conflict: f"{conflict.id} is {conflict.state}",
    views.TaskView: lambda task: f"{task.id} is {task.status.replace('_', ' ')}",
    views.DependencyView: lambda held: f"{held.task} needs {held.needs}: {held.state}",
    views.EventView: lambda event: f"{event.id} is {event.status}",
    views.EventIds: lambda found: f"{count(len(found.ids), 'event')} published",
    views.ArtifactView: lambda made: (
        f"{made.id}: {made.name}, version {made.version}, {size(made.size_bytes)}"
    ),
    views.TeamView: _team,
    views.RecordView: lambda record: f"{record.key} is at version {record.version}",
    views.AdmissionView: lambda seen: (
        f"{seen.environment} has {size(seen.base_after_bytes)} of its own, "
        f"{size(seen.max_after_bytes)} at most"
    ),
    views.GrantView: lambda grant: f"{grant.effect} {grant.id} for {grant.subject}",
    views.DemoView: _demo,
    views.VaultView: _vault,
    views.BackupView: _backup,
    views.TokenView: lambda token: f"a new token for {token.agent}",
    views.Done: lambda answer: answer.detail or f"{answer.changed:,} changed",
    list: lambda rows: count(len(rows), "row"),
}


def event_line(event: Event) -> tuple[str, str] | None:
    """A line and its style for an event worth a person's eye; None for the others."""
    if isinstance(event, SwarmChanged | AgentChanged):
        text = f"{state_text(event.state)} {event.id}"
        return _because(text, event.reason), mark_of(event.state).style
    if isinstance(event, Reclaimed):
        taken = f"{size(event.bytes)} taken back from {event.swarm}"
        return f"{taken} for {event.for_environment}", "warning"
    if isinstance(event, Finished) and event.error is not None:
        return _because(f"{event.action} failed", event.error.message), "bad"
    return _engine_line(event)


def _engine_line(event: Event) -> tuple[str, str] | None:
    if isinstance(event, Gap):
        return f"{count(event.missed, 'event')} went by unseen", "warning"
    if isinstance(event, EngineStopping):
        return _because("the engine stops", event.reason), "warning"
    return None


def _because(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text
