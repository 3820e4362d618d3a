"""The processes of the simulated host as a supervisor sees them: started, known by pid and start
time, watched by descriptor, signalled, reaped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from swarmdeck.engine.hostmem import HostReading
from swarmdeck.engine.swarms import supervisor

from .loop import Process, VirtualLoop
from .network import Network

FIRST_PID = 1 << 30  # beyond what any real host gives
GIB = 1 << 30
RSS_BYTES = 40 << 20

Program = Callable[[Process, dict[str, str]], Coroutine[Any, Any, int]]


class Running:
    """One process of the table. `code` is None while it runs."""

    def __init__(self, process: Process, pid: int, started_at: int) -> None:
        self.process = process
        self.pid = pid
        self.started_at = started_at
        self.code: int | None = None
        self.descriptors: set[int] = set()

    def wait(self) -> int:
        """What the parent of a process that has ended is told."""
        assert self.code is not None, "nobody waits for a process that still runs"
        return self.code


class Kernel:
    """The table of processes. `program` is what each agent runs; `ended(agent)` is called when one
    is over."""

    def __init__(self, loop: VirtualLoop, network: Network, program: Program) -> None:
        self.by_pid: dict[int, Running] = {}
        self.agents: dict[str, list[Running]] = {}
        self.failing_starts = 0
        self._loop = loop
        self._network = network
        self._program = program
        self._last_pid = FIRST_PID
        self._descriptors: set[int] = set()

    # --- what the engine asks -------------------------------------------------------------------

    def popen(self, launch: Any, environment: dict[str, str], *_: Any) -> Running:
        """A process as `supervisor._popen` starts one."""
        if self.failing_starts:
            self.failing_starts -= 1
            raise supervisor.Unavailable("the machine has no room for another process")
        self._last_pid += 1
        process = Process(self._loop, f"{launch.agent}/{self._last_pid}")
        started = Running(process, self._last_pid, int(self._loop.time() * 100) + 1)
        self.by_pid[started.pid] = started
        self.agents.setdefault(launch.agent, []).append(started)
        known = dict(environment)
        self._loop.call_soon(self._begin, started, known, context=process.context)
        return started

    def _begin(self, started: Running, environment: dict[str, str]) -> None:
        task = self._loop.create_task(self._program(started.process, environment))
        task.add_done_callback(lambda done: self._returned(started, done))

    def _returned(self, started: Running, done: asyncio.Task[int]) -> None:
        failed = done.cancelled() or done.exception() is not None
        self._end(started, 1 if failed else done.result())

    def pidfd_open(self, pid: int, _: int = 0) -> int:
        if pid not in self.by_pid:
            raise ProcessLookupError(pid)
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors.add(descriptor)
        running = self.by_pid[pid]
        running.descriptors.add(descriptor)
        if running.code is not None:
            self._loop.call_soon(self._loop.readable, descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._descriptors.discard(descriptor)
        os.close(descriptor)

    def killpg(self, pid: int, number: int) -> None:
        running = self.by_pid.get(pid)
        if running is None:
            raise ProcessLookupError(pid)
        if running.code is not None:
            return
        if number == signal.SIGKILL:
            self._end(running, -int(signal.SIGKILL))
        elif (heed := running.process.signals.get(number)) is not None:
            heed()
        elif number in {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
            self._end(running, -int(number))

    def start_time(self, pid: int) -> int | None:
        running = self.by_pid.get(pid)
        return None if running is None or self._is_reaped(running) else running.started_at

    def is_running(self, pid: int, started_at: int) -> bool:
        running = self.by_pid.get(pid)
        return running is not None and running.code is None and running.started_at == started_at

    @staticmethod
    def _is_reaped(running: Running) -> bool:
        return running.code is not None and not running.descriptors

    # --- what happens -----------------------------------------------------------------------------

    def alive(self) -> dict[str, list[Running]]:
        """Running processes by agent."""
        found = {
            agent: [each for each in started if each.code is None]
            for agent, started in self.agents.items()
        }
        return {agent: running for agent, running in found.items() if running}

    def _end(self, running: Running, code: int) -> None:
        if running.code is not None:
            return
        running.code = code
        running.process.kill()
        self._network.cut(running.process)
        for descriptor in running.descriptors:
            self._loop.readable(descriptor)

    def engine_died(self) -> None:
        """What an engine held open is closed with it."""
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._descriptors.clear()
        for running in self.by_pid.values():
            running.descriptors.clear()


class Probe:
    """The memory of the simulated host."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def host(self) -> HostReading:
        return HostReading(
            total_bytes=96 * GIB, available_bytes=60 * GIB, cpu_percent=10.0, load_1m=0.5
        )

    def rss(self, pid: int) -> int | None:
        running = self._kernel.by_pid.get(pid)
        return None if running is None or running.code is not None else RSS_BYTES

    def children(self, _: int) -> list[int]:
        return []

    def limits(self, _: int) -> None:
        return None


class _Os:
    """The part of `os` that is about processes, of the simulated host."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.pidfd_open = kernel.pidfd_open
        self.killpg = kernel.killpg
        self.close = self._close

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._kernel._descriptors:
            for running in self._kernel.by_pid.values():
                running.descriptors.discard(descriptor)
            self._kernel.close(descriptor)
        else:
            os.close(descriptor)


@contextmanager
def in_place_of_the_host(kernel: Kernel) -> Iterator[None]:
    """Let the engine's modules about processes see this kernel."""
    fake: dict[str, Any] = {
        "os": _Os(kernel),
        "_popen": kernel.popen,
        "start_time": kernel.start_time,
        "is_running": kernel.is_running,
    }
    real = {name: getattr(supervisor, name) for name in fake}
    changed: list[tuple[Any, str]] = []
    for name, module in list(sys.modules.items()):
        if name.startswith("swarmdeck.engine.swarms."):
            for word, value in real.items():
                if getattr(module, word, None) is value:
                    setattr(module, word, fake[word])
                    changed.append((module, word))
    try:
        yield
    finally:
        for module, word in changed:
            setattr(module, word, real[word])
