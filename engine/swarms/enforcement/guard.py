"""The guard: a thread that reads what agents hold, and ends who makes its swarm break its share.

A thread of its own, because a turn of the engine's loop can be slow and a leak of 200 MB/s does
not wait for it. It reads resident sets, which cost microseconds; only where their sum passes a
share are the proportional sets read, in which a page that several processes share counts once: no
agent is ever ended for a library that all have loaded.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from ...clock import Clock
from ...hostmem import Processes
from ...model import format_size
from ..supervisor import is_running
from .kin import Kin

HASTE: Final = 5  # looks come so much sooner where a share may be full before the next
PATIENCE_S: Final = 1.0  # until what was found within its share is looked at closely again
GROWTH: Final = 64  # or once it has grown by this part of the share
IDLE_S: Final = 60.0
END_S: Final = 5.0

log = logging.getLogger(__name__)


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that was killed for what its swarm held. Sizes are bytes; `held` is the agent's,
    `swarm_held` that of all agents of its swarm, whose share is `share`."""

    swarm: str
    agent: str
    pid: int
    held_bytes: int
    swarm_bytes: int
    share_bytes: int
    agents: int

    @property
    def reason(self) -> str:
        share = format_size(self.share_bytes)
        if self.agents == 1:
            return f"killed: held {format_size(self.held_bytes)} of its swarm's {share}"
        most = f"killed: held {format_size(self.held_bytes)}, the most in a swarm that held"
        return f"{most} {format_size(self.swarm_bytes)} of its {share}"


class Agent(msgspec.Struct, frozen=True):
    """A watched agent: its swarm, and the process that leads it, by pid and start time."""

    swarm: str
    pid: int
    started_at: int


class Guard:
    """Watches agents from the first `watch` to `close`. `on_breach` is called on the guard's
    thread, before the agent is killed.

    `watch`, `share`, `forget`, `verdict` and `close` are for one other thread. An agent must be
    forgotten before its process is reaped: until then its number is its own, and can be killed.
    """

    def __init__(
        self,
        processes: Processes,
        clock: Clock,
        interval_s: float,
        on_breach: Callable[[Breach], object],
    ) -> None:
        self._processes = processes
        self._clock = clock
        self.interval_s = interval_s
        self._on_breach = on_breach
        self._lock = threading.Lock()  # around what both threads change, and every kill
        self._agents: dict[str, Agent] = {}
        self._shares: Mapping[str, int] = {}
        self._dying: dict[str, Breach] = {}
        self._verdicts: dict[str, Breach] = {}
        self._stir = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._blind = False
        # Of the guard's thread alone:
        self._kin = Kin(processes)
        self._pids: dict[str, int] = {}
        self._before: dict[str, tuple[float, int]] = {}  # when and what a swarm held
        self._cleared: dict[str, tuple[float, int]] = {}  # when and at what it was found within

    # --- for the engine -----------------------------------------------------------------------

    def share(self, shares: Mapping[str, int]) -> None:
        """What each swarm may hold from now on, in bytes; one that is not named is not held to
        anything."""
        self._shares = dict(shares)

    def watch(self, agent: str, swarm: str, pid: int, started_at: int) -> None:
        """Watch an agent's process and all it starts. `started_at` is `start_time` of the pid."""
        with self._lock:
            self._agents[agent] = Agent(swarm, pid, started_at)
            self._dying.pop(agent, None)
            self._verdicts.pop(agent, None)
        if self._thread is None and not self._ended:
            self._thread = threading.Thread(target=self._run, name="swarmdeck-guard", daemon=True)
            self._thread.start()
        self._stir.set()

    def forget(self, agent: str) -> None:
        """An agent's process has ended and is about to be reaped: its number is let go."""
        with self._lock:
            self._agents.pop(agent, None)
            if (breach := self._dying.pop(agent, None)) is not None:
                self._verdicts[agent] = breach

    def verdict(self, agent: str) -> Breach | None:
        """Why the guard killed an agent that has been forgotten, told once."""
        with self._lock:
            return self._verdicts.pop(agent, None)

    def close(self) -> None:
        """End the thread. Nothing is killed any more when this returns."""
        self._ended = True
        self._stir.set()
        if self._thread is not None:
            self._thread.join(END_S)

    # --- on the guard's thread ------------------------------------------------------------------

    def _run(self) -> None:
        wait_s = self.interval_s
        while not self._ended:
            self._stir.wait(wait_s if self._agents else IDLE_S)
            self._stir.clear()
            if not self._ended:
                wait_s = self._look_or_wait()

    def _look_or_wait(self) -> float:
        """An engine out of descriptors cannot see what there is: it can again when some are closed,
        and until then nobody else would look."""
        try:
            found = self.look()
        except OSError as error:
            if not self._blind:
                log.error("what agents hold cannot be read now: %s", error)  # noqa: TRY400
            self._blind = True
            return self.interval_s
        self._blind = False
        return found

    def look(self) -> float:
        """Look once at every agent, and kill where a share is broken. Returns in how many seconds
        to look again: sooner where a swarm grows so fast that its share may be full by then."""
        with self._lock:
            agents = {name: each for name, each in self._agents.items() if name not in self._dying}
        shares = self._shares
        self._kin.renew([each.pid for each in agents.values()])
        now_s = self._clock.monotonic_s()
        swarms: dict[str, dict[str, int]] = {}
        for name, each in agents.items():
            if each.swarm in shares:
                held = sum(self._processes.rss(pid) or 0 for pid in self._kin.of(each.pid))
                swarms.setdefault(each.swarm, {})[name] = held
        self._pids = {name: each.pid for name, each in agents.items()}
        waits = [self._look_at(swarm, held, shares[swarm], now_s) for swarm, held in swarms.items()]
        for gone in self._before.keys() - swarms.keys():
            del self._before[gone]
            self._cleared.pop(gone, None)
        return min(waits, default=self.interval_s)

    def _look_at(self, swarm: str, held: Mapping[str, int], share: int, now_s: float) -> float:
        """Judge one swarm where it holds too much; when to look again otherwise."""
        total = sum(held.values())
        before_s, before = self._before.get(swarm, (now_s, total))
        self._before[swarm] = now_s, total
        if total > share:
            if self._needs_close_look(swarm, total, share, now_s):
                self._judge(swarm, held, share, now_s)
            return self.interval_s / HASTE if total > before else self.interval_s
        self._cleared.pop(swarm, None)
        per_s = (total - before) / (now_s - before_s) if now_s > before_s else 0.0
        if per_s <= 0:
            return self.interval_s
        return max(self.interval_s / HASTE, min(self.interval_s, (share - total) / per_s))

    def _needs_close_look(self, swarm: str, total: int, share: int, now_s: float) -> bool:
        """Not when that was done a moment ago and it has hardly grown since: a close look costs
        milliseconds."""
        at_s, cleared = self._cleared.get(swarm, (-PATIENCE_S, -share))
        return now_s - at_s >= PATIENCE_S or total > cleared + share // GROWTH

    def _judge(self, swarm: str, rss: Mapping[str, int], share: int, now_s: float) -> None:
        """Count shared pages once; where it still is too much, end the agent that is furthest
        above its equal part of the share, which is the one that holds most."""
        held = {name: self._closely(name, most) for name, most in rss.items()}
        total = sum(held.values())
        if total <= share:
            self._cleared[swarm] = now_s, sum(rss.values())
            return
        agent = max(held, key=lambda name: held[name])
        self._kill(
            Breach(
                swarm=swarm,
                agent=agent,
                pid=self._pids[agent],
                held_bytes=held[agent],
                swarm_bytes=total,
                share_bytes=share,
                agents=len(held),
            )
        )

    def _closely(self, agent: str, rss: int) -> int:
        """What an agent holds with shared pages counted by parts; the resident set where that
        cannot be read."""
        parts = [self._processes.pss(pid) for pid in self._kin.of(self._pids[agent])]
        known = [part for part in parts if part is not None]
        return sum(known) if known else rss

    def _kill(self, breach: Breach) -> None:
        with self._lock:
            known = self._agents.get(breach.agent)
            if known is None or known.pid != breach.pid:
                return  # it has ended meanwhile
            self._dying[breach.agent] = breach
        self._on_breach(breach)
        with self._lock:
            # A child cannot be reaped under the lock, so its number is its own; one that another
            # engine has started is looked at first. What left the group is ended one by one.
            forgotten = self._agents.get(breach.agent) is not known
            if forgotten or not is_running(breach.pid, known.started_at):
                return
            self._end(self._kin.of(breach.pid))

    def _end(self, pids: Sequence[int]) -> None:
        """SIGKILL to the group that the first of these leads, and to the others."""
        assert min(pids) > 1, f"{pids} are not the processes of an agent"
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pids[0], signal.SIGKILL)
        for pid in pids[1:]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
