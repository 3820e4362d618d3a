"""One suite for every port, in this process and over the socket, and what only a socket can suffer.

The engine behind both is a small one with real dispatcher and bus, whose verbs answer in each of
the ways a verb may.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine import actions, views
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.dispatch import Context, Dispatcher, Handler, Receipt
from swarmdeck.engine.errors import (
    Busy,
    Conflict,
    Defect,
    Denied,
    InvalidInput,
    NotFound,
    SwarmDeckError,
    Unavailable,
)
from swarmdeck.engine.events import (
    AgentChanged,
    Callback,
    Changed,
    EngineStopping,
    Event,
    EventBus,
    Finished,
    Gap,
    Listener,
    Progress,
    Published,
    Subscription,
)
from swarmdeck.engine.link import client, protocol, server
from swarmdeck.engine.link.client import LinkPort
from swarmdeck.engine.link.peers import check_peer, peer_of
from swarmdeck.engine.link.server import LinkServer
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Principal, Role
from swarmdeck.engine.port import Port

AGENTS = {name: Principal(name, Role.AGENT, "development") for name in ("dev_a1", "dev_a2")}
TOKEN = "right"


class Engine:
    """What a backend must have, small enough to see through."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.store: dict[str, Any] = {}
        self.claims: deque[asyncio.Future[list[str]]] = deque()
        self.slow = asyncio.Event()
        self.go = asyncio.Event()
        self.called: list[str] = []
        handlers: dict[type[actions.Action], Handler] = {
            actions.MemorySet: self.handle_set,
            actions.SwarmTerminate: self.handle_missing,
            actions.Demo: self.handle_demo,
            actions.AgentShow: self.handle_show,
        }
        self.dispatcher = Dispatcher(handlers, self.bus, FakeClock(), drain_s=0.1)
        self.verbs: dict[str, Callable[..., Any]] = {
            "memory.set": self.set,
            "memory.get": self.get,
            "queue.claim": self.claim,
            "test.slow": self.wait,
            "test.late": self.late,
            "test.fail": self.fail,
            "test.bug": self.bug,
            "test.late_bug": self.late_bug,
            "test.odd": lambda principal, environment: object(),
            "agent.heartbeat": lambda principal, environment: principal.id,
        }

    # data plane

    def set(self, principal: Principal, environment: str, key: str, body: bytes) -> int:
        self.called.append(f"{principal.id} {environment}")
        self.store[key] = body
        return len(self.store)

    def get(self, principal: Principal, environment: str, key: str) -> bytes | None:
        return self.store.get(key)

    def claim(self, principal: Principal, environment: str) -> asyncio.Future[list[str]]:
        waiter: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self.claims.append(waiter)
        return waiter

    def feed(self, message: str) -> bool:
        """Give a message to the first who waits for one."""
        while self.claims:
            waiter = self.claims.popleft()
            if not waiter.done():
                waiter.set_result([message])
                return True
        return False

    async def wait(self, principal: Principal, environment: str) -> str:
        self.called.append("slow")
        try:
            await self.slow.wait()
        except asyncio.CancelledError:
            self.called.append("cancelled")
            raise
        return "slow"

    async def late(self, principal: Principal, environment: str) -> None:
        raise Conflict("late", hint="sooner")

    def fail(self, principal: Principal, environment: str) -> None:
        raise NotFound("no such thing", hint="look elsewhere")

    def bug(self, principal: Principal, environment: str) -> None:
        raise ZeroDivisionError("bug")

    async def late_bug(self, principal: Principal, environment: str) -> None:
        raise ZeroDivisionError("late bug")

    # control plane

    async def handle_set(self, context: Context, action: actions.MemorySet) -> views.RecordView:
        self.store[action.key] = action.value
        self.bus.publish(Changed("memory", action.environment, len(self.store)))
        return views.RecordView(
            key=action.key, namespace="default", environment=action.environment, level="private",
            owner=action.actor or "operator", team=None, version=1, size_bytes=1, updated_at_us=1,
            expires_at_us=None, value=action.value,
        )  # fmt: skip

    async def handle_missing(self, context: Context, action: actions.SwarmTerminate) -> None:
        raise NotFound(f"no swarm {action.id}", hint="swarm list")

    async def handle_demo(self, context: Context, action: actions.Demo) -> views.DemoView:
        context.progress(0.5, "half")
        await self.go.wait()
        return views.DemoView(
            files=1, bytes=2, sent=1, done=1, dead=0, redelivered=0, records=1, elapsed_s=0.5,
            agents=(views.DemoAgentView(id="dev_a1", pid=1, done=1),),
        )  # fmt: skip

    async def handle_show(self, context: Context, action: actions.AgentShow) -> views.AgentView:
        return views.AgentView(
            id=action.id, name=context.principal.id, type="agent", environment="development",
            swarm=None, teams=(), capabilities=(), state="ready", pid=1, heartbeat_age_s=None,
            used_bytes=0, restarts=0, leased=0, done=0, created_at_us=0,
        )  # fmt: skip

    # backend

    def greeting(self) -> protocol.Greeting:
        return protocol.Greeting(protocol.VERSION, "0.1.0", os.getpid(), "data")

    def authenticate(self, agent: str, token: str) -> Principal:
        if token != TOKEN or agent not in AGENTS:
            raise Denied(f"wrong token for {agent}")
        return AGENTS[agent]

    def resolve(self, actor: str) -> Principal:
        if actor == "operator":
            return OPERATOR_PRINCIPAL
        if actor not in AGENTS:
            raise NotFound(f"no agent {actor}")
        return AGENTS[actor]

    def acting(self, actor: str) -> Principal:
        return self.resolve(actor)

    def dispatch(self, action: actions.Action, principal: Principal) -> Receipt:
        return self.dispatcher.dispatch(action, principal)

    async def publish(self, channel: str, body: Any, principal: Principal) -> int:
        self.check_channel(channel, principal)
        return self.bus.publish(Published(channel, body))

    def check_channel(self, channel: str, principal: Principal) -> None:
        if channel == "secret" and not principal.is_operator:
            raise Denied("not for agents")


class InProcess:
    """A port without a socket, as the operator."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def dispatch(self, action: actions.Action) -> Receipt:
        return self.engine.dispatch(action, OPERATOR_PRINCIPAL)

    def call(self, verb: str, actor: str, environment: str, *args: object) -> Awaitable[Any]:
        return self._call(verb, actor, environment, *args)

    async def _call(self, verb: str, actor: str, environment: str, *args: object) -> Any:
        answer = self.engine.verbs[verb](self.engine.resolve(actor), environment, *args)
        return await answer if asyncio.isfuture(answer) or asyncio.iscoroutine(answer) else answer

    def events(self) -> Subscription:
        return self.engine.bus.subscribe()

    async def publish(self, channel: str, body: Any) -> int:
        return await self.engine.publish(channel, body, OPERATOR_PRINCIPAL)

    async def subscribe(self, channel: str, callback: Callback) -> Listener:
        return self.engine.bus.listen(channel, callback)

    async def close(self) -> None:
        return None


class Place:
    """A running engine with its server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = Engine()
        self.seen: list[str] = []
        self.server = LinkServer(
            path,
            self.engine,
            on_agent_connected=lambda agent: self.seen.append(f"+{agent}"),
            on_agent_lost=lambda agent: self.seen.append(f"-{agent}"),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Place]:
        async with self.engine.dispatcher, self.server:
            try:
                yield self
            finally:
                await self.engine.bus.close("closing")


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sd-", dir="/tmp") as directory:
        yield Path(directory) / "s"


@pytest.fixture
async def place(path: Path) -> AsyncIterator[Place]:
    async with Place(path).running() as place:
        yield place


@pytest.fixture(params=["in-process", "socket"])
async def port(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[Port]:
    port: Port
    if request.param == "socket":
        port = await LinkPort.open(place.path)
    else:
        port = InProcess(place.engine)
    yield port
    await port.close()


@pytest.fixture
async def link(place: Place) -> AsyncIterator[LinkPort]:
    async with await LinkPort.open(place.path) as link:
        yield link


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def beat(link: LinkPort, actor: str = "operator") -> asyncio.Future[Any]:
    return link.call("agent.heartbeat", actor, "")


SET = actions.MemorySet(environment="development", key="k", value={"a": [1, "x", None]})


# --- every port ------------------------------------------------------------------------------


async def test_an_action_gives_its_view(port: Port, place: Place) -> None:
    view = await (await port.dispatch(SET))
    assert isinstance(view, views.RecordView)
    assert view.value == place.engine.store["k"] == {"a": [1, "x", None]}


async def test_a_refused_action_raises_when_it_is_dispatched(port: Port) -> None:
    with pytest.raises(InvalidInput, match="agents"):
        await port.dispatch(actions.Demo(agents=99))
    with pytest.raises(InvalidInput, match="not served"):
        await port.dispatch(actions.Status())


async def test_a_failed_action_raises_when_it_is_awaited(port: Port) -> None:
    receipt = await port.dispatch(actions.SwarmTerminate(id="dev_s1"))
    with pytest.raises(NotFound, match="no swarm dev_s1") as caught:
        await receipt
    assert caught.value.hint == "swarm list"


async def test_progress_comes_before_the_result(port: Port, place: Place) -> None:
    receipt = await port.dispatch(actions.Demo())
    steps = aiter(receipt)
    assert await anext(steps) == Progress(receipt.operation, "demo", 0.5, "half")
    assert not receipt.done
    place.engine.go.set()
    assert [step async for step in steps] == []
    view = await receipt
    assert view.agents == (views.DemoAgentView(id="dev_a1", pid=1, done=1),)


async def test_a_receipt_cancels_its_operation(port: Port) -> None:
    receipt = await port.dispatch(actions.Demo())
    receipt.cancel()
    with pytest.raises(Conflict, match="was cancelled"):
        await receipt


async def test_a_call_answers_at_once_by_future_or_by_coroutine(port: Port, place: Place) -> None:
    assert await port.call("memory.set", "dev_a1", "development", "k", b"\x00\xff") == 1
    assert await port.call("memory.get", "dev_a1", "development", "k") == b"\x00\xff"
    assert place.engine.called == ["dev_a1 development"]
    claim = asyncio.ensure_future(port.call("queue.claim", "dev_a1", "development"))
    slow = asyncio.ensure_future(port.call("test.slow", "dev_a1", "development"))
    await until(lambda: place.engine.claims and "slow" in place.engine.called)
    assert place.engine.feed("m1")
    assert await claim == ["m1"]
    place.engine.slow.set()
    assert await slow == "slow"


@pytest.mark.parametrize(
    ("verb", "kind", "message"),
    [("test.fail", NotFound, "no such thing"), ("test.late", Conflict, "late")],
)
async def test_a_call_raises_the_verbs_error(
    port: Port, verb: str, kind: type[SwarmDeckError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        await port.call(verb, "operator", "development")
    assert caught.value.hint


async def test_a_thousand_calls_in_flight_find_their_answers(port: Port) -> None:
    keys = [f"k{number}" for number in range(1000)]
    await asyncio.gather(
        *(port.call("memory.set", "operator", "testing", key, key.encode()) for key in keys)
    )
    found = await asyncio.gather(
        *(port.call("memory.get", "operator", "testing", key) for key in keys)
    )
    assert found == [key.encode() for key in keys]


async def test_a_cancelled_wait_takes_no_message(port: Port, place: Place) -> None:
    left = asyncio.ensure_future(port.call("queue.claim", "dev_a1", "development"))
    await until(lambda: place.engine.claims)
    stays = asyncio.ensure_future(port.call("queue.claim", "dev_a2", "development"))
    await until(lambda: len(place.engine.claims) == 2)
    left.cancel()
    await until(place.engine.claims[0].done)
    assert place.engine.feed("m1")
    assert await stays == ["m1"]


async def test_events_come_in_order_from_the_moment_of_asking(port: Port) -> None:
    events = port.events()
    receipt = await port.dispatch(SET)
    await receipt
    async with asyncio.timeout(10):
        assert await anext(events) == Changed("memory", "development", 1)
        assert await anext(events) == Finished(receipt.operation, "memory.set", ok=True)
    events.close()


async def test_a_message_reaches_who_listens_on_its_channel(port: Port) -> None:
    heard: list[Any] = []
    listener = await port.subscribe("news", heard.append)
    assert listener.channel == "news"
    other = await port.subscribe("other", heard.append)
    await port.dispatch(SET)  # whatever travels before, the subscription was first
    assert await port.publish("news", {"n": 1, "b": b"x"}) == 1
    await until(lambda: heard)
    await listener.close()
    await port.dispatch(SET)
    assert await port.publish("news", 2) == 0
    assert heard == [{"n": 1, "b": b"x"}]
    await other.close()


# --- agents ----------------------------------------------------------------------------------


async def test_an_agent_presents_its_token_and_is_that_agent(place: Place) -> None:
    link = await LinkPort.open(place.path, agent="dev_a1", token=TOKEN)
    assert place.server.agents == {"dev_a1"}
    assert await beat(link, "dev_a1") == "dev_a1"
    for other in ("dev_a2", "operator", ""):
        with pytest.raises(Denied, match="cannot act as"):
            await beat(link, other)
    receipt = await link.dispatch(actions.AgentShow(id="dev_a1"))
    assert (await receipt).name == "dev_a1"
    with pytest.raises(Denied, match="needs the role"):
        await link.dispatch(actions.Demo())
    with pytest.raises(Denied, match="for the operator"):
        await anext(link.events())
    with pytest.raises(Denied, match="not for agents"):
        await link.publish("secret", 1)
    await link.close()
    await until(lambda: place.seen == ["+dev_a1", "-dev_a1"])


@pytest.mark.parametrize("token", ["wrong", "", None])
async def test_a_wrong_token_is_denied_and_disconnected(place: Place, token: str | None) -> None:
    with pytest.raises(Denied, match="wrong token"):
        await LinkPort.open(place.path, agent="dev_a1", token=token)
    assert place.seen == []
    assert place.server.agents == set()


async def test_an_agent_is_lost_with_its_last_connection(place: Place) -> None:
    first = await LinkPort.open(place.path, agent="dev_a1", token=TOKEN)
    second = await LinkPort.open(place.path, agent="dev_a1", token=TOKEN)
    await first.close()
    assert await beat(second, "dev_a1") == "dev_a1"
    assert place.seen == ["+dev_a1"]
    await second.close()
    await until(lambda: place.seen == ["+dev_a1", "-dev_a1"])


async def test_the_engine_can_speak_to_an_agent(place: Place) -> None:
    words: list[str] = []
    link = await LinkPort.open(place.path, agent="dev_a1", token=TOKEN, on_notice=words.append)
    assert place.server.notify("dev_a1", "stop") == 1
    assert place.server.notify("dev_a2", "stop") == 0
    await until(lambda: words == ["stop"])
    await link.close()


async def test_a_dead_client_gets_no_message(place: Place) -> None:
    dead = await LinkPort.open(place.path, agent="dev_a1", token=TOKEN)
    claim = dead.call("queue.claim", "dev_a1", "development")
    slow = dead.call("test.slow", "dev_a1", "development")
    await until(lambda: place.engine.claims and place.engine.called)
    dead._link.abort()
    for call in (claim, slow):
        with pytest.raises(Unavailable, match="lost"):
            await call
    await until(place.engine.claims[0].cancelled)
    assert not place.engine.feed("m1")
    await until(lambda: "cancelled" in place.engine.called)


async def test_an_accepted_operation_outlives_its_client(place: Place, link: LinkPort) -> None:
    events = link.events()
    other = await LinkPort.open(place.path)
    receipt = await other.dispatch(actions.Demo())
    await other.close()
    with pytest.raises(Unavailable):
        await receipt
    place.engine.go.set()
    async with asyncio.timeout(10):
        seen = [await anext(events) for _ in range(2)]
    assert seen[-1] == Finished(receipt.operation, "demo", ok=True)


async def test_giving_up_before_acceptance_withdraws_the_action(
    place: Place, link: LinkPort
) -> None:
    events = link.events()
    asking = asyncio.ensure_future(link.dispatch(actions.Demo()))
    await asyncio.sleep(0)
    asking.cancel()
    async with asyncio.timeout(10):
        while not isinstance(event := await anext(events), Finished):
            pass
    assert not event.ok


# --- the end of a connection -----------------------------------------------------------------


async def test_when_the_engine_goes_every_caller_is_told(path: Path) -> None:
    async with Place(path).running() as place:
        link = await LinkPort.open(path)
        events = link.events()
        claim = link.call("queue.claim", "dev_a1", "development")
        receipt = await link.dispatch(actions.Demo())
        listener = await link.subscribe("news", lambda body: None)
        await until(lambda: place.engine.claims)
    with pytest.raises(Unavailable) as caught:
        await claim
    assert caught.value.retryable
    assert caught.value.hint
    with pytest.raises(Unavailable):
        await receipt
    seen = [event async for event in events]
    assert [type(event) for event in seen].count(EngineStopping) == 1
    assert seen[-1] == EngineStopping("closing")
    assert link.closed
    with pytest.raises(Unavailable):
        await beat(link)
    with pytest.raises(Unavailable):
        link.events()
    await until(lambda: listener.ended)
    await link.close()
    await link.wait_closed()
    assert not path.exists()


async def test_events_end_when_the_connection_breaks(place: Place, link: LinkPort) -> None:
    events = link.events()
    await beat(link)
    for connection in tuple(place.server._connections):
        connection.abort()
    assert [type(event) async for event in events] == [EngineStopping]


async def test_an_announced_end_is_not_announced_again(path: Path) -> None:
    async with Place(path).running() as place:
        link = await LinkPort.open(path)
        events = link.events()
        await beat(link)
        place.engine.bus.publish(EngineStopping("asked to"))
        place.engine.bus.publish(AgentChanged("dev_a1", "exited"))
        await beat(link)
        for connection in tuple(place.server._connections):
            connection.abort()
        assert [event async for event in events] == [
            EngineStopping("asked to"),
            AgentChanged("dev_a1", "exited"),
        ]
        await link.close()


async def test_nobody_there_is_unavailable(path: Path) -> None:
    with pytest.raises(Unavailable, match="no engine answers"):
        await LinkPort.open(path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(Unavailable, match="no engine answers"):
        await LinkPort.open(path)
    with pytest.raises(Unavailable, match="cannot serve"):
        async with LinkServer(path, Engine()):
            pass


async def test_another_protocol_version_is_refused(place: Place) -> None:
    assert await raw(place, framed(protocol.Hello(protocol.VERSION + 1))) == [Unavailable]


async def test_an_engine_that_says_nothing_is_unavailable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HELLO_S", 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(Unavailable, match="no engine answers"):
            await LinkPort.open(path)


async def test_a_client_that_says_nothing_is_disconnected(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HELLO_S", 0.05)
    assert await raw(place, b"") == [Unavailable]


# --- what a broken client may send -----------------------------------------------------------


def framed(*messages: protocol.Message) -> bytes:
    return b"".join(part for message in messages for part in protocol.frame(message))


async def raw(place: Place, *pieces: bytes) -> list[type]:
    """Send pieces as they are; the answers until the server closes, by type."""
    reader, writer = await asyncio.open_unix_connection(place.path)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        answers = protocol.FrameReader().feed(await reader.read())
    writer.close()
    await writer.wait_closed()
    messages = [protocol.decode_response(body) for body in answers]
    return [
        type(each.error.error()) if isinstance(each, protocol.Failure) else type(each)
        for each in messages
    ]


HELLO = protocol.Hello(protocol.VERSION)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 4,
        (protocol.MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x03abc",
        b"\x00\x00\x00\x01\x90",
        (1 << 16).to_bytes(4, "big") + b"\x91" * (1 << 16),
        framed(protocol.Cancel(1)),
        framed(HELLO, HELLO),
    ],
    ids=lambda sent: repr(sent[:12]),
)
async def test_garbage_is_refused_and_hurts_nobody_else(
    place: Place, link: LinkPort, sent: bytes
) -> None:
    waiting = link.call("queue.claim", "dev_a1", "development")
    assert (await raw(place, sent))[-1] is InvalidInput
    await until(lambda: place.engine.claims)
    assert place.engine.feed("m1")
    assert await waiting == ["m1"]


async def test_frames_may_be_split_anywhere(place: Place) -> None:
    body = os.urandom(300_000)
    sent = framed(HELLO) + b"".join(
        protocol.call_frame(1, "memory.set", "operator", "testing", ("k", body))
        + protocol.call_frame(2, "memory.get", "operator", "testing", ("k",))
    )
    reader, writer = await asyncio.open_unix_connection(place.path)
    for begin in [*range(60), *range(60, len(sent), 7919)]:
        end = begin + 1 if begin < 60 else begin + 7919
        writer.write(sent[begin:end])
        await writer.drain()
        await asyncio.sleep(0)
    frames = protocol.FrameReader()
    answers: list[Any] = []
    async with asyncio.timeout(10):
        while len(answers) < 3:
            answers += map(protocol.decode_response, frames.feed(await reader.read(4096)))
    assert answers[1:] == [protocol.Result(1, 1), protocol.Result(2, body)]
    writer.close()
    await writer.wait_closed()


def test_a_frame_reader_finds_the_same_frames_however_they_are_cut() -> None:
    bodies = [b"", b"a", b"bc" * 500, b"", b"d" * 70_000]
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    for step in (1, 2, 3, 5, 1000, len(stream)):
        reader = protocol.FrameReader()
        pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
        assert [body for piece in pieces for body in reader.feed(piece)] == bodies


async def test_a_request_number_in_use_closes_the_connection(place: Place) -> None:
    claim = protocol.call_frame(7, "queue.claim", "operator", "testing", ())
    assert await raw(place, framed(HELLO), b"".join(claim * 2)) == [protocol.Greeting, InvalidInput]


@pytest.mark.parametrize(
    ("verb", "args", "message"),
    [
        ("memory.get", (), "memory.get: .*length 1"),
        ("memory.get", ("k", "more"), "memory.get"),
        ("memory.get", (5,), "memory.get: Expected `str`, got `int`"),
        ("memory.set", ("k", ["not bytes"]), "memory.set"),
        ("no.such", (), "unknown call 'no.such'"),
        ("agent.heartbeat", (1,), "agent.heartbeat"),
    ],
)
async def test_wrong_arguments_are_invalid_input(
    place: Place, link: LinkPort, verb: str, args: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await link.call(verb, "operator", "development", *args)
    assert await beat(link) == "operator"


async def test_what_cannot_be_sent_is_refused_before_it_is(link: LinkPort) -> None:
    for value in (object(), 1 << 70, "\ud800", b"x" * protocol.MAX_FRAME_BYTES):
        with pytest.raises(InvalidInput):
            await link.call("memory.set", "operator", "testing", "k", value)
    with pytest.raises(InvalidInput, match=r"memory.set"):
        await link.dispatch(msgspec.structs.replace(SET, value="\ud800"))
    assert await beat(link) == "operator"


@pytest.mark.parametrize("verb", ["test.bug", "test.late_bug", "test.odd"])
async def test_a_bug_in_a_verb_fails_that_call_alone(link: LinkPort, verb: str) -> None:
    with pytest.raises((Defect, InvalidInput)):
        await link.call(verb, "operator", "development")
    assert await beat(link) == "operator"


async def test_an_unknown_actor_is_not_found(link: LinkPort) -> None:
    with pytest.raises(NotFound, match="no agent dev_zz"):
        await beat(link, "dev_zz")


# --- bounds ----------------------------------------------------------------------------------


async def test_more_calls_than_may_be_under_way_wait_their_turn(
    place: Place, link: LinkPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "WINDOW", 3)
    monkeypatch.setattr(client, "MAX_WAITING", 4)
    calls = [link.call("queue.claim", "dev_a1", "development") for _ in range(7)]
    with pytest.raises(Busy, match="wait to be sent"):
        link.call("queue.claim", "dev_a1", "development")
    await until(lambda: len(place.engine.claims) == 3)
    calls[4].cancel()  # one of those not sent yet
    served = [call for call in calls if not call.cancelled()]
    for number, call in enumerate(served):
        await until(lambda: place.engine.claims)
        assert place.engine.feed(f"m{number}")
        assert await call == [f"m{number}"]
    assert not place.engine.claims


async def test_too_many_requests_of_one_connection_are_busy(
    place: Place, link: LinkPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_IN_FLIGHT", 2)
    calls = [link.call("queue.claim", "dev_a1", "development") for _ in range(2)]
    with pytest.raises(Busy, match="2 requests"):
        await beat(link)
    await until(lambda: place.engine.claims)
    place.engine.feed("m1")
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert await beat(link) == "operator"


async def test_too_many_connections_are_busy(
    place: Place, link: LinkPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    with pytest.raises(Busy, match="connections are open"):
        await LinkPort.open(place.path)
    await link.close()
    await until(lambda: not place.server._connections)
    await (await LinkPort.open(place.path)).close()


async def test_a_client_that_does_not_read_is_not_read_and_misses_events(
    place: Place, link: LinkPort
) -> None:
    place.engine.store["big"] = b"x" * (1 << 20)
    before = set(place.server._connections)
    reader, writer = await asyncio.open_unix_connection(place.path, limit=1 << 25)
    get = b"".join(protocol.call_frame(9, "memory.get", "operator", "testing", ("big",)))
    writer.write(framed(HELLO, protocol.Watch(1)) + get * 50)
    await until(lambda: len(place.server._connections) == 2)
    [connection] = place.server._connections - before
    await until(lambda: connection._paused)
    assert not connection._transport.is_reading()
    buffered = connection._transport.get_write_buffer_size()
    assert buffered < 4 << 20
    for number in range(5000):
        place.engine.bus.publish(AgentChanged(f"dev_{number}", "ready"))
    assert connection._transport.get_write_buffer_size() == buffered
    assert await beat(link) == "operator"
    frames, results, events = protocol.FrameReader(), 0, list[Event]()
    async with asyncio.timeout(20):
        while AgentChanged("dev_4999", "ready") not in events[-1:]:
            for body in frames.feed(await reader.read(1 << 20)):
                response = protocol.decode_response(body)
                results += isinstance(response, protocol.Result)
                if isinstance(response, protocol.Happened):
                    events.append(response.event)
    assert results == 50
    assert events[0] == Gap(4000)
    assert len(events) == 1001
    writer.close()
    await writer.wait_closed()


async def test_a_forgotten_stream_is_given_up(place: Place, link: LinkPort) -> None:
    events = link.events()
    await beat(link)
    [connection] = place.server._connections
    assert connection._watches
    del events
    gc.collect()
    place.engine.bus.publish(Changed("memory", "testing", 1))
    await until(lambda: not connection._watches)
    assert await beat(link) == "operator"


# --- who may connect -------------------------------------------------------------------------


def test_only_the_same_user_and_root_may_connect() -> None:
    check_peer(1000, 1000)
    check_peer(0, 1000)
    with pytest.raises(Denied, match="uid 1001"):
        check_peer(1001, 1000)


def test_the_kernel_says_who_connects() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_of(one) == (os.getpid(), os.getuid())


INTRUDER = """
import os, socket, sys
os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
print(peer.recv(4096))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
async def test_another_user_is_refused_even_where_the_socket_is_open_to_all(place: Place) -> None:
    assert place.path.stat().st_mode & 0o777 == 0o600
    place.path.parent.chmod(0o755)
    place.path.chmod(0o666)
    command = [sys.executable, "-c", INTRUDER, str(place.path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert b"uid 65534 may not use" in output


def test_the_link_runs_on_uvloop_as_well(path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        async with Place(path).running() as place:
            link = await LinkPort.open(path, agent="dev_a1", token=TOKEN)
            sent = [link.call("memory.set", "dev_a1", "testing", f"{n}", b"v") for n in range(500)]
            assert sorted(await asyncio.gather(*sent)) == list(range(1, 501))
            claim = link.call("queue.claim", "dev_a1", "development")
            await until(lambda: place.engine.claims)
            link._link.abort()
            with pytest.raises(Unavailable):
                await claim
            await until(place.engine.claims[0].cancelled)
            assert place.seen == ["+dev_a1", "-dev_a1"]

    uvloop.run(scenario())
