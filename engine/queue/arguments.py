"""Arguments of queue calls as they come from a caller or the wire, verified before anything is
queued. They raise InvalidInput."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from .. import codec
from ..errors import InvalidInput, NotFound
from ..model import MAX_TTL_S, check_key, check_name, printable, shown

MAX_BODY_BYTES: Final = 256 << 10  # a claim of MAX_CLAIM messages still fits one answer
MAX_ERROR: Final = 2_000
MAX_REASON: Final = 200
MAX_CLAIM: Final = 100
MAX_KINDS: Final = 32
MAX_WAIT_S: Final = 60.0
MIN_LEASE_S: Final = 0.1
MAX_LEASE_S: Final = 86_400.0
MAX_ATTEMPTS: Final = 100
MAX_ID: Final = (1 << 63) - 1


def text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{what} {shown(value)} is not a text")
    return value


def kind(name: str) -> str:
    """A message kind."""
    return _known_kind(text(name, "message kind"))


@lru_cache(maxsize=4096)
def _known_kind(name: str) -> str:
    return check_name(name, "message kind")


def number(ident: str, prefix: str) -> int:
    """The number in a message id. What cannot be an id of the environment is not found."""
    digits = text(ident, "message id").removeprefix(f"{prefix}_msg_")
    plain = digits.isascii() and digits.isdigit() and len(digits) <= 19 and digits[0] != "0"
    value = int(digits) if plain and len(digits) < len(ident) else 0
    if not 0 < value <= MAX_ID:
        raise NotFound(f"no message {printable(ident)}", hint=f"ids look like {prefix}_msg_1")
    return value


def kinds(wanted: Iterable[str] | None) -> tuple[str, ...] | None:
    """The kinds a claim takes; None is any."""
    if wanted is None:
        return None
    if not isinstance(wanted, (list, tuple, set, frozenset)):
        raise InvalidInput(f"kinds {shown(wanted)} is not a list of message kinds")
    found = tuple(dict.fromkeys(kind(each) for each in wanted))
    if not 1 <= len(found) <= MAX_KINDS:
        raise InvalidInput(f"{len(found)} kinds in one claim", hint=f"1 to {MAX_KINDS}, or None")
    return found


def whole(value: int, low: int, high: int, what: str) -> int:
    """A whole number within bounds."""
    if type(value) is not int or not low <= value <= high:
        raise InvalidInput(f"{what} {shown(value)} is out of range", hint=f"{low} to {high}")
    return value


def micros(value_s: float, low: float, high: float, what: str) -> int:
    """Seconds within bounds, as microseconds."""
    if type(value_s) not in (int, float) or not low <= value_s <= high:
        hint = f"{low:g} to {high:g} seconds"
        raise InvalidInput(f"{what} {shown(value_s)} is out of range", hint=hint)
    return int(value_s * 1_000_000)


def wait(delay_s: float) -> int:
    return micros(delay_s, 0, MAX_TTL_S, "delay")


def lease(lease_s: float) -> int:
    return micros(lease_s, MIN_LEASE_S, MAX_LEASE_S, "lease")


def expiry(expires_s: float | None, delay_us: int) -> int:
    """Microseconds from now, 0 for never. A message must be due before it expires."""
    if expires_s is None:
        return 0
    expires_us = micros(expires_s, 0.001, MAX_TTL_S, "expiry")
    if expires_us <= delay_us:
        raise InvalidInput(
            f"the message would expire after {expires_s:g} s, before it is due",
            hint="let it expire later than its delay",
        )
    return expires_us


def dedup_key(key: str | None) -> str | None:
    return None if key is None else check_key(text(key, "idempotency key"))


def body(value: bytes, what: str = "body") -> bytes:
    """A JSON text, bounded."""
    if not isinstance(value, bytes):
        raise InvalidInput(f"the {what} of a message is a JSON text as bytes")
    if len(value) > MAX_BODY_BYTES:
        raise InvalidInput(
            f"the {what} has {len(value)} bytes, at most {MAX_BODY_BYTES} fit a message",
            hint="keep it in memory under a key and send the key",
        )
    return codec.check_json(value)


def error(reason: str) -> str:
    """Why a message was given up, cut to what is worth keeping."""
    kept = text(reason, "error")[: MAX_ERROR + 1].encode(errors="replace").decode()
    return kept if len(kept) <= MAX_ERROR else kept[: MAX_ERROR - 1] + "…"


def reason(said: str) -> str:
    """Why somebody stops a queue, or nothing."""
    kept = text(said, "reason").strip()
    if len(kept) > MAX_REASON or not kept.isprintable():
        raise InvalidInput(
            f"{printable(kept)} is no reason", hint=f"at most {MAX_REASON} characters, in one line"
        )
    return kept
