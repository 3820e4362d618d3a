"""The overview: copied from what is in memory, in one step without a wait.

Nothing here asks a file or a process, so all parts belong to one moment and two panels that show
it never disagree.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from . import __version__
from .clock import Clock
from .environment import Place
from .hostmem import HostMemory, HostReading
from .identity import Identity
from .ledger import EnvironmentUse, Ledger
from .model import Durability, environment_of
from .settings import Settings
from .store.volatile import shown
from .views import (
    AccessSummary,
    BenchView,
    EngineView,
    EnvironmentView,
    GrantView,
    HostView,
    LoanView,
    Overview,
)

if TYPE_CHECKING:
    from .bus import Channels
    from .swarms.service import Swarms
    from .ticker import Ticker
    from .timewatch import TimeWatch
    from .vault import Vault

LOSS_WINDOWS: Final = {
    Durability.FULL: "none",
    Durability.NORMAL: "{interval:g} s at power loss",
}


class Engine(Protocol):
    """What is copied. Nothing of it waits."""

    clock: Clock
    data: Path
    host: HostMemory
    identity: Identity
    ledger: Ledger
    places: Mapping[str, Place]
    settings: Settings
    swarms: Swarms
    ticker: Ticker
    time: TimeWatch
    vault: Vault
    channels: Channels


def whole(
    engine: Engine,
    *,
    sequence: int,
    scale: float,
    uptime_s: float,
    headless: bool,
    benchmarks: tuple[BenchView, ...],
    full_in_s: Callable[[str, int], float | None] | None,
) -> Overview:
    """Everything the first screen shows. `full_in_s` says how long the memory of an environment
    lasts, None before anything was measured."""
    used = engine.swarms.vitals.used_bytes
    by_environment: Counter[str] = Counter()
    for agent, size_bytes in used.items():
        by_environment[environment_of(agent)] += size_bytes
    return Overview(
        sequence=sequence,
        at_us=engine.clock.wall_us(),
        engine=_engine_view(engine, uptime_s, headless=headless),
        host=host_view(
            engine.ledger, engine.host.latest, scale=scale, used_bytes=sum(used.values())
        ),
        environments=tuple(
            environment_view(
                engine.places[use.name],
                use,
                engine.settings,
                used_bytes=by_environment[use.name],
                full_in_s=None if full_in_s is None else full_in_s(use.name, use.allocated_bytes),
            )
            for use in engine.ledger.use()
        ),
        swarms=tuple(engine.swarms.list()),
        agents=tuple(engine.swarms.agents()),
        access=access_summary(engine.places),
        benchmarks=benchmarks,
        clock=engine.time.words(),
        vault=engine.vault.glance(),
        breaking=breaking(engine.places),
    )


def environment_view(
    place: Place,
    use: EnvironmentUse,
    settings: Settings,
    *,
    used_bytes: int,
    full_in_s: float | None,
) -> EnvironmentView:
    """One environment: plan, allocated and used, its agents, records and messages."""
    name = place.environment.value
    durability = settings.durability[name]
    loss = LOSS_WINDOWS[durability].format(interval=settings.store.checkpoint_interval_s)
    alive = [swarm for swarm in place.registry.swarms.values() if not swarm.is_over]
    flow = place.queue.flow
    return EnvironmentView(
        name=name,
        role=settings.operator[name],
        priority=use.priority,
        isolation=settings.isolation[name],
        durability=durability,
        loss_window=loss,
        base_bytes=use.base_bytes,
        max_bytes=use.max_bytes,
        allocated_bytes=use.allocated_bytes,
        borrowed_bytes=use.borrowed_bytes,
        lent_bytes=use.lent_bytes,
        used_bytes=used_bytes,
        agents=place.registry.live_count(),
        agent_limit=settings.host.environments[name].agents,
        swarms=len(alive),
        records=place.memory.records,
        queue=place.queue.counts(),
        queue_mode=flow.state.mode,
        queue_reason=flow.state.reason,
        queue_limit=flow.limit,
        oldest_ready_at_us=place.queue.counters.priorities.oldest_us,
        lenders=_lenders(use),
        available_bytes=use.available_bytes,
        full_in_s=full_in_s,
        state="sealed" if place.refusal is None and place.ring.reason else place.state,
        reason=_reason(place),
    )


def _reason(place: Place) -> str:
    """Why an environment is not as it should be: its file, its keys, its disk."""
    if place.refusal is not None:
        return place.refusal.message
    return place.ring.reason or place.database.disk.condition


def _lenders(use: EnvironmentUse) -> tuple[LoanView, ...]:
    """From whom an environment has what it borrowed, the largest loan first."""
    lent: Counter[str] = Counter()
    for holding in use.holders:
        for loan in holding.lenders:
            lent[loan.lender] += loan.bytes
    return tuple(LoanView(lender=lender, bytes=held) for lender, held in lent.most_common())


def access_summary(places: Mapping[str, Place]) -> AccessSummary:
    """Agents, teams and entries in force of all environments."""
    entries = [entry for place in places.values() for entry in place.access.entries()]
    denied = sum(entry.effect == "deny" for entry in entries)
    return AccessSummary(
        agents=sum(len(place.registry.agents) for place in places.values()),
        teams=sum(len(place.registry.teams) for place in places.values()),
        grants=len(entries) - denied,
        denies=denied,
        denied_calls=sum(place.access.denied_calls for place in places.values()),
        epoch=sum(place.access.epoch for place in places.values()),
    )


def breaking(places: Mapping[str, Place]) -> tuple[GrantView, ...]:
    """The break-glass reads in force, of all environments."""
    return tuple(entry for place in places.values() for entry in place.access.breaking())


def host_view(ledger: Ledger, reading: HostReading, *, scale: float, used_bytes: int) -> HostView:
    """The machine as last measured, and the plan laid over it."""
    plan = ledger.plan
    return HostView(
        total_bytes=reading.total_bytes,
        available_bytes=reading.available_bytes,
        cpu_percent=reading.cpu_percent,
        load_1m=reading.load_1m,
        scale=scale,
        swarm_plan_bytes=plan.swarms_bytes,
        reserved_bytes=plan.reserved_bytes,
        coordination_bytes=plan.coordination_bytes,
        monitoring_bytes=plan.monitoring_bytes,
        buffer_bytes=plan.buffer_bytes,
        allocated_bytes=ledger.allocated_bytes,
        used_bytes=used_bytes,
        enforcement=reading.enforcement,
    )


def _engine_view(engine: Engine, uptime_s: float, *, headless: bool) -> EngineView:
    """The engine's own condition."""
    places = engine.places
    stats = [place.database.stats for place in places.values()]
    return EngineView(
        pid=os.getpid(),
        version=__version__,
        data=shown(engine.data),
        uptime_s=uptime_s,
        loop_lag_ms=engine.ticker.loop_lag_ms,
        writer_queue=sum(each.waiting for each in stats),
        wal_bytes=sum(place.database.wal_bytes for place in places.values()),
        operations=sum(each.operations for each in stats),
        bus=engine.channels.state,
        headless=headless,
        user=engine.identity.user,
        clients=engine.identity.clients(),
    )
