"""What is measured of each subject: made of what is in memory and what the kernel said.

A reading that is not known is None and leaves a gap: nothing is called 0 that was not looked at.
Rates are over the time since the readings before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Final

import msgspec

from ..errors import InvalidInput
from ..model import Environment, environment_of
from ..views import AgentView, EnvironmentView, Overview, SwarmView
from .rates import Rates
from .sensors import Senses
from .series import Number

MOST_SUBJECTS: Final = 1_024
"""More are not measured; agents are left out before everything else."""

HOST, ENGINE, QUEUE, STORE = "host", "engine", "queue", "store"
KINDS: Final = (HOST, ENGINE, QUEUE, STORE, "environment", "swarm", "agent")

Readings = dict[str, Number | None]

_OF_A_FILE: Final = (
    "ready", "oldest_s", "sends_per_s", "claims_per_s", "acks_per_s", "leased", "delayed", "dead",
    "done", "reads_per_s", "denials_per_s", "commits_per_s", "commit_ms_p99", "agents", "records",
    "wal_bytes",
)  # fmt: skip
"""What is known of an environment only while its file is in use, the most telling first."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What one file and what lives in it have counted since they were opened, and the 99th of a
    hundred commits since the readings before."""

    sent: int = 0
    claimed: int = 0
    acked: int = 0
    denied: int = 0
    reads: int = 0
    loads: int = 0
    batches: int = 0
    operations: int = 0
    commit_ms_p99: float | None = None
    wal_bytes: int = 0


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """All that a measurement is made of. `totals` by the name of the file, `pids` of agents;
    `cpu_percent` of the host and `loop_lag_ms`, the longest, are over the whole time."""

    overview: Overview
    totals: Mapping[str, Totals]
    senses: Senses
    pids: Mapping[str, int]
    cpu_percent: float | None
    loop_lag_ms: float | None


def kind_of(subject: str) -> str:
    """Which of KINDS a subject is."""
    if subject in KINDS:
        return subject
    if subject in set(Environment):
        return "environment"
    return "swarm" if "_swarm_" in subject else "agent"


def place_of(subject: str) -> str:
    """The environment of a subject; empty where it belongs to none."""
    if subject in set(Environment):
        return subject
    try:
        return environment_of(subject).value
    except InvalidInput:
        return ""


def readings(sight: Sight, rates: Rates) -> dict[str, Readings]:
    """By subject, the most important one first."""
    overview = sight.overview
    spent = _spent(sight, rates)
    found = {HOST: _host(sight), ENGINE: _engine(sight, rates)}
    places = {each.name: _environment(each, sight, rates) for each in overview.environments}
    files = [*places, *(name for name in sight.totals if name not in places)]
    found[QUEUE] = _queue(places.values())
    found[STORE] = _store(files, sight, rates)
    for name, place in places.items():
        mine = [spent[each.id] for each in overview.agents if each.environment == name]
        found[name] = place | {"cpu_percent": _sum(mine) if mine else 0}
    members: defaultdict[str | None, list[AgentView]] = defaultdict(list)
    for agent in overview.agents:
        members[agent.swarm].append(agent)
    for swarm in overview.swarms:
        found[swarm.id] = _swarm(swarm, members[swarm.id], spent)
    for agent in overview.agents:
        if agent.pid is not None and len(found) < MOST_SUBJECTS:
            found[agent.id] = _agent(agent, spent[agent.id])
    return dict(list(found.items())[:MOST_SUBJECTS])


def _spent(sight: Sight, rates: Rates) -> dict[str, float | None]:
    """The share of a processor that each agent has used, in percent."""
    cpu_s, spent = sight.senses.cpu_s, dict[str, float | None]()
    for agent in sight.overview.agents:
        pid = sight.pids.get(agent.id)
        total = None if pid is None else cpu_s.get(pid)
        spent[agent.id] = None if total is None else _percent(rates.of((agent.id, pid), total))
    return spent


def _host(sight: Sight) -> Readings:
    host = sight.overview.host
    return {
        "cpu_percent": sight.cpu_percent,
        "available_bytes": host.available_bytes,
        "used_bytes": host.used_bytes,
        "allocated_bytes": host.allocated_bytes,
        "load_1m": round(host.load_1m, 2),
    }


def _engine(sight: Sight, rates: Rates) -> Readings:
    own, engine = sight.senses, sight.overview.engine
    return {
        "loop_lag_ms": None if sight.loop_lag_ms is None else round(sight.loop_lag_ms, 2),
        "cpu_percent": _percent(rates.of("own", own.own_cpu_s)),
        "rss_bytes": own.own_rss_bytes,
        "waiting_writes": engine.writer_queue,
        "clients": len(engine.clients),
    }


def _environment(view: EnvironmentView, sight: Sight, rates: Rates) -> Readings:
    """Memory, messages, and what moves. Of one whose file is not in use only what others know."""
    name, queue, total = view.name, view.queue, sight.totals.get(view.name)
    known: Readings = {
        "used_bytes": view.used_bytes,
        "cpu_percent": None,
        **dict.fromkeys(_OF_A_FILE),
        "allocated_bytes": view.allocated_bytes,
        "file_bytes": sight.senses.file_bytes.get(name),
    }
    if total is None:
        return known

    def rate(of: str) -> float | None:
        return _rate(rates, (name, of), getattr(total, of))

    return known | {
        "ready": queue.ready,
        "oldest_s": _age_s(view.oldest_ready_at_us, sight.overview.at_us),
        "sends_per_s": rate("sent"),
        "claims_per_s": rate("claimed"),
        "acks_per_s": rate("acked"),
        "leased": queue.leased,
        "delayed": queue.delayed,
        "dead": queue.dead,
        "done": queue.done,
        "reads_per_s": rate("reads"),
        "denials_per_s": rate("denied"),
        "commits_per_s": rate("batches"),
        "commit_ms_p99": total.commit_ms_p99,
        "agents": view.agents,
        "records": view.records,
        "wal_bytes": total.wal_bytes,
    }


def _queue(places: Iterable[Readings]) -> Readings:
    """The queues of all environments together; the oldest message of any."""
    shown = list(places)
    added = ("ready", "sends_per_s", "claims_per_s", "acks_per_s", "leased", "delayed", "done",
             "dead")  # fmt: skip
    found: Readings = {"oldest_s": _max(place.get("oldest_s") for place in shown)}
    return found | {name: _sum(place.get(name) for place in shown) for name in added}


def _store(files: Iterable[str], sight: Sight, rates: Rates) -> Readings:
    """All files together: rates added up, the slowest commit of any."""
    totals = [sight.totals[name] for name in files if name in sight.totals]
    commits = rates.grown("commits", sum(each.batches for each in totals))
    operations = rates.grown("operations", sum(each.operations for each in totals))
    reads = rates.grown("reads", sum(each.reads for each in totals))
    loads = rates.grown("loads", sum(each.loads for each in totals))
    return {
        "commits_per_s": _rate(rates, "commits", sum(each.batches for each in totals)),
        "commit_ms_p99": _max(each.commit_ms_p99 for each in totals),
        "operations_per_commit": round(operations / commits, 2) if commits and operations else None,
        "cache_hit_percent": _hits(reads, loads),
        "file_bytes": _sum(sight.senses.file_bytes.values()),
        "wal_bytes": sum(each.wal_bytes for each in totals),
    }


def _hits(reads: float | None, loads: float | None) -> float | None:
    """The share of reads that needed no file; unknown while nothing is read."""
    if not reads or loads is None:
        return None
    return round(100 * max(0.0, 1 - loads / reads), 1)


def _swarm(
    swarm: SwarmView, mine: Collection[AgentView], spent: Mapping[str, float | None]
) -> Readings:
    return {
        "used_bytes": swarm.used_bytes,
        "memory_bytes": swarm.memory_bytes,
        "cpu_percent": _sum(spent[agent.id] for agent in mine) if mine else 0,
        "live": swarm.agents_live,
        "ready": swarm.agents_ready,
        "leased": sum(agent.leased for agent in mine),
        "done": sum(agent.done for agent in mine),
        "restarts": swarm.restarts,
    }


def _agent(agent: AgentView, cpu_percent: float | None) -> Readings:
    return {
        "used_bytes": agent.used_bytes,
        "cpu_percent": cpu_percent,
        "leased": agent.leased,
        "done": agent.done,
    }


def _age_s(since_us: int | None, now_us: int) -> float:
    """The age of the oldest ready message; 0 where none waits."""
    return 0 if since_us is None else max(0.0, round((now_us - since_us) / 1_000_000, 1))


def _rate(rates: Rates, key: Hashable, total: int) -> float | None:
    found = rates.of(key, total)
    return None if found is None else round(found, 2)


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def _sum(values: Iterable[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 2) if known else None


def _max(values: Iterable[Number | None]) -> Number | None:
    return max((value for value in values if value is not None), default=None)
