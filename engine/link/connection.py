"""One client of the socket: its requests under way, and what it is sent.

One protocol object per connection, no task unless a verb needs one: a data-plane call that
answers at once or with a Future costs a decode, the call and an encode. Everything a connection
can make the server hold is bounded.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, cast

import msgspec

from ..clock import Clock
from ..dispatch import Receipt, defect
from ..errors import Busy, Denied, InvalidInput, SwarmDeckError, Unavailable
from ..events import Subscription
from ..model import OPERATOR, Principal, printable
from . import protocol
from .backend import Backend, CheckedVerb
from .maps import decode_action, decode_body
from .peers import Client, LoginLimiter, check_peer, peer_of, program_of
from .protocol import (
    Accepted,
    Advanced,
    Call,
    Cancel,
    Dispatch,
    Failure,
    Happened,
    Hello,
    Message,
    Publish,
    Request,
    Result,
    Watch,
)

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})
_SILENT: Final = Unavailable("no hello came", hint="the client must speak first")

log = logging.getLogger(__name__)


class Server(Protocol):
    """What a connection needs of the server, and tells it."""

    clock: Clock
    limiter: LoginLimiter
    backend: Backend
    verbs: dict[str, CheckedVerb]

    def opened(self, connection: Connection, /) -> None:
        """Raises Busy when there is no room for another."""
        ...

    def joined(self, agent: str, connection: Connection, /) -> None:
        """An agent has proved who it is."""
        ...

    def attached(self, connection: Connection, client: Client, /) -> None:
        """An operator was welcomed."""
        ...

    def lost(self, agent: str | None, connection: Connection, /) -> None: ...

    def spawn(self, work: Coroutine[Any, Any, None], /) -> asyncio.Task[None]:
        """Run a verb that needs a task. `work` raises nothing."""
        ...


class Connection(asyncio.Protocol):
    """One client. It is somebody only after its Hello was accepted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._backend = server.backend
        self._verbs = server.verbs
        self._loop = asyncio.get_running_loop()
        self._reader = protocol.FrameReader()
        self._bodies: deque[bytes] = deque()
        self._paused = False
        self._agent: str | None = None
        self._welcome = False
        self._requests: dict[int, Callable[[], object]] = {}
        self._receipts: dict[int, Receipt] = {}
        self._watches: dict[int, Subscription] = {}
        self._events_due = False
        self._closing = False
        self._handlers: dict[type[Message], Callable[[Any], None]] = {
            Call: self._call,
            Dispatch: self._dispatch,
            Watch: self._watch,
            Publish: self._publish,
            Cancel: self._cancel,
        }

    # --- what the transport says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no common class
        self._writer = protocol.FrameWriter(self._transport)
        self._transport.set_write_buffer_limits(high=protocol.WRITE_BYTES)
        self._patience = self._loop.call_later(protocol.HELLO_S, self._refuse, _SILENT)
        try:
            self._server.opened(self)
            self._peer = peer_of(self._transport.get_extra_info("socket"))
            check_peer(self._peer.uid, os.getuid())
        except SwarmDeckError as error:
            self._refuse(error)

    def data_received(self, data: bytes) -> None:
        try:
            self._bodies += self._reader.feed(data)
        except InvalidInput as error:
            self._serve()
            self._refuse(error)
        else:
            self._serve()

    def pause_writing(self) -> None:
        # Who does not read its answers may ask nothing more.
        self._paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._serve()
        self._send_events()
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self._closing = True
        self._patience.cancel()
        self._bodies.clear()
        requests, self._requests = self._requests, {}
        for cancel in requests.values():
            cancel()
        # Accepted operations go on: their outcome does not depend on who watches.
        self._receipts.clear()
        self._watches.clear()
        self._server.lost(self._agent, self)

    # --- what the server says ---

    def send(self, message: Message) -> None:
        if not self._closing:
            self._writer.put(protocol.frame(message))

    def expel(self, error: SwarmDeckError) -> None:
        """Deny what is under way and close. What was not read by the client yet and is still in
        our hands never reaches it."""
        if self._closing:
            self._transport.abort()
            return
        self._writer.discard()
        self._bodies.clear()
        watches, self._watches = set(self._watches), {}
        requests, self._requests = self._requests, {}
        receipts, self._receipts = self._receipts, {}
        for cancel in requests.values():  # of a watch too
            cancel()
        for receipt in receipts.values():
            receipt.cancel()
        if self._transport.get_write_buffer_size():
            self._closing = True
            self._transport.abort()
            return
        for ident in requests.keys() - watches | receipts.keys():
            self._fail(ident, error)
        self._refuse(error)

    def farewell(self) -> None:
        """Deliver what is ready, then close."""
        self._send_events()
        self._writer.flush()
        self._closing = True
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # --- requests ---

    def _serve(self) -> None:
        bodies = self._bodies
        while bodies and not self._paused and not self._closing:
            try:
                request = protocol.decode_request(bodies.popleft())
            except protocol.UNDECODABLE as error:
                self._refuse(InvalidInput(f"not a message of this protocol: {error}"))
            else:
                self._handle(request)

    def _handle(self, request: Request) -> None:
        if isinstance(request, Hello) or not self._welcome:
            self._greet(request)
            return
        try:
            self._handlers[type(request)](request)
        except SwarmDeckError as error:
            self._fail(request.id, error)
        except Exception as error:  # noqa: BLE001 - the data plane's border, as in the dispatcher
            self._fail(request.id, defect(str(getattr(request, "verb", "request")), error))

    def _greet(self, hello: Request) -> None:
        try:
            if not isinstance(hello, Hello) or self._welcome:
                raise InvalidInput("the first message is a hello, and only the first")
            if hello.version != protocol.VERSION:
                raise Unavailable(
                    f"the engine speaks version {protocol.VERSION}, not {hello.version}",
                    hint="use the same release on both sides",
                )
            if hello.agent is not None:
                self._prove(hello.agent, hello.token or "")
        except SwarmDeckError as error:
            self._refuse(error)
            return
        self._welcome = True
        self._patience.cancel()
        self.send(self._backend.greeting())
        if hello.agent is not None:
            self._agent = hello.agent
            self._server.joined(hello.agent, self)
        else:
            program, now_us = program_of(self._peer.pid), self._server.clock.wall_us()
            self._server.attached(self, Client(self._peer, program, now_us))

    def _prove(self, agent: str, token: str) -> None:
        """Raises Denied for a wrong token, Busy after too many of them."""
        limiter = self._server.limiter
        limiter.check(agent, self._peer)
        try:
            self._backend.authenticate(agent, token)
        except Denied:
            limiter.failed(agent, self._peer)
            raise
        limiter.accepted(agent, self._peer)

    def _call(self, call: Call) -> None:
        self._check_room(call.id)
        verb = self._verbs.get(call.verb)
        if verb is None:
            raise InvalidInput(f"unknown call {printable(call.verb)}")
        answer = verb(self._principal(call.actor), call.environment, call.args)
        self._answer(call.id, answer, call.verb)

    def _answer(self, ident: int, answer: Any, what: str) -> None:  # noqa: ANN401 - anything
        if type(answer) in _PLAIN:  # most answers; asking each what it is not costs more
            self._succeed(ident, answer)
            return
        if inspect.iscoroutine(answer):
            task = self._server.spawn(self._work(ident, answer, what))
            # Cancelled before its first step, the task would leave the verb unawaited.
            task.add_done_callback(lambda _: answer.close())
            self._requests[ident] = task.cancel
        elif not asyncio.isfuture(answer):
            self._succeed(ident, answer)
        elif answer.done():
            self._settle(ident, answer, what)
        else:
            self._requests[ident] = answer.cancel
            answer.add_done_callback(partial(self._answered, ident, what))

    async def _work(self, ident: int, work: Coroutine[Any, Any, Any], what: str) -> None:
        outcome: asyncio.Future[Any] = self._loop.create_future()
        try:
            outcome.set_result(await work)
        except asyncio.CancelledError:
            outcome.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - one verb's failure must not end the server
            outcome.set_exception(error)
        finally:
            self._answered(ident, what, outcome)

    def _answered(self, ident: int, what: str, future: asyncio.Future[Any]) -> None:
        if self._requests.pop(ident, None) is not None:
            self._settle(ident, future, what)
        elif not future.cancelled():
            future.exception()  # nobody waits for it any more

    def _settle(self, ident: int, future: asyncio.Future[Any], what: str) -> None:
        if future.cancelled():
            self._fail(ident, Unavailable(f"{what} was given up", hint="the engine is closing"))
            return
        error = future.exception()
        if error is None:
            self._succeed(ident, future.result())
        elif isinstance(error, SwarmDeckError):
            self._fail(ident, error)
        elif isinstance(error, Exception):
            self._fail(ident, defect(what, error))

    def _dispatch(self, request: Dispatch) -> None:
        self._check_room(request.id)
        action = decode_action(request.action)
        receipt = self._backend.dispatch(action, self._principal(self._agent or OPERATOR))
        self._receipts[request.id] = receipt
        self.send(Accepted(request.id, receipt.operation))
        receipt.listen(partial(self._moved, request.id))

    def _moved(self, ident: int, receipt: Receipt) -> None:
        if ident not in self._receipts:
            return
        if not receipt.done:
            if not self._paused:  # a later step says more
                self.send(Advanced(ident, receipt.fraction, receipt.text))
            return
        del self._receipts[ident]
        if receipt.error is None:
            self._succeed(ident, receipt.result)
        else:
            self._fail(ident, receipt.error)

    def _publish(self, request: Publish) -> None:
        self._check_room(request.id)
        principal = self._principal(self._agent or OPERATOR)
        answer = self._backend.publish(request.channel, decode_body(request.body), principal)
        self._answer(request.id, answer, "publish")

    def _watch(self, request: Watch) -> None:
        self._check_room(request.id)
        if request.channel is not None:
            principal = self._principal(self._agent or OPERATOR)
            self._backend.check_channel(request.channel, principal)
        elif self._agent is not None:
            raise Denied("events are for the operator", hint="agents listen to channels")
        watch = self._backend.bus.subscribe(channel=request.channel, on_ready=self._events_ready)
        self._watches[request.id] = watch
        self._requests[request.id] = watch.close

    def _cancel(self, request: Cancel) -> None:
        self._watches.pop(request.id, None)
        cancel = self._requests.pop(request.id, None)
        receipt = self._receipts.get(request.id)
        if cancel is not None:
            cancel()
        elif receipt is not None:
            receipt.cancel()

    def _check_room(self, ident: int) -> None:
        if len(self._requests) + len(self._receipts) >= protocol.MAX_IN_FLIGHT:
            raise Busy(
                f"{protocol.MAX_IN_FLIGHT} requests of this connection wait",
                hint="await some of them first",
            )
        if ident in self._requests or ident in self._receipts:
            error = InvalidInput(f"request number {ident} is in use")
            self._refuse(error)
            raise error

    def _principal(self, actor: str) -> Principal:
        if self._agent is not None and actor != self._agent:
            raise Denied(
                f"agent {self._agent} cannot act as {printable(actor)}",
                hint="an agent's connection acts as that agent only",
            )
        return self._backend.resolve(actor) if self._agent else self._backend.acting(actor)

    # --- answers ---

    def _succeed(self, ident: int, value: object) -> None:
        try:
            self.send(Result(ident, value))
        except InvalidInput as error:
            self._fail(ident, error)

    def _fail(self, ident: int, error: SwarmDeckError) -> None:
        report = error.report()
        try:
            self.send(Failure(ident, report))
        except InvalidInput:  # half characters in the text of an error we did not write
            self.send(
                Failure(ident, msgspec.structs.replace(report, message=ascii(report.message)))
            )

    def _refuse(self, error: SwarmDeckError) -> None:
        """Say why, then close."""
        if not self._closing:
            self._fail(protocol.UNASKED, error)
            self._writer.flush()
            self._closing = True
            self._transport.close()

    # --- events ---

    def _events_ready(self) -> None:
        if not self._events_due and not self._paused:
            self._events_due = True
            self._loop.call_soon(self._send_events)

    def _send_events(self) -> None:
        self._events_due = False
        for ident, watch in tuple(self._watches.items()):
            while not self._paused and (event := watch.poll()) is not None:
                try:
                    self.send(Happened(ident, event))
                except InvalidInput:
                    log.warning("an event that cannot be sent was left out")
            if watch.ended and not self._paused:
                del self._watches[ident]
                self._requests.pop(ident, None)
                self._succeed(ident, None)
