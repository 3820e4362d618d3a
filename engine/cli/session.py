"""Running one action: through the engine that owns the directory, else in one of our own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from .. import process
from ..actions import Action, Demo, Reload, Stop, spec_of
from ..engine import connect, open_engine
from ..errors import EngineBusy, InvalidInput, SwarmDeckError, Unavailable
from ..lock import find_socket
from ..model import environment_of, printable
from ..text import safe_text
from . import where
from .options import Options
from .signals import run_loop

OWNER_WAIT_S: Final = 5.0
_SELF: Final = ("AGENT_ID", "SWARMDECK_IDENTITY__AGENT_ID")
_RETRY_S: Final = 0.05
_STOP_WAIT_S: Final = 330.0  # the longest a swarm is given to finish, and some

R = TypeVar("R")


def perform(action: Action, options: Options) -> Any:  # noqa: ANN401 - the action's result
    """The result of an action. Attaches to the owner of the directory; where none lives, opens
    the directory for this one command. Raises Unavailable when the action needs an owner that
    stays, EngineBusy when the directory stays locked without a socket for 5 s."""
    data = where.data_directory(options)
    action = _as_self(action, options)
    where.log_to_stderr(options.log_level or "error")
    deadline = time.monotonic() + OWNER_WAIT_S
    while True:
        try:
            return _once(action, data, options)
        except _Held as held:
            if time.monotonic() > deadline:
                raise held.busy from None
        time.sleep(_RETRY_S)


def _as_self(action: Action, options: Options) -> Action:
    """What this process asks for as the agent it is, unless --as says who asks. Raises
    InvalidInput where AGENT_ID names no agent."""
    named = any(os.environ.get(name) for name in _SELF)
    if not named or getattr(action, "actor", "") is not None:
        return action
    agent = where.load(options).identity.agent_id
    try:
        environment_of(agent or "")
    except SwarmDeckError as error:
        raise InvalidInput(
            f"AGENT_ID is {printable(agent or '')}, which is no agent's id",
            hint="unset it, or ask as yourself: --as operator",
        ) from error
    return msgspec.structs.replace(action, actor=agent)


class _Held(Exception):
    """Another process holds the directory and does not answer: it starts, ends, or is a command
    like this one."""

    def __init__(self, busy: EngineBusy) -> None:
        super().__init__(busy.message)
        self.busy = busy


class _NoOwner(Exception):
    """Nobody listens on the directory's socket."""


def _once(action: Action, data: Path, options: Options) -> Any:  # noqa: ANN401 - the result
    if find_socket(data) is not None:  # else there is nobody to attach to
        with contextlib.suppress(_NoOwner):
            return run_loop(_attached(action, data))
    if isinstance(action, (Stop, Reload)) or spec_of(action).lasting:
        raise _no_owner(action, data)
    return run_loop(_embedded(action, data, options), fast=_full(action))


async def _attached(action: Action, data: Path) -> Any:  # noqa: ANN401 - the result
    async with contextlib.AsyncExitStack() as stack:
        try:
            engine = await stack.enter_async_context(connect(data))
        except Unavailable as error:
            raise _NoOwner from error
        result = await _with_progress(engine.run, action)
    if isinstance(action, Stop):
        await _gone(data)
    return result


async def _embedded(action: Action, data: Path, options: Options) -> Any:  # noqa: ANN401 - the result
    if _full(action):
        process.tune()
    async with contextlib.AsyncExitStack() as stack:
        opening = open_engine(data, settings=where.load(options), transient=not _full(action))
        try:
            engine = await stack.enter_async_context(opening)
        except EngineBusy as busy:
            raise _Held(busy) from busy
        return await _with_progress(engine.run, action)


def _full(action: Action) -> bool:
    """Whether the action needs a whole engine: the demo supervises agents, who need a socket.
    Only then is uvloop worth its import; anything else is over too soon."""
    return isinstance(action, Demo)


def _no_owner(action: Action, data: Path) -> Exception:
    """Why an action that needs an owner cannot run: there is none, or it does not answer yet."""
    pid = _locking_pid(data)
    if pid is not None:
        return _Held(
            EngineBusy(f"{data} is owned by process {pid}, which does not answer", pid=pid)
        )
    name = spec_of(action).name.replace(".", " ")
    if isinstance(action, Stop):
        return Unavailable(f"no engine owns {data}", hint="there is nothing to stop")
    if isinstance(action, Reload):
        return Unavailable(f"no engine owns {data}", hint="each command reads the settings anew")
    return Unavailable(
        f"{name} starts what outlives this command, and no engine owns {data}",
        hint="start one with `swarmdeck serve`, or open the console",
    )


def _locking_pid(data: Path) -> int | None:
    """The living process that wrote its pid into the lock, without touching the lock."""
    try:
        pid = int((data / "run" / "engine.lock").read_text(encoding="ascii"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


async def _gone(data: Path) -> None:
    """Wait until the owner that was told to stop has let the directory go."""
    deadline = time.monotonic() + _STOP_WAIT_S
    while (pid := _locking_pid(data)) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"process {pid} was told to stop and has not ended yet")
        await asyncio.sleep(_RETRY_S)


# --- progress -------------------------------------------------------------------------------


async def _with_progress(run: Callable[..., Awaitable[R]], action: Action) -> R:
    if not sys.stderr.isatty():
        return await run(action)
    line = _ProgressLine(spec_of(action).name)
    try:
        return await run(action, on_progress=line.show)
    finally:
        line.clear()


class _ProgressLine:
    """One line on a terminal's stderr that is written over, and gone at the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._written = False

    def show(self, fraction: float, text: str) -> None:
        self._write(f"{self._name} {fraction:4.0%} {safe_text(text, 60)}")

    def clear(self) -> None:
        if self._written:
            self._write("")

    def _write(self, line: str) -> None:
        self._written = True
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()
