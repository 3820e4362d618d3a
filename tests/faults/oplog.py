"""What a process did to its disk, as `faultio.c` has written it down, and what a power loss leaves.

A write is on the disk once a later sync of its file succeeded. One that a failed sync has dropped
never is, however often the file is synced after that: the kernel has marked its pages clean. Names
(new files and directories, removed and renamed ones) are on the disk once their directory was
synced, and reach it in order. Of all the rest a power loss may leave anything.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

HEADER: Final = struct.Struct("<cHQI")
SECTOR: Final = 512
NEVER: Final = 1 << 60
MODES: Final = ("none", "all", "random", "random", "torn")


class Record(NamedTuple):
    kind: str
    path: str
    offset: int
    data: bytes


class Ack(NamedTuple):
    """What the program said it has stored: at which record of the log, and at which second."""

    index: int
    what: dict[str, Any]


def read(log: Path) -> list[Record]:
    """The records of a log. One that was cut short, as by a kill, is not one."""
    raw = log.read_bytes()
    records, at = [], 0
    while at + HEADER.size <= len(raw):
        kind, name_length, offset, length = HEADER.unpack_from(raw, at)
        at += HEADER.size
        name = raw[at : at + name_length].decode()
        at += name_length
        size = length if kind in (b"W", b"R") else 0
        if at + size > len(raw):
            break
        records.append(Record(kind.decode(), name, offset, raw[at : at + size]))
        at += size
    return records


def acknowledgement(what: dict[str, Any]) -> bytes:
    """A record of kind A, for the program to append."""
    name = json.dumps(what).encode()
    return HEADER.pack(b"A", len(name), 0, 0) + name


class History:
    """A log, and when each of its records reached the disk for good."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.acks = [Ack(n, json.loads(r.path)) for n, r in enumerate(records) if r.kind == "A"]
        self._files = [-1] * len(records)  # which file a record is about: names move, files stay
        self._durable = [NEVER] * len(records)
        self._trace()

    def _trace(self) -> None:
        names: dict[str, int] = {}
        waiting: dict[int, list[int]] = {}
        moved: list[int] = []
        for number, (kind, path, _, data) in enumerate(self.records):
            if kind in "WT":
                if path not in names:
                    names[path] = number  # a file is known by the record that made it
                    moved.append(number)
                self._files[number] = names[path]
                waiting.setdefault(names[path], []).append(number)
            elif kind == "R":
                self._files[number] = names.pop(path, -1)
                names[data.decode()] = self._files[number]
                moved.append(number)
            elif kind in "UD":
                self._files[number] = names.pop(path, -1)
                moved.append(number)
            elif kind in "SF" and path in names:
                for each in waiting.pop(names[path], []):
                    self._durable[each] = number if kind == "S" else NEVER
        self._names_durable = self._trace_names(moved)
        self._moved = moved

    def _trace_names(self, moved: list[int]) -> dict[int, int]:
        """When each change of a name was on the disk: with the next sync of its directory."""
        syncs: dict[str, list[int]] = {}
        for number, record in enumerate(self.records):
            if record.kind == "S":
                syncs.setdefault(record.path, []).append(number)
        durable = {}
        for number in moved:
            record = self.records[number]
            path = record.data.decode() if record.kind == "R" else record.path
            later = (n for n in syncs.get(str(Path(path).parent), ()) if n > number)
            durable[number] = next(later, NEVER)
        return durable

    def state(self, cut: int, mode: str, chance: random.Random) -> dict[str, bytes]:
        """The files after a power loss just before record `cut`: what had reached the disk, and of
        the rest `none`, `all`, a `random` half, or a random half of its sectors (`torn`)."""
        contents: dict[int, bytearray] = {}
        for number in range(cut):
            if self.records[number].kind in "WT":
                content = contents.setdefault(self._files[number], bytearray())
                survives = self._durable[number] < cut or mode == "all"
                self._apply(content, self.records[number], survives, mode, chance)
        return {
            path: bytes(contents[file])
            for path, file in self._names(cut, mode, chance).items()
            if file in contents and not path.endswith("-shm")
        }

    def _apply(
        self, content: bytearray, record: Record, survives: bool, mode: str, chance: random.Random
    ) -> None:
        if record.kind == "T":
            if survives or (mode != "none" and chance.random() < 0.5):
                del content[record.offset :]
                content.extend(bytes(record.offset - len(content)))
            return
        if not survives and (mode == "none" or (mode == "random" and chance.random() < 0.5)):
            return
        for offset, piece in _pieces(record, torn=mode == "torn" and not survives):
            if mode == "torn" and not survives and chance.random() < 0.5:
                continue
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(piece)] = piece

    def _names(self, cut: int, mode: str, chance: random.Random) -> dict[str, int]:
        changes = [number for number in self._moved if number < cut]
        kept = 0
        for place, number in enumerate(changes):
            if self._names_durable[number] < cut:
                kept = place + 1
        if mode != "none":
            kept = len(changes) if mode == "all" else chance.randint(kept, len(changes))
        names: dict[str, int] = {}
        made = {self.records[number].path for number in changes if self.records[number].kind == "D"}
        there = set()
        for number in changes[:kept]:
            record, file = self.records[number], self._files[number]
            if record.kind == "D":
                there.add(record.path)
            elif record.kind == "U":
                names.pop(record.path, None)
            elif record.kind == "R":
                names.pop(record.path, None)
                names[record.data.decode()] = file
            else:
                names[record.path] = file
        gone = made - there
        return {p: f for p, f in names.items() if not any(str(d) in gone for d in Path(p).parents)}


def _pieces(record: Record, *, torn: bool) -> Iterator[tuple[int, bytes]]:
    step = SECTOR if torn else max(1, len(record.data))
    for start in range(0, len(record.data), step):
        yield record.offset + start, record.data[start : start + step]
