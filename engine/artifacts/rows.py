"""What the database says of artifacts and their contents, and reading it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import msgspec

from ..acl.rows import Rows
from ..acl.sight import Where, joined
from ..errors import Damaged
from ..model import Level, Principal
from ..store.contains import containing
from ..store.database import Reader, Transaction
from ..vault import Ring, letters
from ..vault.columns import ARTIFACT_METADATA, CONTENT_SECRET
from ..vault.letters import Letter
from .content import Written
from .form import KEY_BYTES

COLUMNS: Final = """a.id, a.series, a.version, a.name, a.type, a.format, a.content, a.size, a.level,
       a.owner, a.team, a.swarm, a.author, a.parent, a.created_at"""
CONTENT: Final = "id, address, size, stored, chunks, secret, created_at, checked_at, damage"
GLANCE: Final = "c.stored, c.chunks, c.checked_at, c.damage"

_FROM: Final = "artifact a JOIN artifact_content c ON c.env = a.env AND c.address = a.content"
SELECT_ONE: Final = f"SELECT {COLUMNS}, a.metadata FROM artifact a WHERE a.env = ? AND a.id = ?"  # noqa: S608
SELECT_CONTENT: Final = f"SELECT {CONTENT} FROM artifact_content WHERE env = ? AND address = ?"  # noqa: S608
SELECT_CONTENTS: Final = f"""
SELECT {CONTENT} FROM artifact_content WHERE env = ? AND id > ? ORDER BY id LIMIT ?"""  # noqa: S608
SELECT_VERSIONS: Final = f"""
SELECT {COLUMNS}, {GLANCE} FROM {_FROM}
WHERE a.env = ? AND a.series = ? ORDER BY a.version DESC LIMIT ?"""  # noqa: S608
SELECT_GLANCE: Final = f"SELECT {COLUMNS}, {GLANCE} FROM {_FROM} WHERE a.env = ? AND a.id = ?"  # noqa: S608
SELECT_NAMED: Final = f"""
SELECT {COLUMNS} FROM artifact a
WHERE a.env = ? AND a.owner = ? AND a.name = ? ORDER BY a.version DESC LIMIT 1"""  # noqa: S608
SELECT_MADE_FROM: Final = "SELECT id FROM artifact WHERE env = ? AND parent = ? ORDER BY id LIMIT ?"
_NEWEST: Final = """NOT EXISTS (SELECT 1 FROM artifact b
    WHERE b.env = a.env AND b.series = a.series AND b.version > a.version)"""
_TEXTS: Final = ("a.name", "a.type", "a.format", "a.owner", "ifnull(a.team, '')", "a.author")
_ORDERS: Final = {
    "age": "a.id",
    "name": "a.name",
    "size": "a.size",
    "type": "a.type",
    "version": "a.version",
    "owner": "a.owner",
}
_NUMBERS: Final = struct.Struct(">QQQ")


class Artifact(msgspec.Struct, frozen=True):
    """A version of an artifact. `content` is the address of what it holds, `size` its bytes."""

    ident: int
    series: int
    version: int
    name: str
    type: str
    format: str
    content: str
    size: int
    level: Level
    owner: str
    team: str | None
    swarm: str | None
    author: str
    parent: int | None
    created_us: int

    @property
    def letter(self) -> Letter:
        return ARTIFACT_METADATA.letter(self.ident, self.owner, self.name, self.content)


class Glance(msgspec.Struct, frozen=True):
    """What is known of a content without opening it."""

    stored: int
    chunks: int
    checked_us: int | None
    damage: str


class Content(msgspec.Struct, frozen=True):
    """A row of the table of contents."""

    ident: int
    address: str
    size: int
    stored: int
    chunks: int
    secret: bytes | None
    created_us: int
    checked_us: int | None
    damage: str

    @property
    def letter(self) -> Letter:
        return CONTENT_SECRET.letter(self.ident, self.address)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Which artifacts somebody looks for. Without `versions` the newest of each series; `order` is
    age, name, size, type, version or owner, the newest and largest first."""

    type: str | None = None
    owner: str | None = None
    name: str | None = None
    contains: str = ""
    damaged: bool = False
    versions: bool = False
    order: str = "age"
    descending: bool = False
    offset: int = 0
    limit: int = 200


Seen = tuple[Artifact, Glance]


def of_row(row: Any) -> Artifact:  # noqa: ANN401 - a row of COLUMNS
    """The artifact in a row that begins with COLUMNS."""
    return Artifact(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], Level(row[8]), row[9],
        row[10], row[11], row[12], row[13], row[14],
    )  # fmt: skip


def seen_row(row: Any) -> Seen:  # noqa: ANN401 - a row of COLUMNS and GLANCE
    return of_row(row), Glance(*row[15:19])


def one(tx: Reader | Transaction, ident: int) -> tuple[Artifact, bytes | None] | None:
    """An artifact and its sealed metadata."""
    row = tx.execute(SELECT_ONE, (tx.env, ident)).fetchone()
    return None if row is None else (of_row(row), row[15])


def glance(reader: Reader, ident: int) -> Seen | None:
    row = reader.execute(SELECT_GLANCE, (reader.env, ident)).fetchone()
    return None if row is None else seen_row(row)


def content(tx: Reader | Transaction, address: str) -> Content | None:
    row = tx.execute(SELECT_CONTENT, (tx.env, address)).fetchone()
    return None if row is None else Content(*row)


def contents(reader: Reader, after: int, limit: int) -> list[Content]:
    """The next contents by number."""
    return [Content(*row) for row in reader.execute(SELECT_CONTENTS, (reader.env, after, limit))]


def page(
    wish: Wish, rows: Rows, principal: Principal, shown: Callable[[int], str]
) -> Callable[[Reader], list[Seen]]:
    """A page of what somebody may read."""
    (where, exact), order = rows.visible(principal), _ordered(wish)
    parts = [*_within(wish), where]

    def query(reader: Reader) -> list[Seen]:
        condition, parameters = joined(parts)
        limit = (wish.limit, wish.offset) if exact else (-1, 0)
        statement = f"""
SELECT {COLUMNS}, {GLANCE} FROM {_FROM}
WHERE a.env = ? AND {condition} ORDER BY {order} LIMIT ? OFFSET ?"""  # noqa: S608 - ours
        found = map(seen_row, reader.execute(statement, (reader.env, *parameters, *limit)))
        if exact:
            return list(found)
        kept = (each for each in found if rows.seen(principal, [(shown(each[0].ident), each[0])]))
        return list(islice(kept, wish.offset, wish.offset + wish.limit))

    return query


def _within(wish: Wish) -> list[Where]:
    parts: list[Where] = [(_NEWEST, ())] if not wish.versions else []
    exact = {"type": wish.type, "owner": wish.owner, "name": wish.name}
    parts += [(f"a.{name} = ?", (value,)) for name, value in exact.items() if value is not None]
    if wish.contains:
        parts.append(containing(wish.contains, _TEXTS))
    if wish.damaged:
        parts.append(("c.damage <> ''", ()))
    return parts


def _ordered(wish: Wish) -> str:
    down = wish.order in {"age", "size", "version"}  # the newest and largest first
    turn = " DESC" if down is not wish.descending else ""
    return ", ".join(dict.fromkeys((f"{_ORDERS[wish.order]}{turn}", f"a.id{turn}")))


# --- what is sealed -----------------------------------------------------------------------------


class _Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an artifact's row says, once more, beside its metadata."""

    row: tuple[Any, ...]
    metadata: msgspec.Raw = msgspec.Raw(b"null")


def said(artifact: Artifact, metadata: bytes) -> bytes:
    """The text that is sealed with an artifact."""
    return msgspec.json.encode(_Said(_row(artifact), msgspec.Raw(metadata)))


def metadata_of(ring: Ring, artifact: Artifact, stored: bytes | None, shown: str) -> bytes:
    """The metadata of an artifact, if its row is what was written. Raises Sealed, Damaged."""
    text = letters.unprotect(ring, artifact.letter, stored or b"")
    found = msgspec.json.decode(text, type=_Said)
    if list(found.row) != list(_row(artifact)):
        raise Damaged(f"{shown} was changed in its database", hint="restore it from a backup")
    return bytes(found.metadata)


def _row(artifact: Artifact) -> tuple[Any, ...]:
    """What is compared: all of a row but its number and name, which the seal itself binds."""
    return (
        artifact.series, artifact.version, artifact.type, artifact.format, artifact.size,
        int(artifact.level), artifact.team, artifact.swarm, artifact.author, artifact.parent,
        artifact.created_us,
    )  # fmt: skip


def secret(key: bytes, written: Written) -> bytes:
    """The text that is sealed with a content."""
    return key + written.sha256 + _NUMBERS.pack(written.size, written.stored, written.chunks)


def opened(ring: Ring, found: Content) -> tuple[bytes, Written]:
    """The key of a content and what it is. Raises Sealed, Damaged."""
    text = letters.unprotect(ring, found.letter, found.secret or b"")
    if len(text) != 2 * KEY_BYTES + _NUMBERS.size:
        raise Damaged("what is known of the content is damaged")
    key, sha256 = text[:KEY_BYTES], text[KEY_BYTES : 2 * KEY_BYTES]
    written = Written(sha256, *_NUMBERS.unpack(text[2 * KEY_BYTES :]))
    if (written.size, written.stored, written.chunks) != (found.size, found.stored, found.chunks):
        raise Damaged("what is known of the content was changed in its database")
    return key, written
