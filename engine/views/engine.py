"""The engine, its settings, and all of it at one moment."""

from __future__ import annotations

from typing import Any

from .access import AccessSummary, GrantView
from .base import View
from .bench import BenchView
from .host import EnvironmentView, HostView
from .swarms import AgentView, SwarmView
from .vault import VaultGlance


class ClientView(View, frozen=True, kw_only=True):
    """A console, command or program that is attached as the operator, by its user and process."""

    user: str
    uid: int
    pid: int
    program: str
    since_at_us: int


class EngineView(View, frozen=True, kw_only=True):
    """The engine's own condition. `user` is whom it runs as, `clients` who is attached to it."""

    pid: int
    version: str
    data: str
    uptime_s: float
    loop_lag_ms: float
    writer_queue: int
    wal_bytes: int
    operations: int
    bus: str
    headless: bool
    user: str = ""
    clients: tuple[ClientView, ...] = ()


class Overview(View, frozen=True, kw_only=True):
    """Everything the first screen needs, of one moment: all parts carry `sequence`. `breaking`
    are the break-glass reads in force; `clock` says how the host's clock has jumped, empty when
    it has not."""

    sequence: int
    at_us: int
    engine: EngineView
    host: HostView
    environments: tuple[EnvironmentView, ...]
    swarms: tuple[SwarmView, ...]
    agents: tuple[AgentView, ...]
    access: AccessSummary
    benchmarks: tuple[BenchView, ...] = ()
    vault: VaultGlance = VaultGlance()
    breaking: tuple[GrantView, ...] = ()
    clock: str = ""


class SettingView(View, frozen=True, kw_only=True):
    """One setting, and where its value came from."""

    name: str
    value: Any
    source: str
    help: str


class SettingChangeView(View, frozen=True, kw_only=True):
    """A setting that reads otherwise than the engine has it. `state`: `in force`, or `at the next
    start`, and the engine still goes by `before`."""

    name: str
    before: Any
    after: Any
    state: str
    source: str


class CheckView(View, frozen=True, kw_only=True):
    """One finding of `doctor` or `db check`: `status` is ok, warning or failed."""

    name: str
    status: str
    detail: str
    hint: str = ""
