"""The embedded engine: opens everything in order, serves it in this process and on its socket,
closes it in reverse.

    data directory, settings, owner lock
    coordination database, five environments
    channels, ledger, host readings
    dispatcher, socket, swarms, ticker
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from types import CoroutineType
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
from .environment import (
    Place,
    State,
    database_path,
    open_place,
    quarantine,
    refused_place,
    store_options,
)
from .errors import (
    Corrupt,
    Denied,
    EngineBusy,
    NotFound,
    StorageError,
    SwarmDeckError,
    Unavailable,
)
from .events import (
    GONE,
    AgentChanged,
    Callback,
    Changed,
    EngineStopping,
    Event,
    EventBus,
    GlassBroken,
    Sampled,
)
from .events import Subscription as EventSubscription
from .handlers import Handlers
from .hostmem import HostMemory
from .identity import Identity
from .journal import Journal
from .ledger import Ledger, scale_plan
from .lock import RETRY_S, OwnerLock, find_socket
from .model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    Principal,
    Role,
    check_name,
    environment_of,
)
from .port import Subscription
from .settings import Settings, load_settings
from .store.database import Database, open_database
from .store.reserve import Reserve
from .store.swap import Swap
from .swarms.crew import Surroundings
from .swarms.service import Swarms
from .timekeeper import GuardedClock
from .timewatch import TimeWatch
from .vault import Vault

if TYPE_CHECKING:
    from .alerts import Alerts
    from .backup import Backups
    from .bench.meter import Sample
    from .link.protocol import Greeting
    from .link.server import LinkServer
    from .watch import Watch

TICK_S: Final = 1.0
SWEEP_EVERY_TICKS: Final = 5
SWEEP_S: Final = 0.2  # of one environment, each second it takes longer
CLOSE_DRAIN_S: Final = 2.0
PASSING_HOLDER_S: Final = 5.0

log = logging.getLogger(__name__)


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
        self.places: dict[str, Place] = {}
        wanted = settings.store.reserve_bytes
        self.identity = Identity(self)
        self.reserve = Reserve(data / "reserve", wanted) if wanted else None
        self._serving: dict[str, Place] = {}  # those that are open
        self._homes: dict[str, AsyncExitStack] = {}  # what closes each place
        self._moving: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._quarantines: set[asyncio.Task[None]] = set()
        self.authority = Authority(
            {name.value: Role(role) for name, role in settings.operator.items()}
        )
        data_plane = DataPlane(self.places, self._serving, self.authority)
        self.verbs = data_plane.verbs
        self.trusted_verbs = data_plane.trusted
        self.host = HostMemory()
        scaled = scale_plan(settings.host, self.host.latest.total_bytes)
        self.ledger = Ledger(scaled.plan)
        self._results = Results(data)
        self.engine = Engine(LocalPort(self), data=data, attached=False)
        self._scale = scaled.scale
        self._socket = socket
        self._headless = headless
        self._brief = brief
        self._opened_s = clock.monotonic_s()
        self._loop_lag_ms = 0.0
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
            if not await self._settle(place):
                await self.swarms.restore(place, lasting=self._socket is not None)
        self.journal.note("engine", "engine", f"opened as process {os.getpid()}")
        if not self._brief:
            self.identity.opened(__version__)
        ticker = asyncio.create_task(self._tick(), name="ticker")
        stack.push_async_callback(_cancelled, ticker)

    async def _open_stores(self, stack: AsyncExitStack) -> None:
        """All files at once: opening one is mostly waiting for the disk. Every one that opened
        is on the stack before the failure of another is raised."""
        stack.push_async_callback(self._close_places)
        if self.reserve is not None and not self._brief:
            self.reserve.make()
        opened = await asyncio.gather(
            stack.enter_async_context(self._coordination()),
            *(self._open_place(environment) for environment in Environment),
            return_exceptions=True,
        )
        for outcome in opened:
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(outcome, Database):
                await self.auditor.attach_database(outcome)
                await self._open_budgets(outcome)
        stack.push_async_callback(self.auditor.close)

    async def _open_place(self, environment: Environment) -> None:
        """Open an environment, or find that its file cannot be trusted."""
        async with AsyncExitStack() as home:
            place = await home.enter_async_context(self._place(environment))
            if place.refusal is None and place.replaced is None:
                await self.auditor.attach(place)
            if "swarms" in self.__dict__:  # not while the engine itself opens: they come last
                await self._settle(place)
            self._homes[environment.value] = home.pop_all()
        self._put(place)
        if place.refusal is not None:
            self._tell_quarantine(place)

    async def _settle(self, place: Place) -> bool:
        """Do what follows from a file that was put back, before anybody uses it; whether it was."""
        if place.replaced is None or place.refusal is not None:
            return False
        await self.backups.finish(place, place.replaced)
        await self.auditor.restored(place)
        place.replaced = None
        Swap(place.database.path).settled()
        return True

    def _put(self, place: Place) -> None:
        name = place.environment.value
        self.places[name] = place
        place.registry.on_void = self.identity.voided
        self._serving.pop(name, None)
        if place.refusal is not None:
            self.auditor.detach(name)
        else:
            self._serving[name] = place
            place.database.on_damage = partial(self._damaged, place)

    async def _close_places(self) -> None:
        """All of them, also when closing one fails."""
        if self._quarantines:
            await asyncio.wait(self._quarantines)
        async with AsyncExitStack() as stack:
            for home in self._homes.values():
                stack.push_async_exit(home)
            self._homes.clear()

    # --- one environment, closed and opened while the others work ---------------------------

    async def reopen(
        self, environment: Environment, between: Callable[[], Awaitable[None]], why: str
    ) -> Place:
        """Close an environment, await `between`, open it again, whatever came of that; the new
        place. Until then calls on it are refused, with `why`. Raises what `between` raised,
        Corrupt when the environment is quarantined afterwards."""
        name = environment.value
        async with self._moving[name]:
            wait = Unavailable(f"{name} is {why}", hint="try again in a moment")
            self._put(self._refused(environment, wait, "restoring"))
            self._place_changed(name)
            try:
                await self._homes.pop(name).aclose()
                await between()
            finally:
                await self._open_again(environment)
                self._place_changed(name)
        self._require_open(name)
        return self.places[name]

    async def _open_again(self, environment: Environment) -> None:
        """Open an environment, or keep why it could not be opened."""
        try:
            await self._open_place(environment)
        except SwarmDeckError as error:
            self._homes[environment.value] = AsyncExitStack()
            self._put(self._refused(environment, error, "quarantined"))
            self._tell_quarantine(self.places[environment.value])

    def _refused(self, environment: Environment, error: SwarmDeckError, state: State) -> Place:
        return refused_place(
            self.data, environment, self.settings, self.clock, self.vault, error, state
        )

    def _damaged(self, place: Place, error: Corrupt) -> None:
        """A file was found damaged while it was used."""
        if self.places[place.environment.value] is place:
            task = asyncio.create_task(self._quarantine(place, error), name="quarantine")
            self._quarantines.add(task)
            task.add_done_callback(self._quarantines.discard)

    async def _quarantine(self, place: Place, error: Corrupt) -> None:
        name = place.environment.value
        async with self._moving[name]:
            if self.places[name] is not place:
                return  # it has been replaced meanwhile
            refusal = quarantine(name, error)
            kept = self._refused(place.environment, refusal, "quarantined")
            swarms = list(place.registry.swarms)
            self._put(kept)
            self._tell_quarantine(kept)
            self._place_changed(name)
            try:
                await self._homes.pop(name).aclose()
            except (OSError, TimeoutError, SwarmDeckError) as trouble:
                log.warning("%s could not be closed: %s", name, trouble)
            finally:
                self._homes[name] = AsyncExitStack()
            await self.swarms.abandon(name, swarms)
            self._place_changed(name)

    def _tell_quarantine(self, place: Place) -> None:
        name, refusal = place.environment.value, place.refusal
        if refusal is not None:
            if not self._brief:  # one command says so itself, if it is about this environment
                log.error("%s", refusal.message)
            self.journal.note(
                "quarantine", name, f"{refusal.message} ({refusal.hint})",
                environment=name, severity="critical",
            )  # fmt: skip

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

    def _place(self, environment: Environment) -> Any:  # noqa: ANN401 - a context manager
        return open_place(
            self.data,
            environment,
            self.settings,
            self.clock,
            vault=self.vault,
            publish=self._publish,
            on_commit=self._committed,
            may_claim=self._may_claim,
            reserve=self.reserve,
            brief=self._brief,
        )

    def _may_claim(self, agent: str) -> bool:
        return self.swarms.may_claim(agent)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            sites=self.places,
            open_site=self._site,
            directory=self.data,
            socket=self._socket or self.data,
            ledger=self.ledger,
            clock=self.clock,
            settings=self.settings.agents,
            publish=self._publish,
            notify=self._notify,
            measure=self.host.measure,
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
        self._require_open(environment)
        return self.places[environment]

    def _require_open(self, environment: str) -> None:
        """Raises Corrupt for an environment that is quarantined, Unavailable while it is being
        restored."""
        refusal = self.places[environment].refusal
        if refusal is not None:
            raise refusal.again()

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
        self._require_open(place.environment)
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
            self._require_open(environment_of(actor))
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
            loop_lag_ms=self._loop_lag_ms,
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

        return Watch(self, self._engine_changed)

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

    async def _tick(self) -> None:
        """Once a second: measure, and from time to time sweep what has expired."""
        loop = asyncio.get_running_loop()
        ticks = 0
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self._loop_lag_ms = max(0.0, (loop.time() - due_s) * 1000)
            ticks += 1
            try:
                self.time.tick()
                self.identity.tick()
                self.host.sample()
                await self.swarms.sample()
                await self.watch.tick()
                await self.vault.tick()
                await self.auditor.tick()
                if self.reserve is not None and ticks % SWEEP_EVERY_TICKS == 0:
                    self.reserve.regain()
                await self._sweep(due=ticks % SWEEP_EVERY_TICKS == 0)
            except SwarmDeckError as error:
                log.warning("upkeep is behind: %s", error.message)

    async def _sweep(self, *, due: bool) -> None:
        """Delete expired records, those of an environment that was left behind even when not
        `due`; none while the host's clock is not believed."""
        if self.time.is_held:
            return
        for place in tuple(self._serving.values()):
            if due or place.memory.is_behind:
                await place.memory.sweep(SWEEP_S)

    @property
    def link(self) -> LinkServer | None:
        """The socket, where there is one."""
        return self._link

    async def issue_token(self, agent: str, ttl_s: float, principal: Principal) -> views.TokenView:
        """A new token, told this once. Raises NotFound, Conflict."""
        self._require_open(environment_of(agent))
        return await self.identity.issue(agent, ttl_s, principal)

    async def revoke_token(self, agent: str, principal: Principal) -> views.Done:
        """Void an agent's token and end its connections. Raises NotFound."""
        self._require_open(environment_of(agent))
        return await self.identity.revoke(agent, principal)

    async def confirm_clock(self, principal: Principal) -> views.Done:
        """Go by the host's clock again, which has jumped."""
        done = await self.time.confirm(principal)
        self._engine_changed()
        return done


class LocalPort:
    """The port of whoever opened the engine in this process: the operator."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def dispatch(self, action: Action) -> Receipt:
        return self._core.dispatch(action, OPERATOR_PRINCIPAL)

    def call(self, verb: str, actor: str, environment: str, *args: object) -> Awaitable[Any]:
        core = self._core
        answer = core.trusted_verbs[verb](core.acting(actor), environment, *args)
        return answer if isinstance(answer, _WAITS) else _Ready(answer)

    def events(self) -> EventSubscription:
        return self._core.bus.subscribe()

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types, bytes
        return await self._core.publish(channel, body, OPERATOR_PRINCIPAL)

    async def subscribe(self, channel: str, callback: Callback) -> Subscription:
        return self._core.bus.listen(check_name(channel, "channel"), callback)

    async def close(self) -> None:
        """Nothing to do: whoever opened the engine closes it."""


_WAITS: Final = (asyncio.Future, CoroutineType)


class _Ready:
    """An answer that is there already, for a caller that awaits it."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Any]:
        return self._value
        yield  # what makes this a generator


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
        taking = OwnerLock.acquire(data) if transient else _own(data)
        lock = stack.enter_context(await taking)
        socket = None if transient else lock.prepare_socket()
        core = Core(
            data, known, clock or SystemClock(), headless=headless, socket=socket, brief=brief
        )
        await core.open(stack)
        yield core


async def _own(data: Path) -> OwnerLock:
    """The owner's lock. A holder without a socket is a command that is done in a moment, or an
    owner that begins: worth waiting for. Raises EngineBusy."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + PASSING_HOLDER_S
    while True:
        try:
            return await OwnerLock.acquire(data)
        except EngineBusy:
            if find_socket(data) is not None or loop.time() > deadline_s:
                raise
        await asyncio.sleep(RETRY_S)


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
