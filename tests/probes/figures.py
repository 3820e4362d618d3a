"""Small figures of docs/performance.md that no benchmark has: `python tests/probes/figures.py`.

What sealing and compressing a value takes and gains, how many rows of which size one transaction
takes a second, what a batch gains over single commits, how full pages and files are. Medians of
five rounds on files of its own; prints the load beside them.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from swarmdeck.engine.bench.measure import _WORDS, values
from swarmdeck.engine.bench.workloads import Shape, open_bench
from swarmdeck.engine.codec import encode_json
from swarmdeck.engine.vault import record

ROUNDS = 5
KIB = 1024
ROWS = 20_000


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        _values()
        for size in (100, KIB):
            _inserts(Path(directory), size)
        asyncio.run(_batches(Path(directory)))
    print(f"load {os.getloadavg()[0]:.1f}")


def _text(size: int) -> bytes:
    chance = random.Random(1)
    return " ".join(chance.choice(_WORDS) for _ in range(size // 3)).encode()[:size]


def _took_us(call: Callable[[], object], times: int = 2_000) -> float:
    """Processor time of one call."""
    found = []
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for _ in range(times):
            call()
        found.append((time.thread_time() - began_s) / times * 1e6)
    return statistics.median(found)


def _values() -> None:
    cipher, nonce, bound = AESGCM(bytes(32)), bytes(12), bytes(80)
    for size in (KIB, 10 * KIB, 100 * KIB):
        text = _text(size)
        packed = record.compress(text)
        assert packed is not None
        times = 200 if size > 50_000 else 2_000
        sealed = record.seal(cipher, nonce, text, bound)
        print(
            f"{size // KIB:>4} KB of words: LZ4 {size / len(packed):.2f} x smaller in "
            f"{_took_us(lambda t=text: record.compress(t), times):.1f} us, back in "
            f"{_took_us(lambda p=packed: record.decompress(p), times):.1f}; seal in "
            f"{_took_us(lambda t=text: record.seal(cipher, nonce, t, bound), times):.1f} us, open "
            f"{_took_us(lambda s=sealed: record.unseal(cipher, s, bound), times):.1f}"
        )
    value = encode_json(values()[0])
    packed = record.compress(value)
    print(
        f"JSON record of {len(value)} bytes: LZ4 {len(value) / len(packed or value):.2f} x smaller"
    )
    noise = record.seal(cipher, nonce, _text(10 * KIB), bound)
    print(f"sealed first, nothing is left to compress: {record.compress(noise) is None}")


def _inserts(directory: Path, size: int) -> None:
    """Rows a second: nothing but a key, a body and a time, a thousand to a transaction."""
    body, many, single = os.urandom(size), [], []
    for number in range(ROUNDS):
        connection = sqlite3.connect(directory / f"rows{size}-{number}.db", isolation_level=None)
        for pragma in ("journal_mode=wal", "synchronous=normal"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE kv (k TEXT PRIMARY KEY, v BLOB, t INTEGER)")
        insert = "INSERT INTO kv VALUES (?, ?, ?)"
        began_s = time.perf_counter()
        for start in range(0, ROWS, 1000):
            connection.execute("BEGIN")
            rows = [(f"k{place:08d}", body, 0) for place in range(start, start + 1000)]
            connection.executemany(insert, rows)
            connection.execute("COMMIT")
        many.append(ROWS / (time.perf_counter() - began_s))
        began_s = time.perf_counter()
        for place in range(ROWS, ROWS + 2_000):
            connection.execute(insert, (f"k{place:08d}", body, 0))
        single.append(2_000 / (time.perf_counter() - began_s))
        connection.close()
    print(
        f"rows of {size} B, sqlite3, NORMAL: {statistics.median(many):,.0f}/s a thousand to a "
        f"transaction, {statistics.median(single):,.0f}/s one by one"
    )


async def _batches(directory: Path) -> None:
    """Records a second: one after the other, by callers beside each other, in one call."""
    some = values()
    async with open_bench(directory / "engine", Shape(sealed=False)) as bench:
        memory = bench.core.engine.memory(bench.agent)
        found: dict[str, list[float]] = {"one by one": [], "100 callers": [], "mset of 100": []}
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            for place in range(500):
                await memory.set(f"s{place}", some[place % 200], level="public")
            found["one by one"].append(500 / (time.perf_counter() - began_s))
            began_s = time.perf_counter()
            for start in range(0, 5_000, 100):
                await asyncio.gather(
                    *(memory.set(f"c{start + n}", some[n], level="public") for n in range(100))
                )
            found["100 callers"].append(5_000 / (time.perf_counter() - began_s))
            began_s = time.perf_counter()
            for start in range(0, 5_000, 100):
                part = {f"m{start + n}": some[n] for n in range(100)}
                await memory.mset(part, level="public")
            found["mset of 100"].append(5_000 / (time.perf_counter() - began_s))
    for name, rates in found.items():
        middle, least, most = statistics.median(rates), min(rates), max(rates)
        print(f"records of 1 KB, {name}: {middle:,.0f}/s ({least:,.0f} to {most:,.0f})")


if __name__ == "__main__":
    main()
