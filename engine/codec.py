"""Values as bytes: JSON for JSON types, raw for bytes.

A record carries its format beside its body, so that a later release can add compression and
encryption without touching what is stored. Bits 0-3 say what the plain body is; the bits above
are reserved for how it is wrapped.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from .errors import InvalidInput
from .model import MAX_JSON_DEPTH, MAX_VALUE_BYTES

JSON: Final = 0
RAW: Final = 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SURELY_SHALLOW: Final = 2 * MAX_JSON_DEPTH  # each level takes two brackets
_NAN_HINT: Final = "JSON has no NaN or infinity; store null or a string"


def encode(value: Any) -> tuple[int, bytes]:  # noqa: ANN401 - any JSON value or bytes
    """Format and body of a value. Raises InvalidInput for what JSON cannot say."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return RAW, _bounded(bytes(value))
    return JSON, encode_json(value)


def encode_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Compact JSON. Raises InvalidInput for NaN, lone surrogates, cycles, other types."""
    try:
        body = _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"the value is not JSON: {error}") from error
    if len(body) > _SURELY_SHALLOW:
        _shallow(_bounded(body))
    if b"null" in body and _has_nan(value):
        raise InvalidInput("the value holds NaN or infinity", hint=_NAN_HINT)
    return body


def decode(format_: int, body: bytes) -> Any:  # noqa: ANN401 - any JSON value or bytes
    """The value behind a body that `encode` or `check` let through."""
    return body if format_ == RAW else _decode(body)


def decode_json(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    return _decode(body)


def check(format_: int, body: bytes) -> bytes:
    """A body that arrived encoded, verified. Raises InvalidInput."""
    if format_ == RAW:
        return _bounded(body)
    if format_ != JSON:
        raise InvalidInput(f"unknown value format {format_}")
    return check_json(body)


def check_json(body: bytes) -> bytes:
    """A JSON text that arrived encoded, verified. Raises InvalidInput."""
    try:
        _decode(body)  # in full: only what can be read back may be stored
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise InvalidInput(f"the value is not JSON: {error}") from error
    return _shallow(_bounded(body))


def _shallow(body: bytes) -> bytes:
    if body.count(b"[") + body.count(b"{") > MAX_JSON_DEPTH and _depth(body) > MAX_JSON_DEPTH:
        raise InvalidInput(f"the value is nested deeper than {MAX_JSON_DEPTH} levels")
    return body


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


def _depth(body: bytes) -> int:
    """How deep valid JSON nests."""
    deepest = depth = 0
    quoted = escaped = False
    for byte in body:
        if quoted:
            quoted, escaped = escaped or byte != 0x22, not escaped and byte == 0x5C
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
