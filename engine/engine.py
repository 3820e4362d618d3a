"""The engine as its users hold it: the same API in its own process and over its socket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from . import actions, views
from .actions import Action
from .control import Acl, Agents, Named, Swarms, Views, converted, ident_of
from .dispatch import Receipt
from .errors import InvalidInput, Unavailable
from .events import Callback
from .events import Subscription as EventSubscription
from .handles import Memory, Queue
from .model import OPERATOR, Environment, environment_of, parse_environment
from .port import Port, Subscription

if TYPE_CHECKING:
    from .artifacts.handle import Artifacts
    from .batch import Batch
    from .clock import Clock
    from .conflicts.handle import Conflicts
    from .consensus.handle import Votes
    from .eventlog.handle import Events
    from .measures.handle import Measures
    from .scheduling import Schedules
    from .settings import IdentitySettings, Settings
    from .system.handle import System
    from .system.signals import Listening
    from .tasks.handle import Tasks

Progress = Callable[[float, str], None]
T = TypeVar("T")


class Engine:
    """An engine in this process (`open_engine`) or in another (`connect`)."""

    def __init__(
        self,
        port: Port,
        *,
        data: Path,
        attached: bool,
        identity: IdentitySettings | None = None,
    ) -> None:
        self._identity = identity
        self.data = data
        self.attached = attached
        self.swarms = Swarms(self)
        self.agents = Agents(self)
        self.acl = Acl(self)
        self.views = Views(self)
        self._port = port

    @cached_property
    def schedules(self) -> Schedules:
        """Messages that are sent again and again."""
        from .scheduling import Schedules  # noqa: PLC0415 - most programs have none

        return Schedules(self)

    @cached_property
    def system(self) -> System:
        """Statistics, copies, upkeep and benchmarks."""
        from .system.handle import System  # noqa: PLC0415 - most programs ask for none

        return System(self)

    @cached_property
    def identity(self) -> IdentitySettings:
        """Which agent this process is and of which swarm, where the settings say so (AGENT_ID and
        SWARM_ID): an engine sets both for each agent it starts."""
        if self._identity is not None:
            return self._identity
        from .settings import load_settings  # noqa: PLC0415 - few who attach ask

        return load_settings(None, os.environ, {}).identity

    def memory(self, actor: Named | None = None, *, environment: str | None = None) -> Memory:
        """The memory of an environment (by name: as the operator) or of an agent's environment
        as that agent, by default of the agent this process is; `environment` lets an agent read
        another one. Raises InvalidInput."""
        name = self._self() if actor is None else ident_of(actor)
        if name in Environment.__members__.values():
            return Memory(self._port, OPERATOR, parse_environment(name).value)
        home = environment_of(name)
        place = home if environment is None else parse_environment(environment)
        return Memory(self._port, name, place.value)

    def own_swarm(self, environment: Environment) -> str | None:
        """The swarm of this process, if it belongs to an environment."""
        swarm = self.identity.swarm_id
        own = swarm is not None and swarm.startswith(f"{environment.prefix}_")
        return swarm if own else None

    def _self(self) -> str:
        agent = self.identity.agent_id
        if agent is None:
            raise InvalidInput(
                "nobody was named, and this process is no agent",
                hint="name an agent or an environment, or set AGENT_ID",
            )
        return agent

    def queue(self, environment: str, *, as_: Named | None = None) -> Queue:
        """The queue of an environment, as the operator or as an agent. Raises InvalidInput."""
        actor = OPERATOR if as_ is None else ident_of(as_)
        return Queue(self._port, actor, parse_environment(environment).value)

    def batch(
        self, environment: str, *, as_: Named | None = None, all_or_nothing: bool = False
    ) -> Batch:
        """Writes and messages of one environment stored with one commit, as the operator or as an
        agent: see `Memory.batch`. Raises InvalidInput."""
        place = parse_environment(environment).value
        actor = OPERATOR if as_ is None else ident_of(as_)
        return Memory(self._port, actor, place).batch(all_or_nothing=all_or_nothing)

    def artifacts(self, environment: str, *, as_: Named | None = None) -> Artifacts:
        """Files that agents have made, as the operator or as an agent sees them."""
        from .artifacts.handle import Artifacts  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else ident_of(as_)
        place = parse_environment(environment).value
        return Artifacts(self, self._port, place, actor, by_path=True)

    def tasks(self, environment: str, *, as_: Named | None = None) -> Tasks:
        """The tasks of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .tasks.handle import Tasks  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else ident_of(as_)
        return Tasks(self, parse_environment(environment).value, actor)

    def eventlog(self, environment: str, *, as_: Named | None = None) -> Events:
        """The events of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .eventlog.handle import Events  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else ident_of(as_)
        return Events(self, parse_environment(environment).value, actor)

    def measures(self, environment: str, *, as_: Named | None = None) -> Measures:
        """Metrics of one's own in an environment, as the operator or as an agent. Raises
        InvalidInput."""
        from .measures.handle import Measures  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else ident_of(as_)
        return Measures(self, self._port, parse_environment(environment).value, actor)

    def consensus(self, environment: str, *, as_: Named | None = None) -> Votes:
        """The proposals of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .consensus.handle import Votes  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else ident_of(as_)
        return Votes(self, parse_environment(environment).value, actor)

    def conflicts(self, environment: str, *, as_: Named | None = None) -> Conflicts:
        """The conflicts of an environment, as the operator or as an agent. Raises InvalidInput."""
        from .conflicts.handle import Conflicts  # noqa: PLC0415 - most programs have none

        actor = None if as_ is None else ident_of(as_)
        return Conflicts(self, parse_environment(environment).value, actor)

    async def dispatch(self, action: Action) -> Receipt:
        """Hand over an action. Await the receipt for its result, or follow its progress."""
        return await self._port.dispatch(_from_here(action))

    async def run(self, action: Action, on_progress: Progress | None = None) -> Any:  # noqa: ANN401
        """Dispatch an action and wait for its result. A caller that is cancelled cancels it."""
        receipt = await self.dispatch(action)
        if on_progress is not None:
            receipt.listen(lambda r: None if r.done else on_progress(r.fraction, r.text))
        try:
            return await receipt
        except BaseException:
            receipt.cancel()
            raise

    async def ask(self, action: Action, kind: type[T]) -> T:
        """`run` for callers that want the type of the result known."""
        result: T = await self.run(action)
        return result

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types and bytes
        """Send to everyone who listens on a channel now; how many that were. Nothing is kept."""
        return await self._port.publish(channel, body)

    async def subscribe(self, channel: str, callback: Callback) -> Subscription:
        """Call `callback(body)` for each message published on a channel, until it is closed."""
        return await self._port.subscribe(channel, callback)

    async def metrics(
        self, subject: Named, *, metric: str | Sequence[str] = (), window: str = "1h"
    ) -> list[views.SeriesView]:
        """How `host`, `engine`, `queue`, `store`, an environment, a swarm or an agent went over
        the last 1h, 6h, 24h, 7d or 30d: a series for each `metric`, all of them by default, in
        even steps, None where nothing was measured. Raises NotFound for what was never measured,
        InvalidInput."""
        chosen = [metric] if isinstance(metric, str) else list(metric)
        fields = {"subject": ident_of(subject), "metric": chosen, "window": window}
        found: list[views.SeriesView] = await self.run(converted("metrics.show", fields))
        return found

    async def on(self, name: str, callback: Callback) -> Listening:
        """Call `callback(event)` for each event of a name from now on, until what this answers is
        closed. The names are initialized (told at once), agentRegistered, memoryOperation, error
        and benchmarksCompleted. Events are for the operator: an agent hears none. Raises
        InvalidInput for another name."""
        from .system.signals import listen  # noqa: PLC0415 - most programs pull views

        return await listen(self._port, name, callback, data=str(self.data), attached=self.attached)

    def events(self) -> EventSubscription:
        """What happens from now on. A slow reader is told how much it has missed."""
        return self._port.events()


@asynccontextmanager
async def open_engine(
    path: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    transient: bool = False,
    headless: bool = False,
    clock: Clock | None = None,
) -> AsyncIterator[Engine]:
    """Own a data directory and run its engine in the caller's loop.

    The directory is made if it is missing. `transient` is for one command: no socket, no
    supervision, nothing adopted or ended, and the loop waits while files are opened. On
    leaving, agents this engine has started are ended. Raises EngineBusy when another process owns
    the directory, Corrupt for a damaged or newer one.
    """
    from .core import open_core  # noqa: PLC0415 - attaching must not load the storage layer

    async with open_core(
        Path(path),
        settings=settings,
        transient=transient,
        brief=transient,
        headless=headless,
        clock=clock,
    ) as core:
        yield core.engine


@asynccontextmanager
async def connect(
    path: str | os.PathLike[str], *, agent: str | None = None, token: str | None = None
) -> AsyncIterator[Engine]:
    """Attach to the engine that owns a data directory, as the operator or, with its id and
    token, as an agent. Raises Unavailable when nobody owns it, Denied for a wrong token."""
    from .link.client import LinkPort  # noqa: PLC0415 - opening in-process does not need it
    from .lock import find_socket  # noqa: PLC0415

    socket = find_socket(Path(path))
    if socket is None:
        raise Unavailable(f"no engine owns {path}", hint="start one with swarmdeck serve")
    port = await LinkPort.open(socket, agent=agent, token=token)
    try:
        yield Engine(port, data=Path(path), attached=True)
    finally:
        await port.close()


def _from_here(action: Action) -> Action:
    """The action with its paths absolute: the engine's working directory is not the caller's.
    Raises InvalidInput for a worker command that is not there."""
    name = actions.name_of(action)
    if name == "demo" and isinstance(action, actions.Demo) and action.files is not None:
        return msgspec.structs.replace(
            action, files=str(Path(action.files).expanduser().absolute())
        )
    if name == "swarm.create" and isinstance(action, actions.SwarmCreate) and action.command:
        from .swarms.supervisor import resolve_command  # noqa: PLC0415 - only this action needs it

        return msgspec.structs.replace(action, command=resolve_command(action.command, Path.cwd()))
    return action
