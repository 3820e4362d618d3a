"""Explicit entries: what is asked for, what is in force, and its row in the file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from ..errors import Denied, InvalidInput
from ..model import (
    OPERATOR,
    Level,
    Principal,
    Right,
    check_key,
    check_name,
    parse_level,
    printable,
)
from ..store.database import Reader, Transaction
from ..views import GrantView
from .conditions import Conditions, conditions

DEFAULT_S: Final = 86_400.0
MAX_GRANT_S: Final = 90 * 86_400
BREAK_GLASS_S: Final = 15 * 60
MAX_OF_AGENT: Final = 256  # entries in force that one agent has made
MAX_REASON: Final = 500

RECORDS: Final = "memory"
DEFAULT_NAMESPACE: Final = "default"

ENTRY: Final = "entry"
EXPORT: Final = "export"
BREAK_GLASS: Final = "break-glass"

_INSERT: Final = """
INSERT INTO grant_entry (env, id, subject, effect, resource, level, actions, namespace, key_prefix,
                         granted_by, created_at, expires_at, kind, name, reason, hours, days, zone)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SELECT: Final = """
SELECT id, subject, effect, resource, level, actions, namespace, key_prefix, granted_by,
       created_at, expires_at, kind, name, reason, hours, days, zone
FROM grant_entry WHERE env = ? AND expires_at > ? ORDER BY created_at, id"""
_DELETE: Final = "DELETE FROM grant_entry WHERE env = ? AND id = ?"
_FORGET: Final = "DELETE FROM grant_entry WHERE env = ? AND expires_at <= ?"

log = logging.getLogger(__name__)


class Record(Protocol):
    """What a decision needs of a record."""

    @property
    def level(self) -> Level: ...
    @property
    def owner(self) -> str: ...
    @property
    def team(self) -> str | None: ...
    @property
    def swarm(self) -> str | None: ...


class Standing(msgspec.Struct, frozen=True):
    """How a record stands, without what it holds."""

    level: Level
    owner: str
    team: str | None = None
    swarm: str | None = None


class Grant(msgspec.Struct, frozen=True):
    """An explicit entry in force. Times are microseconds since the epoch. `kind` and the subject
    are as in GrantView; the prefix of a break-glass entry is the whole key. `when` are hours and
    days as they are asked; None: always."""

    id: str
    subject: str
    effect: str
    resource: str
    level: Level
    rights: frozenset[Right]
    namespace: str
    key_prefix: str
    granted_by: str
    created_us: int
    expires_us: int
    kind: str = ENTRY
    name: str = ""
    reason: str = ""
    hours: str = ""
    days: tuple[str, ...] = ()
    zone: str = "UTC"
    when: Conditions | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A grant or denial as asked for."""

    subject: str
    effect: Literal["allow", "deny"]
    level: str | int
    rights: tuple[str, ...]
    namespace: str = DEFAULT_NAMESPACE
    key_prefix: str = ""
    expires_s: float = DEFAULT_S
    resource: str = RECORDS
    hours: str = ""
    days: tuple[str, ...] = ()
    zone: str = "UTC"


def entry(wanted: Wanted, granter: Principal, ident: str, now_us: int) -> Grant:
    """An entry as asked for, checked. Raises InvalidInput or Denied."""
    return Grant(
        id=ident,
        subject=wanted.subject,
        effect=wanted.effect,
        resource=wanted.resource,
        level=_grant_level(wanted.effect, parse_level(wanted.level), granter),
        rights=_rights(wanted.rights),
        namespace=_namespace(wanted),
        key_prefix=prefix(wanted.key_prefix),
        granted_by=granter.id,
        created_us=now_us,
        expires_us=now_us + lifetime_us(wanted.expires_s),
        hours=wanted.hours,
        days=tuple(dict.fromkeys(wanted.days)),
        zone=wanted.zone or "UTC",
        when=conditions(wanted.hours, wanted.days, wanted.zone),
    )


def space(resource: str) -> str:
    """Where the entries about other things than records stand: a namespace no record can have."""
    return f"@{resource}"


def _namespace(wanted: Wanted) -> str:
    named = check_name(wanted.namespace, "namespace")
    if wanted.resource == RECORDS:
        return named
    if wanted.namespace != DEFAULT_NAMESPACE:
        raise InvalidInput(f"a {wanted.resource} has no namespace", hint="leave it out")
    return space(wanted.resource)


def prefix(text: str) -> str:
    """A prefix of keys; empty: all of them. Raises InvalidInput."""
    return check_key(text) if text else ""


def lifetime_us(expires_s: float) -> int:
    """Raises InvalidInput: every entry ends."""
    if 0 < expires_s <= MAX_GRANT_S:
        return int(expires_s * 1_000_000)
    raise InvalidInput(
        f"a grant cannot last {expires_s} s", hint="more than 0 s and at most 90 days"
    )


def reason_given(text: str) -> str:
    """Why the glass is broken, fit for the audit trail. Raises InvalidInput."""
    reason = text.strip()
    if 3 <= len(reason) <= MAX_REASON and reason.isprintable():
        return reason
    raise InvalidInput(
        f"{printable(text)} is no reason", hint=f"3 to {MAX_REASON} characters, in one line"
    )


def _grant_level(effect: str, level: Level, granter: Principal) -> Level:
    if effect == "deny":
        return level
    if level is Level.SYSTEM:
        raise InvalidInput("system records cannot be granted", hint="private to public can")
    if level is Level.PRIVATE and granter.id == OPERATOR:
        raise Denied(
            "only the owner can grant reading its private records",
            hint="swarmdeck acl breakglass reads one, for a stated reason",
        )
    return level


def _rights(names: Sequence[str]) -> frozenset[Right]:
    allowed = {Right.READ, Right.WRITE, Right.DELETE}
    unknown = [name for name in names if name not in allowed]
    if unknown or not names:
        raise InvalidInput(
            f"cannot grant {', '.join(unknown) or 'nothing'}", hint="read, write, delete"
        )
    return frozenset(Right(name) for name in names)


# --- shown ------------------------------------------------------------------------------------


def describe(grant: Grant) -> str:
    """One line about an entry, for the audit trail."""
    rights = ",".join(sorted(grant.rights))
    where = f"{grant.namespace}/{grant.key_prefix}{'' if grant.kind == BREAK_GLASS else '*'}"
    words = [grant.subject, rights, grant.level.name.lower(), where]
    words += [word for word in (grant.name, grant.hours, ",".join(grant.days)) if word]
    if grant.hours or grant.days:
        words.append(grant.zone)
    return " ".join(words) + (f": {grant.reason}" if grant.reason else "")


def view(grant: Grant, environment: str) -> GrantView:
    return GrantView(
        id=grant.id,
        environment=environment,
        subject=grant.subject,
        effect=grant.effect,
        resource=grant.resource,
        level=grant.level.name.lower(),
        actions=tuple(sorted(grant.rights)),
        namespace=grant.namespace,
        key_prefix=grant.key_prefix,
        granted_by=grant.granted_by,
        created_at_us=grant.created_us,
        expires_at_us=grant.expires_us,
        kind=grant.kind,
        name=grant.name,
        reason=grant.reason,
        hours=grant.hours,
        days=grant.days,
        zone=grant.zone,
    )


# --- in the file ------------------------------------------------------------------------------


def insert(tx: Transaction, grant: Grant) -> None:
    """Store an entry; those that ended longer ago than any could last are forgotten."""
    actions = ",".join(sorted(grant.rights))
    tx.execute(_FORGET, (tx.env, tx.now_us - MAX_GRANT_S * 1_000_000))
    row = (
        tx.env, grant.id, grant.subject, grant.effect, grant.resource, int(grant.level), actions,
        grant.namespace, grant.key_prefix, grant.granted_by, grant.created_us, grant.expires_us,
        grant.kind, grant.name, grant.reason, grant.hours, ",".join(grant.days), grant.zone,
    )  # fmt: skip
    tx.execute(_INSERT, row)


def delete(tx: Transaction, ident: str) -> None:
    tx.execute(_DELETE, (tx.env, ident))


def delete_expired(tx: Transaction, now_us: int) -> None:
    """Delete the entries that had ended at `now_us`."""
    tx.execute(_FORGET, (tx.env, now_us))


def load(now_us: int) -> Callable[[Reader], list[Grant]]:
    """The entries that have not ended."""

    def query(reader: Reader) -> list[Grant]:
        rows = reader.execute(_SELECT, (reader.env, now_us))
        return [found for row in rows if (found := _loaded(row)) is not None]

    return query


def _loaded(row: tuple[Any, ...]) -> Grant | None:
    """An entry from its row. Where its time zone is not known any more, nothing is allowed by it,
    and a denial counts always."""
    ident, subject, effect, resource, level, actions, namespace, key_prefix, by, *more = row
    created_us, expires_us, kind, name, reason, hours, named, zone = more
    days = tuple(filter(None, named.split(",")))
    when: Conditions | None = None
    try:
        when = conditions(hours, days, zone)
    except InvalidInput as error:
        log.warning("entry %s: %s", ident, error.message)
        if effect == "allow":
            return None
    return Grant(
        ident, subject, effect, resource, Level(level),
        frozenset(Right(right) for right in actions.split(",")), namespace, key_prefix, by,
        created_us, expires_us, kind, name, reason, hours, days, zone or "UTC", when,
    )  # fmt: skip
