"""Backups of the five environments: made, listed, verified, put back, deleted.

A backup is a copy and a signed manifest. The copy is looked through whole before the manifest is
signed, and again before it is put back: what was never read is not a backup.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar, cast

from .. import __version__
from ..clock import Clock
from ..environment import Place, database_path
from ..errors import Conflict, Corrupt, SwarmDeckError, Unavailable
from ..memory.records import COLUMNS
from ..model import Environment, parse_environment
from ..store import driver
from ..store.database import Reader, Transaction
from ..store.replaced import signed
from ..store.swap import Reason, Swap
from ..vault import columns, letters, tables
from ..vault.ring import SELECT_KEYS
from ..views import BackupView, Done
from . import manifest as manifests
from .copy import copy_into
from .manifest import Manifest
from .pace import Pace, Progress
from .shelf import Shelf, digest
from .verify import Found, Records, examine, wrong

if TYPE_CHECKING:
    from ..swarms.service import Swarms
    from ..vault import Ring, Vault

T = TypeVar("T")

BackupViews = list[BackupView]  # `list` is a method of the service

NOTHING: Final = "nothing was looked at yet"
_CHUNK: Final = 1 << 20
_HAS_TABLE: Final = "SELECT 1 FROM sqlite_schema WHERE name = ?"  # a copy of before may have none


class Engine(Protocol):
    """What backups need of the engine."""

    data: Path
    clock: Clock
    vault: Vault
    swarms: Swarms

    @property
    def places(self) -> Mapping[str, Place]: ...

    async def reopen(
        self, environment: Environment, between: Callable[[], Awaitable[None]], why: str
    ) -> Place: ...


class _Seen(NamedTuple):
    """What verifying a backup found, of which bytes: inode, size and time of both files."""

    mark: tuple[int, ...]
    status: str
    detail: str


class Backups:
    """The backups of a data directory. Belongs to the engine's loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._root = engine.data / "backups"
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def _shelf(self, environment: str) -> Shelf:
        return Shelf(self._root, parse_environment(environment).value)

    # --- making -----------------------------------------------------------------------------

    async def create(self, environment: str, *, actor: str, progress: Progress) -> BackupView:
        """Copy an environment while it is used, verify the copy, sign its manifest. Raises Sealed,
        Corrupt, StorageError; then there is no backup."""
        began_s = time.perf_counter()
        place = self._place(environment)
        self._engine.vault.ring(environment).require()
        shelf, name = self._shelf(environment), self._new_name()
        async with self._turns[environment]:
            shelf.sweep()
            with shelf.making(name) as (file, path):
                progress(0.0, f"copying {place.database.path.name}")
                await copy_into(place.database, file, path, lambda part: progress(part * 0.5, ""))
                found, sha256 = await self._look(
                    file, path, environment, lambda part, text: progress(0.5 + part * 0.5, text)
                )
                made = self._manifest(environment, name, os.fstat(file).st_size, found, sha256)
                signature = self._engine.vault.sign(manifests.message(made))
                shelf.keep(name, manifests.encode(made, signature))
            detail = _looked(made)
            self._remember(shelf, made, "verified", detail)
        detail_row = f"{name}, {made.size} bytes"
        await place.database.write(
            lambda tx: tx.audit(actor, "backup.create", environment, detail=detail_row)
        )
        return _view(made, "verified", detail, time.perf_counter() - began_s)

    def _manifest(
        self, environment: str, name: str, size: int, found: Found, sha256: bytes
    ) -> Manifest:
        return Manifest(
            environment=environment,
            name=name,
            created_us=self._engine.clock.wall_us(),
            size=size,
            sha256=sha256,
            schema_version=found.schema_version,
            records=found.records,
            messages=found.messages,
            audit_rows=found.audit_rows,
            audit_sequence=found.audit_sequence,
            audit_hash=found.audit_hash,
            vault=self._engine.vault.id,
            environment_key=_name_of_key(self._engine.data, environment),
            key_ids=found.key_ids,
            release=__version__,
        )

    def _new_name(self) -> str:
        return f"{self._stamp()}-{self._engine.clock.token(4)}"

    def _stamp(self) -> str:
        now_s = self._engine.clock.wall_us() / 1_000_000
        return datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dt%H%M%Sz")

    # --- looking ----------------------------------------------------------------------------

    async def list(self, environment: str | None) -> BackupViews:
        """All backups, newest first. One that was not verified since this engine opened, or has
        changed since, is unverified; one whose manifest is not in order has failed."""
        chosen = Environment if environment is None else (parse_environment(environment),)
        found = [view for each in chosen for view in await _aside(self._listed, each.value)]
        return sorted(found, key=lambda view: (-view.created_at_us, view.name))

    def _listed(self, environment: str) -> BackupViews:
        shelf = self._shelf(environment)
        return [self._glance(shelf, environment, name) for name in shelf.names()]

    def _glance(self, shelf: Shelf, environment: str, name: str) -> BackupView:
        try:
            made = self._signed(shelf, environment, name)
            mark = _mark(shelf, name)
        except SwarmDeckError as error:
            return _failed(environment, name, error.message)
        seen = self._seen.get((environment, name))
        if seen is not None and seen.mark == mark:
            return _view(made, seen.status, seen.detail)
        return _view(made, "unverified", "it was verified when it was made")

    def _signed(self, shelf: Shelf, environment: str, name: str) -> Manifest:
        """The manifest of a backup, its signature checked before anything in it is believed.
        Raises NotFound, Corrupt, StorageError."""
        found = manifests.decode(shelf.manifest(name))
        return manifests.require_signature(found, self._engine.vault.public_key, environment, name)

    async def verify(self, environment: str, name: str, *, progress: Progress) -> BackupView:
        """Look a backup through: signature, size, SHA-256, schema, pages, every record, the audit
        chain. While the vault is sealed records cannot be read, and it stays unverified. Raises
        NotFound, StorageError."""
        began_s = time.perf_counter()
        shelf = self._shelf(environment)
        async with self._turns[environment]:
            try:
                made = await _aside(self._signed, shelf, environment, name)
            except Corrupt as error:
                return _failed(environment, name, error.message, time.perf_counter() - began_s)
            status, detail = await self._verdict(shelf, made, progress)
        return _view(made, status, detail, time.perf_counter() - began_s)

    async def _verdict(self, shelf: Shelf, made: Manifest, progress: Progress) -> tuple[str, str]:
        with shelf.copy(made.name) as file:
            try:
                await self._compare(file, shelf, made, progress)
            except Corrupt as error:
                status, detail = "failed", error.message
            else:
                open_ = self._engine.vault.state == "open"
                status = "verified" if open_ else "unverified"
                detail = _looked(made) if open_ else "the vault is sealed: no record was read"
        self._remember(shelf, made, status, detail)
        return status, detail

    async def _compare(self, file: int, shelf: Shelf, made: Manifest, progress: Progress) -> None:
        """Raises Corrupt where a copy is not what its manifest says."""
        size = os.fstat(file).st_size
        if size != made.size:
            raise Corrupt(f"the copy has {size:,} bytes, its manifest says {made.size:,}")
        path = shelf.path / f"{made.name}.db"
        found, sha256 = await self._look(
            file, path, made.environment, progress, expected=made.sha256
        )
        said = Found(
            schema_version=made.schema_version,
            records=made.records,
            messages=made.messages,
            audit_rows=made.audit_rows,
            audit_sequence=made.audit_sequence,
            audit_hash=made.audit_hash,
            key_ids=made.key_ids,
        )
        if sha256 != made.sha256 or found != said:
            raise Corrupt("the copy is not the one its manifest speaks of")

    async def _look(
        self,
        file: int,
        path: Path,
        environment: str,
        progress: Progress,
        expected: bytes | None = None,
    ) -> tuple[Found, bytes]:
        """Look through a copy on a thread; what is in it and its SHA-256, which comes first: of
        what is not `expected` nothing is read. Raises Corrupt."""
        ring = self._engine.vault.ring(environment)
        records = records_of(ring, environment) if not ring.reason else None
        pace = Pace()
        report = from_thread(progress)

        def look() -> tuple[Found, bytes]:
            sha256 = digest(file, lambda part: report(part * 0.1, "comparing its SHA-256"))
            if expected is not None and sha256 != expected:
                raise Corrupt("the copy has changed: its SHA-256 is not the one in the manifest")
            return _examined(file, path, records, pace, report), sha256

        try:
            return await _aside(look)
        finally:
            pace.over = True

    def _remember(self, shelf: Shelf, made: Manifest, status: str, detail: str) -> None:
        self._seen[made.environment, made.name] = _Seen(_mark(shelf, made.name), status, detail)

    # --- putting back -----------------------------------------------------------------------

    async def restore(
        self, environment: str, name: str, *, actor: str, progress: Progress
    ) -> BackupView:
        """Put a backup in the place of an environment's file, which is kept beside it. The backup
        is verified first. Raises NotFound, Sealed, Corrupt for one that is not in order, Conflict
        while swarms run; then nothing has changed."""
        began_s = time.perf_counter()
        home = parse_environment(environment)
        shelf = self._shelf(environment)
        self._engine.vault.ring(environment).require()
        self._require_idle(environment)
        async with self._turns[environment]:
            made = await _aside(self._signed, shelf, environment, name)
            status, detail = await self._verdict(
                shelf, made, lambda part, text: progress(part * 0.6, text)
            )
            if status != "verified":
                raise Corrupt(f"backup {name} is not put back: {detail}", hint="use another one")
            await self._replace(home, shelf, made, actor, progress)
        elapsed_s = time.perf_counter() - began_s
        return _view(made, "verified", f"in use again after {elapsed_s * 1000:,.0f} ms", elapsed_s)

    async def _replace(
        self, home: Environment, shelf: Shelf, made: Manifest, actor: str, progress: Progress
    ) -> None:
        swap = Swap(database_path(self._engine.data, home))
        kept = f"replaced-{self._stamp()}-{self._engine.clock.token(4)}"
        progress(0.6, "copying it back")
        with shelf.copy(made.name) as source:
            file = swap.begin()
            try:
                await _aside(_copy, source, file, made.sha256)
            except BaseException:
                swap.abandon()
                raise
            finally:
                os.close(file)

        reason = self._reason(made, actor, kept, bare=await _aside(_holds_bare, shelf, made))

        async def between() -> None:
            await _aside(swap.commit, reason)

        try:
            self._require_idle(home.value)  # of what has begun meanwhile
            progress(0.9, "opening it")
            await self._engine.reopen(home, between, "being restored")
        finally:
            if not swap.counts:
                swap.abandon()

    def _reason(self, made: Manifest, actor: str, kept: str, *, bare: bool) -> Reason:
        """Why a file is replaced, signed: else it would be taken for a rollback."""
        vault = self._engine.vault
        reason = Reason(
            made.name, actor, kept, self._engine.clock.wall_us(),
            made.audit_sequence, made.audit_hash, bare,
        )  # fmt: skip
        return signed(reason, made.environment, vault)

    def _require_idle(self, environment: str) -> None:
        live = [swarm.id for swarm in self._engine.swarms.list(environment)]
        if live:
            raise Conflict(
                f"{environment} has swarms that run: {', '.join(live[:5])}",
                hint=f"swarmdeck swarm terminate {live[0]}",
            )

    async def finish(self, place: Place, reason: Reason) -> None:
        """What follows from a file that was put back, before anybody uses it: swarms of then are
        over, records get new keys, the trail says what happened."""
        environment = place.environment.value
        await self._engine.swarms.succession.retire(place, f"restored from backup {reason.backup}")
        ring = self._engine.vault.ring(environment)
        if not ring.reason and reason.bare:
            self._engine.vault.begin_again(environment)  # it is of before the first key

        def change(tx: Transaction) -> None:
            if not ring.reason:
                ring.replace(tx)  # what an old copy says of their use is too low
            tx.audit(
                reason.actor,
                "backup.restore",
                environment,
                detail=f"{reason.backup}; what was there is kept in {reason.kept}",
            )

        await place.database.write(change, topic="memory")

    # --- deleting ---------------------------------------------------------------------------

    async def delete(self, environment: str, name: str, *, actor: str) -> Done:
        """Delete a backup. Raises NotFound, StorageError."""
        async with self._turns[environment]:
            await _aside(self._shelf(environment).delete, name)
            self._seen.pop((environment, name), None)
        place = self._engine.places[environment]
        if place.refusal is None:
            await place.database.write(
                lambda tx: tx.audit(actor, "backup.delete", environment, detail=name)
            )
        return Done(detail=f"backup {name} is deleted")

    def _place(self, environment: str) -> Place:
        place = self._engine.places[parse_environment(environment)]
        if place.refusal is not None:
            raise place.refusal.again()
        return place


# --- on a thread ------------------------------------------------------------------------------


async def _aside(function: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def from_thread(progress: Progress) -> Progress:
    """Progress as a thread may report it."""
    loop = asyncio.get_running_loop()
    return lambda part, text: loop.call_soon_threadsafe(progress, part, text)


def _examined(
    file: int, path: Path, records: Records | None, pace: Pace, report: Progress
) -> Found:
    """What is in a copy. The path must be that of the handle: nobody may slip in another."""
    if path.is_symlink() or os.fstat(file).st_ino != path.stat().st_ino:
        raise Corrupt(f"{path.name} is not the file it was a moment ago")
    try:
        raw = driver.look(path, immutable=True)
        try:
            return examine(raw, records, pace, report)
        finally:
            raw.close()
    except driver.Error as error:
        if pace.over:
            raise Unavailable("nobody waits for it any more") from error
        raise Corrupt(wrong(error), hint="use another backup") from error


def records_of(ring: Ring, environment: str) -> Records:
    """Reads every record, message, schedule and text of other tables of a file with the keys that
    it holds itself."""

    def records(raw: driver.Raw) -> Iterator[None]:
        beside = ring.beside(raw.execute(SELECT_KEYS, (environment,)).fetchall())
        select = f"SELECT {COLUMNS} FROM memory"  # noqa: S608 - names of our own
        for row in cast("Iterator[tuple[object, ...]]", raw.execute(select)):
            beside.open(row)
            yield
        for row in cast("Iterator[letters.Row]", raw.execute(letters.SELECT)):
            letters.check(beside, row)
            yield
        if raw.execute(_HAS_TABLE, ("schedule",)).fetchone():
            for each in raw.execute(letters.SELECT_SCHEDULES):
                letters.check_schedule(beside, each)
                yield
        for column in columns.COLUMNS:
            if raw.execute(_HAS_TABLE, (column.table,)).fetchone():
                held = f"{column.selected} WHERE {column.name} IS NOT NULL"
                for ident, text, *bound in raw.execute(held):
                    letters.check_text(beside, column.letter(ident, *bound), text)
                    yield

    return records


def _holds_bare(shelf: Shelf, made: Manifest) -> bool:
    """Whether anything in a verified copy has no check."""
    raw = driver.look(shelf.path / f"{made.name}.db", immutable=True)
    try:
        return tables.any_bare(Reader(raw, made.environment))
    finally:
        raw.close()


def _copy(source: int, target: int, sha256: bytes) -> None:
    """Copy a verified backup to the disk; what is written must be what was verified."""
    size, at = os.fstat(source).st_size, 0
    while at < size:
        part = os.pread(source, _CHUNK, at)
        if not part:
            break
        at += os.pwrite(target, part, at)
    os.fsync(target)
    if digest(target) != sha256:
        raise Corrupt("the backup changed while it was read", hint="use another one")


# --- views ------------------------------------------------------------------------------------


def _mark(shelf: Shelf, name: str) -> tuple[int, ...]:
    with shelf.copy(name) as file:
        found = os.fstat(file)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _name_of_key(data: Path, environment: str) -> bytes:
    """Which key of the environment opens the copy: a hash of it as it is wrapped, not the key
    itself. It is in no backup, so that shredding takes it from all of them."""
    from ..vault import vaultfile  # noqa: PLC0415 - most commands never need it

    file = vaultfile.load(data / "keys")
    key = None if file is None else file.environments.get(environment)
    return b"" if key is None else hashlib.sha256(key.wrapped).digest()


def _looked(made: Manifest) -> str:
    return (
        f"signature, SHA-256, schema, pages, {made.records:,} records, {made.messages:,} messages "
        f"and {made.audit_rows:,} audit rows are in order"
    )


def _view(made: Manifest, status: str, detail: str, elapsed_s: float = 0.0) -> BackupView:
    return BackupView(
        name=made.name,
        environment=made.environment,
        created_at_us=made.created_us,
        size_bytes=made.size,
        records=made.records,
        messages=made.messages,
        audit_rows=made.audit_rows,
        schema_version=made.schema_version,
        status=status,
        detail=detail,
        elapsed_s=elapsed_s,
    )


def _failed(environment: str, name: str, detail: str, elapsed_s: float = 0.0) -> BackupView:
    return BackupView(
        name=name,
        environment=environment,
        created_at_us=0,
        size_bytes=0,
        records=0,
        messages=0,
        audit_rows=0,
        schema_version=0,
        status="failed",
        detail=detail,
        elapsed_s=elapsed_s,
    )
