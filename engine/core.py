"""The embedded engine: opens everything in order, serves it in this process and on its socket,
closes it in reverse.

    data directory, settings, owner lock
    coordination database, five environments
    channels, ledger, host readings
    dispatcher, socket, swarms, ticker
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from . import __version__, overview, views
from .actions import Action
from .audit import Auditor, outside_directory
from .authority import Authority
from .bench.results import Results
from .budgets import Budgets, describe
from .bus import Channels, open_channels
from .clock import Clock, SystemClock
from .dataplane import DataPlane
from .dispatch import Dispatcher, Receipt
from .dispatch import LaneSettings as LaneSize
from .engine import Engine
from .environment import Place, database_path, store_options
from .errors import Denied, NotFound, StorageError, SwarmDeckError
from .events import (
    GONE,
    AgentChanged,
    Changed,
    EngineStopping,
    Event,
    EventBus,
    GlassBroken,
    Sampled,
)
from .handlers import Handlers
from .hostmem import HostMemory
from .identity import Identity
from .journal import Journal
from .ledger import Ledger, scale_plan
from .localport import LocalPort
from .lock import OwnerLock, lasting_socket, own
from .model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Principal,
    Role,
    check_name,
    environment_of,
)
from .places import Places
from .settings import Settings, load_settings
from .store.database import Database, open_database
from .store.reserve import Reserve
from .swarms.crew import Surroundings
from .swarms.service import Swarms
from .ticker import Ticker
from .timekeeper import GuardedClock
from .timewatch import TimeWatch
from .vault import Vault

if TYPE_CHECKING:
    from .alerts import Ailing, Alerts
    from .backup import Backups
    from .bench.meter import Sample
    from .health.service import Health
    from .link.protocol import Greeting
    from .link.server import LinkServer
    from .metrics.service import Metrics
    from .reload import Reloading
    from .watch import Watch

CLOSE_DRAIN_S: Final = 1.0  # for operations under way; an engine is to end within three seconds


class Core:
    """An engine in this process, and what its socket serves. Made by `open_core`."""

    budgets: Budgets
    channels: Channels
    swarms: Swarms

    def __init__(
        self,
        data: Path,
        settings: Settings,
        clock: Clock,
        *,
        headless: bool,
        socket: Path | None,
        brief: bool = False,
        renew_socket: Callable[[], Path] = Path,
    ) -> None:
        self.data = data
        self.settings = settings
        guarded = GuardedClock(clock, settings.clock.max_jump_s)
        self.clock: Clock = guarded

        self.bus = EventBus()
        self.journal = Journal(clock)
        self.time = TimeWatch(self, guarded)
        self._sequence = 0
        self.vault = Vault.open(data, settings, clock, told=self._engine_changed)
        outside = outside_directory(settings.audit.outside_dir, os.environ)
        self.auditor = Auditor(self.vault, settings.audit, clock, outside)
        self.opened = Places(
            self,
            publish=self._publish,
            on_commit=self._committed,
            changed=self._place_changed,
            brief=brief,
        )
        self.places = self.opened.all
        wanted = settings.store.reserve_bytes
        self.identity = Identity(self)
        self.reserve = Reserve(data / "reserve", wanted) if wanted else None
        self.authority = Authority(
            {name.value: Role(role) for name, role in settings.operator.items()}
        )
        data_plane = DataPlane(self.places, self.opened.serving, self.authority)
        self.verbs = data_plane.verbs
        self.trusted_verbs = data_plane.trusted
        self.host = HostMemory()
        scaled = scale_plan(settings.host, self.host.latest.total_bytes)
        self.ledger = Ledger(scaled.plan)
        self._results = Results(data)
        self.engine = Engine(LocalPort(self), data=data, attached=False)
        self._scale = scaled.scale
        self._socket = socket
        self._renew_socket = renew_socket
        self._headless = headless
        self._brief = brief
        self._opened_s = clock.monotonic_s()
        self.ticker = Ticker(self, self.opened.serving, stays=not brief)
        self._link: LinkServer | None = None
        self._dispatcher = Dispatcher(
            Handlers(self).table(), self.bus, clock, _lanes(settings), drain_s=CLOSE_DRAIN_S,
            authority=self.authority,
        )  # fmt: skip

    # --- opening ----------------------------------------------------------------------------

    async def open(self, stack: AsyncExitStack) -> None:
        """Open all parts; `stack` closes them in reverse, also when a later one fails."""
        stack.push_async_callback(self.bus.close, "the engine closed")
        await self._open_stores(stack)
        self.time.open()
        stack.callback(self.time.write_down)
        self.channels = await stack.enter_async_context(
            open_channels(self.bus, self.settings.redis, self.clock)
        )
        self.swarms = Swarms(self._surroundings())
        await stack.enter_async_context(self._dispatcher)
        if self._socket is not None:
            # Before the swarms, whose agents need it; so it closes after them.
            self._link = await stack.enter_async_context(self._server(self._socket))
            # What is attached hears how its operations ended, and then that the engine ends.
            stack.push_async_callback(self.bus.close, "the engine closed")
            stack.push_async_callback(self._dispatcher.close)
        await stack.enter_async_context(self.swarms)
        for place in self.places.values():  # one that is quarantined has no swarms to start
            if not await self.opened.settle(place):
                await self.swarms.succession.restore(place, lasting=self._socket is not None)
        self.journal.note("engine", "engine", f"opened as process {os.getpid()}")
        if not self._brief:
            self.identity.opened(__version__)
        stack.push_async_callback(self._end_measuring)
        ticker = asyncio.create_task(self.ticker.run(), name="ticker")
        stack.push_async_callback(_cancelled, ticker)

    async def _open_stores(self, stack: AsyncExitStack) -> None:
        """All files at once: opening one is mostly waiting for the disk. Every one that opened
        is on the stack before the failure of another is raised."""
        stack.push_async_callback(self.opened.close)
        if self.reserve is not None and not self._brief:
            self.reserve.make()
        opened = await asyncio.gather(
            stack.enter_async_context(self._coordination()),
            *(self.opened.open(environment) for environment in Environment),
            return_exceptions=True,
        )
        for outcome in opened:
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(outcome, Database):
                await self.auditor.attach_database(outcome)
                await self._open_budgets(outcome)
        stack.push_async_callback(self.auditor.close)

    async def reopen(
        self, environment: Environment, between: Callable[[], Awaitable[None]], why: str
    ) -> Place:
        """Close an environment, await `between` and open it again. Raises as `Places.reopen`."""
        return await self.opened.reopen(environment, between, why)

    def _place_changed(self, environment: str) -> None:
        """Everything that is shown of an environment may have changed."""
        self._sequence += 1
        for topic in ("engine", "memory", "queue", "swarms", "agents", "access"):
            self.bus.publish(Changed(topic, environment, self._sequence))

    async def _open_budgets(self, coordination: Database) -> None:
        self.coordination = coordination
        self.budgets = Budgets(
            self.ledger, coordination, scale=self._scale, changed=self._budget_changed
        )
        await self.budgets.open()
        coordination.loaded()
        self.vault.keep_ledger(coordination)

    def _coordination(self) -> Any:  # noqa: ANN401 - a context manager
        return open_database(
            database_path(self.data, "coordination"),
            "coordination",
            options=store_options(self.settings, "coordination"),
            clock=self.clock,
            series="coordination",
            reserve=self.reserve,
            brief=self._brief,
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            sites=self.places,
            open_site=self._site,
            directory=self.data,
            socket=lasting_socket(self.data, self._socket) if self._socket else self.data,
            ledger=self.ledger,
            clock=self.clock,
            settings=self.settings.agents,
            publish=self._publish,
            notify=self._notify,
            measure=self.host.measure,
            enforcement=self.settings.enforcement,
            host=self.host,
        )

    def _server(self, socket: Path) -> LinkServer:
        from .link.peers import LoginLimiter  # noqa: PLC0415 - one command has no socket
        from .link.server import LinkServer  # noqa: PLC0415

        return LinkServer(
            socket,
            self,
            on_agent_connected=lambda agent: self._registry(agent).connected(agent),
            on_agent_lost=lambda agent: self._registry(agent).disconnected(agent),
            on_attached=self.identity.attached,
            limiter=LoginLimiter(self.clock, self.identity.refused),
            clock=self.clock,
        )

    async def _site(self, environment: str) -> Place:
        self.opened.require(environment)
        return self.places[environment]

    def _registry(self, agent: str) -> Any:  # noqa: ANN401 - Registry, named once in Place
        return self.places[environment_of(agent)].registry

    def _notify(self, agent: str, word: str) -> None:
        if self._link is not None:
            self._link.notify(agent, word)

    # --- as the socket's backend ------------------------------------------------------------

    def greeting(self) -> Greeting:
        from .link.protocol import VERSION, Greeting  # noqa: PLC0415 - as the server that asks

        return Greeting(VERSION, __version__, os.getpid(), str(self.data))

    def authenticate(self, agent: str, token: str) -> Principal:
        """The agent with this id and token. Raises Denied."""
        try:
            place = self.places[environment_of(agent)]
        except SwarmDeckError as error:
            raise Denied(f"no agent {agent!r}", hint="ids begin with the environment") from error
        self.opened.require(place.environment)
        return place.registry.authenticate(agent, token)

    def acting(self, actor: str) -> Principal:
        """Who acts when the operator says `actor`. Raises NotFound, and Denied where the
        operator's role does not let it act as an agent."""
        if actor == OPERATOR:
            return OPERATOR_PRINCIPAL
        if self.authority.is_limited:
            self.authority.require_acting(actor)
        principal = self.resolve(actor)
        self.identity.acted(actor)
        return principal

    def resolve(self, actor: str) -> Principal:
        """`operator` or an agent as it is now. Raises NotFound."""
        if actor == OPERATOR:
            return OPERATOR_PRINCIPAL
        try:
            return self.places[environment_of(actor)].registry.principal(actor)
        except NotFound:
            self.opened.require(environment_of(actor))
            raise

    def dispatch(self, action: Action, principal: Principal) -> Receipt:
        try:
            receipt = self._dispatcher.dispatch(action, principal)
        except SwarmDeckError as error:
            self.journal.refused(action, principal, error)
            raise
        receipt.listen(partial(self._note_failure, action, principal))
        return receipt

    def _note_failure(self, action: Action, principal: Principal, receipt: Receipt) -> None:
        if receipt.error is not None:
            self.journal.refused(action, principal, receipt.error)

    async def publish(self, channel: str, body: Any, principal: Principal) -> int:  # noqa: ANN401
        self.check_channel(channel, principal)
        if principal.is_operator and self.authority.is_limited:
            self.authority.require_publish(channel)
        return await self.channels.publish(channel, body)

    def check_channel(self, channel: str, principal: Principal) -> None:
        """The operator uses any channel, an agent those of its environment: `dev.…`. Raises
        InvalidInput for a name that cannot be one, Denied."""
        check_name(channel, "channel")
        if not principal.is_operator:
            prefix = f"{Environment(principal.environment).prefix}."
            if not channel.startswith(prefix):
                raise Denied(
                    f"{principal.id} may not use channel {channel}",
                    hint=f"channels of its environment begin with {prefix}",
                )

    # --- what handlers ask ------------------------------------------------------------------

    def overview(self) -> views.Overview:
        """Everything the first screen shows, of this moment, copied without a wait."""
        used = self.swarms.vitals.used_bytes
        full_in_s = self.watch.forecast.full_in_s if "watch" in self.__dict__ else _unknown
        by_environment: Counter[str] = Counter()
        for agent, size_bytes in used.items():
            by_environment[environment_of(agent)] += size_bytes
        return views.Overview(
            sequence=self._sequence,
            at_us=self.clock.wall_us(),
            engine=self._engine_view(),
            host=overview.host_view(
                self.ledger, self.host.latest, scale=self._scale, used_bytes=sum(used.values())
            ),
            environments=tuple(
                overview.environment_view(
                    self.places[use.name],
                    use,
                    self.settings,
                    used_bytes=by_environment[use.name],
                    full_in_s=full_in_s(use.name, use.allocated_bytes),
                )
                for use in self.ledger.use()
            ),
            swarms=tuple(self.swarms.list()),
            agents=tuple(self.swarms.agents()),
            access=overview.access_summary(self.places),
            benchmarks=self._results.glance,
            clock=self.time.words(),
            vault=self.vault.glance(),
            breaking=overview.breaking(self.places),
        )

    def _engine_view(self) -> views.EngineView:
        return overview.engine_view(
            self.places,
            version=__version__,
            data=str(self.data),
            uptime_s=self.clock.monotonic_s() - self._opened_s,
            loop_lag_ms=self.ticker.loop_lag_ms,
            bus=self.channels.state,
            headless=self._headless,
            identity=self.identity,
        )

    def request_stop(self, reason: str) -> None:
        """Tell everyone, the owner of this engine first of all, that it should end now."""
        self._publish(EngineStopping(reason))

    def sampled(self, operation: str, sample: Sample) -> None:
        """Show how a benchmark goes while it runs."""
        self.bus.publish(Sampled(operation, *msgspec.structs.astuple(sample)))

    def measured(self, found: list[views.BenchView]) -> list[views.BenchView]:
        """Keep and show what a benchmark has found; the same beside the chosen baseline. Raises
        StorageError."""
        kept = self._results.add(found)
        self._engine_changed()
        return kept

    def benchmarks_beside(self, baseline: str | None) -> list[views.BenchView]:
        """The last results beside a baseline, or the chosen one. Raises NotFound."""
        return self._results.beside(baseline)

    def keep_baseline(self, name: str, *, remove: bool) -> views.Done:
        """Keep the last results under a name, or forget it. Raises NotFound, StorageError."""
        done = self._results.keep(name, remove=remove)
        self._engine_changed()
        return done

    @cached_property
    def _backups(self) -> Backups:
        """Loaded when somebody asks for them."""
        from .backup import Backups  # noqa: PLC0415 - most commands need none

        return Backups(self)

    @cached_property
    def watch(self) -> Watch:
        """Loaded with the first second of an engine, or when somebody asks for its alerts."""
        from .watch import Watch  # noqa: PLC0415 - a command that is over in a moment needs none

        return Watch(self, self._engine_changed, self._publish)

    @cached_property
    def reloading(self) -> Reloading:
        """Loaded in an engine that stays, where settings can be read again."""
        from .reload import Reloading  # noqa: PLC0415 - a command reads them once

        made = Reloading(self.settings, self._take_settings)
        made.takes(
            ("enforcement.guard_interval_s", "enforcement.pressure_available"),
            lambda settings: self.swarms.keeper.change(settings.enforcement),
        )
        made.takes(("queue.",), self._take_queue_settings)
        return made

    def _take_queue_settings(self, settings: Settings) -> None:
        for place in self.opened.serving.values():
            place.queue.take(settings.queue)

    @cached_property
    def metrics(self) -> Metrics:
        """Loaded with the first second of an engine that stays, or when somebody asks."""
        from .metrics.service import Metrics  # noqa: PLC0415 - one command measures nothing

        made = Metrics(self)
        if not self._brief:
            self.reloading.takes(("metrics.",), lambda _: None)  # every step reads them anew
        return made

    @cached_property
    def health(self) -> Health:
        """Loaded with the first second of an engine that stays, or when somebody asks."""
        from .health.service import Health  # noqa: PLC0415 - one command looks after nothing

        made = Health(self)
        if not self._brief:
            self.reloading.takes(("health.", "breaker."), made.take)
        return made

    def ailing(self) -> Ailing:
        """What probes and recovery know by now."""
        from .alerts import Ailing  # noqa: PLC0415 - as the watch that asks

        return self.health.ailing() if "health" in self.__dict__ else Ailing()

    @property
    def lasting(self) -> bool:
        """Whether it stays, and starts lasting agents."""
        return self._socket is not None

    async def _end_measuring(self) -> None:
        if "health" in self.__dict__:
            await self.health.close()
        if "metrics" in self.__dict__:
            await self.metrics.close()

    # To the type checker an attribute like the others; made when it is first asked for.
    alerts: Alerts = cached_property(lambda self: self.watch.alerts)  # type: ignore[assignment]
    backups: Backups = cached_property(lambda self: self._backups)  # type: ignore[assignment]

    def _engine_changed(self) -> None:
        self.bus.publish(Changed("engine", "", self._sequence))

    def _budget_changed(self, view: views.AdmissionView, actor: str) -> None:
        self._sequence += 1
        text = f"{describe(view)}, by {actor}"
        self.journal.note("budget", view.environment, text, environment=view.environment)
        self._engine_changed()

    # --- what happens by itself -------------------------------------------------------------

    def _publish(self, event: Event) -> int:
        self.journal.heed(event)
        if isinstance(event, GlassBroken):
            self._notify(event.owner, f"glass {event.entry.namespace}/{event.entry.key_prefix}")
        elif isinstance(event, AgentChanged) and event.state == GONE and self._link is not None:
            self._link.expel(event.id)
        return self.bus.publish(event)

    def _committed(self, environment: str, topics: frozenset[str], _: int) -> None:
        self._sequence += 1
        if topics & {"agents", "swarms"}:
            # Who may take which message has changed.
            self.places[environment].queue.refresh()
        for topic in topics:
            self.bus.publish(Changed(topic, environment, self._sequence))

    @property
    def link(self) -> LinkServer | None:
        """The socket, where there is one."""
        return self._link

    async def regain_socket(self) -> None:
        """Listen again when the socket was removed: the runtime directory of a user goes when its
        last session ends, and a headless engine outlives that. Raises Unavailable, Denied."""
        if self._link is None or self._socket is None or self._socket.exists():
            return
        place = self._renew_socket()
        await self._link.move(place)
        self._socket = place
        self.journal.note("engine", "engine", "its socket was gone: made anew", severity="warning")

    async def issue_token(self, agent: str, ttl_s: float, principal: Principal) -> views.TokenView:
        """A new token, told this once. Raises NotFound, Conflict."""
        self.opened.require(environment_of(agent))
        return await self.identity.issue(agent, ttl_s, principal)

    async def revoke_token(self, agent: str, principal: Principal) -> views.Done:
        """Void an agent's token and end its connections. Raises NotFound."""
        self.opened.require(environment_of(agent))
        return await self.identity.revoke(agent, principal)

    async def reload(self, actor: str) -> list[views.SettingChangeView]:
        """Read the settings again. Raises ConfigError, and then all stays as it is."""
        try:
            changes = await self.reloading.reload()
        except SwarmDeckError as error:
            text = f"the settings stay as they were: {error.message}"
            self.journal.note("engine", "engine", text, severity="critical")
            raise
        for change in changes:
            text = f"{change.name}: {change.state}, from {change.source}, by {actor}"
            self.journal.note("engine", "engine", text)
        self.identity.reloaded(actor, changes)
        self._engine_changed()
        return changes

    def _take_settings(self, settings: Settings) -> None:
        self.settings = settings

    async def confirm_clock(self, principal: Principal) -> views.Done:
        """Go by the host's clock again, which has jumped."""
        done = await self.time.confirm(principal)
        self._engine_changed()
        return done


@asynccontextmanager
async def open_core(
    data: Path,
    *,
    settings: Settings | None,
    transient: bool,
    headless: bool,
    clock: Clock | None,
    brief: bool = False,
) -> AsyncIterator[Core]:
    """Own a data directory and everything in it. `brief`: for one command, which waits for its
    files on the loop because nothing else happens there. Raises EngineBusy, Corrupt, StorageError,
    ConfigError; whatever was opened before the failure is closed again."""
    known = settings or load_settings(None, os.environ, {})
    make_directory(data)
    async with AsyncExitStack() as stack:
        taking = OwnerLock.acquire(data) if transient else own(data)
        lock = stack.enter_context(await taking)
        socket = None if transient else lock.prepare_socket()
        core = Core(
            data, known, clock or SystemClock(), headless=headless, socket=socket, brief=brief,
            renew_socket=lock.prepare_socket,
        )  # fmt: skip
        await core.open(stack)
        yield core


def make_directory(data: Path) -> None:
    """Make the data directory, closed to others. Raises StorageError when it cannot be."""
    try:
        data.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        for name in ("run", "logs", "keys", "backups", "instances"):
            (data / name).mkdir(mode=stat.S_IRWXU, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the data directory {data}: {error.strerror}",
            hint="give another one with --data",
        ) from error


def _unknown(_: str, __: int) -> None:
    """How long memory lasts before anything was measured."""


def _lanes(settings: Settings) -> dict[Any, LaneSize]:
    lanes = settings.lanes
    return {
        name: LaneSize(workers=getattr(lanes, name).workers, waiting=getattr(lanes, name).queued)
        for name in lanes.__struct_fields__
    }


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
