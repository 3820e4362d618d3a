"""What agents write: one file for each, appended by the process itself.

The process holds the file open for appending, so that it goes on writing when the engine is
gone. A file that has grown too large is copied aside and truncated in place; what is written
between the two is lost, which is the price of never asking an agent to reopen its output.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import msgspec

log = logging.getLogger(__name__)

TAIL_BYTES: Final = 4096
MOST_SHOWN_BYTES: Final = 16 << 20  # of one file


def open_output(path: Path) -> int:
    """A descriptor that appends to `path`, readable by its owner only. The caller closes it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Rotation(msgspec.Struct, frozen=True):
    """When a file is put aside, and how many older ones are kept."""

    limit_bytes: int = 8 << 20
    kept: int = 2


def rotate(path: Path, limit_bytes: int, kept: int) -> bool:
    """Copy a file over the limit to `NAME.1` (before it `NAME.2`) and truncate it. At most the
    last `limit_bytes` are copied, so that a flood costs no more. Returns whether it was done. What
    cannot be put aside, on a full disk for one, is cut all the same. Raises OSError when it cannot
    be cut."""
    try:
        if path.stat().st_size <= limit_bytes:
            return False
    except FileNotFoundError:
        return False
    try:
        _put_aside(path, limit_bytes, kept)
    except OSError as error:
        log.warning("output of %s is lost: %s", path.stem, error)
    os.truncate(path, 0)
    return True


def _put_aside(path: Path, limit_bytes: int, kept: int) -> None:
    for number in _older(path):
        if number > kept:  # more were kept before
            _numbered(path, number).unlink()
    for number in range(kept, 1, -1):
        older = _numbered(path, number - 1)
        if older.exists():
            older.replace(_numbered(path, number))
    _copy_end(path, _numbered(path, 1), limit_bytes)


def remove(path: Path) -> int:
    """Delete a file and those put aside from it; how many there were."""
    found = [path, *(_numbered(path, number) for number in _older(path))]
    there = [each for each in found if each.exists()]
    for each in there:
        each.unlink(missing_ok=True)
    return len(there)


def last_lines(path: Path, lines: int) -> list[str]:
    """The last lines written, over the files that are kept. Bytes that are no UTF-8 are shown
    as escapes. A file that is not there has no lines."""
    found: list[str] = []
    for part in (path, *(_numbered(path, number) for number in _older(path))):
        if len(found) >= lines:
            break
        text = _end_of(part, lines).decode(errors="backslashreplace")
        found = text.splitlines()[-(lines - len(found)) :] + found
    return found


def last_words(path: Path, limit: int = 200) -> str:
    """The last line that is not blank, cut: why a process ended, more often than not."""
    try:
        with path.open("rb") as file:
            file.seek(-min(TAIL_BYTES, path.stat().st_size), os.SEEK_END)
            text = file.read().decode(errors="backslashreplace")
    except OSError:  # never written, or it cannot be read now: an end is recorded all the same
        return ""
    spoken = [line.strip() for line in text.splitlines() if line.strip()]
    shown = "".join(c for c in spoken[-1] if c.isprintable()) if spoken else ""
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _end_of(path: Path, lines: int) -> bytes:
    """So much of the end of a file as holds so many lines, within bounds; nothing of one that was
    never written, or is put aside at this moment."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = TAIL_BYTES
            while True:
                file.seek(-min(length, size), os.SEEK_END)
                end = file.read(length)
                if length >= min(size, MOST_SHOWN_BYTES) or end.count(b"\n") > lines:
                    return end
                length *= 4
    except OSError:
        return b""


def _older(path: Path) -> list[int]:
    """The numbers of the files put aside, the newest first."""
    ends = (
        other.name.removeprefix(f"{path.name}.") for other in path.parent.glob(f"{path.name}.*")
    )
    return sorted(int(end) for end in ends if end.isdecimal())


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _copy_end(source: Path, target: Path, limit_bytes: int) -> None:
    with source.open("rb") as reader:
        reader.seek(max(0, source.stat().st_size - limit_bytes))
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as writer:  # noqa: PTH123 - opened with its rights above
            import shutil  # noqa: PLC0415 - brings three compressors, for files that are full

            shutil.copyfileobj(reader, writer)
