"""Artifacts, for those who write Python: `engine.artifacts("development", as_=agent)`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from hashlib import sha256
from os import urandom
from pathlib import Path
from typing import Any, Protocol

from .. import actions, codec, views
from ..acting import Acting, Asked
from ..errors import Damaged, SwarmDeckError
from . import paths
from .aside import aside

PIECE_BYTES = 1 << 20

ArtifactViews = list[views.ArtifactView]
Lineage = list[views.LineageView]
Checks = list[views.CheckView]
Content = bytes | bytearray | memoryview | str | Path | AsyncIterable[bytes]


class Caller(Protocol):
    """Where pieces of contents go and come from."""

    def call(self, verb: str, actor: str, environment: str, *args: object) -> Awaitable[Any]: ...


class Artifacts(Acting):
    """Artifacts of one environment, as one actor sees them. All methods raise NotFound for one that
    is not there or may not be read, Sealed, Damaged, Unavailable."""

    def __init__(
        self, engine: Asked, caller: Caller, environment: str, actor: str | None, *, by_path: bool
    ) -> None:
        """`by_path`: the engine reads and writes files itself, as it does for the operator."""
        super().__init__(engine, environment, actor)
        self._caller = caller
        self._by_path = by_path

    async def put(  # noqa: PLR0913 - the fields of an artifact
        self,
        name: str,
        content: Content,
        *,
        type: str = "other",  # noqa: A002 - the field's name
        format: str = "",  # noqa: A002 - the field's name
        level: str | int | None = None,
        team: str | None = None,
        parent: str | None = None,
        of: str | None = None,
        metadata: Any = None,  # noqa: ANN401 - JSON types
        compress: bool = True,
    ) -> views.ArtifactView:
        """Store a content: bytes, the path of a file, or what gives it piece by piece. It is the
        next version of the artifact that this actor has under `name`, or of `of`, else a new one.
        It is there whole, or not at all. Raises InvalidInput, Denied, StorageError."""
        fields = {
            "name": name, "type": type, "format": format or Path(name).suffix.removeprefix("."),
            "level": level, "team": team, "parent": parent, "of": of, "compress": compress,
        }  # fmt: skip
        if isinstance(content, (str, Path)) and self._by_path:
            file = str(Path(content).absolute())
            fields["uncompressed"] = not fields.pop("compress")
            found: views.ArtifactView = await self._ask(
                actions.ArtifactPut, file=file, metadata=metadata, **fields
            )
            return found
        return await self._send(fields, codec.encode_json(metadata), _pieces(content))

    async def _send(
        self, fields: dict[str, Any], metadata: bytes, pieces: AsyncIterator[bytes]
    ) -> views.ArtifactView:
        named = [fields[each] for each in ("name", "type", "format", "level", "team")]
        more = [fields["parent"], fields["of"], metadata, fields["compress"]]
        upload = await self._call("artifact.begin", *named, *more)
        try:
            at = 0
            async for piece in pieces:
                at = await self._call("artifact.append", upload, at, piece)
            ident = await self._call("artifact.finish", upload)
        except BaseException:
            with suppress(SwarmDeckError):
                await self._call("artifact.abort", upload)
            raise
        return await self.show(ident)

    async def open(self, artifact: views.ArtifactView | str) -> AsyncIterator[bytes]:
        """`async for` over what an artifact holds, a megabyte at a time; each part was checked."""
        number, count = 0, 1
        while number < count:
            body, count = await self._call("artifact.read", _ident(artifact), number)
            yield body
            number += 1

    async def save(
        self, artifact: views.ArtifactView | str, path: str | Path, *, replace: bool = False
    ) -> None:
        """Write what an artifact holds to a file, which is there when all of it was checked.
        Raises Conflict for one that is there already, InvalidInput, StorageError."""
        place = Path(path).absolute()
        if self._by_path:
            wanted = {"id": _ident(artifact), "output": str(place), "replace": replace}
            await self._ask(actions.ArtifactGet, **wanted)
            return
        said, found = (await self.show(_ident(artifact))).sha256, sha256()
        async with paths.target(place, urandom(8).hex(), replace=replace) as target:
            async for body in self.open(artifact):
                found.update(body)
                await aside(target.write, body)
            if found.hexdigest() != said:
                raise Damaged(f"{_ident(artifact)} is not what was stored: its SHA-256 differs")

    async def list(  # noqa: PLR0913 - all that can be asked for
        self,
        *,
        type: str | None = None,  # noqa: A002 - the field's name
        owner: str | None = None,
        name: str | None = None,
        contains: str = "",
        damaged: bool = False,
        versions: bool = False,
        order: str = "age",
        descending: bool = False,
        offset: int = 0,
        limit: int = 200,
    ) -> ArtifactViews:
        """Those that match all that is given: the newest version of each, or every version."""
        found: ArtifactViews = await self._ask(
            actions.ArtifactList, type=type, owner=owner, name=name, contains=contains,
            damaged=damaged, versions=versions, order=order, descending=descending, offset=offset,
            limit=limit,
        )  # fmt: skip
        return found

    async def show(self, artifact: views.ArtifactView | str) -> views.ArtifactView:
        """One version, with its SHA-256 and metadata."""
        found: views.ArtifactView = await self._ask(actions.ArtifactShow, id=_ident(artifact))
        return found

    async def versions(self, artifact: views.ArtifactView | str) -> ArtifactViews:
        """All versions of it, the newest first."""
        found: ArtifactViews = await self._ask(actions.ArtifactVersions, id=_ident(artifact))
        return found

    async def lineage(self, artifact: views.ArtifactView | str) -> Lineage:
        """What it was made from, itself, and what was made from it."""
        found: Lineage = await self._ask(actions.ArtifactLineage, id=_ident(artifact))
        return found

    async def delete(
        self, artifact: views.ArtifactView | str, *, all_versions: bool = False
    ) -> int:
        """Delete a version, or all of them; how many. Raises Denied."""
        wanted = {"id": _ident(artifact), "all_versions": all_versions}
        done: views.Done = await self._ask(actions.ArtifactDelete, **wanted)
        return done.changed

    async def verify(self, artifact: views.ArtifactView | str | None = None) -> Checks:
        """Read one whole, or (as the operator) all of the environment: what is wrong, chunk by
        chunk."""
        ident = self._environment if artifact is None else _ident(artifact)
        found: Checks = await self._ask(actions.ArtifactVerify, id=ident)
        return found

    async def _call(self, verb: str, *args: object) -> Any:  # noqa: ANN401 - each has its own
        return await self._caller.call(verb, self._actor or "operator", self._environment, *args)


def _ident(artifact: views.ArtifactView | str) -> str:
    return artifact if isinstance(artifact, str) else artifact.id


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    """A content in pieces of PIECE_BYTES at most."""
    if isinstance(content, (str, Path)):
        async with paths.source(Path(content).absolute()) as (file, _):
            while body := await aside(paths.read, file, PIECE_BYTES):
                yield body
    elif isinstance(content, (bytes, bytearray, memoryview)):
        for piece in _cut(content):
            yield piece
    else:
        async for part in content:
            for piece in _cut(part):
                yield piece


def _cut(body: bytes | bytearray | memoryview) -> Iterator[bytes]:
    view = memoryview(body)
    for at in range(0, len(view), PIECE_BYTES):
        yield bytes(view[at : at + PIECE_BYTES])
