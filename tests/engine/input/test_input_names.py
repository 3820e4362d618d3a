"""Names, keys and texts that try to be something else: paths, statements, look-alikes."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import swarmdeck.engine
from swarmdeck.engine import Engine, open_engine
from swarmdeck.engine.actions import BackupVerify
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.model import RESERVED, check_key, check_name
from swarmdeck.engine.settings import load_settings

ROOT = Path(swarmdeck.engine.__file__).parent


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    made = load_settings(None, {}, {"vault.key_file": str(tmp_path / "vault.key")})
    async with open_engine(tmp_path / "data", settings=made) as opened:
        yield opened


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../up", "a/b", "a\\b", "%2e%2e", "A", "Default", "a\n", "\na", " a", "a b",
        "a\0", "\u202ea", "a\u200b", "\u0430bc", "\uff41", "é", "-a", ".a", "_a", "a" * 64, "a;b",
        *sorted(RESERVED),
    ],
)  # fmt: skip
def test_a_name_that_could_be_taken_for_another_or_for_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not allowed") as refused:
        check_name(name)
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-d", "a" * 63, "systems", "default"])
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "key",
    [
        "", "x" * 513, "é" * 257, "a\n", "a\0", "\x7f", "\x9b", "\u202e", "\u200d", "\u2028",
        "\ufeff", "\u3164", "\ufe0f", "\U000e0041", "\ud800",
    ],
)  # fmt: skip
def test_a_key_that_acts_hides_or_is_too_long_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="is not allowed") as refused:
        check_key(key)
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("key", ["x", "x" * 512, "é" * 256, "../a", "a b", "ключ", "日本", "🙂"])
def test_a_key_may_be_any_visible_text(key: str) -> None:
    assert check_key(key) == key


async def test_a_key_has_one_spelling(engine: Engine) -> None:
    memory = engine.memory("testing")
    await memory.set("caf\u00e9", 1)
    for failing in (memory.set("cafe\u0301", 2), memory.get("cafe\u0301"), memory.delete("\u212b")):
        with pytest.raises(InvalidInput, match="normal form C") as refused:
            await failing
        assert refused.value.hint.startswith("write '")
    keys, _ = await memory.keys()
    assert list(keys) == ["caf\u00e9"]


HOSTILE = (
    "'; DROP TABLE memory; --",
    '"',
    "a' OR '1'='1",
    "%",
    "_",
    "\\",
    "a%b",
    "*",
    "[a-z]",
    "?1",
)


async def test_what_means_something_to_sql_means_itself(engine: Engine) -> None:
    memory, queue = engine.memory("testing"), engine.queue("testing")
    for number, key in enumerate(HOSTILE):
        await memory.set(key, number)
        await queue.send("work", key, key=key)
    assert await memory.mget(list(HOSTILE)) == {key: at for at, key in enumerate(HOSTILE)}
    for prefix in ("%", "_", "*", "[a-z]", "'", "\\"):
        expected = sorted(key for key in HOSTILE if key.startswith(prefix))
        keys, _ = await memory.keys(prefix)
        assert sorted(keys) == expected, prefix
    sent = await queue.claim(limit=100, wait_s=0)
    assert sorted(message.body for message in sent) == sorted(HOSTILE)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a/b", "a\0", "x" * 300])
async def test_a_backup_is_never_a_path(engine: Engine, name: str) -> None:
    with pytest.raises(InvalidInput, match="is not the name of a backup"):
        await engine.run(BackupVerify(environment="testing", name=name))


# --- statements -----------------------------------------------------------------------------

_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA|CREATE|DROP|ATTACH|VACUUM)\b")
_CALLS = {"execute", "executemany", "executescript", "prepare"}


def built() -> Iterator[tuple[Path, ast.expr]]:
    """Every text with SQL in it that is put together rather than written down."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                fixed = [part.value for part in node.values if isinstance(part, ast.Constant)]
                if any(isinstance(text, str) and _SQL.search(text) for text in fixed):
                    yield path, node
            elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.Add)):
                left = node.left
                if isinstance(left, ast.Constant) and _SQL.match(str(left.value).lstrip()):
                    yield path, node


def test_a_statement_is_built_only_where_it_says_from_what() -> None:
    """Parameters carry values. Where names or parts of our own stand in a statement, the line
    says so to ruff's S608, which finds the others."""
    for path, node in built():
        lines = path.read_text(encoding="utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
        text = "\n".join(lines)
        keyword = re.search(
            r"\b(SELECT .* FROM|INSERT INTO|UPDATE .* SET|DELETE FROM)\b", text, re.DOTALL
        )
        assert keyword is None or "noqa: S608" in text, f"{path.name}:{node.lineno}: {text}"


def test_nothing_is_executed_that_is_put_together_on_the_spot() -> None:
    """But for pragmas, which take no parameters, and the plan of a statement that is known."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) and node.args else None
            if not isinstance(called, ast.Attribute) or called.attr not in _CALLS:
                continue
            text = node.args[0]
            begins = text.values[0] if isinstance(text, ast.JoinedStr) else ast.Constant("PRAGMA ")
            assert isinstance(begins, ast.Constant), f"{path.name}:{node.lineno}"
            allowed = ("PRAGMA ", "EXPLAIN QUERY PLAN ", *JUSTIFIED.get(path.name, ()))
            assert begins.value.startswith(allowed), f"{path.name}:{node.lineno}"


JUSTIFIED = {"roster.py": ("UPDATE ",)}  # table and columns from lists that stand beside it
