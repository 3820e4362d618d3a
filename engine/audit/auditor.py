"""The auditor of an engine: signs the chains, keeps copies outside, prunes what is too old.

It looks once a second and does nothing while nothing is new. What it asks of cryptography is loaded
with the first signature, so that a command that only asks never loads it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ..clock import Clock
from ..errors import SwarmDeckError, Unavailable
from ..model import Environment
from ..settings import AuditSettings
from ..store.chain import Head
from ..store.database import Database, Reader, Transaction
from .checkpoints import (
    Checkpoint,
    Kind,
    Outside,
    Signer,
    Unkept,
    contradiction,
    differs,
    standing,
)
from .reads import Reads
from .retention import Retention

if TYPE_CHECKING:
    from ..store.swap import Reason
    from ..views import ChainView, Done

_ORDER: Final = (*(each.value for each in Environment), "coordination")
_HASH_AT: Final = "SELECT hash FROM audit WHERE sequence = ?"
_HASHES: Final = """
SELECT sequence, hash FROM audit WHERE sequence IN (SELECT value FROM json_each(?))"""
_INSERT: Final = """
INSERT OR REPLACE INTO audit_checkpoint (env, sequence, hash, kind, anchor, at, signature)
VALUES (?, ?, ?, ?, ?, ?, ?)"""

log = logging.getLogger(__name__)


class Audited(Protocol):
    """An environment that is open."""

    @property
    def database(self) -> Database: ...
    @property
    def reads(self) -> Reads: ...
    @property
    def replaced(self) -> Reason | None: ...


class Trail:
    """One chain as the auditor knows it. `signed` is the newest sequence with a signature, `alarm`
    says how the file contradicts what was signed, `trouble` why there is no newer signature."""

    def __init__(
        self, database: Database, outside: Outside, reads: Reads | None, now_s: float
    ) -> None:
        self.database = database
        self.outside = outside
        self.reads = reads
        self.signed = 0
        self.since_s = now_s  # when there was nothing new for the last time
        self.alarm = ""
        self.trouble = ""
        self.restored = False  # on purpose, and not yet recorded outside

    @property
    def name(self) -> str:
        return self.database.env


class Auditor:
    """The audit trails of one engine. Belongs to its loop."""

    def __init__(
        self, vault: Signer, settings: AuditSettings, clock: Clock, directory: Path
    ) -> None:
        self._vault = vault
        self._settings = settings
        self._clock = clock
        self._directory = directory
        self._trails: dict[str, Trail] = {}
        self._retention = Retention(settings, clock, self._announce)

    @property
    def alarms(self) -> Mapping[str, str]:
        """Files that contradict what was signed: restored or rolled back by somebody."""
        return {trail.name: trail.alarm for trail in self._trails.values() if trail.alarm}

    @property
    def troubles(self) -> Mapping[str, str]:
        """Trails that cannot be signed, or whose copy cannot be kept, and why."""
        return {trail.name: trail.trouble for trail in self._trails.values() if trail.trouble}

    # --- what is looked after ---------------------------------------------------------------

    async def attach(self, place: Audited) -> None:
        """Look after an environment that has been opened, also one in the place of another. Says
        by an alarm when its file is not the one that was signed."""
        await self.attach_database(place.database, place.reads)

    async def attach_database(self, database: Database, reads: Reads | None = None) -> None:
        """The same for a file without records."""
        now_s = self._clock.monotonic_s()
        trail = Trail(database, self._outside(database), reads, now_s)
        self._trails[database.env] = trail
        try:
            await self._examine(trail)
        except SwarmDeckError as error:
            trail.trouble = error.message

    def detach(self, environment: str) -> None:
        """Stop looking after an environment."""
        self._trails.pop(environment, None)

    async def restored(self, place: Audited) -> None:
        """Record that the file of an environment was put back on purpose, and look after it. While
        the vault is sealed that waits until it is open. What was recorded before is no excuse a
        second time: somebody may have kept the note of then."""
        await self.attach(place)
        trail = self._trails[place.database.env]
        if place.replaced is None or await self._is_recorded(trail, place.replaced.at_us):
            return
        trail.alarm = ""
        trail.restored = True
        await self._attempt(trail, self._record_restore)

    async def tick(self) -> None:
        """Once a second: sign what is new and due, prune what is too old."""
        for trail in tuple(self._trails.values()):
            if trail.reads is not None:
                trail.reads.tick()
            if trail.restored:
                await self._attempt(trail, self._record_restore)
            elif self._due(trail):
                await self._attempt(trail, self._sign)
            if self._retention.due(trail.database):
                await self._attempt(trail, self._prune)

    async def close(self) -> None:
        """Sign what this engine has added."""
        for trail in self._trails.values():
            chain = trail.database.chain
            if chain.head.sequence > max(trail.signed, chain.opened_at.sequence):
                await self._attempt(trail, self._sign)

    # --- what is asked ----------------------------------------------------------------------

    async def verify(self, environment: str | None) -> list[ChainView]:
        """Compute the chains anew and compare them with everything that was signed; all trails, or
        one. Raises Unavailable, StorageError."""
        from .verify import verify  # noqa: PLC0415 - loads cryptography

        known = [self._trails[name] for name in _ORDER if name in self._trails]
        chosen = [trail for trail in known if environment in {None, trail.name}]
        if not chosen:
            raise Unavailable(f"{environment} is not open", hint="see swarmdeck status")
        return [await verify(t.database, t.outside, self._vault, self._clock) for t in chosen]

    async def export(
        self, environment: str, file: str, progress: Callable[[float, str], object]
    ) -> Done:
        """Write a trail to a new file: a JSON object a line, and one with the signed head at the
        end. Raises InvalidInput where there is such a file, StorageError."""
        from .export import export  # noqa: PLC0415 - most commands never need it

        trail = self._trails.get(environment)
        if trail is None:
            raise Unavailable(f"{environment} is not open", hint="see swarmdeck status")
        return await export(trail.database, Path(file), self._vault, self._clock, progress)

    # --- signing ----------------------------------------------------------------------------

    def _due(self, trail: Trail) -> bool:
        new = trail.database.chain.head.sequence - trail.signed
        now_s = self._clock.monotonic_s()
        if new <= 0:
            trail.since_s = now_s
            return False
        waited_s = now_s - trail.since_s
        return new >= self._settings.checkpoint_rows or waited_s >= self._settings.checkpoint_s

    async def _attempt(self, trail: Trail, step: Callable[[Trail], Any]) -> None:
        """Do something for one trail; what hinders it is shown and hinders no other."""
        if self._vault.state != "open":
            trail.trouble = ""  # a sealed vault says so itself
            return
        try:
            await step(trail)
            trail.trouble = ""
        except SwarmDeckError as error:
            if not trail.trouble:
                log.warning("the audit trail of %s is not signed: %s", trail.name, error.message)
            trail.trouble = error.message

    async def _sign(self, trail: Trail) -> None:
        head = await self._durable(trail)
        if head.sequence <= trail.signed:
            return  # a power loss could still take what is new
        kind: Kind = "disputed" if trail.alarm else "checkpoint"
        await self._keep(trail, self._checkpoint(trail, kind, head))
        trail.signed = head.sequence
        trail.since_s = self._clock.monotonic_s()

    async def _durable(self, trail: Trail) -> Head:
        """The newest head that a power loss cannot take."""
        chain = trail.database.chain
        if chain.durable is None or chain.durable.sequence < chain.head.sequence:
            await trail.database.flush()
        return chain.durable or chain.anchor

    def _checkpoint(
        self, trail: Trail, kind: Kind, head: Head, *, anchor: int | None = None, base: int = 0
    ) -> Checkpoint:
        return Checkpoint(
            environment=trail.name,
            kind=kind,
            sequence=head.sequence,
            hash=head.hash.hex(),
            anchor=trail.database.chain.anchor.sequence if anchor is None else anchor,
            base=base,
            at_us=self._clock.wall_us(),
        )

    async def _keep(self, trail: Trail, point: Checkpoint) -> None:
        """Sign a checkpoint and store it outside, then inside."""

        def outside() -> Checkpoint:
            signed = point.signed(self._vault)
            trail.outside.append(signed)
            return signed

        loop = asyncio.get_running_loop()
        signed = await loop.run_in_executor(None, outside)
        if signed.kind != "restored":
            await trail.database.write(lambda tx: _store(tx, signed))

    # --- a file that is not the one that was signed -------------------------------------------

    async def _examine(self, trail: Trail) -> None:
        """Compare a file with the newest copy outside. Costs nothing when both end alike."""
        newest = trail.outside.last()
        if newest is None:
            return
        chain = trail.database.chain
        trail.alarm = contradiction(newest, chain.head, chain.anchor)
        if not trail.alarm and newest.sequence not in {chain.head.sequence, chain.anchor.sequence}:
            found = await trail.database.read(
                lambda reader: reader.execute(_HASH_AT, (newest.sequence,)).fetchone()
            )
            if found is None or found[0] != bytes.fromhex(newest.hash):
                trail.alarm = differs(newest)
        if not trail.alarm:
            trail.signed = newest.sequence
            if newest.kind == "disputed":
                trail.alarm = "it was restored or rolled back before, and nobody recorded why"
        if trail.alarm:
            log.error("the audit trail of %s: %s", trail.name, trail.alarm)

    async def _is_recorded(self, trail: Trail, at_us: int) -> bool:
        """Whether a restore of that time stands outside."""

        def look() -> bool:
            lines = trail.outside.all()
            return any(line.kind == "restored" and line.at_us >= at_us for line in lines)

        return await asyncio.get_running_loop().run_in_executor(None, look)

    async def _record_restore(self, trail: Trail) -> None:
        """Say outside that the file is meant to be as it is."""
        base = await self._common(trail)
        head = await self._durable(trail)
        await self._keep(trail, self._checkpoint(trail, "restored", head, base=base))
        trail.restored = False
        trail.signed = head.sequence

    async def _common(self, trail: Trail) -> int:
        """The sequence up to which the file and what was signed outside agree."""
        loop = asyncio.get_running_loop()
        points = await loop.run_in_executor(None, lambda: standing(trail.outside.all()))
        anchor = trail.database.chain.anchor
        wanted = sorted({p.sequence for p in points if p.sequence >= anchor.sequence})

        def query(reader: Reader) -> dict[int, object]:
            return dict(reader.execute(_HASHES, (msgspec.json.encode(wanted).decode(),)))

        known = {anchor.sequence: anchor.hash} | await trail.database.read(query)
        agreed = anchor.sequence
        for point in sorted(points, key=lambda each: each.sequence):
            if point.sequence >= anchor.sequence:
                if known.get(point.sequence) != bytes.fromhex(point.hash):
                    break
                agreed = point.sequence
        return agreed

    # --- retention --------------------------------------------------------------------------

    async def _prune(self, trail: Trail) -> None:
        if not trail.alarm:  # what may be evidence stays
            await self._retention.prune(trail.database)

    async def _announce(self, database: Database, anchor: Head) -> None:
        """Say outside where the chain is about to begin, before the file says so: of a file that
        begins later than it was said, the front was cut."""
        trail = self._trails[database.env]
        head = await self._durable(trail)
        await self._keep(trail, self._checkpoint(trail, "checkpoint", head, anchor=anchor.sequence))
        trail.signed = head.sequence

    def _outside(self, database: Database) -> Outside:
        path = self._directory / self._vault.id / f"{database.env}.jsonl"
        return Unkept(path) if database.is_volatile else Outside(path)


def _store(tx: Transaction, point: Checkpoint) -> None:
    tx.execute(
        _INSERT,
        (tx.env, point.sequence, bytes.fromhex(point.hash), point.kind, point.anchor, point.at_us,
         bytes.fromhex(point.signature)),
    )  # fmt: skip
