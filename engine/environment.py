"""One environment, open: its database and everything that lives in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from .acl import Access
from .audit.reads import Reads
from .clock import Clock
from .errors import Corrupt, NotFound, SwarmDeckError
from .events import Event, GlassBroken
from .memory import MemoryStore
from .model import AgentState, Environment, Principal, Role
from .queue import MessageQueue
from .settings import Settings
from .store.database import Database, StoreOptions, open_database
from .store.refused import RefusedDatabase
from .store.replaced import believed
from .store.reserve import Reserve
from .store.swap import Reason, Swap
from .swarms.registry import Registry
from .vault import Vault

if TYPE_CHECKING:
    from .artifacts.service import Artifacts
    from .artifacts.upkeep import Sweep
    from .artifacts.uploads import Uploads
    from .conflicts import Conflicts
    from .consensus import Consensus
    from .eventlog.service import EventLog
    from .measures.service import Measures
    from .tasks import Tasks

State = Literal["open", "quarantined", "restoring"]

_ENDED: Final = (AgentState.EXITED, AgentState.FAILED)


class Place:
    """What belongs to one environment. Made by `open_place`. Unless its state is open it holds
    nothing, and whoever asks gets `refusal`."""

    state: State = "open"
    refusal: SwarmDeckError | None = None
    replaced: Reason | None = None  # its file was put back, and not all that follows is done

    def __init__(
        self,
        environment: Environment,
        database: Database,
        settings: Settings,
        clock: Clock,
        vault: Vault,
        publish: Callable[[Event], object],
        may_claim: Callable[[str], bool],
    ) -> None:
        self.environment = environment
        self.ring = vault.ring(environment)
        self._vault = vault
        self._publish = publish
        self._task_settings = settings.tasks
        self.database = database
        isolation = {name.value: kind for name, kind in settings.isolation.items()}
        self.registry = Registry(
            database,
            clock,
            publish=publish,
            on_gone=self._gone,
            stale_after_s=settings.agents.heartbeat_s * settings.agents.missed_heartbeats,
        )
        self.access = Access(
            environment,
            isolation,
            database,
            clock,
            people=self.registry,
            operator=Role(settings.operator[environment]),
            told=lambda entry, owner: publish(GlassBroken(entry, owner)),
        )
        self.reads = Reads(
            database,
            clock,
            mode=settings.audit.reads[environment],
            sample_every=settings.audit.sample_every,
            wait_s=settings.audit.wait_s,
        )
        self.memory = MemoryStore(
            database,
            self.access,
            clock,
            ring=self.ring,
            cache_bytes=settings.cache.records_bytes,
            results_bytes=settings.cache.results_bytes,
            results_ttl_s=settings.cache.results_ttl_s,
            reads=self.reads,
        )
        self.queue = MessageQueue(
            database,
            settings.queue,
            clock,
            Directory(self.registry, may_claim),
            self.memory,
            self.ring,
        )

    @cached_property
    def measures(self) -> Measures:
        """What users measure; nothing is read before somebody asks."""
        from .measures.service import Measures  # noqa: PLC0415 - most commands need none

        return Measures(self, self.database.clock)

    @cached_property
    def events(self) -> EventLog:
        """What has been said to have happened; nothing is read before somebody asks."""
        from .eventlog.service import EventLog  # noqa: PLC0415 - most commands need none

        return EventLog(self, self.database.clock, lambda: self.queue.settings, self._publish)

    @cached_property
    def tasks(self) -> Tasks:
        """What agents have to do; nothing is read before somebody asks."""
        from .acl.rows import Rows  # noqa: PLC0415 - as tasks
        from .tasks import Tasks  # noqa: PLC0415 - most commands need none

        return Tasks(
            self.environment, self.database, Rows(self.access, "task"), self.ring, self.registry,
            self.database.clock, self._task_settings,
        )  # fmt: skip

    @cached_property
    def consensus(self) -> Consensus:
        """What is put to the vote; nothing is read before somebody asks."""
        from .consensus import Consensus  # noqa: PLC0415 - most commands need none

        return Consensus(self, self.database.clock)

    @cached_property
    def conflicts(self) -> Conflicts:
        """What stands between two; nothing is read before somebody asks."""
        from .conflicts import Conflicts  # noqa: PLC0415 - most commands need none

        return Conflicts(self, self.database.clock)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Files that agents have made; nothing is read before somebody asks."""
        from .artifacts.service import Artifacts  # noqa: PLC0415 - most commands need none

        return Artifacts(
            self.environment, self.database, self.access, self.reads, self.ring,
            self.database.clock,
        )  # fmt: skip

    @cached_property
    def uploads(self) -> Uploads:
        """Artifacts that come in piece by piece."""
        from .artifacts.uploads import Uploads  # noqa: PLC0415 - as artifacts

        return Uploads(self.artifacts)

    @cached_property
    def leavings(self) -> Sweep:
        """Files of artifacts that nothing speaks of."""
        from .artifacts.upkeep import Sweep  # noqa: PLC0415 - as artifacts

        return Sweep(self.artifacts)

    @property
    def has_artifacts(self) -> bool:
        """Whether there are files of artifacts. Looks at the disk."""
        return (self.database.path.parent / "artifacts").is_dir()

    async def end_uploads(self) -> None:
        if "uploads" in self.__dict__:
            await self.uploads.close()

    async def note_seen(self) -> None:
        """Before it closes: store when agents were last heard. A disk that refuses keeps nothing
        from closing."""
        with suppress(SwarmDeckError):
            await self.registry.note_seen()

    async def _gone(self, agent: str) -> None:
        await self.queue.release(agent)
        await self.tasks.working.release(agent)

    async def open(self, *, brief: bool) -> None:
        await self.registry.load()
        await self.access.open()
        await self.memory.open()
        self._vault.attach(self.environment.value, self.database, self.memory)
        await self.queue.open(brief=brief)


class Directory:
    """Who is who, for the queue. `may_claim` says of an agent whether it gets new work."""

    def __init__(self, registry: Registry, may_claim: Callable[[str], bool]) -> None:
        self._registry = registry
        self._may_claim = may_claim

    def knows(self, ident: str) -> bool:
        registry = self._registry
        return ident in registry.agents or ident in registry.teams or ident in registry.swarms

    def ended(self, ident: str) -> str:
        registry = self._registry
        agent = registry.agents.get(ident)
        if agent is not None and agent.is_external:
            return ""  # it outlives the swarm it has joined
        swarm = registry.swarms.get(ident if agent is None else agent.swarm or "")
        if swarm is None or not swarm.is_over or registry.heir(swarm) is not None:
            return ""
        whose = "" if agent is None else f"agent {ident} belongs to "
        why = f": {swarm.reason}" if swarm.reason else ""
        return f"{whose}swarm {swarm.id}{', which' if agent else ''} has ended{why}"

    def members(self, ident: str | None) -> Iterable[str]:
        registry = self._registry
        if ident is None or ident in registry.swarms:
            agents = registry.select(swarm=ident)
        elif ident in registry.teams:
            agents = registry.select(team=ident)
        else:
            agents = [registry.agent(ident)]
        return [agent.id for agent in agents if agent.state not in _ENDED]

    def principal(self, ident: str) -> Principal | None:
        try:
            return self._registry.principal(ident)
        except NotFound:
            return None

    def targets(self, principal: Principal) -> Iterable[str]:
        now = self.principal(principal.id) or principal
        return (now.id, *now.teams, *((now.swarm,) if now.swarm else ()))

    def may_claim(self, principal: Principal) -> bool:
        return principal.is_operator or self._may_claim(principal.id)


def refused_place(
    data: Path,
    environment: Environment,
    settings: Settings,
    clock: Clock,
    vault: Vault,
    refusal: SwarmDeckError,
    state: State = "quarantined",
) -> Place:
    """An environment that cannot be used now: it stands in the place of the one that can."""
    options = store_options(settings, environment.value)
    path = database_path(data, environment)
    database = RefusedDatabase(path, environment.value, options, clock, refusal)
    place = Place(environment, database, settings, clock, vault, lambda _: None, lambda _: False)
    place.state, place.refusal = state, refusal
    return place


def quarantine(environment: str, error: Corrupt) -> Corrupt:
    """What every call on an environment answers whose file cannot be trusted."""
    return Corrupt(
        f"{environment} is quarantined: {error.message}",
        hint=f"swarmdeck backup restore {environment} NAME (see swarmdeck backup list)",
    )


@asynccontextmanager
async def open_place(  # noqa: PLR0913 - what a place is made of
    data: Path,
    environment: Environment,
    settings: Settings,
    clock: Clock,
    *,
    vault: Vault,
    publish: Callable[[Event], object],
    on_commit: Callable[[str, frozenset[str], int], None],
    may_claim: Callable[[str], bool],
    reserve: Reserve | None = None,
    brief: bool = False,
) -> AsyncIterator[Place]:
    """Open an environment, made on first use; `brief` as for its database. One whose file is
    damaged, foreign or newer opens quarantined, and nothing touches the file. Raises
    StorageError."""
    async with AsyncExitStack() as stack:
        try:
            replaced = Swap(database_path(data, environment)).settle()
            database = await stack.enter_async_context(
                open_database(
                    database_path(data, environment),
                    environment.value,
                    options=store_options(settings, environment.value),
                    clock=clock,
                    on_commit=on_commit,
                    reserve=reserve,
                    brief=brief,
                )
            )
            place = Place(environment, database, settings, clock, vault, publish, may_claim)
            place.replaced = await believed(replaced, database, vault)
            await place.open(brief=brief)
            database.loaded()
            stack.push_async_callback(place.queue.close)
            stack.push_async_callback(vault.finish, environment.value)
            stack.push_async_callback(place.note_seen)
            stack.push_async_callback(place.end_uploads)
        except Corrupt as error:
            await stack.aclose()
            refusal = quarantine(environment, error)
            place = refused_place(data, environment, settings, clock, vault, refusal)
        yield place


def database_path(data: Path, name: str) -> Path:
    return data / "instances" / name / f"{name}.db"


def store_options(settings: Settings, name: str) -> StoreOptions:
    """How the database of an environment, or `coordination`, is opened."""
    store = settings.store
    return StoreOptions(
        durability=settings.durability[name],
        page_size=store.page_size,
        cache_bytes=store.cache_bytes,
        mmap_bytes=store.mmap_bytes,
        autocheckpoint_pages=store.autocheckpoint_pages,
        busy_timeout_ms=store.busy_timeout_ms,
        batch_limit=store.batch_limit,
        checkpoint_interval_s=store.checkpoint_interval_s,
        slow_statement_ms=store.slow_statement_ms,
    )
