"""The processes of agents: started, watched, reaped, ended. Never forked, never orphaned.

Each agent leads a session and process group of its own, so that what it started ends with it.
A process is known by its pid and its start time together, because a pid alone is reused; its end
is seen through a pidfd, which works for processes another engine started as well.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import subprocess
import sys
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from ..errors import InvalidInput, Unavailable
from ..model import printable
from . import output
from .output import Rotation
from .setup import WITHHELD, check_directory, values

T = TypeVar("T")

log = logging.getLogger(__name__)

BUNDLED_WORKER: Final = (sys.executable, "-m", "swarmdeck.engine.worker")
KILL_WAIT_S: Final = 5.0
SPAWN_THREADS: Final = 2

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TICK_BITS: Final = 36  # clock ticks of 21 years
_BOOT_MASK: Final = (1 << 27) - 1  # together they fit a signed 64-bit column


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is started with."""

    agent: str
    environment: str
    swarm: str
    token: str
    command: tuple[str, ...]
    variables: tuple[tuple[str, str | None], ...] = ()  # None: the value the engine has
    directory: str = ""  # one of the swarm's own

    def __repr__(self) -> str:
        return f"Launch(agent={self.agent!r}, swarm={self.swarm!r}, token=…)"


class Running(msgspec.Struct, frozen=True):
    """A process that is watched. `started_at` is `start_time` of the pid."""

    agent: str
    environment: str
    pid: int
    started_at: int


class Exit(msgspec.Struct, frozen=True):
    """A process that ended. `code` is the exit code, minus the number of the signal that ended
    it, or None for an adopted process, whose code went to its own parent."""

    agent: str
    environment: str
    pid: int
    code: int | None

    @property
    def reason(self) -> str:
        """`exit code 1`, `killed by SIGKILL`, or that its code is not known."""
        if self.code is None:
            return "ended (adopted, so with what code is not known)"
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"killed by signal {-self.code}"


class RestartLimits(msgspec.Struct, frozen=True, kw_only=True):
    """At most `restarts` within `window_s`; the first after `delay_s`, each next after twice as
    long, at most `max_delay_s`."""

    restarts: int = 3
    window_s: float = 600.0
    delay_s: float = 1.0
    max_delay_s: float = 60.0


class RestartHistory:
    """When one agent was started again."""

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self._at: deque[float] = deque(maxlen=max(1, limits.restarts))

    def next_delay_s(self, now_s: float) -> float | None:
        """How long to wait before the next start, which is counted from now; None when the
        limit is reached."""
        while self._at and now_s - self._at[0] >= self._limits.window_s:
            self._at.popleft()
        if len(self._at) >= self._limits.restarts:
            return None
        delay_s = self._limits.delay_s * 2 ** len(self._at)
        self._at.append(now_s)
        return float(min(delay_s, self._limits.max_delay_s))


class _Process:
    """A watched process and what belongs to it."""

    __slots__ = ("child", "gone", "pidfd", "running")

    def __init__(self, running: Running, pidfd: int, child: subprocess.Popen[bytes] | None) -> None:
        self.running = running
        self.pidfd = pidfd
        self.child = child
        self.gone = asyncio.Event()


class Warden(Protocol):
    """What is done with each process beside watching it."""

    def starting(self, launch: Launch) -> None:
        """One is about to be started."""
        ...

    def spawned(self, launch: Launch, pid: int) -> None:
        """It runs; on the thread that started it, before anything else is done with it."""
        ...

    def watching(self, running: Running) -> None:
        """It is watched, whoever started it."""
        ...

    def leaving(self, agent: str) -> None:
        """It has ended and is about to be reaped, or is watched no longer."""
        ...


class Supervisor:
    """The processes under one data directory. All methods belong to the engine's loop.

    `on_exit` is called on the loop as soon as a process has ended and is reaped, and everything
    that was left of its group is killed.
    """

    def __init__(
        self,
        directory: Path,
        socket: Path,
        *,
        on_exit: Callable[[Exit], object],
        variables: Mapping[str, str] | None = None,
        output: Rotation = Rotation(),  # noqa: B008 - frozen
    ) -> None:
        self._directory = directory
        self.rotation = output
        self._socket = socket.absolute()  # agents work in another directory
        self._on_exit = on_exit
        self._variables = dict(variables or {})
        self._loop = asyncio.get_running_loop()
        self._processes: dict[str, _Process] = {}
        self._pending: set[asyncio.Future[_Process]] = set()
        self._threads = ThreadPoolExecutor(SPAWN_THREADS, thread_name_prefix="swarmdeck-agents")
        self.warden: Warden | None = None
        self.closing = False

    @property
    def running(self) -> dict[str, Running]:
        """What is watched now, by agent id."""
        return {agent: process.running for agent, process in self._processes.items()}

    def log_path(self, environment: str, agent: str) -> Path:
        """Where an agent's output is kept."""
        return self._directory / "logs" / environment / f"{agent}.log"

    async def start(self, launch: Launch) -> Running:
        """Start a process. Raises InvalidInput when the command cannot be run, Unavailable when
        the system has no room for it. A caller that is cancelled leaves nothing running."""
        if self.closing:
            raise Unavailable("the engine is closing")
        if self.warden is not None:
            self.warden.starting(launch)
        future = self._loop.run_in_executor(
            self._threads, self._spawn, launch, self._environment_of(launch), *self._places(launch)
        )
        self._pending.add(future)
        future.add_done_callback(self._spawned)
        try:
            return (await asyncio.shield(future)).running
        except asyncio.CancelledError:
            future.add_done_callback(lambda _: self._signal(launch.agent, signal.SIGKILL))
            await asyncio.wait([future])
            await self._wait([launch.agent], KILL_WAIT_S)
            raise

    def adopt(self, running: Running) -> bool:
        """Watch a process another engine started. False when it is not that process any more."""
        try:
            pidfd = os.pidfd_open(running.pid)
        except OSError:
            return False
        # Only now does the pid stand still: what is seen from here on is what the pidfd watches.
        if not is_running(running.pid, running.started_at):
            os.close(pidfd)
            return False
        self._watch(_Process(running, pidfd, None))
        return True

    async def stop(self, agents: Collection[str], kill_after_s: float) -> None:
        """SIGTERM to the agents' groups, SIGKILL to those alive after `kill_after_s`. Returns
        when they are gone."""
        for agent in agents:
            self._signal(agent, signal.SIGTERM)
        await self._wait(agents, kill_after_s)
        await self.kill(agents)

    async def kill(self, agents: Collection[str]) -> None:
        """SIGKILL to the agents' groups. Returns when they are gone. Raises Unavailable when
        the kernel keeps one (a process inside a stuck system call)."""
        for agent in agents:
            self._signal(agent, signal.SIGKILL)
        await self._wait(agents, KILL_WAIT_S)
        if kept := [agent for agent in agents if agent in self._processes]:
            raise Unavailable(
                f"the kernel has not ended {', '.join(kept)} after {KILL_WAIT_S:.0f} s",
                hint="it hangs in a system call; look at its state with ps",
            )

    async def rotate(self) -> None:
        """Cut the output files that have grown over their limit."""
        paths = [self.log_path(p.environment, p.agent) for p in self.running.values()]
        limit_bytes, kept = self.rotation.limit_bytes, self.rotation.kept
        await self.offload(lambda: _cut(paths, limit_bytes, kept))

    async def last_lines(self, environment: str, agent: str, lines: int) -> list[str]:
        """The last lines an agent wrote, running or not."""
        return await self.offload(
            lambda: output.last_lines(self.log_path(environment, agent), lines)
        )

    async def last_words(self, environment: str, agent: str) -> str:
        """The last line an agent wrote."""
        return await self.offload(lambda: output.last_words(self.log_path(environment, agent)))

    def let_go(self, agents: Collection[str]) -> None:
        """Watch these no longer; their processes run on, for the next engine to adopt. For an
        engine that ends: nothing can be started any more."""
        self.closing = True
        for agent in agents:
            process = self._processes.pop(agent, None)
            if process is None:
                continue
            if self.warden is not None:
                self.warden.leaving(agent)
            self._loop.remove_reader(process.pidfd)
            os.close(process.pidfd)
            if process.child is not None:
                process.child.returncode = 0  # not ours to wait for any more

    async def close(self, kill_after_s: float = 1.0) -> None:
        """End every process that is watched. Nothing can be started any more."""
        self.closing = True
        if self._pending:
            await asyncio.wait(self._pending)
        try:
            await self.stop(list(self._processes), kill_after_s)
        finally:
            self._threads.shutdown()

    # --- starting -----------------------------------------------------------------------------

    def _places(self, launch: Launch) -> tuple[Path, Path]:
        """The working directory and the output file of a process."""
        swarm = self._directory / "instances" / launch.environment / "swarms" / launch.swarm
        work = Path(launch.directory) if launch.directory else swarm / "work"
        return work, self.log_path(launch.environment, launch.agent)

    def _environment_of(self, launch: Launch) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in WITHHELD}
        chosen = {"PYTHONUNBUFFERED": "1"} | values(launch.variables, os.environ)
        return inherited | chosen | self._variables | {
            "SWARMDECK_SOCKET": str(self._socket),
            "SWARMDECK_AGENT": launch.agent,
            "SWARMDECK_TOKEN": launch.token,
            "SWARMDECK_SWARM": launch.swarm,
            "SWARMDECK_ENVIRONMENT": launch.environment,
            "SWARM_ID": launch.swarm,
            "AGENT_ID": launch.agent,
        }  # fmt: skip

    def _spawn(
        self, launch: Launch, environment: dict[str, str], work: Path, log: Path
    ) -> _Process:
        """Run on a thread: starting a process can take tens of milliseconds."""
        child = _popen(launch, environment, work, log)
        if self.warden is not None:
            self.warden.spawned(launch, child.pid)
        return _held(launch, child)

    def _spawned(self, future: asyncio.Future[_Process]) -> None:
        self._pending.discard(future)
        if future.exception() is None:
            self._watch(future.result())

    def _watch(self, process: _Process) -> None:
        self._processes[process.running.agent] = process
        self._loop.add_reader(process.pidfd, self._exited, process)
        if self.warden is not None:
            self.warden.watching(process.running)

    # --- ending -------------------------------------------------------------------------------

    def _signal(self, agent: str, number: signal.Signals) -> None:
        """Signal an agent's group while its leader is still the process that is watched: an
        unreaped child keeps its pid; an adopted one is looked at first."""
        process = self._processes.get(agent)
        if process is None:
            return
        running = process.running
        if process.child is not None or start_time(running.pid) == running.started_at:
            _signal_group(running.pid, number)

    def _exited(self, process: _Process) -> None:
        self._loop.remove_reader(process.pidfd)
        os.close(process.pidfd)
        running = process.running
        if self.warden is not None:
            self.warden.leaving(running.agent)
        # The rest of the group first, while the unreaped leader still holds the number.
        if process.child is not None or start_time(running.pid) in {None, running.started_at}:
            _signal_group(running.pid, signal.SIGKILL)
        code = process.child.wait() if process.child is not None else None
        del self._processes[running.agent]
        process.gone.set()
        self._on_exit(Exit(running.agent, running.environment, running.pid, code))

    async def _wait(self, agents: Iterable[str], wait_s: float) -> None:
        events = [self._processes[agent].gone for agent in agents if agent in self._processes]
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                for event in events:
                    await event.wait()

    async def offload(self, work: Callable[[], T]) -> T:
        """Run something that blocks on one of the threads that start processes."""
        return await self._loop.run_in_executor(self._threads, work)


def _cut(paths: Iterable[Path], limit_bytes: int, kept: int) -> None:
    """One that cannot be cut now is tried again in a second, and holds up no other."""
    for path in paths:
        try:
            output.rotate(path, limit_bytes, kept)
        except OSError as error:
            log.warning("output of %s cannot be cut: %s", path.stem, error)


# --- commands and processes ---------------------------------------------------------------------


def resolve_command(command: Sequence[str], directory: Path) -> tuple[str, ...]:
    """A command that can be started from anywhere: the program looked up on PATH or below
    `directory`, arguments that name a file below `directory` made absolute, because agents work
    in a directory of their swarm. Raises InvalidInput when there is no such program."""
    if not command:
        return BUNDLED_WORKER
    if any("\0" in part for part in command):
        raise InvalidInput("a worker command cannot hold NUL characters")
    program, *arguments = command
    local = (directory / Path(program).expanduser()) if "/" in program else None
    import shutil  # noqa: PLC0415 - brings three compressors, for the start of a swarm

    found = shutil.which(local or program)
    if found is None:
        there = local is not None and local.is_file()
        raise InvalidInput(
            f"worker command {printable(program)} {'is not executable' if there else 'not found'}",
            hint="give a program on PATH or the path of an executable file after --",
        )
    return (str(Path(found).absolute()), *(_located(part, directory) for part in arguments))


def _located(argument: str, directory: Path) -> str:
    """`worker.py` or `lib/worker` where there is such a file; a bare word stays a word."""
    if "/" not in argument and not Path(argument).suffix:
        return argument
    try:
        path = directory / argument
        return str(path.absolute()) if path.is_file() else argument
    except OSError:  # an argument too long for a file name is not one
        return argument


def start_time(pid: int) -> int | None:
    """When the process with this pid started, in clock ticks, joined with which boot of the
    machine it was: equal only for the same process. None when there is none."""
    fields = _stat(pid)
    return None if fields is None else _boot() | int(fields[19])


def is_running(pid: int, started_at: int) -> bool:
    """Whether that process still runs; one that ended but is not reaped does not."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in "ZX" and start_time(pid) == started_at


def _stat(pid: int) -> list[str] | None:
    """Fields 3 and up of /proc/PID/stat. The name before them may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _boot() -> int:
    """Ticks count from the boot, so the same pid and ticks can come again after the next."""
    return (zlib.crc32(_BOOT_ID.read_bytes()) & _BOOT_MASK) << _TICK_BITS


def _popen(
    launch: Launch, environment: dict[str, str], work: Path, log: Path
) -> subprocess.Popen[bytes]:
    if launch.directory:
        check_directory(launch.directory)  # it was there when the swarm was made
    else:
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = output.open_output(log)
    try:
        return subprocess.Popen(  # noqa: S603 - the operator's own command, no shell
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd=work,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise _cannot_start(launch.command[0], error) from error
    finally:
        os.close(descriptor)


def _held(launch: Launch, child: subprocess.Popen[bytes]) -> _Process:
    try:
        pidfd = os.pidfd_open(child.pid)
    except OSError as error:
        _signal_group(child.pid, signal.SIGKILL)
        child.wait()
        raise Unavailable(f"agent {launch.agent} cannot be watched: {error}") from error
    started_at = start_time(child.pid)
    assert started_at is not None, "an unreaped child has a start time"
    return _Process(Running(launch.agent, launch.environment, child.pid, started_at), pidfd, child)


def _cannot_start(program: str, error: OSError) -> InvalidInput | Unavailable:
    text = f"worker command {printable(program)} cannot be started: {error.strerror}"
    if error.errno in {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}:
        return Unavailable(text, hint="the machine has no room for another process")
    return InvalidInput(text)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
