"""The environments of one engine: opened together, one closed and opened again while the others
work, and one set apart when its file turns out to be damaged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .audit import Auditor
from .clock import Clock
from .environment import Place, State, open_place, quarantine, refused_place
from .errors import Corrupt, SwarmDeckError, Unavailable
from .events import Event
from .identity import Identity
from .journal import Journal
from .model import Environment
from .settings import Settings
from .store.reserve import Reserve
from .store.swap import Swap
from .swarms.service import Swarms
from .vault import Vault

if TYPE_CHECKING:
    from .backup import Backups

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What environments need of their engine. It has no `swarms` before its files are open."""

    data: Path
    settings: Settings
    clock: Clock
    vault: Vault
    auditor: Auditor
    identity: Identity
    journal: Journal
    reserve: Reserve | None
    swarms: Swarms
    backups: Backups


class Places:
    """`all` of them by name, and of these the ones in use: `serving`. Belongs to the engine's loop.

    `publish` is given their events, `on_commit` told of each commit, `changed` of an environment of
    which everything that is shown may have changed."""

    def __init__(
        self,
        engine: Engine,
        *,
        publish: Callable[[Event], object],
        on_commit: Callable[[str, frozenset[str], int], None],
        changed: Callable[[str], None],
        brief: bool,
    ) -> None:
        self._engine = engine
        self._publish = publish
        self._on_commit = on_commit
        self._changed = changed
        self._brief = brief
        self.all: dict[str, Place] = {}
        self.serving: dict[str, Place] = {}
        self._homes: dict[str, AsyncExitStack] = {}  # what closes each place
        self._moving: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._quarantines: set[asyncio.Task[None]] = set()

    async def open(self, environment: Environment) -> None:
        """Open an environment, or find that its file cannot be trusted."""
        async with AsyncExitStack() as home:
            place = await home.enter_async_context(self._place(environment))
            if place.refusal is None and place.replaced is None:
                await self._engine.auditor.attach(place)
            if hasattr(self._engine, "swarms"):  # else the engine itself opens: they come last
                await self.settle(place)
            self._homes[environment.value] = home.pop_all()
        self._put(place)
        if place.refusal is not None:
            self._tell_quarantine(place)

    async def settle(self, place: Place) -> bool:
        """Do what follows from a file that was put back, before anybody uses it; whether it was."""
        if place.replaced is None or place.refusal is not None:
            return False
        await self._engine.backups.finish(place, place.replaced)
        await self._engine.auditor.restored(place)
        place.replaced = None
        Swap(place.database.path).settled()
        return True

    def _put(self, place: Place) -> None:
        name = place.environment.value
        self.all[name] = place
        place.registry.on_void = self._engine.identity.voided
        self.serving.pop(name, None)
        if place.refusal is not None:
            self._engine.auditor.detach(name)
        else:
            self.serving[name] = place
            place.database.on_damage = partial(self._damaged, place)

    async def close(self) -> None:
        """All of them, also when closing one fails."""
        if self._quarantines:
            await asyncio.wait(self._quarantines)
        async with AsyncExitStack() as stack:
            for home in self._homes.values():
                stack.push_async_exit(home)
            self._homes.clear()

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
            self._changed(name)
            try:
                await self._homes.pop(name).aclose()
                await between()
            finally:
                await self._open_again(environment)
                self._changed(name)
        self.require(name)
        return self.all[name]

    async def _open_again(self, environment: Environment) -> None:
        """Open an environment, or keep why it could not be opened."""
        try:
            await self.open(environment)
        except SwarmDeckError as error:
            self._homes[environment.value] = AsyncExitStack()
            self._put(self._refused(environment, error, "quarantined"))
            self._tell_quarantine(self.all[environment.value])

    def _refused(self, environment: Environment, error: SwarmDeckError, state: State) -> Place:
        engine = self._engine
        return refused_place(
            engine.data, environment, engine.settings, engine.clock, engine.vault, error, state
        )

    def _damaged(self, place: Place, error: Corrupt) -> None:
        """A file was found damaged while it was used."""
        if self.all[place.environment.value] is place:
            task = asyncio.create_task(self._quarantine(place, error), name="quarantine")
            self._quarantines.add(task)
            task.add_done_callback(self._quarantines.discard)

    async def _quarantine(self, place: Place, error: Corrupt) -> None:
        name = place.environment.value
        async with self._moving[name]:
            if self.all[name] is not place:
                return  # it has been replaced meanwhile
            refusal = quarantine(name, error)
            kept = self._refused(place.environment, refusal, "quarantined")
            swarms = list(place.registry.swarms)
            self._put(kept)
            self._tell_quarantine(kept)
            self._changed(name)
            try:
                await self._homes.pop(name).aclose()
            except (OSError, TimeoutError, SwarmDeckError) as trouble:
                log.warning("%s could not be closed: %s", name, trouble)
            finally:
                self._homes[name] = AsyncExitStack()
            await self._engine.swarms.abandon(name, swarms)
            self._changed(name)

    def _tell_quarantine(self, place: Place) -> None:
        name, refusal = place.environment.value, place.refusal
        if refusal is not None:
            if not self._brief:  # one command says so itself, if it is about this environment
                log.error("%s", refusal.message)
            self._engine.journal.note(
                "quarantine", name, f"{refusal.message} ({refusal.hint})",
                environment=name, severity="critical",
            )  # fmt: skip

    def _place(self, environment: Environment) -> Any:  # noqa: ANN401 - a context manager
        engine = self._engine
        return open_place(
            engine.data,
            environment,
            engine.settings,
            engine.clock,
            vault=engine.vault,
            publish=self._publish,
            on_commit=self._on_commit,
            may_claim=self._may_claim,
            reserve=engine.reserve,
            brief=self._brief,
        )

    def require(self, environment: str) -> None:
        """Raises Corrupt for an environment that is quarantined, Unavailable while it is being
        restored."""
        refusal = self.all[environment].refusal
        if refusal is not None:
            raise refusal.again()

    def _may_claim(self, agent: str) -> bool:
        return self._engine.swarms.may_claim(agent)
