"""The artifacts of one environment.

What comes in is written to a part first, chunk by chunk, and hashed on the way. Only when all of it
is on the disk does the part get its address, and only then is there a row that speaks of it. A
content that is there already is not kept twice.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from .. import codec
from ..acl import Access
from ..acl.rows import Rows
from ..audit.reads import Reads
from ..clock import Clock
from ..errors import Damaged, InvalidInput, NotFound, OutcomeUnknown
from ..model import Environment, Principal, Right, check_key, parse_level, printable
from ..store.database import Database, Reader, Transaction
from ..store.transaction import Change
from ..vault import Ring
from ..views import ArtifactView, LineageView
from . import changes, form, rows
from .aside import aside, to_the_end
from .changes import Draft, Kept
from .content import Reader as ContentReader
from .content import Writer, Written
from .files import Files
from .rows import Artifact, Content, Glance, Seen, Wish

DIRECTORY: Final = "artifacts"
TYPES: Final = (
    "code", "documentation", "test", "config", "binary", "data", "model", "report", "other",
)  # fmt: skip
MAX_FORMAT: Final = 64
MOST_VERSIONS: Final = 10_000
MOST_RELATED: Final = 1_000
KNOWN_STARTS: Final = 16
TOKEN: Final = 20

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")

T = TypeVar("T")

Source = Callable[[Writer], Awaitable[object]]
"""Feeds a writer with a content, from wherever it comes."""


class Wanted(NamedTuple):
    """A version as somebody asks for it. `metadata` is JSON."""

    name: str
    type: str = "other"
    format: str = ""
    level: str | int | None = None
    team: str | None = None
    parent: str | None = None
    of: str | None = None
    metadata: bytes = b"null"


class Part(NamedTuple):
    """A content that is being written."""

    name: str
    key: bytes
    writer: Writer


class Artifacts:
    """Belongs to the engine's loop; files are touched on threads beside it."""

    def __init__(
        self,
        environment: Environment,
        database: Database,
        access: Access,
        reads: Reads,
        ring: Ring,
        clock: Clock,
    ) -> None:
        self.environment = environment
        self.files = Files(database.path.parent / DIRECTORY, database.disk.reserve)
        self.access = Rows(access, "artifact")
        self.database = database
        self.ring = ring
        self.clock = clock
        self.turn = asyncio.Lock()
        """Held while files get or lose their address: what a row speaks of is in its place."""
        self.parts: set[str] = set()  # of this engine
        self.held = 0
        """How many need every file that is there: while any does, none goes."""
        self._cleared = False
        self._reads = reads
        self._prefix = f"{environment.prefix}_artifact_"
        self._starts: dict[str, array[int]] = {}

    # --- putting ----------------------------------------------------------------------------

    async def put(
        self, principal: Principal, wanted: Wanted, source: Source, *, compress: bool = True
    ) -> ArtifactView:
        """Store what `source` feeds as a new artifact, or as the next version of the one that the
        same owner has under this name (or of `of`). Raises InvalidInput, NotFound for an unknown
        parent or `of`, Denied, Sealed, StorageError; then nothing of it is left."""
        draft = await self.drafted(principal, wanted)
        async with self.writing(compress=compress) as part:
            await source(part.writer)
            return await self.finish(principal, draft, part)

    async def drafted(self, principal: Principal, wanted: Wanted) -> Draft:
        """What is asked for, decided before any byte of it is taken. Raises as `put`."""
        if wanted.type not in TYPES:
            raise InvalidInput(
                f"unknown type {printable(wanted.type)}", hint=f"one of {', '.join(TYPES)}"
            )
        if len(wanted.format) > MAX_FORMAT or not wanted.format.isprintable():
            raise InvalidInput(f"format {printable(wanted.format)} is not allowed")
        draft = Draft(
            name=_named(wanted.name),
            type=wanted.type,
            format=wanted.format,
            level=None if wanted.level is None else parse_level(wanted.level),
            team=wanted.team,
            parent=None if wanted.parent is None else self.number(wanted.parent),
            of=None if wanted.of is None else self.number(wanted.of),
            metadata=codec.check_json(wanted.metadata),
        )
        self.ring.require()
        await self.database.read(
            lambda reader: changes.standing(reader, principal, draft, self.access, self.shown)
        )
        return draft

    @asynccontextmanager
    async def writing(self, *, compress: bool = True) -> AsyncIterator[Part]:
        """A part to write a content to. Unless it was kept by then it is gone afterwards. Raises
        Sealed, StorageError."""
        part, file = await self.begin(compress=compress)
        try:
            yield part
        finally:
            await self.drop(part, file)

    async def begin(self, *, compress: bool) -> tuple[Part, int]:
        """A part and its open file; `drop` ends it. Raises Sealed, StorageError, InvalidInput in
        a store that is kept in memory alone."""
        if self.database.is_volatile:
            raise InvalidInput(
                "artifacts are files, and this engine is one in memory",
                hint="open one with a data directory",
            )
        await self.database.write(self.ring.prepare)
        if not self._cleared:
            self._cleared = True
            await self.clear_parts()
        name, key = self.clock.token(TOKEN), os.urandom(form.KEY_BYTES)
        self.parts.add(name)
        try:
            file = await aside(self.files.begin, name)
        except BaseException:
            self.parts.discard(name)
            raise
        writer = Writer(
            file,
            form.cipher(key),
            seal=self.ring.strict,
            compress=compress,
            room=self.files.require_room,
        )
        return Part(name, key, writer), file

    async def drop(self, part: Part, file: int) -> None:
        """Close the file of a part, and remove it unless it was kept."""
        os.close(file)
        await aside(self.files.drop, part.name)
        self.parts.discard(part.name)

    async def clear_parts(self) -> int:
        """Delete the parts that are of an engine before this one; how many."""
        left = set(await aside(self.files.parts)) - self.parts
        for name in left:
            await aside(self.files.drop, name)
        return len(left)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let every file stay that is there now, also of what is deleted meanwhile; the sweep
        finds it afterwards."""
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def finish(self, principal: Principal, draft: Draft, part: Part) -> ArtifactView:
        """Put what was written on the disk and store the version that has it."""
        written: Written = await aside(part.writer.finish)
        view = await self._glance(await self._keep(principal, draft, part, written))
        return msgspec.structs.replace(
            view, sha256=written.sha256.hex(), metadata=codec.decode_json(draft.metadata)
        )

    async def _keep(self, principal: Principal, draft: Draft, part: Part, written: Written) -> int:
        naming = self.ring.naming("swarmdeck artifact address")
        address = hmac.digest(naming, written.sha256, "sha256").hex()
        async with self.turn:
            ident = await self._refer(principal, draft, address)
            if ident is not None:
                return ident
            await aside(self.files.keep, part.name, address)
            self._starts.pop(address, None)  # another file may have been there
            kept = Kept(address, part.key, written)
            change = changes.keep(principal, draft, kept, self.access, self.ring, self.shown)
            try:
                return await self._write(change)
            except OutcomeUnknown:
                raise  # the sweep will find out
            except BaseException:
                await self._forget([address])
                raise

    async def _refer(self, principal: Principal, draft: Draft, address: str) -> int | None:
        """A version of a content that is there and was not found damaged; None if it is not."""
        found = await self.database.read(lambda reader: rows.content(reader, address))
        if found is None or found.damage or self.files.size(address) != found.stored:
            return None
        return await self._write(
            changes.refer(principal, draft, found, self.access, self.ring, self.shown)
        )

    async def _write(self, change: Callable[[Transaction], T]) -> T:
        """What a change answers, waited for also when nobody wants it any more: whether there is
        a row decides what becomes of a file."""
        future: asyncio.Future[T] = self.database.submit(Change(change, "artifacts", None))
        return await to_the_end(future)

    async def _forget(self, addresses: list[str]) -> None:
        """Delete the files among these that no row speaks of. Call it in your turn."""
        if self.held:
            return
        known = await self.database.read(lambda reader: known_among(reader, addresses))
        for address in addresses:
            if address not in known:
                await aside(self.files.remove, address)

    # --- looking ----------------------------------------------------------------------------

    async def page(self, principal: Principal, wish: Wish) -> list[ArtifactView]:
        """What `principal` may read of what it looks for."""
        found = await self.database.read(rows.page(wish, self.access, principal, self.shown))
        await self._reads.look(principal, "artifact.list", self.environment.value)
        return [self._view(*each) for each in found]

    async def show(self, principal: Principal, ident: str) -> ArtifactView:
        """One version with its SHA-256 and metadata. Raises NotFound, Sealed, Damaged for a row
        that was changed."""
        found, metadata, held = await self.readable(principal, "artifact.show", ident)
        text = rows.metadata_of(self.ring, found, metadata, ident)
        view = await self._glance(found.ident)
        sha256 = rows.opened(self.ring, held)[1].sha256.hex()
        return msgspec.structs.replace(view, sha256=sha256, metadata=codec.decode_json(text))

    async def versions(self, principal: Principal, ident: str) -> list[ArtifactView]:
        """All versions of an artifact, the newest first. Raises NotFound."""
        found, _, _ = await self.readable(principal, "artifact.versions", ident)
        bounds = (self.environment.value, found.series, MOST_VERSIONS)
        known = await self.database.read(
            lambda reader: list(map(rows.seen_row, reader.execute(rows.SELECT_VERSIONS, bounds)))
        )
        return [self._view(*each) for each in known if self._sees(principal, each[0])]

    async def lineage(self, principal: Principal, ident: str) -> list[LineageView]:
        """What an artifact was made from, itself, and what was made from it, in that order. Raises
        NotFound."""
        from .lineage import lineage  # noqa: PLC0415 - rarely asked

        found, _, _ = await self.readable(principal, "artifact.lineage", ident)
        steps = await self.database.read(
            lambda reader: lineage(reader, found, lambda each: self._sees(principal, each))
        )
        return [self._step(*step) for step in steps]

    async def readable(
        self, principal: Principal, verb: str, ident: str
    ) -> tuple[Artifact, bytes | None, Content]:
        """A version that `principal` may read, and its content; noted as a look at it. Raises
        NotFound."""
        number = self.number(ident)

        def query(reader: Reader) -> tuple[Any, Any]:
            known = rows.one(reader, number)
            return known, known and rows.content(reader, known[0].content)

        known, held = await self.database.read(query)
        try:
            self.access.require(principal, Right.READ, known and known[0], ident)
        except NotFound:
            await self._reads.refuse(principal, verb, ident)
            raise
        await self._reads.look(principal, verb, ident)
        return known[0], known[1], held

    # --- reading ----------------------------------------------------------------------------

    async def chunk(self, principal: Principal, ident: str, number: int) -> tuple[bytes, int]:
        """A part of a content, from 0 on, and how many there are. Who may read is decided at each.
        Raises NotFound, InvalidInput beyond the last, Sealed, Damaged that names it."""
        async with self.reading(principal, ident) as reader:
            count = reader.said.chunks
            if not 0 <= number < count:
                raise InvalidInput(f"{ident} has {count} chunks, from 0 on")
            return await aside(reader.chunk, number), count

    @asynccontextmanager
    async def reading(self, principal: Principal, ident: str) -> AsyncIterator[ContentReader]:
        """A reader of a content. What it finds damaged while it is used is noted. Raises as
        `chunk`."""
        found, metadata, held = await self.readable(principal, "artifact.get", ident)
        rows.metadata_of(self.ring, found, metadata, ident)
        async with self.opened(held, ident, principal.id) as reader:
            yield reader

    @asynccontextmanager
    async def opened(
        self, held: Content, shown: str, actor: str, *, whole: bool = False
    ) -> AsyncIterator[ContentReader]:
        """A reader of a content, whoever it belongs to. `whole`: it is read to its end, and found
        to be whole if nothing is raised. Raises Sealed, Damaged."""
        file = -1
        try:
            key, said = rows.opened(self.ring, held)
            file = await aside(self.files.open, held.address)
            reader = ContentReader(file, form.cipher(key), said, self._starts.get(held.address, ()))
            yield reader
            self._remember(held.address, reader.starts)
        except Damaged as error:
            await self._note(held, actor, error.message, whole=whole)
            raise Damaged(
                f"{shown}: {error.message}",
                hint="put the same content again, or restore a backup",
            ) from error
        finally:
            if file >= 0:
                os.close(file)
        if whole:
            await self._note(held, actor, "", whole=True)

    async def _note(self, held: Content, actor: str, damage: str, *, whole: bool) -> None:
        if whole or damage != held.damage:
            change = changes.checked(actor, held, damage, whole=whole)
            await self.database.write(change, topic="artifacts")

    def _remember(self, address: str, starts: array[int]) -> None:
        """Keep where the chunks of a content begin, for those who read it one by one."""
        self._starts.pop(address, None)
        self._starts[address] = starts
        if len(self._starts) > KNOWN_STARTS:
            del self._starts[next(iter(self._starts))]

    # --- deleting ---------------------------------------------------------------------------

    async def delete(self, principal: Principal, ident: str, *, all_versions: bool) -> int:
        """Delete a version, or all of an artifact; how many versions. What nothing else has goes
        from the disk. Raises NotFound, Denied."""
        number, gone, more = self.number(ident), 0, True
        while more:
            async with self.turn:
                change = changes.delete(
                    principal, number, all_versions=all_versions, access=self.access,
                    shown=self.shown,
                )  # fmt: skip
                deleted = await self._write(change)
                await self._forget(deleted.unused)
            gone, more = gone + deleted.gone, deleted.more
        return gone

    # --- in words ---------------------------------------------------------------------------

    def shown(self, number: int) -> str:
        return f"{self._prefix}{number}"

    def number(self, ident: str) -> int:
        """The number in an id. Raises NotFound for what cannot be one of ours."""
        digits = ident.removeprefix(self._prefix)
        if digits == ident or not _NUMBER.fullmatch(digits):
            raise NotFound(f"no artifact {printable(ident)}", hint="see swarmdeck artifact list")
        return int(digits)

    def _sees(self, principal: Principal, artifact: Artifact) -> bool:
        return self.access.allows(principal, Right.READ, artifact, self.shown(artifact.ident))

    async def _glance(self, number: int) -> ArtifactView:
        found = await self.database.read(lambda reader: rows.glance(reader, number))
        if found is None:
            raise NotFound(f"no artifact {self.shown(number)}")
        return self._view(*found)

    def _view(self, artifact: Artifact, glance: Glance) -> ArtifactView:
        return ArtifactView(
            id=self.shown(artifact.ident),
            environment=self.environment.value,
            name=artifact.name,
            version=artifact.version,
            type=artifact.type,
            format=artifact.format,
            size_bytes=artifact.size,
            stored_bytes=glance.stored,
            chunks=glance.chunks,
            state=_state(glance),
            level=artifact.level.name.lower(),
            owner=artifact.owner,
            team=artifact.team,
            swarm=artifact.swarm,
            author=artifact.author,
            parent=None if artifact.parent is None else self.shown(artifact.parent),
            created_at_us=artifact.created_us,
            checked_at_us=glance.checked_us,
            damage=glance.damage,
        )

    def _step(self, depth: int, number: int, seen: Seen | None) -> LineageView:
        artifact = None if seen is None else seen[0]
        return LineageView(
            id=self.shown(number),
            environment=self.environment.value,
            depth=depth,
            name="" if artifact is None else artifact.name,
            version=0 if artifact is None else artifact.version,
            type="" if artifact is None else artifact.type,
            size_bytes=0 if artifact is None else artifact.size,
            state="gone" if seen is None else _state(seen[1]),
            author="" if artifact is None else artifact.author,
            created_at_us=None if artifact is None else artifact.created_us,
        )


def known_among(reader: Reader, addresses: list[str]) -> set[str]:
    """Those among addresses that a row speaks of."""
    return {each for each in addresses if rows.content(reader, each) is not None}


def _named(name: str) -> str:
    try:
        return check_key(name)
    except InvalidInput as error:
        raise InvalidInput(error.message.replace("memory key", "name"), hint=error.hint) from error


def _state(glance: Glance) -> str:
    if glance.damage:
        return "damaged"
    return "stored" if glance.checked_us is None else "checked"
