"""The overview as a page of text: `status`, and the memory plan of the host."""

from __future__ import annotations

from typing import Final

from .. import views
from ..model import format_size
from ..text import safe_text
from .output import Cell, Shown, benchmarks, cell, duration, pairs, struct_table, table

_ENVIRONMENTS: Final = (
    "environment", "agents", "allocated", "used", "plan", "records", "ready", "leased", "dead",
    "state", "isolation", "durability", "can lose",
)  # fmt: skip
_PLAN: Final = (
    "environment", "priority", "base", "max", "allocated", "used", "borrowed", "lent", "agents",
)  # fmt: skip


def status_text(overview: views.Overview, shown: Shown) -> str:
    """Engine, host, vault, what needs a person, environments, then swarms and benchmarks where
    there are any."""
    parts = [_head(overview, shown), table(_ENVIRONMENTS, _environment_rows(overview), shown.width)]
    if overview.swarms:
        parts.append(struct_table(overview.swarms, shown))
    if overview.benchmarks:
        parts.append(benchmarks(overview.benchmarks, shown))
    return "\n".join(parts)


def plan_text(overview: views.Overview, shown: Shown) -> str:
    """The memory plan: what is reserved, planned, allocated and used, by environment."""
    host = overview.host
    rows = pairs(
        [
            ("host", f"{format_size(host.total_bytes)}, {_scale(host)}"),
            ("reserved", format_size(host.reserved_bytes)),
            ("for swarms", _three(host.swarm_plan_bytes, host.allocated_bytes, host.used_bytes)),
            ("coordination", format_size(host.coordination_bytes)),
            ("monitoring", format_size(host.monitoring_bytes)),
            ("buffer", format_size(host.buffer_bytes)),
            ("enforcement", safe_text(host.enforcement)),
        ]
    )
    return rows + "\n" + table(_PLAN, _plan_rows(overview), shown.width)


def _head(overview: views.Overview, shown: Shown) -> str:
    engine, host, access = overview.engine, overview.host, overview.access
    kind = "service" if engine.headless else "embedded"
    live = f"{access.agents} agents, {access.teams} teams, {access.grants} grants"
    up = f"{kind}, pid {engine.pid}, up {duration(engine.uptime_s)}"
    return pairs(
        [
            ("engine", f"{up}, {safe_text(engine.version)}"),
            ("data", safe_text(engine.data)),
            ("host", f"{_host(host)}, {_scale(host)}"),
            ("memory", _three(host.swarm_plan_bytes, host.allocated_bytes, host.used_bytes)),
            ("access", f"{live}, {access.denies} denials, {access.denied_calls} calls denied"),
            *_protection(overview, shown),
        ]
    )


def _protection(overview: views.Overview, shown: Shown) -> list[tuple[str, str]]:
    """The vault, and only where there is any: reads behind broken glass, a clock that has jumped,
    environments that do not serve."""
    vault = overview.vault
    said = (
        f"sealed: {vault.reason}" if vault.state == "sealed" else f"open, key from {vault.source}"
    )
    rows = [("vault", safe_text(said))]
    for each in overview.breaking:
        ends = cell(each, "expires_at_us", shown.now_us)[0]
        said = f"{each.environment} {each.key_prefix}, ends {ends}: {each.reason}"
        rows.append(("broken glass", safe_text(said)))
    rows += [("clock", safe_text(overview.clock))] if overview.clock else []
    rows += [
        (safe_text(each.state), safe_text(f"{each.name}: {each.reason}"))
        for each in overview.environments
        if each.state != "open" and each.reason and each.reason != vault.reason
    ]
    return rows


def _host(host: views.HostView) -> str:
    free = f"{format_size(host.available_bytes)} of {format_size(host.total_bytes)} available"
    return f"{free}, cpu {host.cpu_percent:.0f} %, load {host.load_1m:.2f}"


def _scale(host: views.HostView) -> str:
    return "plan in full" if host.scale >= 1 else f"plan for 96 GB at {host.scale:.0%}"


def _three(plan_bytes: int, allocated_bytes: int, used_bytes: int) -> str:
    plan, allocated, used = map(format_size, (plan_bytes, allocated_bytes, used_bytes))
    return f"plan {plan}, allocated {allocated}, used {used}"


def _environment_rows(overview: views.Overview) -> list[list[Cell]]:
    return [
        [
            (safe_text(each.name), False),
            (f"{each.agents}/{each.agent_limit}", True),
            (format_size(each.allocated_bytes), True),
            (format_size(each.used_bytes), True),
            (format_size(each.base_bytes), True),
            (str(each.records), True),
            (str(each.queue.ready), True),
            (str(each.queue.leased), True),
            (str(each.queue.dead), True),
            (safe_text(_state(each)), False),
            (safe_text(each.isolation), False),
            (safe_text(each.durability), False),
            (safe_text(each.loss_window), False),
        ]
        for each in overview.environments
    ]


def _state(environment: views.EnvironmentView) -> str:
    """Whether it serves, and whether its queue is stopped."""
    if environment.queue_mode == "running":
        return environment.state
    return f"{environment.state}, queue {environment.queue_mode}"


def _plan_rows(overview: views.Overview) -> list[list[Cell]]:
    return [
        [
            (safe_text(each.name), False),
            (str(each.priority), True),
            (format_size(each.base_bytes), True),
            (format_size(each.max_bytes), True),
            (format_size(each.allocated_bytes), True),
            (format_size(each.used_bytes), True),
            (format_size(each.borrowed_bytes), True),
            (format_size(each.lent_bytes), True),
            (f"{each.agents}/{each.agent_limit}", True),
        ]
        for each in overview.environments
    ]
