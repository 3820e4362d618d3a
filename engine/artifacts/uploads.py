"""Contents that come in piece by piece, from those who cannot hand over a file.

An upload belongs to who began it. It is a part on the disk and nothing else: it ends when it is
finished, when it is left alone for a while, and with the engine.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from ..errors import Busy, Conflict, InvalidInput, NotFound
from ..model import Principal, printable
from ..views import ArtifactView
from .aside import aside
from .changes import Draft
from .service import Artifacts, Part, Wanted

MAX_PIECE_BYTES: Final = 4 << 20
MOST: Final = 64  # of an environment
MOST_OF_ONE: Final = 8
IDLE_S: Final = 120.0


class _Upload:
    def __init__(self, owner: str, draft: Draft, part: Part, held: AsyncExitStack) -> None:
        self.owner = owner
        self.draft = draft
        self.part = part
        self.held = held
        self.at_s = 0.0
        self.turn = asyncio.Lock()


class Uploads:
    """The uploads of one environment. Belongs to the engine's loop."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._open: dict[str, _Upload] = {}
        self._beginning = 0

    async def begin(self, principal: Principal, wanted: Wanted, *, compress: bool) -> str:
        """Begin one; its name. Raises as `Artifacts.put`, and Busy beyond MOST."""
        own = sum(each.owner == principal.id for each in self._open.values())
        if own >= MOST_OF_ONE or len(self._open) + self._beginning >= MOST:
            raise Busy("too many uploads are under way", hint="finish one first")
        self._beginning += 1
        try:
            draft = await self._artifacts.drafted(principal, wanted)
            async with AsyncExitStack() as stack:
                writing = self._artifacts.writing(compress=compress)
                part = await stack.enter_async_context(writing)
                made = _Upload(principal.id, draft, part, stack.pop_all())
        finally:
            self._beginning -= 1
        made.at_s = self._artifacts.clock.monotonic_s()
        self._open[part.name] = made
        return part.name

    async def append(self, principal: Principal, name: str, at: int, body: bytes) -> int:
        """Add a piece that begins at byte `at` of the content; how many bytes there are. Raises
        NotFound, InvalidInput for one too large, Conflict where it does not belong, StorageError,
        which ends the upload."""
        if len(body) > MAX_PIECE_BYTES:
            raise InvalidInput(f"a piece has at most {MAX_PIECE_BYTES:,} bytes")
        upload = self._of(principal, name)
        async with upload.turn:
            self._of(principal, name)  # it may have ended meanwhile
            writer = upload.part.writer
            if at != writer.size:
                raise Conflict(f"the next piece begins at byte {writer.size:,}, not at {at:,}")
            try:
                await aside(writer.feed, body)
            except BaseException:  # nobody knows how much of it was taken
                await self._end(name)
                raise
            upload.at_s = self._artifacts.clock.monotonic_s()
            return writer.size

    async def finish(self, principal: Principal, name: str) -> ArtifactView:
        """Store the version that has what came in. The upload is over, whatever comes of it.
        Raises as `Artifacts.put`, NotFound."""
        upload = self._of(principal, name)
        async with upload.turn:
            self._of(principal, name)
            try:
                return await self._artifacts.finish(principal, upload.draft, upload.part)
            finally:
                await self._end(name)

    async def abort(self, principal: Principal, name: str) -> None:
        """End an upload; nothing of it stays. Raises NotFound."""
        upload = self._of(principal, name)
        async with upload.turn:
            await self._end(name)

    async def sweep(self) -> None:
        """End those that were left alone."""
        before_s = self._artifacts.clock.monotonic_s() - IDLE_S
        for name, upload in list(self._open.items()):
            if upload.at_s < before_s and not upload.turn.locked():
                await self._end(name)

    async def close(self) -> None:
        for name in list(self._open):
            await self._end(name)

    def _of(self, principal: Principal, name: str) -> _Upload:
        upload = self._open.get(name)
        if upload is None or upload.owner != principal.id:
            raise NotFound(f"no upload {printable(name)}", hint="begin again")
        return upload

    async def _end(self, name: str) -> None:
        upload = self._open.pop(name, None)
        if upload is not None:
            await upload.held.aclose()
