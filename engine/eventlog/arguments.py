"""What callers say of events, verified before anything is stored. Raises InvalidInput."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from .. import codec
from ..errors import InvalidInput
from ..model import MAX_TTL_S, MIN_TTL_S, check_name
from ..queue.arguments import error, kinds, lease, micros, whole

__all__ = ["error", "kinds", "lease", "micros", "payload", "tags", "ttl", "whole"]

MAX_PAYLOAD_BYTES: Final = 256 << 10
MAX_TAGS: Final = 16
MAX_PUBLISHED: Final = 1_000  # events of one call
MAX_TAKEN: Final = 100
MAX_RETRIES: Final = 100


def payload(value: Any) -> bytes:  # noqa: ANN401 - JSON types
    """A payload as JSON, bounded."""
    text = codec.encode_json(value)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise InvalidInput(
            f"the payload has {len(text)} bytes, at most {MAX_PAYLOAD_BYTES} fit an event",
            hint="keep it in memory under a key and publish the key",
        )
    return text


def tags(names: Iterable[str]) -> str:
    """Tags as they are stored: each between commas."""
    found = dict.fromkeys(check_name(name, "tag") for name in names)
    if len(found) > MAX_TAGS:
        raise InvalidInput(f"{len(found)} tags on one event", hint=f"at most {MAX_TAGS}")
    return f",{','.join(found)}," if found else ""


def ttl(seconds: float) -> int:
    """How long an event may wait, in microseconds."""
    return micros(seconds, MIN_TTL_S, MAX_TTL_S, "ttl")
