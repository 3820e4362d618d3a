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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from . import __version__, overview, views
from .audit import Auditor, outside_directory
from .authority import Authority
from .bench.results import Results
from .budgets import Budgets, describe
from .bus import open_channels
from .clock import Clock, SystemClock
from .dataplane import DataPlane
from .dispatch import Dispatcher
from .dispatch import LaneSettings as LaneSize
from .engine import Engine
from .environment import Place, database_path, store_options
from .errors import SwarmDeckError
from .events import (
    GONE,
    OPERATIONS,
    AgentChanged,
    Changed,
    EngineStopping,
    Event,
    EventBus,
    GlassBroken,
    Published,
    Sampled,
)
from .front import Front
from .handlers import Handlers
from .hostmem import HostMemory
from .identity import Identity
from .journal import Journal
from .ledger import Ledger, scale_plan
from .localport import LocalPort
from .lock import OwnerLock, lasting_socket, make_directory, own
from .model import (
    Environment,
    Principal,
    Role,
    environment_of,
)
from .places import Places
from .settings import Settings, load_settings
from .store.database import Database, open_database
from .store.reserve import Reserve
from .store.volatile import directory, is_memory, is_volatile, shown
from .swarms.crew import TAKEN, Surroundings
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
    from .link.server import LinkServer
    from .metrics.service import Metrics
    from .reload import Reloading
    from .watch import Watch

TOPICS: Final = (
    "engine", "memory", "queue", "events", "tasks", "consensus", "conflicts", "artifacts",
    "measures", "swarms", "agents", "access",
)  # fmt: skip
"""What may have changed when a whole environment has."""

CLOSE_DRAIN_S: Final = 1.0  # for operations under way; an engine is to end within three seconds


class Core(Front):
    """An engine in this process, and what its socket serves. Made by `open_core`."""

    budgets: Budgets
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
        self.bus.when_wanted(OPERATIONS, self._watch_memory)
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
        wanted = 0 if is_volatile(data) else settings.store.reserve_bytes
        self.identity = Identity(self)
        self.reserve = Reserve(data / "reserve", wanted) if wanted else None
        self.authority = Authority(
            {name.value: Role(role) for name, role in settings.operator.items()}
        )
        self.data_plane = DataPlane(self.places, self.opened.serving, self.authority)
        self.verbs = self.data_plane.verbs
        self.host = HostMemory()
        scaled = scale_plan(settings.host, self.host.latest.total_bytes)
        self.ledger = Ledger(scaled.plan)
        self._results = Results(data)
        self.engine = Engine(
            LocalPort(self), data=Path(shown(data)), attached=False, identity=settings.identity
        )
        self._scale = scaled.scale
        self._socket = socket
        self._renew_socket = renew_socket
        self._headless = headless
        self._brief = brief
        self._opened_s = clock.monotonic_s()
        self.ticker = Ticker(self, self.opened.serving, stays=not brief)
        self._link: LinkServer | None = None
        self._dispatcher = Dispatcher(
            Handlers(self), self.bus, clock, _lanes(settings), drain_s=CLOSE_DRAIN_S,
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
        if self.bus.hears(OPERATIONS):
            self._watch_memory(wanted=True)
        for topic in TOPICS:
            self.bus.publish(Changed(topic, environment, self._sequence))

    def _watch_memory(self, wanted: bool) -> None:
        from .system.operations import MemoryWatch  # noqa: PLC0415 - hardly anybody listens

        stores = (place.memory for place in self.places.values())
        MemoryWatch(self.bus, stores).turn(wanted=wanted)

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

    # --- what handlers ask ------------------------------------------------------------------

    def overview(self) -> views.Overview:
        """Everything the first screen shows, of this moment, copied without a wait."""
        return overview.whole(
            self,
            sequence=self._sequence,
            scale=self._scale,
            uptime_s=self.clock.monotonic_s() - self._opened_s,
            headless=self._headless,
            benchmarks=self._results.glance,
            full_in_s=self.watch.forecast.full_in_s if "watch" in self.__dict__ else None,
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
        made.takes(("tasks.",), self._take_task_settings)
        made.takes(TAKEN, lambda settings: self.swarms.take(settings.agents))
        return made

    def _take_queue_settings(self, settings: Settings) -> None:
        for place in self.opened.serving.values():
            place.queue.take(settings.queue)

    def _take_task_settings(self, settings: Settings) -> None:
        for place in self.opened.serving.values():
            place.tasks.retention.take(settings.tasks)

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
        elif isinstance(event, Published) and not self.bus.hears(event.channel):
            return 0  # a hint that nobody waits for, perhaps a thousand of them a second
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
    """Own a data directory and everything in it; `:memory:` is one in memory that nobody else can
    attach to. `brief`: for one command, which waits for its
    files on the loop because nothing else happens there. Raises EngineBusy, Corrupt, StorageError,
    ConfigError; whatever was opened before the failure is closed again."""
    known = settings or load_settings(None, os.environ, {})
    timed = clock or SystemClock()
    async with AsyncExitStack() as stack:
        if is_memory(data):
            core = Core(directory(), known, timed, headless=headless, socket=None, brief=brief)
        else:
            make_directory(data)
            taking = OwnerLock.acquire(data) if transient else own(data)
            lock = stack.enter_context(await taking)
            socket = None if transient else lock.prepare_socket()
            core = Core(
                data, known, timed, headless=headless, socket=socket, brief=brief,
                renew_socket=lock.prepare_socket,
            )  # fmt: skip
        await core.open(stack)
        yield core


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
