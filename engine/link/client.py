"""The other end of the socket: a Port to an engine in another process."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from weakref import WeakValueDictionary

import msgspec

from ..actions import Action, ActionSpec, spec_of
from ..dispatch import Receipt
from ..errors import Busy, Defect, InvalidInput, SwarmDeckError, Unavailable
from ..events import Callback, EngineStopping, Listener, Subscription
from . import protocol
from .protocol import (
    Accepted,
    Advanced,
    Cancel,
    Dispatch,
    Failure,
    Greeting,
    Happened,
    Hello,
    Message,
    Notice,
    Publish,
    Response,
    Result,
    Watch,
)

WINDOW: Final = protocol.MAX_IN_FLIGHT // 2  # calls under way; more wait here for their turn
MAX_WAITING: Final = 100_000


class LinkPort:
    """A connection to the engine that owns a data directory.

    When it is lost every call fails with Unavailable and event streams end with EngineStopping.
    It does not reconnect: open another.
    """

    def __init__(self, link: _Link, greeting: Greeting) -> None:
        self._link = link
        self._listeners: set[Listener] = set()
        self.greeting = greeting

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        agent: str | None = None,
        token: str | None = None,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> LinkPort:
        """Connect, as the operator or with an agent's token as that agent. `on_notice` hears
        what the engine tells an agent, such as `stop`. Raises Unavailable when nobody answers
        within 5 s, Denied for a wrong token or user."""
        link = _Link(on_notice)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(protocol.HELLO_S):
                await loop.create_unix_connection(lambda: link, os.fspath(path))
                greeting = await link.greet(Hello(protocol.VERSION, agent, token))
        except (OSError, TimeoutError) as error:
            link.abort()
            raise Unavailable(
                f"no engine answers on {path}", hint="start one with `swarmdeck serve`"
            ) from error
        except BaseException:
            link.abort()
            raise
        return cls(link, greeting)

    @property
    def closed(self) -> bool:
        """True when the connection was closed or lost."""
        return self._link.error is not None

    async def wait_closed(self) -> None:
        """Until the connection is closed or lost."""
        await self._link.ended.wait()

    async def dispatch(self, action: Action) -> Receipt:
        """Ask for an action; returns once the engine accepted it. Cancelling this call or the
        receipt cancels the operation there, losing the connection does not."""
        return await self._link.dispatch(action)

    def call(self, verb: str, actor: str, environment: str, *args: object) -> asyncio.Future[Any]:
        """A data-plane call. Cancelling the future withdraws the call. Raises InvalidInput at
        once when the arguments cannot cross."""
        ident = self._link.number()
        parts = protocol.call_frame(ident, verb, actor, environment, args)
        return self._link.request(ident, parts)

    def bound(self, verb: str, actor: str, environment: str) -> Callable[..., asyncio.Future[Any]]:
        return partial(self.call, verb, actor, environment)

    def events(self) -> Subscription:
        """All events from now on. Only for the operator."""
        return self._link.watch(None)

    async def publish(self, channel: str, body: Any) -> int:  # noqa: ANN401 - JSON types and bytes
        """Send to all who listen on a channel; returns how many were reached."""
        ident = self._link.number()
        parts = protocol.frame(Publish(ident, channel, body))
        reached: int = await self._link.request(ident, parts)
        return reached

    async def subscribe(self, channel: str, callback: Callback) -> Listener:
        """Call `callback(body)` for each message of a channel until closed."""
        listener = Listener(channel, self._link.watch(channel), callback)
        self._listeners = {each for each in self._listeners if not each.ended} | {listener}
        return listener

    async def close(self) -> None:
        """Disconnect. Calls under way fail with Unavailable. Can be called again."""
        for listener in tuple(self._listeners):
            await listener.close()
        await self._link.close()

    async def __aenter__(self) -> LinkPort:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Link(asyncio.Protocol):
    """The connection: requests by number, and what answers them."""

    def __init__(self, on_notice: Callable[[str], None]) -> None:
        self.error: SwarmDeckError | None = None
        self.ended = asyncio.Event()
        self._on_notice = on_notice
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = protocol.FrameReader()
        self._greeting: asyncio.Future[Greeting] = self._loop.create_future()
        self._last = 0
        self._announced = False  # the engine has said itself that it closes
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._waiting: deque[tuple[int, tuple[bytes, bytes]]] = deque()
        self._accepting: dict[int, ActionSpec] = {}
        self._operations: dict[int, tuple[ActionSpec, Receipt]] = {}
        # Weak: a stream nobody holds is given up when its next event comes.
        self._watches: WeakValueDictionary[int, Subscription] = WeakValueDictionary()
        self._handlers: dict[type[Message], Callable[[Any], None]] = {
            Result: self._result,
            Failure: self._failure,
            Accepted: self._accepted,
            Advanced: self._advanced,
            Happened: self._happened,
            Notice: self._notice,
            Greeting: self._greeted,
        }

    # --- what the transport says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no common class
        self._writer = protocol.FrameWriter(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._reader.feed(data):
                response: Response = protocol.decode_response(body)
                self._handlers[type(response)](response)
        except (InvalidInput, *protocol.UNDECODABLE) as error:
            failure = Unavailable(f"the engine sent what is not a message: {error}")
            failure.__cause__ = error
            self._end(failure)
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        failure = Unavailable("the connection to the engine is lost", hint="connect again")
        failure.__cause__ = error
        self._end(failure)
        self.ended.set()

    # --- requests ---

    async def greet(self, hello: Hello) -> Greeting:
        self._writer.put(protocol.frame(hello))
        return await self._greeting

    def number(self) -> int:
        """For the next request. Raises Unavailable when the connection is gone."""
        if self.error is not None:
            raise _copy(self.error)
        self._last += 1
        return self._last

    def request(self, ident: int, parts: tuple[bytes, bytes]) -> asyncio.Future[Any]:
        if len(self._answers) < WINDOW:
            self._writer.put(parts)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append((ident, parts))
        else:
            raise Busy(f"{MAX_WAITING} calls wait to be sent", hint="await some of them first")
        answer = self._answers[ident] = self._loop.create_future()
        answer.add_done_callback(partial(self._settled, ident))
        return answer

    async def dispatch(self, action: Action) -> Receipt:
        ident = self.number()
        parts = protocol.frame(Dispatch(ident, msgspec.Raw(_encode_action(action))))
        answer = self.request(ident, parts)
        self._accepting[ident] = spec_of(action)
        receipt: Receipt = await answer
        return receipt

    def watch(self, channel: str | None) -> Subscription:
        ident = self.number()
        self._writer.put(protocol.frame(Watch(ident, channel)))
        watch = Subscription(on_close=partial(self._unwatch, ident))
        self._watches[ident] = watch
        return watch

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        self._end(Unavailable("the connection to the engine was closed", hint="connect again"))
        if self._transport is not None:
            self._writer.flush()
            self._transport.close()
            try:
                await asyncio.wait_for(self.ended.wait(), protocol.HELLO_S)
            finally:
                self._transport.abort()

    def _tell(self, message: Message) -> None:
        if self.error is None:
            self._writer.put(protocol.frame(message))

    def _settled(self, ident: int, answer: asyncio.Future[Any]) -> None:
        """Tell the server of a caller who left, so that nothing is served or begun for him."""
        if answer.cancelled() and self._answers.pop(ident, None) is not None:
            self._accepting.pop(ident, None)
            self._tell(Cancel(ident))
            self._send_next()

    def _unwatch(self, ident: int, _: Subscription) -> None:
        if self._watches.pop(ident, None) is not None:
            self._tell(Cancel(ident))

    def _send_next(self) -> None:
        while self._waiting:
            ident, parts = self._waiting.popleft()
            if ident in self._answers:
                self._writer.put(parts)
                return

    def _end(self, error: SwarmDeckError) -> None:
        """Nothing comes any more: everybody who waits is told, once."""
        if self.error is not None:
            return
        self.error = error
        self._waiting.clear()
        if not self._greeting.done():
            self._greeting.set_exception(error)
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(_copy(error))
        for _, receipt in self._operations.values():
            receipt.fail(_copy(error))
        self._operations.clear()
        for watch in tuple(self._watches.values()):
            if not self._announced:
                watch.push(EngineStopping(error.message))
            watch.end()

    # --- responses ---

    def _result(self, response: Result) -> None:
        answer = self._answers.pop(response.id, None)
        if answer is not None:
            if not answer.done():
                answer.set_result(response.value)
            if self._waiting:
                self._send_next()
        elif (operation := self._operations.pop(response.id, None)) is not None:
            _resolve(*operation, response.value)
        elif (watch := self._watches.pop(response.id, None)) is not None:
            watch.end()

    def _failure(self, response: Failure) -> None:
        ident, error = response.id, response.error.error()
        if ident == protocol.UNASKED:
            self._end(error)
        elif (answer := self._answers.pop(ident, None)) is not None:
            self._accepting.pop(ident, None)
            if not answer.done():
                answer.set_exception(error)
            self._send_next()
        elif (operation := self._operations.pop(ident, None)) is not None:
            operation[1].fail(error)
        elif (watch := self._watches.pop(ident, None)) is not None:
            watch.end(error)

    def _accepted(self, response: Accepted) -> None:
        ident = response.id
        spec = self._accepting.pop(ident, None)
        if spec is None:
            return
        receipt = Receipt(response.operation, spec.name, partial(self._tell, Cancel(ident)))
        self._operations[ident] = spec, receipt
        answer = self._answers.pop(ident)
        if not answer.done():
            answer.set_result(receipt)
        self._send_next()

    def _advanced(self, response: Advanced) -> None:
        operation = self._operations.get(response.id)
        if operation is not None:
            operation[1].advance(response.fraction, response.text)

    def _happened(self, response: Happened) -> None:
        watch = self._watches.get(response.id)
        self._announced |= type(response.event) is EngineStopping
        if watch is not None:
            watch.push(response.event)
        else:
            self._tell(Cancel(response.id))

    def _notice(self, response: Notice) -> None:
        self._on_notice(response.word)

    def _greeted(self, response: Greeting) -> None:
        if not self._greeting.done():
            self._greeting.set_result(response)


def _encode_action(action: Action) -> bytes:
    try:
        return protocol.encode(action)
    except protocol.UNENCODABLE as error:
        raise InvalidInput(f"{spec_of(action).name}: {error}") from error


def _resolve(spec: ActionSpec, receipt: Receipt, value: object) -> None:
    try:
        receipt.resolve(msgspec.convert(value, spec.result))
    except msgspec.ValidationError as error:
        failure = Defect(f"{spec.name}: the engine's answer has another form: {error}")
        failure.__cause__ = error
        receipt.fail(failure)


def _copy(error: SwarmDeckError) -> SwarmDeckError:
    """One for each who waits: a raised exception belongs to one traceback."""
    copy = type(error)(error.message, hint=error.hint)
    copy.__cause__ = error.__cause__
    return copy
