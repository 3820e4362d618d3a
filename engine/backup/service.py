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

import msgspec

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
from . import contents
from . import manifest as manifests
from .copy import copy_back, copy_into
from .manifest import Manifest
from .pace import Pace, Progress
from .shelf import Shelf, digest
from .shown import failed, looked, view
from .verify import Found, Records, examine, wrong

if TYPE_CHECKING:
    from ..artifacts.files import Files
    from ..swarms.service import Swarms
    from ..vault import Ring, Vault

T = TypeVar("T")

BackupViews = list[BackupView]  # `list` is a method of the service

NOTHING: Final = "nothing was looked at yet"
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
                gathered = shelf.gathering(name)
                with place.artifacts.holding():  # until they have their second name
                    await copy_into(
                        place.database, file, path, lambda part: progress(part * 0.5, "")
                    )
                    await self._gather(place, path, gathered)
                found, sha256 = await self._look(
                    file, path, gathered, environment,
                    lambda part, text: progress(0.5 + part * 0.5, text),
                )  # fmt: skip
                made = self._manifest(environment, name, os.fstat(file).st_size, found, sha256)
                signature = self._engine.vault.sign(manifests.message(made))
                shelf.keep(name, manifests.encode(made, signature))
            detail = looked(made)
            self._remember(shelf, made, "verified", detail)
        detail_row = f"{name}, {made.size} bytes"
        await place.database.write(
            lambda tx: tx.audit(actor, "backup.create", environment, detail=detail_row)
        )
        return view(made, "verified", detail, time.perf_counter() - began_s)

    async def _gather(self, place: Place, path: Path, target: Path) -> None:
        """Put the contents that a copy speaks of beside it."""
        found = await _aside(contents.of_copy, path, place.environment.value)
        if found:
            await _paced(contents.gather, found, place.artifacts.files, target)

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
            contents=found.contents or msgspec.UNSET,
            content_bytes=found.content_bytes or msgspec.UNSET,
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
        found = [row for each in chosen for row in await _aside(self._listed, each.value)]
        return sorted(found, key=lambda row: (-row.created_at_us, row.name))

    def _listed(self, environment: str) -> BackupViews:
        shelf = self._shelf(environment)
        return [self._glance(shelf, environment, name) for name in shelf.names()]

    def _glance(self, shelf: Shelf, environment: str, name: str) -> BackupView:
        try:
            made = self._signed(shelf, environment, name)
            mark = _mark(shelf, name)
        except SwarmDeckError as error:
            return failed(environment, name, error.message)
        seen = self._seen.get((environment, name))
        if seen is not None and seen.mark == mark:
            return view(made, seen.status, seen.detail)
        return view(made, "unverified", "it was verified when it was made")

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
                return failed(environment, name, error.message, time.perf_counter() - began_s)
            status, detail = await self._verdict(shelf, made, progress)
        return view(made, status, detail, time.perf_counter() - began_s)

    async def _verdict(self, shelf: Shelf, made: Manifest, progress: Progress) -> tuple[str, str]:
        with shelf.copy(made.name) as file:
            try:
                await self._compare(file, shelf, made, progress)
            except Corrupt as error:
                status, detail = "failed", error.message
            else:
                open_ = self._engine.vault.state == "open"
                status = "verified" if open_ else "unverified"
                detail = looked(made) if open_ else "the vault is sealed: no record was read"
        self._remember(shelf, made, status, detail)
        return status, detail

    async def _compare(self, file: int, shelf: Shelf, made: Manifest, progress: Progress) -> None:
        """Raises Corrupt where a copy is not what its manifest says."""
        size = os.fstat(file).st_size
        if size != made.size:
            raise Corrupt(f"the copy has {size:,} bytes, its manifest says {made.size:,}")
        path = shelf.path / f"{made.name}.db"
        found, sha256 = await self._look(
            file, path, shelf.files(made.name), made.environment, progress, expected=made.sha256
        )
        said = Found(
            schema_version=made.schema_version,
            records=made.records,
            messages=made.messages,
            audit_rows=made.audit_rows,
            audit_sequence=made.audit_sequence,
            audit_hash=made.audit_hash,
            key_ids=made.key_ids,
            contents=made.contents or 0,
            content_bytes=made.content_bytes or 0,
        )
        if sha256 != made.sha256 or found != said:
            raise Corrupt("the copy is not the one its manifest speaks of")

    async def _look(
        self,
        file: int,
        path: Path,
        files: Path,
        environment: str,
        progress: Progress,
        expected: bytes | None = None,
    ) -> tuple[Found, bytes]:
        """Look through a copy on a thread; what is in it and its SHA-256, which comes first: of
        what is not `expected` nothing is read. Raises Corrupt."""
        ring = self._engine.vault.ring(environment)
        known = None if ring.reason else ring
        pace = Pace()
        report = from_thread(progress)

        def look() -> tuple[Found, bytes]:
            sha256 = digest(file, lambda part: report(part * 0.1, "comparing its SHA-256"))
            if expected is not None and sha256 != expected:
                raise Corrupt("the copy has changed: its SHA-256 is not the one in the manifest")
            return _examined(file, path, files, known, environment, pace, report), sha256

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
        return view(made, "verified", f"in use again after {elapsed_s * 1000:,.0f} ms", elapsed_s)

    async def _replace(
        self, home: Environment, shelf: Shelf, made: Manifest, actor: str, progress: Progress
    ) -> None:
        swap = Swap(database_path(self._engine.data, home))
        kept = f"replaced-{self._stamp()}-{self._engine.clock.token(4)}"
        progress(0.6, "copying it back")
        with shelf.copy(made.name) as source:
            file = swap.begin()
            try:
                await _aside(copy_back, source, file, made.sha256)
            except BaseException:
                swap.abandon()
                raise
            finally:
                os.close(file)

        reason = self._reason(made, actor, kept, bare=await _aside(_holds_bare, shelf, made))
        files = self._engine.places[home.value].artifacts.files

        async def between() -> None:
            await self._stage(shelf, made, files)
            await _aside(swap.commit, reason)

        try:
            self._require_idle(home.value)  # of what has begun meanwhile
            progress(0.9, "opening it")
            await self._engine.reopen(home, between, "being restored")
        finally:
            if not swap.counts:
                swap.abandon()

    async def _stage(self, shelf: Shelf, made: Manifest, files: Files) -> None:
        """Have the contents of a backup where they follow its copy into use."""
        copy = shelf.path / f"{made.name}.db"
        found = await _aside(contents.of_copy, copy, made.environment)
        if found or files.root.is_dir():
            await _paced(contents.stage, found, shelf.files(made.name), files)

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
        kept = place.database.path.with_name(f"{reason.kept}-artifacts")
        await _aside(place.artifacts.files.replace, kept)
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


async def _paced(function: Callable[..., T], *arguments: object) -> T:
    """What takes its time on a thread, which ends when nobody waits for it any more."""
    pace = Pace()
    try:
        return await _aside(function, *arguments, pace)
    finally:
        pace.over = True


async def _aside(function: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def from_thread(progress: Progress) -> Progress:
    """Progress as a thread may report it."""
    loop = asyncio.get_running_loop()
    return lambda part, text: loop.call_soon_threadsafe(progress, part, text)


def _examined(
    file: int,
    path: Path,
    files: Path,
    ring: Ring | None,
    environment: str,
    pace: Pace,
    report: Progress,
) -> Found:
    """What is in a copy. The path must be that of the handle: nobody may slip in another."""
    records = None if ring is None else records_of(ring, environment)
    if path.is_symlink() or os.fstat(file).st_ino != path.stat().st_ino:
        raise Corrupt(f"{path.name} is not the file it was a moment ago")
    try:
        raw = driver.look(path, immutable=True)
        try:
            found = examine(raw, records, pace, report)
            held = contents.examine(raw, environment, files, ring, pace, report)
            return msgspec.structs.replace(found, **held._asdict())
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


# --- files ------------------------------------------------------------------------------------


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
