"""The bundled worker: digests that anybody can check, totals that count nothing twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import codec, worker
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.handles import Message
from swarmdeck.engine.worker import Digest, digest_file


def outside(content: bytes) -> Digest:
    """The same facts, computed another way."""
    words = content.decode(errors="replace").split()
    counts = Counter(word[:64] for word in words)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    return Digest(
        hashlib.sha256(content).hexdigest(),
        len(content),
        content.count(b"\n"),
        len(words),
        tuple(top),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"one",
        b"b a b\nc a\n",
        "zw\u00f6lf Boxk\u00e4mpfer\u2003jagen\n".encode() * 3,
        b"broken \xff\xc3 bytes\r\nand \xe2\x82\n",
        b"x" * 3000 + b"\n" + b"y " * 2000,
        b"line of words here\n" * 2000,
    ],
    ids=["empty", "one word", "ties", "wide", "broken", "long", "lines"],
)
def test_a_digest_equals_one_computed_outside(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert digest_file(path) == outside(content)
    monkeypatch.setattr(worker, "READ_BYTES", 7)  # so that it takes many pieces
    assert digest_file(path) == outside(content)


def test_lines_and_words_are_those_of_wc(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one two\n\n three\tfour\nlast")
    counted = subprocess.run(["wc", "-lwc", str(path)], capture_output=True, text=True, check=True)
    found = digest_file(path)
    assert counted.stdout.split()[:3] == [str(found.lines), str(found.words), str(found.bytes)]


class FakeMemory:
    """Records of a fake agent: the total must come from them alone."""

    def __init__(self, records: dict[str, Any]) -> None:
        self.records = records

    async def keys(
        self, prefix: str, *, namespace: str, limit: int, cursor: str | None
    ) -> tuple[list[str], str | None]:
        assert namespace == worker.NAMESPACE
        found = sorted(k for k in self.records if k.startswith(prefix) and k > (cursor or ""))
        return found[:limit], found[limit - 1] if len(found) > limit else None

    async def mget(self, keys: list[str], *, namespace: str) -> dict[str, Any]:
        assert namespace == worker.NAMESPACE
        return {key: self.records[key] for key in keys}


class FakeAgent:
    def __init__(self, records: dict[str, Any]) -> None:
        self.memory = FakeMemory(records)


def message(kind: str, body: Any) -> Message:
    return Message(
        id="dev_msg_1", kind=kind, body=body, priority=5, attempt=1, lease_until_us=0, sender="op"
    )


async def test_the_total_is_the_sum_of_the_records_over_all_pages() -> None:
    records = {f"digest:{n:05}": {"bytes": n, "lines": 1, "words": 2} for n in range(1201)}
    agent: Any = FakeAgent(records | {"total": {}, "other": {}})
    for _ in range(2):  # again is the same
        result, writes = await worker.total(agent, message("total", {"files": 1201}))
        assert result == {"files": 1201, "bytes": sum(range(1201)), "lines": 1201, "words": 2402}
        assert [(w.key, w.value, w.if_version) for w in writes] == [("total", result, 0)]


async def test_the_total_waits_for_all_digests() -> None:
    agent: Any = FakeAgent({"digest:a": {"bytes": 1, "lines": 1, "words": 1}})
    with pytest.raises(InvalidInput, match="1 digests of 2"):
        await worker.total(agent, message("total", {"files": 2}))


async def test_a_digest_is_kept_under_its_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("hello hello\n")
    agent: Any = FakeAgent({})
    _, writes = await worker.digest(
        agent, message("digest", {"root": str(tmp_path), "path": "a/b.txt"})
    )
    assert [(w.namespace, w.key, w.level) for w in writes] == [("demo", "digest:a/b.txt", "team")]
    assert codec.encode_json(writes[0].value["top"]) == b'[["hello",2]]'


async def test_echo_gives_the_body_back_and_a_bad_body_is_refused() -> None:
    agent: Any = FakeAgent({})
    assert await worker.echo(agent, message("echo", [1, None])) == ([1, None], ())
    with pytest.raises(InvalidInput, match="the body of sleep dev_msg_1"):
        await worker.sleep(agent, message("sleep", {"seconds": "long"}))


def test_a_worker_loads_no_database_and_no_console() -> None:
    """Agents are many: each must start fast and hold little."""
    code = (
        "import sys, swarmdeck.engine.worker\n"
        "print([m for m in ('aiosqlite', 'pysqlite3', 'psutil', 'textual', 'redis')"
        " if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
