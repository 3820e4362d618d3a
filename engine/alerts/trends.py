"""What is wrong over several moments: rules that remember what they saw before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from ..model import AgentState
from ..views import AgentView
from .finding import Finding

RESTARTS_IN_A_ROW: Final = 2
RESTARTS_WINDOW_S: Final = 600.0
DENIED_CALLS: Final = 10
DENIED_WINDOW_S: Final = 60.0


class Restarts:
    """Agents that were started again more than once within the window."""

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None
        self._times: dict[str, deque[float]] = {}

    def findings(self, agents: Iterable[AgentView], now_s: float) -> Iterator[Finding]:
        counts = {agent.id: agent.restarts for agent in agents if agent.restarts}
        for agent in agents:
            if agent.restarts:
                yield from self._of_agent(agent, now_s)
        self._counts = counts
        for gone in self._times.keys() - counts.keys():
            del self._times[gone]

    def _of_agent(self, agent: AgentView, now_s: float) -> Iterator[Finding]:
        times = self._times.setdefault(agent.id, deque(maxlen=100))
        # What happened before the first look has no time, and is not counted.
        before = agent.restarts if self._counts is None else self._counts.get(agent.id, 0)
        more = agent.restarts - before
        times.extend([now_s] * max(0, more))
        while times and now_s - times[0] > RESTARTS_WINDOW_S:
            times.popleft()
        if len(times) >= RESTARTS_IN_A_ROW:
            reason = f": {agent.reason}" if agent.reason else ""
            yield Finding(
                "agent-restarts",
                agent.id,
                f"started again {len(times)} times in {RESTARTS_WINDOW_S / 60:.0f} min{reason}",
                f"swarmdeck logs {agent.id}",
                agent.environment,
                "critical" if agent.state == AgentState.FAILED else "warning",
            )


class Rise:
    """Denied calls, and how many of them are of the last minute."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def findings(self, denied_calls: int, now_s: float) -> Iterator[Finding]:
        self._counts.append((now_s, denied_calls))
        while now_s - self._counts[0][0] > DENIED_WINDOW_S:
            self._counts.popleft()
        more = denied_calls - self._counts[0][1]
        if more > DENIED_CALLS:
            yield Finding(
                "denied-calls",
                "engine",
                f"{more:,} calls were denied in the last minute",
                "swarmdeck audit list --contains denied",
            )
