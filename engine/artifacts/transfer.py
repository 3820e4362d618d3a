"""Whole files in and out, for the operator: the engine reads and writes them itself."""

from __future__ import annotations

from pathlib import Path

from ..errors import InvalidInput
from ..model import Principal, printable
from ..views import ArtifactView
from . import paths
from .aside import aside
from .content import Walk, Writer
from .paths import Progress
from .service import TOKEN, Artifacts, Wanted


async def put_file(
    artifacts: Artifacts,
    principal: Principal,
    wanted: Wanted,
    path: Path,
    progress: Progress,
    *,
    compress: bool,
) -> ArtifactView:
    """Store a file of this host. Raises InvalidInput for what cannot be read, and as
    `Artifacts.put`."""
    async with paths.source(_absolute(path)) as (file, size):

        async def source(writer: Writer) -> None:
            artifacts.files.require_room(size)
            while await aside(writer.copy, file):
                progress(min(1.0, writer.size / max(1, size)), wanted.name)

        return await artifacts.put(principal, wanted, source, compress=compress)


async def save(
    artifacts: Artifacts,
    principal: Principal,
    ident: str,
    path: Path,
    progress: Progress,
    *,
    replace: bool,
) -> int:
    """Write a content to a file of this host, readable by its owner alone, which is there when all
    of it was checked; its bytes. Raises InvalidInput, Conflict for one that is there already,
    StorageError, and as `Artifacts.reading`."""
    token = artifacts.clock.token(TOKEN)
    async with (
        artifacts.reading(principal, ident) as reader,
        paths.target(_absolute(path), token, replace=replace) as target,
    ):
        walk = Walk(reader, target.write)
        while await aside(walk.step):
            progress(walk.part, ident)
        return walk.size


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise InvalidInput(f"{printable(str(path))} is not absolute", hint="begin it with /")
    return path
