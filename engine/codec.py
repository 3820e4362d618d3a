"""Values as bytes: JSON for JSON types, raw for bytes.

A record carries its format beside its body, so that a later release can add compression and
encryption without touching what is stored. Bits 0-3 say what the plain body is; the bits above
are reserved for how it is wrapped.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Any, Final

import msgspec

from .errors import InvalidInput
from .model import MAX_JSON_DEPTH, MAX_VALUE_BYTES

JSON: Final = 0
RAW: Final = 1

_encode = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode
"""The value of a JSON text that `check_json` let through."""

_pack = msgspec.msgpack.Encoder().encode  # knows no whole number beyond 64 bits, as JSON does
_SURELY_NARROW: Final = 19  # bytes: the digits of the first whole number beyond 64 bits
_MAY_HOLD_NAN: Final = b"\x7f"  # packed, NaN and infinity begin with it or, negative, with 0xff
_SURELY_SHALLOW: Final = 2 * MAX_JSON_DEPTH  # each level takes two brackets
_NAN_HINT: Final = "JSON has no NaN or infinity; store null or a string"
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_CONTENT: Final = bytes(set(range(256)) - set(b'[]{}:"'))
_QUOTED: Final = re.compile(rb'"[^"]*"?')
_FEW_LEVELS: Final = 8
_made: Final = [b""]  # the very text made last: whoever encodes and sends at once is not read again
_UNREADABLE: Final = (ValueError, TypeError, OverflowError, RecursionError)


def encode(value: Any) -> tuple[int, bytes]:  # noqa: ANN401 - any JSON value or bytes
    """Format and body of a value. Raises InvalidInput for what JSON cannot say."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return RAW, _bounded(bytes(value))
    return JSON, encode_json(value)


def encode_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Compact JSON. Raises InvalidInput for NaN, lone surrogates, whole numbers beyond 64 bits,
    cycles, other types."""
    try:
        body = _encode(value)
        packed = _pack(value) if len(body) >= _SURELY_NARROW else _MAY_HOLD_NAN
    except _UNREADABLE as error:
        raise InvalidInput(f"the value is not JSON: {error}") from error
    if len(body) > _SURELY_SHALLOW:
        _shallow(_bounded(body))
    # One byte is found faster than a word, and in most values neither of these is.
    if (b"\x7f" in packed or b"\xff" in packed) and b"null" in body and _has_nan(value):
        raise InvalidInput("the value holds NaN or infinity", hint=_NAN_HINT)
    _made[0] = body
    return body


def decode(format_: int, body: bytes) -> Any:  # noqa: ANN401 - any JSON value or bytes
    """The value behind a body that `encode` or `check` let through."""
    return body if format_ == RAW else decode_json(body)


def utf8(text: str) -> bytes:
    """Text as bytes. Raises InvalidInput for lone surrogates, which no store can hold."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the value is not UTF-8: half a character at {error.start}",
            hint="leave out what stands for undecodable bytes",
        ) from None


def check(format_: int, body: bytes) -> bytes:
    """A body that arrived encoded, verified. Raises InvalidInput."""
    if format_ == RAW:
        return _bounded(body)
    if format_ != JSON:
        raise InvalidInput(f"unknown value format {format_}")
    return check_json(body)


def check_json(body: bytes) -> bytes:
    """A JSON text that arrived encoded, verified: bounded, at most 64 levels deep (told before it
    is parsed), finite numbers, integers of at most 64 bits, whole characters, each key of an
    object once. Raises InvalidInput."""
    if body is _made[0]:
        return body
    _shallow(_bounded(body))
    try:
        value = decode_json(body)  # in full: only what can be read back may be stored
        compact = _encode_narrow(value)
    except _UNREADABLE as error:
        raise InvalidInput(f"the value is not JSON: {error}") from error
    if compact != body and _members(compact) != _members(body):
        raise InvalidInput("the value has a key twice in one object", hint="give each key once")
    return body


def _encode_narrow(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    body = _encode(value)
    if len(body) >= _SURELY_NARROW:
        _pack(value)
    return body


def _shallow(body: bytes) -> bytes:
    if body.count(b"[") + body.count(b"{") > MAX_JSON_DEPTH and _is_deep(body):
        raise InvalidInput(f"the value is nested deeper than {MAX_JSON_DEPTH} levels")
    return body


def _is_deep(body: bytes) -> bool:
    """Whether a JSON text, not known to be valid, nests too deep. The innermost brackets are
    taken out level by level, each in one pass of C; what is left is counted through."""
    left = _skeleton(body).replace(b":", b"")
    if left.count(b"[") - left.count(b"]") > MAX_JSON_DEPTH:
        return True
    for _ in range(_FEW_LEVELS):
        left = left.replace(b"[]", b"")
    steps = (1 if byte == 0x5B else -1 for byte in left)
    return max(itertools.accumulate(steps), default=0) + _FEW_LEVELS > MAX_JSON_DEPTH


def _members(body: bytes) -> int:
    """How many members the objects of a valid JSON text have together."""
    return _skeleton(body).count(b":")


def _skeleton(body: bytes) -> bytes:
    """The brackets and colons of a JSON text outside its strings, all brackets square. Linear in
    its size whatever it holds."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # Most strings hold none of these: two quotes side by side go without touching the others.
    return _QUOTED.sub(b"", body.translate(_SQUARE, _CONTENT).replace(b'""', b""))


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_VALUE_BYTES:
        raise InvalidInput(
            f"the value has {len(body)} bytes", hint=f"at most {MAX_VALUE_BYTES} bytes a value"
        )
    return body


def _has_nan(value: object) -> bool:
    """Whether a value that the encoder wrote with a null holds NaN or infinity."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(_has_nan(item) for item in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(_has_nan(item) for item in value)
    return False
