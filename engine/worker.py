"""The bundled worker: an agent that runs named kinds of work.

    digest  {"root", "path"}    facts of a text file, kept as `digest:<path>`
    total   {"files"}           the sum of all digests, kept as `total`
    echo    anything            its own body as the result
    sleep   {"seconds"}         nothing, after a while

Started by a swarm without a command, as `python -m swarmdeck.engine.worker`. Kinds given as
arguments are the only ones it takes; without them it also takes unknown ones, and refuses them.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from .agent import Agent, Handler, connect_agent
from .errors import InvalidInput
from .handles import Message, Write

T = TypeVar("T")

NAMESPACE: Final = "demo"
PREFIX: Final = "digest:"
TOTAL: Final = "total"
LEVEL: Final = "team"
TOP_WORDS: Final = 10
MAX_WORD: Final = 64  # characters of a word that are kept
READ_BYTES: Final = 1 << 20
PAGE: Final = 500
MAX_SLEEP_S: Final = 3600.0


class Digest(msgspec.Struct, frozen=True):
    """Facts of a file. Lines are counted as `wc -l` does, words as what white space separates;
    `top` are the ten most frequent words with their counts, equal ones in alphabetical order."""

    sha256: str
    bytes: int
    lines: int
    words: int
    top: tuple[tuple[str, int], ...]


class DigestTask(msgspec.Struct, frozen=True):
    """A file to digest: `path` below `root`."""

    root: str
    path: str


class TotalTask(msgspec.Struct, frozen=True):
    """`files`: how many digests there must be."""

    files: int


class SleepTask(msgspec.Struct, frozen=True):
    seconds: float


def digest_file(path: Path) -> Digest:
    """The digest of a file, read piece by piece. Raises OSError."""
    sha256 = hashlib.sha256()
    size = lines = 0
    words: Counter[str] = Counter()
    with path.open("rb") as file:
        # Cut at line ends, so that no word and no character is cut.
        while piece := b"".join(file.readlines(READ_BYTES)):
            sha256.update(piece)
            size += len(piece)
            lines += piece.count(b"\n")
            words.update(piece.decode(errors="replace").split())
    most = heapq.nsmallest(TOP_WORDS, words.items(), key=lambda item: (-item[1], item[0]))
    top = tuple((word[:MAX_WORD], count) for word, count in most)
    return Digest(sha256.hexdigest(), size, lines, words.total(), top)


async def digest(_: Agent, message: Message) -> tuple[Any, Sequence[Write]]:
    """Kept in one transaction with the end of the message: counted once, however often it is
    delivered."""
    task = _task(message, DigestTask)
    found = await asyncio.to_thread(digest_file, Path(task.root) / task.path)
    record = Write(
        key=f"{PREFIX}{task.path}",
        value=msgspec.to_builtins(found),
        level=LEVEL,
        namespace=NAMESPACE,
    )
    return {"bytes": found.bytes}, [record]


async def total(agent: Agent, message: Message) -> tuple[Any, Sequence[Write]]:
    """The sum over the records themselves, so that repeating it cannot count anything twice.
    Written only where there is none. Fails, to be tried again, while digests are missing."""
    task = _task(message, TotalTask)
    sums: Counter[str] = Counter(files=0, bytes=0, lines=0, words=0)
    cursor: str | None = None
    while True:
        keys, cursor = await agent.memory.keys(
            PREFIX, namespace=NAMESPACE, limit=PAGE, cursor=cursor
        )
        for record in (await agent.memory.mget(keys, namespace=NAMESPACE)).values():
            sums["files"] += 1
            sums.update({name: record[name] for name in ("bytes", "lines", "words")})
        if cursor is None:
            break
    if sums["files"] != task.files:
        raise InvalidInput(f"{sums['files']} digests of {task.files} are there")
    record = Write(key=TOTAL, value=dict(sums), level=LEVEL, namespace=NAMESPACE, if_version=0)
    return dict(sums), [record]


async def echo(_: Agent, message: Message) -> tuple[Any, Sequence[Write]]:
    return message.body, ()


async def sleep(_: Agent, message: Message) -> None:
    await asyncio.sleep(max(0.0, min(_task(message, SleepTask).seconds, MAX_SLEEP_S)))


def _task(message: Message, kind: type[T]) -> T:
    """The body as what it should be. Raises InvalidInput."""
    try:
        return msgspec.convert(message.body, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the body of {message.kind} {message.id}: {error}") from error


HANDLERS: Final[Mapping[str, Handler]] = {
    "digest": digest,
    "total": total,
    "echo": echo,
    "sleep": sleep,
}


async def main(kinds: Sequence[str]) -> None:
    """Work until told to stop; given kinds, only on those. A kind that is not known here is left
    to others."""
    handlers = {kind: HANDLERS[kind] for kind in kinds} if kinds else HANDLERS
    async with connect_agent() as agent:
        await agent.work(handlers)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    asyncio.run(main(sys.argv[1:]))
