"""Contents of artifacts in a backup: `<name>.files/<address>`, beside the copy whose rows speak of
them.

A content never changes, so in a backup it is a second name of the same file: it takes no room until
the artifact is deleted, and a shred takes its key. Where a file cannot have a second name it is
copied. All of it blocks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ..artifacts import form, rows
from ..artifacts.content import Reader as ContentReader
from ..artifacts.content import Walk
from ..artifacts.files import STAGED, Files
from ..artifacts.rows import Content
from ..errors import Corrupt, Damaged, StorageError
from ..store import driver
from ..store.database import Reader
from ..store.log import sync_directory
from ..vault import Ring, letters
from ..vault.ring import SELECT_KEYS
from .pace import Pace

FILES: Final = ".files"
BATCH: Final = 100

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR
_COPY_BYTES: Final = 1 << 20
_HAS_TABLE: Final = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'artifact_content')"

Report = Callable[[float, str], object]


class Held(NamedTuple):
    """How many contents a backup has, and the bytes of their files."""

    contents: int = 0
    content_bytes: int = 0


def of_copy(path: Path, environment: str) -> list[Content]:
    """The contents that a copy of an environment speaks of. Raises Corrupt."""
    try:
        raw = driver.look(path, immutable=True)
        try:
            return list(_contents(raw, environment))
        finally:
            raw.close()
    except driver.Error as error:
        raise Corrupt(f"the copy cannot be read: {error}", hint="use another backup") from error


def _contents(raw: driver.Raw, environment: str) -> Iterator[Content]:
    if raw.execute(_HAS_TABLE).fetchone() != (1,):  # it is of before there were artifacts
        return
    reader, after = Reader(raw, environment), 0
    while batch := rows.contents(reader, after, BATCH):
        yield from batch
        after = batch[-1].ident


# --- making a backup, putting one back ----------------------------------------------------------


def gather(found: list[Content], files: Files, target: Path, pace: Pace) -> None:
    """Give the files of contents a second name in a directory that is made for it. Raises
    StorageError; one that is gone is found when the backup is verified."""
    _link(found, files.path, lambda address: target / address, target, pace)


def stage(found: list[Content], source: Path, files: Files, pace: Pace) -> None:
    """Give the contents of a backup a second name where the environment will look for them. Raises
    StorageError."""
    files.drop_staged()
    target = Files(files.root / STAGED, None)
    _link(found, lambda address: source / address, target.path, target.root, pace)


def _link(
    found: list[Content],
    of: Callable[[str], Path],
    to: Callable[[str], Path],
    root: Path,
    pace: Pace,
) -> None:
    try:
        root.mkdir(mode=stat.S_IRWXU, parents=True)
        made = {root}
        for held in found:
            pace.rest()
            path = to(held.address)
            path.parent.mkdir(mode=stat.S_IRWXU, exist_ok=True)
            made.add(path.parent)
            with suppress(FileNotFoundError):  # which is found when it is looked through
                _second(of(held.address), path)
        for directory in (*made, root.parent):
            sync_directory(directory)
    except OSError as error:
        raise StorageError(
            f"the files of artifacts were not kept: {error.strerror}",
            hint="free some disk space, then repeat it",
        ) from error


def _second(source: Path, target: Path) -> None:
    """A second name of a file, or a copy where it can have none."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or too many names
        with _opened(source, _READ) as file, _opened(target, _CREATE) as copy:
            at = 0
            while body := os.pread(file, _COPY_BYTES, at):
                at += os.pwrite(copy, body, at)
            os.fsync(copy)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags, _OWNER_ONLY)
    try:
        yield file
    finally:
        os.close(file)


# --- looking through one ------------------------------------------------------------------------


def examine(
    raw: driver.Raw,
    environment: str,
    directory: Path,
    ring: Ring | None,
    pace: Pace,
    report: Report,
) -> Held:
    """Look through the files that the rows of a copy speak of: that each is there and as long as it
    was stored, and with the keys (`ring`, None without them) every chunk. Raises Corrupt for the
    first that is not."""
    beside = None
    if ring is not None:
        beside = ring.beside(raw.execute(SELECT_KEYS, (environment,)).fetchall())
    count = size = 0
    for held in _contents(raw, environment):
        report(1.0, f"{count:,} contents of artifacts")
        shredded = beside is not None and beside.is_shredded(letters.key_of(held.secret))
        if held.damage or shredded:
            continue  # it is known, and no reason to be without a copy of all the rest
        try:
            _look(held, directory / held.address, beside, pace)
        except (Damaged, OSError) as error:
            why = error.message if isinstance(error, Damaged) else error.strerror
            raise Corrupt(
                f"content {held.ident} of an artifact: {why}",
                hint=f"swarmdeck artifact verify {environment} notes it; then repeat the backup",
            ) from error
        count, size = count + 1, size + held.stored
    return Held(count, size)


def _look(held: Content, path: Path, ring: Ring | None, pace: Pace) -> None:
    with _opened(path, _READ) as file:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size != held.stored:
            raise Damaged(f"its file has {found.st_size:,} bytes, not {held.stored:,}")
        if ring is None:
            return
        key, said = rows.opened(ring, held)
        walk = Walk(ContentReader(file, form.cipher(key), said))
        while walk.step():
            pace.rest()
