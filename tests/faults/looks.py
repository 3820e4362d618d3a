"""Opening what a fault has left with the engine's own opening, and looking at all of it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import SwarmDeckError
from swarmdeck.engine.store import chain, driver

_AUDIT: Final = """
SELECT sequence, env, at, actor, action, object, allowed, detail, hash FROM audit
ORDER BY sequence"""


class Found(NamedTuple):
    """What is there: keys with their values, ids of messages, and everything that is wrong."""

    values: dict[str, Any]
    messages: set[str]
    wrong: list[str]


async def look(data: Path, environment: str, keys: Iterable[str], *, exact: bool = True) -> Found:
    """Open a data directory with its engine and read everything in one environment. `exact`:
    nothing was ever deleted, so the audit tells of all there is and of nothing else."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    wanted = list(keys)
    # What the last state has left outside the data directory is not of this one's past.
    shutil.rmtree(Path(os.environ["XDG_STATE_HOME"]) / "swarmdeck", ignore_errors=True)
    try:
        async with open_engine(data, transient=True) as engine:
            wrong += [
                f"{view.name} is {view.state}: {view.reason}"
                for view in (await engine.views.overview()).environments
                if view.state != "open"
            ]
            memory = engine.memory(environment)
            for start in range(0, len(wanted), 5_000):
                part = wanted[start : start + 5_000]
                values |= await memory.mget(part)
            await memory.set("after", "writes go on")
    except SwarmDeckError as error:
        wrong.append(f"{type(error).__name__}: {error.message}")
    path = data / "instances" / environment / f"{environment}.db"
    try:
        messages = _inspect(path, environment, wrong, exact=exact)
    except driver.Error as error:
        wrong.append(f"{path.name}: {error}")
        messages = set()
    return Found({k: v for k, v in values.items() if v is not None}, messages, wrong)


def _inspect(path: Path, environment: str, wrong: list[str], *, exact: bool) -> set[str]:
    raw: Any = driver.look(path)
    try:
        found = [row[0] for row in raw.execute("PRAGMA integrity_check(5)").fetchall()]
        if found != ["ok"]:
            wrong.append(f"integrity: {'; '.join(found)}")
        messages = {row[0] for row in raw.execute("SELECT id FROM message").fetchall()}
        rows = raw.execute(_AUDIT).fetchall()
        wrong += broken_chain(rows)
        if exact:
            wrong += _told_and_not_there(raw, rows, messages)
    finally:
        raw.close()
    prefix = "prod" if environment == "production" else environment[:3]
    return {f"{prefix}_msg_{ident}" for ident in messages}


def broken_chain(rows: list[tuple[Any, ...]]) -> list[str]:
    """What is wrong with an audit trail that begins with its first row."""
    before, waiting, wrong = chain.NO_HASH, [], []
    for number, row in enumerate(rows, 1):
        if row[0] != number:
            return [f"audit: row {number} has the sequence {row[0]}"]
        waiting.append(row[:8])
        if row[8] is not None:
            if chain.link(before, waiting) != row[8]:
                wrong.append(f"audit: the chain breaks at {row[0]}")
            before, waiting = row[8], []
    return wrong + (["audit: the last rows have no hash"] if waiting else [])


def _told_and_not_there(raw: Any, rows: list[tuple[Any, ...]], messages: set[int]) -> list[str]:
    """A commit is whole or not there: what the audit tells of has to be in the tables."""
    keys = {
        "/".join(map(str, row))
        for row in raw.execute("SELECT namespace, key FROM memory").fetchall()
    }
    told = {row[5] for row in rows if row[4] == "memory.set"}
    sent = {int(row[5].rpartition("_")[2]) for row in rows if row[4] == "queue.send"}
    wrong = []
    if told != keys:
        wrong.append(f"records and audit differ: {sorted(told ^ keys)[:3]}")
    if sent != messages:
        wrong.append(f"messages and audit differ: {sorted(sent ^ messages)[:3]}")
    return wrong


def lost(found: Found, acknowledged: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was acknowledged and is not there."""
    return [
        ack
        for ack in acknowledged
        if ("key" in ack and ack["key"] not in found.values)
        or ("message" in ack and ack["message"] not in found.messages)
    ]


def digest(data: Path) -> dict[str, str]:
    """The files below a directory, by content."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
