"""The vocabulary: environments, levels, states, and the grammar of names and sizes.

Everything here is a value. Nothing here knows of files, sockets or screens.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from functools import lru_cache
from typing import Final

import msgspec

from .errors import InvalidInput
from .text import safe_text

GIB: Final = 1 << 30
MIB: Final = 1 << 20
MIN_SWARM_BYTES: Final = 16 * MIB
MAX_VALUE_BYTES: Final = 16 * MIB
MIN_TTL_S: Final = 0.001  # a shorter one could round to 0, which is for ever
MAX_TTL_S: Final = 10 * 365 * 86_400
MAX_KEY_BYTES: Final = 512
MAX_DISPLAY_NAME: Final = 128
MAX_JSON_DEPTH: Final = 64
OPERATOR: Final = "operator"
RESERVED: Final = frozenset({OPERATOR, "swarmdeck", "system"})


class Environment(enum.StrEnum):
    """The five environments, in order of priority (1 is served first)."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    TESTING = "testing"
    RESEARCH = "research"
    STAGING = "staging"

    @property
    def prefix(self) -> str:
        """How ids of this environment begin, without the underscore."""
        return PREFIXES[self]


PREFIXES: Final = {
    Environment.PRODUCTION: "prod",
    Environment.DEVELOPMENT: "dev",
    Environment.TESTING: "test",
    Environment.RESEARCH: "research",
    Environment.STAGING: "staging",
}
_BY_PREFIX: Final = {prefix: environment for environment, prefix in PREFIXES.items()}


class Isolation(enum.StrEnum):
    STRICT = "strict"
    MODERATE = "moderate"
    LOOSE = "loose"


class Level(enum.IntEnum):
    """Who a record is for. Scopes, not a ladder: never compare them with `<`."""

    PRIVATE = 1
    TEAM = 2
    SWARM = 3
    PUBLIC = 4
    SYSTEM = 5


class Right(enum.StrEnum):
    """What can be done to a record. `grant` is changing its level or its grants."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    GRANT = "grant"


class Role(enum.StrEnum):
    """What somebody is in an environment. On records only admin and system add to what relations
    give; monitor looks at what goes on, coordinator steers swarms and the queue."""

    AGENT = "agent"
    MONITOR = "monitor"
    COORDINATOR = "coordinator"
    ADMIN = "admin"
    SYSTEM = "system"


class MessageState(enum.StrEnum):
    READY = "ready"
    DELAYED = "delayed"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class SwarmState(enum.StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    TERMINATED = "terminated"


class AgentState(enum.StrEnum):
    """`external` agents have no process of ours; the others follow their process."""

    EXTERNAL = "external"
    STARTING = "starting"
    READY = "ready"
    STALE = "stale"
    EXITED = "exited"
    FAILED = "failed"


class Durability(enum.StrEnum):
    """What an acknowledged write survives. FULL: power loss. NORMAL: a crash of the process;
    power loss can take the last second."""

    FULL = "full"
    NORMAL = "normal"


class Principal(msgspec.Struct, frozen=True):
    """Who acts. The operator has no environment, swarm or team; its role in each environment is
    a setting, and that of the principal the one it has where nothing else is said."""

    id: str
    role: Role
    environment: str = ""
    swarm: str | None = None
    teams: tuple[str, ...] = ()

    @property
    def is_operator(self) -> bool:
        return self.id == OPERATOR


OPERATOR_PRINCIPAL: Final = Principal(OPERATOR, Role.SYSTEM)

PRIORITY_WORDS: Final = {"low": 2, "medium": 5, "high": 8, "critical": 10}

_LEVELS: Final[dict[str | int, Level]] = {
    **{level.name.lower(): level for level in Level},
    **{str(int(level)): level for level in Level},
    **{int(level): level for level in Level},
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(B|K|KB|KIB|M|MB|MIB|G|GB|GIB)?", re.IGNORECASE)
_SIZE_UNITS: Final = {"": 0, "B": 0, "K": 10, "M": 20, "G": 30}


def parse_environment(text: str) -> Environment:
    """An environment by name. Raises InvalidInput that lists the five."""
    try:
        return Environment(text)
    except ValueError:
        raise InvalidInput(
            f"unknown environment {printable(text)}", hint=f"one of {', '.join(Environment)}"
        ) from None


@lru_cache(maxsize=4096)
def home_of(ident: str) -> Environment | None:
    """The environment an id such as `dev_swarm_x` belongs to; None where it is none."""
    return _BY_PREFIX.get(ident.partition("_")[0])


def environment_of(ident: str) -> Environment:
    """The environment an id such as `dev_swarm_x` belongs to. Raises InvalidInput."""
    environment = home_of(ident)
    if environment is None:
        raise InvalidInput(
            f"{printable(ident)} is not an id of this engine",
            hint="ids begin with prod_, dev_, test_, research_ or staging_",
        )
    return environment


def parse_level(value: str | int) -> Level:
    """A level by name or number 1 to 5. Raises InvalidInput."""
    level = _LEVELS.get(value) or _LEVELS.get(str(value).lower())
    if level is not None and not isinstance(value, bool):
        return level
    raise InvalidInput(
        f"unknown level {printable(str(value))}",
        hint="private, team, swarm, public or system (1 to 5)",
    )


def parse_priority(value: str | int) -> int:
    """1 to 10 (10 most urgent), or low, medium, high, critical. Raises InvalidInput."""
    if isinstance(value, str):
        word = PRIORITY_WORDS.get(value.lower())
        if word is not None:
            return word
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= 2 else -1
    if type(value) is not int or not 1 <= value <= 10:
        raise InvalidInput(
            f"priority {shown(value)} is out of range",
            hint="1 to 10, or low, medium, high, critical",
        )
    return value


def parse_size(text: str) -> int:
    """Bytes from `512MB`, `2GB`, `1.5GiB` or a plain number. MB and MiB are both 2**20,
    GB and GiB both 2**30. Raises InvalidInput."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"{printable(text)} is not a size", hint="write it like 512MB or 2GB")
    unit = (found[2] or "").upper().removesuffix("IB").removesuffix("B") if found[2] != "B" else ""
    return int(float(found[1]) * (1 << _SIZE_UNITS[unit]))


def format_size(size_bytes: int) -> str:
    """The shortest exact-enough form: `512 MB`, `2 GB`, `1.5 GB`. Units are powers of two."""
    for unit, shift in (("GB", 30), ("MB", 20), ("KB", 10)):
        if abs(size_bytes) >= 1 << shift:
            return f"{size_bytes / (1 << shift):.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes} B"


def check_name(text: str, what: str = "name") -> str:
    """An id, namespace or message kind. Raises InvalidInput."""
    if not _NAME.fullmatch(text):
        raise InvalidInput(
            f"{what} {printable(text)} is not allowed",
            hint="1 to 63 of a-z 0-9 . _ - and the first a letter or digit",
        )
    if text in RESERVED:
        raise InvalidInput(
            f"{what} {text} is not allowed: the engine itself goes by it", hint="take another"
        )
    return text


def check_display_name(text: str, what: str = "name") -> str:
    """A name people read: 1 to 128 characters, no control characters, no slash. Returns it in
    Unicode normal form C. Raises InvalidInput."""
    normal = unicodedata.normalize("NFC", text)
    bad = any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in normal)
    if bad or "/" in normal or not 1 <= len(normal) <= MAX_DISPLAY_NAME or not normal.strip():
        raise InvalidInput(
            f"{what} {printable(text)} is not allowed",
            hint="1 to 128 characters, no control characters, no /",
        )
    return normal


def check_key(text: str) -> str:
    """A memory key: 1 to 512 bytes of UTF-8 in Unicode normal form C, nothing in it that acts or
    hides. Raises InvalidInput."""
    if text.isascii() and text.isprintable() and 0 < len(text) <= MAX_KEY_BYTES:
        return text
    return _check_wide_key(text)


def _check_wide_key(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_KEY_BYTES or safe_text(text) != text:
        raise InvalidInput(
            f"memory key {printable(text)} is not allowed",
            hint="1 to 512 bytes of UTF-8, no control or hidden characters",
        )
    if not unicodedata.is_normalized("NFC", text):
        # Keys are compared byte by byte: two spellings of one word would be two records.
        raise InvalidInput(
            f"memory key {printable(text)} is not in Unicode normal form C",
            hint=f"write {unicodedata.normalize('NFC', text)!a}",
        )
    return text


def check_ttl(ttl_s: float | None) -> float | None:
    """None (for ever), or from a millisecond to ten years. Raises InvalidInput."""
    if ttl_s is None or MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        return ttl_s
    raise InvalidInput(
        f"time to live {shown(ttl_s)} s is out of range",
        hint="at least 0.001 s and at most 10 years",
    )


def shown(value: object) -> str:
    """A value from outside inside a message: printable, cut, also where Python refuses to write
    out a number of thousands of digits."""
    try:
        return printable(str(value)).strip("'\"")
    except ValueError:
        return "of thousands of digits"


def printable(text: str, limit: int = 80) -> str:
    """Text from outside, quoted and cut so that it is safe inside a message."""
    shown = ascii(text) if not text.isprintable() else repr(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
