"""For the code of an agent: its memory, its queue, and a loop that works.

    async with connect_agent() as agent:
        await agent.work({"greet": greet})

The engine starts an agent with what it needs in its environment; `connect_agent` reads it there.
It says that the agent is ready, sends heartbeats, connects again when the engine was away, and
ends the process when the engine stays away: an agent must not work on for nobody.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import gc
import inspect
import logging
import os
import random
import signal
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec

from .actions import Action
from .dispatch import Receipt
from .errors import (
    Busy,
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    SwarmDeckError,
    Unavailable,
)
from .events import Callback
from .events import Subscription as EventSubscription
from .handles import Memory, Message, Queue, Write
from .link.client import LinkPort
from .model import environment_of
from .port import Subscription
from .swarms.presence import MEMORY, ORPHANED, RENEW, STOP

if TYPE_CHECKING:
    from .artifacts.handle import Artifacts
    from .conflicts.handle import Conflicts
    from .consensus.handle import Votes
    from .eventlog.handle import Events
    from .measures.handle import Measures
    from .tasks.handle import Tasks

ANY: Final = "*"  # a handler under this name takes every kind that has none of its own
CLAIM_WAIT_S: Final = 30.0
RETRY_S: Final = 0.5
FIRST_RECONNECT_S: Final = 0.05
LAST_RECONNECT_S: Final = 1.0
UNWIND_S: Final = 3.0  # between asking the code to end and ending the process

Answer: TypeAlias = tuple[Any, Sequence[Write]] | None
T = TypeVar("T")
Handler: TypeAlias = Callable[["Agent", Message], Answer | Awaitable[Answer]]

log = logging.getLogger(__name__)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent connects with. `grace_s` is how long it outlives its engine; `started`: by
    that, with what stands in the environment of the process."""

    def __repr__(self) -> str:
        return f"Identity(agent={self.agent!r}, socket={str(self.socket)!r}, token=…)"

    socket: Path
    agent: str
    token: str
    swarm: str = ""
    heartbeat_s: float = 5.0
    grace_s: float = 15.0
    started: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Identity:
        """From the environment of a process the engine has started. Raises InvalidInput."""
        try:
            return cls(
                socket=Path(environment["SWARMDECK_SOCKET"]),
                agent=environment["SWARMDECK_AGENT"],
                token=environment["SWARMDECK_TOKEN"],
                started=True,
                swarm=environment.get("SWARMDECK_SWARM", ""),
                heartbeat_s=float(environment.get("SWARMDECK_HEARTBEAT_S", "5")),
                grace_s=float(environment.get("SWARMDECK_ORPHAN_GRACE_S", "15")),
            )
        except KeyError as error:
            raise InvalidInput(
                f"{error.args[0]} is not set",
                hint="agents are started by a swarm: swarmdeck swarm create … -- COMMAND",
            ) from error
        except ValueError as error:
            raise InvalidInput(f"a time in the environment is not a number: {error}") from error


class Agent:
    """This process as an agent. Made by `connect_agent`.

    `stopping` is set when the agent should finish what it does and end: on SIGTERM, when the
    engine says so, and when the engine is gone for good. `on_memory(size_bytes)`, where it is set,
    is called when memory is short and that much should be given back, such as by emptying caches;
    what the interpreter itself can free is freed after it.
    """

    def __init__(self, identity: Identity, port: Lifeline, stopping: asyncio.Event) -> None:
        self.id = identity.agent
        self.swarm = identity.swarm
        self.environment = environment_of(identity.agent).value
        self.stopping = stopping
        self.memory = Memory(port, self.id, self.environment)
        self.queue = Queue(port, self.id, self.environment)
        self.on_memory: Callable[[int], object] | None = None
        self._port = port

    def give_back(self, size_bytes: int) -> None:
        """Give memory back to the host, as far as that is possible."""
        log.warning("asked to give back %d bytes of memory", size_bytes)
        if self.on_memory is not None:
            self.on_memory(size_bytes)
        gc.collect()
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types and bytes
        """Send to everyone who listens on a channel now; how many that were."""
        return await self._port.publish(channel, body)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Artifacts of this agent's environment. Files are read and written by this process."""
        from .artifacts.handle import Artifacts  # noqa: PLC0415 - most agents have none

        return Artifacts(self, self._port, self.environment, self.id, by_path=False)

    @cached_property
    def measures(self) -> Measures:
        """Metrics of its own that this agent records, and those it may read."""
        from .measures.handle import Measures  # noqa: PLC0415 - most agents have none

        return Measures(self, self._port, self.environment, self.id)

    @cached_property
    def eventlog(self) -> Events:
        """Events of this agent's environment, as it sees them."""
        from .eventlog.handle import Events  # noqa: PLC0415 - most agents have none

        return Events(self, self.environment, self.id)

    @cached_property
    def tasks(self) -> Tasks:
        """What is to be done, as this agent sees it."""
        from .tasks.handle import Tasks  # noqa: PLC0415 - many agents work from the queue alone

        return Tasks(self, self.environment, self.id)

    @cached_property
    def consensus(self) -> Votes:
        """What is put to the vote, as this agent sees it."""
        from .consensus.handle import Votes  # noqa: PLC0415 - most agents have none

        return Votes(self, self.environment, self.id)

    @cached_property
    def conflicts(self) -> Conflicts:
        """What stands between two, as this agent sees it."""
        from .conflicts.handle import Conflicts  # noqa: PLC0415 - most agents have none

        return Conflicts(self, self.environment, self.id)

    async def run(self, action: Action) -> Any:  # noqa: ANN401 - the action's result
        """Ask for an action as this agent and wait for its result. Actor and environment may be
        left out of those that every agent may ask for; a caller that is cancelled cancels it.
        Raises what the action raises, Denied for one that is not an agent's to ask for."""
        receipt = await self._port.dispatch(action)
        try:
            return await receipt
        except BaseException:  # cancelled too: nobody waits for it any more
            receipt.cancel()
            raise

    async def ask(self, action: Action, kind: type[T]) -> T:
        """`run` for callers that want the type of the result known."""
        result: T = await self.run(action)
        return result

    async def work(
        self, handlers: Mapping[str, Handler], *, limit: int = 8, lease_s: float = 30.0
    ) -> None:
        """Claim messages and handle them one after the other until `stopping`.

        `handlers` by kind of message; only those kinds are claimed, unless one stands under "*".
        A handler gets this agent and the message and returns a result and memory writes, which
        are stored in one transaction with the end of the message; or None. A plain function runs
        on a thread, so that it may block. One that raises gives the message back with the error.
        Leases are held for as long as the work takes.
        """
        kinds = None if ANY in handlers else tuple(handlers)
        while not self.stopping.is_set():
            messages = await self._claim(limit, lease_s, kinds)
            if messages:
                await self._handle_all(messages, handlers, lease_s)

    async def _claim(
        self, limit: int, lease_s: float, kinds: Sequence[str] | None
    ) -> list[Message]:
        claim = asyncio.ensure_future(
            self.queue.claim(limit, lease_s=lease_s, wait_s=CLAIM_WAIT_S, kinds=kinds)
        )
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({claim, stop}, return_when=asyncio.FIRST_COMPLETED)
            return await claim if claim.done() else []
        except (Unavailable, Busy) as error:
            log.warning("no work can be claimed: %s", error.message)
            await asyncio.sleep(RETRY_S)
            return []
        finally:
            claim.cancel()
            stop.cancel()

    async def _handle_all(
        self, messages: Sequence[Message], handlers: Mapping[str, Handler], lease_s: float
    ) -> None:
        """Those not begun when the agent is stopped are left to the engine, which gives them to
        others as soon as this process has ended."""
        held = {message.id: message for message in messages}
        async with _beside(self._hold(held, lease_s)):
            for message in messages:
                if self.stopping.is_set():
                    break
                if message.id in held:
                    handler = handlers.get(message.kind) or handlers[ANY]
                    await self._handle(message, handler)
                    held.pop(message.id, None)

    async def _hold(self, held: dict[str, Message], lease_s: float) -> None:
        """Extend the leases of what is held; drop what is no longer ours."""
        while True:
            await asyncio.sleep(lease_s / 3)
            for message in list(held.values()):
                try:
                    await self.queue.extend(message, lease_s)
                except (Conflict, NotFound):
                    held.pop(message.id, None)
                except Unavailable:
                    break

    async def _handle(self, message: Message, handler: Handler) -> None:
        try:
            result, writes = await self._answer(message, handler)
        except Exception as error:  # what a handler raises ends this attempt, not the agent
            log.exception("%s %s failed", message.kind, message.id)
            text = f"{type(error).__name__}: {error}"
            await self._finish(lambda: self.queue.nack(message, error=text))
            return
        try:
            await self._finish(lambda: self.queue.ack(message, result, writes=writes))
        except (Denied, InvalidInput) as error:
            refused = error.message
            await self._finish(lambda: self.queue.nack(message, error=refused))

    async def _answer(self, message: Message, handler: Handler) -> tuple[Any, Sequence[Write]]:
        if inspect.iscoroutinefunction(handler):
            answer = await handler(self, message)
        else:
            answer = await asyncio.to_thread(handler, self, message)
            if inspect.isawaitable(answer):
                answer = await answer
        if answer is None:
            return None, ()
        result, writes = answer
        return result, writes

    async def _finish(self, settle: Callable[[], Awaitable[object]]) -> None:
        """Ack or nack, again after a lost connection: if the first one did arrive, the second is
        refused as a Conflict and nothing happens twice. NotFound: somebody has deleted it."""
        while True:
            try:
                await settle()
            except (Conflict, NotFound) as error:
                log.warning("%s", error.message)
            except Unavailable:
                if not self._port.lost:
                    await asyncio.sleep(RETRY_S)
                    continue
            return


class Lifeline:
    """A port that connects again. Calls made while the engine is away wait for it; one that was
    under way fails with Unavailable, for nobody knows whether it arrived. When the engine has
    been away for the grace, or does not know this agent any more, every call fails."""

    def __init__(self, identity: Identity, on_notice: Callable[[str], None]) -> None:
        self.lost = False
        self.why_lost = f"no engine for {identity.grace_s:g} s"
        self._identity = identity
        # The one that counts; both when the engine went away while it was replaced.
        known = identity.token
        self._tokens: tuple[str, ...] = (_latest.get(known, known) if identity.started else known,)
        self._renewal = asyncio.Event()
        self._environment = environment_of(identity.agent).value
        self._on_notice = on_notice
        self._port: LinkPort | None = None
        self._settled = asyncio.Event()  # connected, or lost for good

    async def open(self) -> None:
        """Connect and say that the agent is ready. Raises Unavailable after the grace, Denied
        at once."""
        self._port = await self._connect()
        self._settled.set()

    async def keep(self) -> None:
        """Connect again whenever the connection is lost. Returns when that is over."""
        while self._port is not None:
            await self._port.wait_closed()
            self._settled.clear()
            self._port = None
            try:
                await self.open()
            except SwarmDeckError as error:
                log.warning("the engine is gone: %s", error.message)
                if not isinstance(error, Unavailable):
                    self.why_lost = error.message
                self.lost = True
                self._settled.set()

    async def beat(self) -> None:
        """Send heartbeats for ever."""
        while True:
            await asyncio.sleep(self._identity.heartbeat_s)
            with suppress(SwarmDeckError):
                await self.call("agent.heartbeat", self._identity.agent, self._environment)

    def renew_soon(self) -> None:
        """Fetch a new token when there is time."""
        self._renewal.set()

    async def renew(self) -> None:
        """Fetch a new token whenever the engine asks for it, for ever. It is kept in memory."""
        while True:
            await self._renewal.wait()
            self._renewal.clear()
            with suppress(SwarmDeckError):
                await self._fetch_token()

    async def _fetch_token(self) -> None:
        agent, environment, before = self._identity.agent, self._environment, self._tokens[-1]
        token = await self.call("agent.renew", agent, environment)
        self._tokens = token, before  # until it is known which one counts
        try:
            await self.call("agent.renewed", agent, environment, token)
        except Conflict:
            self._tokens = (before,)
            raise
        self._settle(token)

    def _settle(self, token: str) -> None:
        self._tokens = (token,)
        if self._identity.started:
            _latest[self._identity.token] = token

    async def _connect(self) -> LinkPort:
        who = self._identity
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + who.grace_s
        wait_s = FIRST_RECONNECT_S
        while True:
            try:
                return await self._greet()
            except (Unavailable, Busy):
                if loop.time() + wait_s > give_up_s:
                    raise
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            wait_s = min(2 * wait_s, LAST_RECONNECT_S)

    async def _greet(self) -> LinkPort:
        who = self._identity
        port = await self._present(self._tokens)
        try:
            await port.call("agent.ready", who.agent, self._environment)
        except BaseException:  # cancelled too: nobody else knows of the connection
            await port.close()
            raise
        return port

    async def _present(self, tokens: Sequence[str]) -> LinkPort:
        token, *others = tokens
        who = self._identity
        try:
            port = await LinkPort.open(
                who.socket, agent=who.agent, token=token, on_notice=self._on_notice
            )
        except Denied:
            if not others:
                raise
            return await self._present(others)
        self._settle(token)
        return port

    async def _connected(self) -> LinkPort:
        await self._settled.wait()
        if self._port is None:
            raise Unavailable("the engine is gone", hint="this process should end")
        return self._port

    async def call(self, verb: str, actor: str, environment: str, *args: object) -> Any:  # noqa: ANN401
        return await (await self._connected()).call(verb, actor, environment, *args)

    def bound(self, verb: str, actor: str, environment: str) -> Callable[..., Awaitable[Any]]:
        return partial(self.call, verb, actor, environment)

    async def dispatch(self, action: Action) -> Receipt:
        return await (await self._connected()).dispatch(action)

    def events(self) -> EventSubscription:
        if self._port is None:
            raise Unavailable("not connected to the engine", hint="try again")
        return self._port.events()

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types and bytes
        return await (await self._connected()).publish(channel, body)

    async def subscribe(self, channel: str, callback: Callback) -> Subscription:
        """As long as this connection lasts; what is published meanwhile is not heard."""
        return await (await self._connected()).subscribe(channel, callback)

    async def close(self) -> None:
        self.lost = True
        port, self._port = self._port, None
        self._settled.set()
        if port is not None:
            await port.close()


# What has replaced the token that this process was started with, if it connects again.
_latest: Final[dict[str, str]] = {}


@asynccontextmanager
async def connect_agent(identity: Identity | None = None) -> AsyncIterator[Agent]:
    """Connect this process as the agent it was started as, or as `identity` says.

    Entering says that the agent is ready. A process the engine has started is ended when the
    engine stays away for the grace, whatever it is doing; with an `identity` given, `stopping`
    is set and calls fail. Raises InvalidInput outside a swarm, Unavailable, Denied.
    """
    who = Identity.read(os.environ) if identity is None else identity
    stopping = asyncio.Event()

    def heed(word: str) -> None:
        if word == STOP:
            stopping.set()
        elif word == RENEW:
            port.renew_soon()
        elif word.startswith(MEMORY):
            agent.give_back(int(word.removeprefix(MEMORY)))

    port = Lifeline(who, heed)
    agent = Agent(who, port, stopping)
    await port.open()
    if who.started:
        port.renew_soon()  # what stands in the environment of this process can be read by others
    try:
        async with (
            _beside(port.beat()),
            _beside(port.renew()),
            _beside(_keep(port, stopping, end_process=identity is None)),
        ):
            with _on_sigterm(stopping):
                yield agent
    finally:
        await port.close()


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` until the block ends. Not a TaskGroup: what the block raises must reach its
    caller as it is."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextmanager
def _on_sigterm(stopping: asyncio.Event) -> Iterator[None]:
    """Set `stopping` on SIGTERM. Only the main thread of a process can ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _keep(port: Lifeline, stopping: asyncio.Event, *, end_process: bool) -> None:
    await port.keep()
    stopping.set()
    if end_process:
        end = partial(_end_process, f"{ORPHANED}: {port.why_lost}")
        atexit.register(end)  # so that nothing it has started stays either
        # A thread, because the loop may be busy with whatever the agent does.
        ending = threading.Timer(UNWIND_S, end)
        ending.daemon = True
        ending.start()


def _end_process(why: str) -> None:
    """End this process at once and, as agents lead their own group, what it has started. `why` are
    its last words, by which the next engine knows."""
    with suppress(OSError):
        os.write(2, f"{why}\n".encode())
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(os.EX_UNAVAILABLE)
