"""Contents written and read, chunk by chunk: of one of any size a few chunks are in memory.

All of it blocks, in steps of a few megabytes that a caller runs on a thread.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..errors import Damaged
from ..vault.record import Cipher
from . import form
from .files import refused
from .form import CHUNK_BYTES, HEAD_BYTES, MAGIC

STEP_CHUNKS: Final = 8
"""Chunks in one step; as much is put on the disk at once, because more would hold up the commits
of the databases on it."""


class Written(NamedTuple):
    """What a content is: its SHA-256, its bytes, the bytes of its file, its chunks."""

    sha256: bytes
    size: int
    stored: int
    chunks: int


class Writer:
    """Writes one content to an open file. `room(bytes)` raises where the disk has too little."""

    def __init__(
        self,
        file: int,
        cipher: Cipher,
        *,
        seal: bool,
        compress: bool,
        room: Callable[[int], None],
    ) -> None:
        self.size = 0
        self._file = file
        self._cipher = cipher
        self._seal = seal
        self._compress = compress
        self._room = room
        self._held = bytearray()  # the last chunk is marked, so one is held until more comes
        self._hash = hashlib.sha256()
        self._stored = 0
        self._chunks = 0
        self._unsynced = 0

    def feed(self, body: bytes | bytearray | memoryview) -> None:
        """Take the next bytes, any number. Raises StorageError."""
        self._hash.update(body)
        self._held += body
        self.size += len(body)
        while len(self._held) > CHUNK_BYTES:
            self._put(bytes(memoryview(self._held)[:CHUNK_BYTES]), last=False)
            del self._held[:CHUNK_BYTES]

    def copy(self, source: int) -> bool:
        """Take one step of what an open file holds; whether there may be more. Raises
        StorageError, also for a source that cannot be read."""
        for _ in range(STEP_CHUNKS):
            try:
                body = os.read(source, CHUNK_BYTES)
            except OSError as error:
                raise refused(error) from error
            if not body:
                return False
            self.feed(body)
        return True

    def finish(self) -> Written:
        """Write what is held and put all of it on the disk. Raises StorageError."""
        self._put(bytes(self._held), last=True)
        self._held.clear()
        try:
            os.fsync(self._file)
        except OSError as error:
            raise refused(error) from error
        return Written(self._hash.digest(), self.size, self._stored, self._chunks)

    def _put(self, body: bytes, *, last: bool) -> None:
        packed = form.pack(
            self._cipher, self._chunks, body, last=last, seal=self._seal, compress=self._compress
        )
        if not self._chunks:
            packed = MAGIC + packed
        if not self._unsynced:
            self._room(len(packed))
        left = memoryview(packed)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            self._synced(len(packed))
        except OSError as error:
            raise refused(error) from error
        self._stored += len(packed)
        self._chunks += 1

    def _synced(self, size_bytes: int) -> None:
        self._unsynced += size_bytes
        if self._unsynced >= STEP_CHUNKS * CHUNK_BYTES:
            os.fdatasync(self._file)
            self._unsynced = 0


class Reader:
    """Reads one content out of an open file, which it does not close. What it hands out was
    checked. `starts` is where its chunks begin, as far as it is known."""

    def __init__(
        self, file: int, cipher: Cipher, said: Written, starts: Sequence[int] = ()
    ) -> None:
        """`starts`: those that an earlier reader has found. Raises Damaged for a file that is not
        `said`."""
        self.said = said
        self._file = file
        self._cipher = cipher
        self.starts = array("Q", starts or [len(MAGIC)])
        size = os.fstat(file).st_size
        if size != said.stored or self._at(0, len(MAGIC)) != MAGIC:
            raise Damaged(
                f"its file has {size:,} bytes and not the {said.stored:,} it was stored as"
            )

    def chunk(self, number: int) -> bytes:
        """One part of the content, from 0 on. Raises Damaged that names it."""
        try:
            return self._chunk(number)
        except Damaged as error:
            raise Damaged(f"{self._spoken(number)} is damaged: {error.message}") from error
        except OSError as error:
            raise refused(error) from error

    def _chunk(self, number: int) -> bytes:
        while len(self.starts) <= number:
            at = self.starts[-1]
            self.starts.append(at + self._head(len(self.starts) - 1, at).whole)
        at = self.starts[number]
        head = self._head(number, at)
        found = self._at(at + HEAD_BYTES, head.whole - HEAD_BYTES)
        return form.unpack(self._cipher, number, head, found)

    def _head(self, number: int, at: int) -> form.Head:
        head = form.head(self._at(at, HEAD_BYTES))
        if head.is_last != (number == self.said.chunks - 1):
            raise Damaged("it is not where it belongs")
        return head

    def _at(self, at: int, size: int) -> bytes:
        return os.pread(self._file, size, at)

    def _spoken(self, number: int) -> str:
        first = number * CHUNK_BYTES
        last = max(first, min(first + CHUNK_BYTES, self.said.size) - 1)
        return f"chunk {number + 1:,} of {self.said.chunks:,} (bytes {first:,} to {last:,})"


class Walk:
    """Reads a whole content from its first chunk to its last, a step at a time, and compares its
    SHA-256 at the end."""

    def __init__(self, reader: Reader, take: Callable[[bytes], object] = lambda _: None) -> None:
        """`take` is given each part, on the thread that steps."""
        self._reader = reader
        self._take = take
        self._hash = hashlib.sha256()
        self.size = 0
        self._next = 0

    @property
    def part(self) -> float:
        """How far it is, 0 to 1."""
        return self._next / self._reader.said.chunks

    def step(self) -> bool:
        """Go on for STEP_CHUNKS; whether there is more. Raises Damaged."""
        said = self._reader.said
        for _ in range(min(STEP_CHUNKS, said.chunks - self._next)):
            body = self._reader.chunk(self._next)
            self._hash.update(body)
            self.size += len(body)
            self._take(body)
            self._next += 1
        if self._next < said.chunks:
            return True
        if self.size != said.size or self._hash.digest() != said.sha256:
            raise Damaged("it is not the content that was stored: its SHA-256 differs")
        return False
