"""What a peer sends beside data-plane calls: actions and bodies of messages for a channel.

msgpack lets a map say a key twice, and every reader picks one of the two: what is checked and what
is done could differ. So each key counts once. Our own side writes the shortest forms; only what is
written otherwise has to be walked through, and that is bounded.
"""

from __future__ import annotations

import typing
from functools import cache
from typing import Any, Final

import msgspec

from ..actions import ACTIONS, Action
from ..errors import InvalidInput
from ..model import MAX_JSON_DEPTH
from . import protocol

WALKED_BYTES: Final = 64 << 10  # a tenth of a second of walking at most

_SCALARS: Final = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
    0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
_SIZED: Final = {  # bytes of the size, and bytes beside it
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
}  # fmt: skip
_ARRAYS: Final = {0xDC: 2, 0xDD: 4}
_MAPS: Final = {0xDE: 2, 0xDF: 4}


def _extension(code: int, _: memoryview) -> None:
    raise ValueError(f"extension type {code} is not known here")


_decode: Final = msgspec.msgpack.Decoder(ext_hook=_extension).decode


def decode_action(raw: msgspec.Raw) -> Action:
    """The action a peer asks for, not yet checked against its bounds. Raises InvalidInput."""
    try:
        action = _action_decoder().decode(raw)
    except protocol.UNDECODABLE as error:
        raise InvalidInput(f"not an action: {error}") from error
    _check(bytes(raw), action)
    return action


def decode_body(raw: msgspec.Raw) -> Any:  # noqa: ANN401 - JSON types and bytes
    """The body of a message for a channel. Raises InvalidInput."""
    try:
        body = _decode(raw)
    except protocol.UNDECODABLE as error:
        raise InvalidInput(f"not a message body: {error}") from error
    _check(bytes(raw), body)
    return body


@cache
def _action_decoder() -> msgspec.msgpack.Decoder[Action]:
    return msgspec.msgpack.Decoder(typing.Union[tuple(spec.type for spec in ACTIONS.values())])  # noqa: UP007


def _check(raw: bytes, value: object) -> None:
    try:
        if protocol.encode(value) == raw:
            return
    except protocol.UNENCODABLE as error:
        raise InvalidInput(f"this cannot be taken: {error}", hint="JSON types and bytes") from error
    if len(raw) > WALKED_BYTES:
        raise InvalidInput(
            f"{len(raw):,} bytes in other than the shortest forms of msgpack",
            hint=f"above {WALKED_BYTES:,} bytes each value is written in its shortest form",
        )
    _walk(raw, 0, 0)


def _walk(raw: bytes, at: int, depth: int) -> int:
    """Pass one value of a valid text, and return where the next begins. Raises InvalidInput for a
    key that stands twice in a map, and for values nested too deep."""
    if depth > MAX_JSON_DEPTH:
        raise InvalidInput(f"the value is nested deeper than {MAX_JSON_DEPTH} levels")
    code = raw[at]
    at += 1
    if code in _MAPS or 0x80 <= code < 0x90:
        count, at = _count(raw, at, _MAPS.get(code), code & 0x0F)
        return _walk_map(raw, at, count, depth)
    if code in _ARRAYS or 0x90 <= code < 0xA0:
        count, at = _count(raw, at, _ARRAYS.get(code), code & 0x0F)
        for _ in range(count):
            at = _walk(raw, at, depth + 1)
        return at
    if code in _SIZED:
        width, beside = _SIZED[code]
        count, at = _count(raw, at, width, 0)
        return at + count + beside
    return at + (code & 0x1F if 0xA0 <= code < 0xC0 else _SCALARS.get(code, 0))


def _walk_map(raw: bytes, at: int, count: int, depth: int) -> int:
    seen = set()
    for _ in range(count):
        begin, at = at, _walk(raw, at, depth + 1)
        seen.add(_decode(raw[begin:at]))
        at = _walk(raw, at, depth + 1)
    if len(seen) != count:
        raise InvalidInput("a map has a key twice", hint="give each key once")
    return at


def _count(raw: bytes, at: int, width: int | None, short: int) -> tuple[int, int]:
    """A count in so many bytes, or the short one of the code itself; and where it ends."""
    if width is None:
        return short, at
    return int.from_bytes(raw[at : at + width], "big"), at + width
