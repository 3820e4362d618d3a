"""Verifying one audit trail: its chain, what was signed of it, and the copy outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from ..clock import Clock
from ..errors import Sealed
from ..store import driver
from ..store.chain import SELECT_ANCHOR, Head, read_anchor
from ..store.database import Database
from ..views import ChainView
from .checkpoints import RESTORE_HINT, Checkpoint, Outside, Signer, contradiction, standing
from .walk import Broken, Walk

_CHECKPOINTS: Final = """
SELECT env, kind, sequence, hash, anchor, at, signature FROM audit_checkpoint
ORDER BY sequence"""
_LAST: Final = "SELECT max(sequence) FROM audit"
_TRIES: Final = 3  # while retention moves the anchor


class _Ground(NamedTuple):
    """What there is to verify."""

    anchor: Head
    until: int
    inside: list[Checkpoint]


class _Found(NamedTuple):
    rows: int = 0
    first: int = 0
    last: int = 0
    checkpoints: int = 0
    outside: int = 0
    broken: str = ""
    weak: str = ""


async def verify(database: Database, outside: Outside, vault: Signer, clock: Clock) -> ChainView:
    """Compute the chain anew, aside, and compare it with the stored hashes, the signed checkpoints
    and their copy outside. Raises StorageError."""
    began_s = clock.monotonic_s()
    connection = await driver.connect(database.path, read_only=True)
    try:
        found = await _look(connection, database.env, outside, vault)
    except driver.Error as error:
        found = _Found(broken=f"it cannot be read: {error}")
    finally:
        await connection.close()
    return ChainView(
        environment=database.env,
        status="failed" if found.broken else "warning" if found.weak else "ok",
        detail=found.broken or found.weak or "every row is the one that was written",
        rows=found.rows,
        first=found.first,
        last=found.last,
        checkpoints=found.checkpoints,
        outside=found.outside,
        elapsed_s=clock.monotonic_s() - began_s,
        hint=RESTORE_HINT if found.broken else "",
    )


def _public_key(vault: Signer) -> bytes:
    try:
        return vault.public_key
    except Sealed:  # it was never open: nothing can have been signed
        return b""


def _anchor(raw: driver.Raw) -> Head:
    return read_anchor(raw.execute(SELECT_ANCHOR).fetchone())


def _ground(raw: driver.Raw, public_key: str) -> _Ground:
    raw.execute("BEGIN")
    try:
        anchor = _anchor(raw)
        last = raw.execute(_LAST).fetchone()
        rows = raw.execute(_CHECKPOINTS).fetchall()
    finally:
        raw.execute("ROLLBACK")
    until = max(last[0] or 0 if last else 0, anchor.sequence)
    return _Ground(anchor, until, [_stored(row, public_key) for row in rows])


def _stored(row: tuple[Any, ...], public_key: str) -> Checkpoint:
    """A checkpoint from its row. Somebody may have put anything there: its signature tells."""
    env, kind, sequence, hash_, anchor, at_us, signature = row
    return Checkpoint(
        environment=env,
        kind=kind,
        sequence=sequence,
        hash=_hex(hash_),
        anchor=anchor,
        at_us=at_us,
        signature=_hex(signature),
        public_key=public_key,
    )


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else ""


async def _look(connection: driver.Connection, env: str, outside: Outside, vault: Signer) -> _Found:
    loop = asyncio.get_running_loop()
    key = await loop.run_in_executor(None, _public_key, vault)
    found = _Found()
    for _ in range(_TRIES):
        before = await connection.run(_anchor)
        # First what was signed, then the rows: so none is signed that is not among them.
        points = await loop.run_in_executor(None, lambda: standing(outside.all()))
        ground = await connection.run(_ground, key.hex())
        found = await _verified(connection, env, ground, points, vault)
        if not found.broken or await connection.run(_anchor) == before:
            break  # else rows went by retention while it looked
    return found


async def _verified(
    connection: driver.Connection,
    env: str,
    ground: _Ground,
    points: Sequence[Checkpoint],
    vault: Signer,
) -> _Found:
    loop = asyncio.get_running_loop()
    inside = {point.signature for point in ground.inside}
    others = [point for point in points if point.signature not in inside]
    every = [*ground.inside, *others]
    forged = await loop.run_in_executor(None, _forged, every, env, vault) if every else ""
    if forged:
        return _Found(broken=forged)
    due = [point for point in points if point.sequence >= ground.anchor.sequence]
    walk, broken = await _walked(connection, ground, [*ground.inside, *due])
    if not broken and points:
        broken = contradiction(points[-1], walk.at, ground.anchor)
    return _Found(
        rows=walk.rows,
        first=ground.anchor.sequence + 1 if walk.rows else 0,
        last=walk.at.sequence if walk.rows else 0,
        checkpoints=walk.agreed,
        outside=len({point.sequence for point in due}),
        broken=broken,
        weak=_weak(walk, points, vault),
    )


async def _walked(
    connection: driver.Connection, ground: _Ground, points: Iterable[Checkpoint]
) -> tuple[Walk, str]:
    """The way along the chain, and where it broke."""
    signed = [(point.sequence, bytes.fromhex(point.hash)) for point in points]
    walk = Walk(ground.anchor, ground.until)
    try:
        walk.expect(signed)
        while await connection.run(walk.step):
            pass
    except Broken as broken:
        return walk, str(broken)
    if walk.missed is not None:
        return walk, f"row {walk.missed:,} was signed and is not there"
    return walk, ""


def _weak(walk: Walk, points: Sequence[Checkpoint], vault: Signer) -> str:
    """What keeps a trail that holds from proving much."""
    if not walk.rows:
        return ""
    if not points:
        why = ": the vault is sealed" if vault.state != "open" else ""
        return f"the chain holds, but nothing outside vouches for it{why}"
    if points[-1].kind == "disputed":
        return "the chain holds, but it was restored or rolled back before"
    return ""


def _forged(points: Iterable[Checkpoint], env: str, vault: Signer) -> str:
    """The first checkpoint that this vault has not signed, in words."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only what verifies
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    public = _public_key(vault)
    key = Ed25519PublicKey.from_public_bytes(public) if public else None
    for point in points:
        if key is None or point.environment != env or point.public_key != public.hex():
            return f"the checkpoint at row {point.sequence} is of another vault or environment"
        try:
            key.verify(bytes.fromhex(point.signature), point.message(vault.id))
        except (InvalidSignature, ValueError):
            return f"the signature at row {point.sequence} does not fit"
    return ""
