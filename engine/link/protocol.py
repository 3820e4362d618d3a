"""What crosses the socket: frames, and the messages in them.

A frame is its length in four bytes, big endian, and a msgpack array that begins with the number
of its message. The client speaks first (Hello); requests carry a number of the client's choice and
may be answered in any order. Hello, Greeting and Failure keep their form in every version.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeAlias

import msgspec

from ..errors import ErrorReport, InvalidInput
from ..events import Event

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 32 << 20
MAX_IN_FLIGHT: Final = 4096  # requests of one connection that wait for their answer
HELLO_S: Final = 5.0  # how long either side waits for the other's first words
WRITE_BYTES: Final = 1 << 20  # what waits unwritten before the other side is made to wait
UNASKED: Final = 0  # the request number of a failure that answers no request

_PREFIX_BYTES: Final = 4
_CALL: Final = 1


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of all messages."""


class Hello(Message, frozen=True, tag=0):
    """First message. Without an agent the connection is the operator's."""

    version: int
    agent: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Hello(version={self.version}, agent={self.agent!r}, token=…)"


class Call(Message, frozen=True, tag=_CALL):
    """A data-plane call. Answered by Result or Failure. `args` is an array, read only when it is
    known which types the verb wants."""

    id: int
    verb: str
    actor: str
    environment: str
    args: msgspec.Raw


class Dispatch(Message, frozen=True, tag=2):
    """An action. Answered by Accepted, any number of Advanced, then Result; or by Failure."""

    id: int
    action: msgspec.Raw


class Watch(Message, frozen=True, tag=3):
    """Events, or the messages of one channel. Answered by Happened until it is cancelled."""

    id: int
    channel: str | None = None


class Publish(Message, frozen=True, tag=4):
    """A message for a channel. Answered by Result. `body` is any value; its reader looks at it
    before it takes it."""

    id: int
    channel: str
    body: msgspec.Raw


class Cancel(Message, frozen=True, tag=5):
    """Give up a request: its answer is not wanted, an action should end."""

    id: int


class Greeting(Message, frozen=True, tag=0):
    """Answer to Hello: who serves. `data` is the data directory."""

    version: int
    release: str
    pid: int
    data: str


class Result(Message, frozen=True, tag=1):
    """A request was done; for a watch, there is nothing more to come."""

    id: int
    value: Any = None


class Failure(Message, frozen=True, tag=2):
    """A request failed; as UNASKED the connection did, and closes."""

    id: int
    error: ErrorReport


class Accepted(Message, frozen=True, tag=3):
    id: int
    operation: str


class Advanced(Message, frozen=True, tag=4):
    id: int
    fraction: float
    text: str


class Happened(Message, frozen=True, tag=5):
    id: int
    event: Event


class Notice(Message, frozen=True, tag=6):
    """A word of the engine to an agent, such as `stop`."""

    word: str


Request: TypeAlias = Hello | Call | Dispatch | Watch | Publish | Cancel
Response: TypeAlias = Greeting | Result | Failure | Accepted | Advanced | Happened | Notice

encode: Final = msgspec.msgpack.Encoder().encode
decode_request: Final = msgspec.msgpack.Decoder(Request).decode
decode_response: Final = msgspec.msgpack.Decoder(Response).decode

# What the decoder raises for bytes that are no message; TypeError for a map as the key of a map.
UNDECODABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
# What the encoder raises for values that are not JSON types and bytes: unknown types, integers
# over 64 bits, half characters, nesting without end.
UNENCODABLE: Final = (TypeError, OverflowError, ValueError, RecursionError)


def frame(message: Message | tuple[object, ...]) -> tuple[bytes, bytes]:
    """A message as length and body. Raises InvalidInput when it cannot cross."""
    try:
        body = encode(message)
    except UNENCODABLE as error:
        raise InvalidInput(f"this cannot be sent: {error}", hint="JSON types and bytes") from error
    size = len(body)
    if size > MAX_FRAME_BYTES:
        raise too_large(size)
    return size.to_bytes(_PREFIX_BYTES, "big"), body


def call_frame(
    ident: int, verb: str, actor: str, environment: str, args: tuple[object, ...]
) -> tuple[bytes, bytes]:
    """The frame of a Call, made in one step."""
    return frame((_CALL, ident, verb, actor, environment, args))


def too_large(size: int) -> InvalidInput:
    return InvalidInput(
        f"a message of {size:,} bytes is over the limit of {MAX_FRAME_BYTES:,}",
        hint="send less at once",
    )


class FrameWriter:
    """Collects frames and writes them once per turn of the loop."""

    __slots__ = ("_loop", "_parts", "_size", "_transport")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0

    def put(self, parts: tuple[bytes, bytes]) -> None:
        """Add a frame; large amounts are written at once, so that the transport can object."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts += parts
        self._size += len(parts[1])
        if self._size > WRITE_BYTES:
            self.flush()

    def discard(self) -> None:
        """Forget what was not written yet."""
        self._parts.clear()
        self._size = 0

    def flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)


class FrameReader:
    """Cuts what arrives into frames, however it was split on the way."""

    __slots__ = ("_kept", "_need")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._need = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete now. Raises InvalidInput at the first frame over the
        limit, before any of it is kept."""
        if self._kept:
            self._kept += data
            if len(self._kept) < self._need:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        bodies = []
        begin, end = 0, len(data)
        need = _PREFIX_BYTES
        while end - begin >= _PREFIX_BYTES:
            body = begin + _PREFIX_BYTES
            size = int.from_bytes(data[begin:body], "big")
            if size > MAX_FRAME_BYTES:
                raise too_large(size)
            need = _PREFIX_BYTES + size
            if end - begin < need:
                break
            begin += need
            bodies.append(data[body:begin])
            need = _PREFIX_BYTES
        if begin < end:
            self._kept += data[begin:]
            self._need = need
        return bodies
