"""What is changed about artifacts, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from ..acl.grants import Standing
from ..acl.rows import Rows
from ..errors import InvalidInput, NotFound
from ..model import Level, Principal, Right
from ..store.database import Reader, Transaction
from ..vault import Ring, letters
from ..vault.columns import CONTENT_SECRET
from . import rows
from .content import Written
from .rows import Artifact, Content

_INSERT_CONTENT: Final = """
INSERT INTO artifact_content (env, address, size, stored, chunks, created_at)
VALUES (?, ?, ?, ?, ?, ?)"""
_REPLACE_CONTENT: Final = """
UPDATE artifact_content SET size = ?, stored = ?, chunks = ?, damage = '', checked_at = NULL
WHERE id = ?"""
_SEAL_CONTENT: Final = "UPDATE artifact_content SET secret = ? WHERE id = ?"
_INSERT: Final = """
INSERT INTO artifact (env, series, version, name, type, format, content, size, level, owner, team,
                      swarm, author, parent, created_at)
VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SEAL: Final = "UPDATE artifact SET series = ?, metadata = ? WHERE id = ?"
_LAST_VERSION: Final = "SELECT max(version) FROM artifact WHERE env = ? AND series = ?"
_DELETE: Final = "DELETE FROM artifact WHERE env = ? AND id = ?"
_DELETE_CONTENT: Final = """
DELETE FROM artifact_content WHERE env = ?1 AND address = ?2
  AND NOT EXISTS (SELECT 1 FROM artifact WHERE env = ?1 AND content = ?2)"""
# The one that was named comes last: as long as it is there the rest can be decided by it.
_IDS: Final = """
SELECT id FROM artifact WHERE env = ? AND series = ? ORDER BY id = ?, id LIMIT ?"""
_CHECKED: Final = "UPDATE artifact_content SET checked_at = ?, damage = ? WHERE env = ? AND id = ?"

STEP_ROWS: Final = 100  # deleted in one transaction

Shown = Callable[[int], str]


class Draft(NamedTuple):
    """A version as it is to be. `of` is an artifact whose next version it is; without one it is
    that of the newest of its name and owner, if there is any."""

    name: str
    type: str
    format: str
    level: Level | None
    team: str | None
    parent: int | None
    of: int | None
    metadata: bytes


class Kept(NamedTuple):
    """A content that was written: its address, the key of its file and what it is."""

    address: str
    key: bytes
    written: Written


def standing(
    tx: Reader | Transaction, principal: Principal, draft: Draft, access: Rows, shown: Shown
) -> tuple[Standing, Artifact | None]:
    """How a version will stand, and the one before it. Raises NotFound, Denied, InvalidInput for
    another level than its series has."""
    if draft.parent is not None:
        found = rows.one(tx, draft.parent)
        access.require(principal, Right.READ, found and found[0], shown(draft.parent))
    before = _before(tx, principal, draft)
    if before is None:
        if draft.of is not None:
            raise NotFound(f"no artifact {shown(draft.of)}")
        return access.stand(principal, draft.level or Level.SWARM, draft.team), None
    access.require(principal, Right.WRITE, before, shown(before.ident))
    if draft.level not in {None, before.level} or draft.team not in {None, before.team}:
        raise InvalidInput(
            f"{before.name} is {before.level.name.lower()}, and so are all its versions",
            hint="put it under another name, or without a level and a team",
        )
    return Standing(before.level, before.owner, before.team, before.swarm), before


def _before(tx: Reader | Transaction, principal: Principal, draft: Draft) -> Artifact | None:
    if draft.of is not None:
        found = rows.one(tx, draft.of)
        return None if found is None else found[0]
    row = tx.execute(rows.SELECT_NAMED, (tx.env, principal.id, draft.name)).fetchone()
    return None if row is None else rows.of_row(row)


def keep(
    principal: Principal, draft: Draft, kept: Kept, access: Rows, ring: Ring, shown: Shown
) -> Callable[[Transaction], int]:
    """Store a version whose content is in its place; its number. Raises as `standing` does, and
    Sealed."""

    def change(tx: Transaction) -> int:
        stands, before = standing(tx, principal, draft, access, shown)
        _keep_content(tx, kept, ring)
        made = _insert(tx, principal, draft, kept, stands, before)
        [stored] = letters.protect(ring, tx, [(made.letter, rows.said(made, draft.metadata))])
        tx.execute(_SEAL, (made.series, stored, made.ident))
        detail = f"{made.name}, version {made.version}, {made.size} bytes"
        tx.audit(principal.id, "artifact.put", shown(made.ident), detail=detail)
        return made.ident

    return change


def _keep_content(tx: Transaction, kept: Kept, ring: Ring) -> None:
    """The row of a content that was just written; one that is there already gets its file."""
    address, key, written = kept
    numbers = (written.size, written.stored, written.chunks)
    found = rows.content(tx, address)
    if found is None:
        ident = tx.execute(_INSERT_CONTENT, (tx.env, address, *numbers, tx.now_us)).lastrowid
    else:
        ident = found.ident
        tx.execute(_REPLACE_CONTENT, (*numbers, ident))
    assert ident is not None
    letter = CONTENT_SECRET.letter(ident, address)
    [sealed] = letters.protect(ring, tx, [(letter, rows.secret(key, written))])
    tx.execute(_SEAL_CONTENT, (sealed, ident))


def refer(
    principal: Principal, draft: Draft, found: Content, access: Rows, ring: Ring, shown: Shown
) -> Callable[[Transaction], int | None]:
    """As `keep`, of a content that is there already; None if it has gone meanwhile."""

    def change(tx: Transaction) -> int | None:
        held = rows.content(tx, found.address)
        if held is None or held.damage or held.secret is None:
            return None
        stands, before = standing(tx, principal, draft, access, shown)
        kept = Kept(held.address, b"", Written(b"", held.size, held.stored, held.chunks))
        made = _insert(tx, principal, draft, kept, stands, before)
        [stored] = letters.protect(ring, tx, [(made.letter, rows.said(made, draft.metadata))])
        tx.execute(_SEAL, (made.series, stored, made.ident))
        detail = f"{made.name}, version {made.version}, {made.size} bytes, which are there already"
        tx.audit(principal.id, "artifact.put", shown(made.ident), detail=detail)
        return made.ident

    return change


def _insert(
    tx: Transaction,
    principal: Principal,
    draft: Draft,
    kept: Kept,
    stands: Standing,
    before: Artifact | None,
) -> Artifact:
    name = draft.name if before is None else before.name
    version = 1
    if before is not None:
        last = tx.execute(_LAST_VERSION, (tx.env, before.series)).fetchone()
        version = (int(last[0]) if last else 0) + 1
    made = Artifact(
        0, 0, version, name, draft.type, draft.format, kept.address, kept.written.size,
        stands.level, stands.owner, stands.team, stands.swarm, principal.id, draft.parent,
        tx.now_us,
    )  # fmt: skip
    row = (
        tx.env, version, name, made.type, made.format, made.content, made.size, int(made.level),
        made.owner, made.team, made.swarm, made.author, made.parent, made.created_us,
    )  # fmt: skip
    ident = tx.execute(_INSERT, row).lastrowid
    assert ident is not None
    series = ident if before is None else before.series
    return msgspec.structs.replace(made, ident=ident, series=series)


class Deleted(NamedTuple):
    """How many versions are `gone`, the addresses nothing speaks of any more, and whether some of
    the series are left to delete."""

    gone: int
    unused: list[str]
    more: bool


def delete(
    principal: Principal, ident: int, *, all_versions: bool, access: Rows, shown: Shown
) -> Callable[[Transaction], Deleted]:
    """Delete a version, or a step of its series with it as the last. Raises NotFound, Denied."""

    def change(tx: Transaction) -> Deleted:
        found = rows.one(tx, ident)
        access.require(principal, Right.DELETE, found and found[0], shown(ident))
        assert found is not None
        artifact = found[0]
        doomed = [ident]
        if all_versions:
            bounds = (tx.env, artifact.series, ident, STEP_ROWS)
            doomed = [row[0] for row in tx.execute(_IDS, bounds).fetchall()]
        addresses = {held[0].content for each in doomed if (held := rows.one(tx, each))}
        for each in doomed:
            tx.execute(_DELETE, (tx.env, each))
            tx.audit(principal.id, "artifact.delete", shown(each), detail=artifact.name)
        return Deleted(len(doomed), _unused(tx, sorted(addresses)), doomed[-1] != ident)

    return change


def _unused(tx: Transaction, addresses: Sequence[str]) -> list[str]:
    """Delete the contents among these that no artifact has any more."""
    return [
        address for address in addresses if tx.execute(_DELETE_CONTENT, (tx.env, address)).rowcount
    ]


def checked(
    actor: str, found: Content, damage: str, *, whole: bool
) -> Callable[[Transaction], None]:
    """Note what a look at a content has found; `whole`: at all of it."""

    def change(tx: Transaction) -> None:
        when = tx.now_us if whole else found.checked_us
        tx.execute(_CHECKED, (when, damage, tx.env, found.ident))
        if damage != found.damage:
            what = damage or "it is whole again"
            tx.audit(actor, "artifact.check", f"content {found.ident}", detail=what)

    return change
