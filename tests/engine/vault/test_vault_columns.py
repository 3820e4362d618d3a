"""Texts in columns of other tables: bound to their row, moved to new keys, destroyed with them."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.engine.backup.service import records_of
from swarmdeck.engine.errors import Damaged, SwarmDeckError
from swarmdeck.engine.store import driver
from swarmdeck.engine.vault import columns, letters
from swarmdeck.engine.vault.columns import TASK_REQUIREMENTS, TASK_RESULT, Column

INSERT = """
INSERT INTO task (env, title, type, status, priority, level, owner, created_at, updated_at)
VALUES (?, 'title', 'task', 'pending', 5, 3, 'operator', 1, 1)"""
TEXT = b'{"words":"canary-9f2c"}'


async def add(site: Any, count: int = 1, text: bytes = TEXT) -> list[int]:
    """New tasks with requirements and result."""

    def change(tx: Any) -> list[int]:
        idents = [tx.execute(INSERT, (site.name,)).lastrowid for _ in range(count)]
        for column in (TASK_REQUIREMENTS, TASK_RESULT):
            wanted = [(column.letter(ident, "operator"), text) for ident in idents]
            for ident, stored in zip(idents, letters.protect(site.ring, tx, wanted), strict=True):
                tx.execute(f"UPDATE task SET {column.name} = ? WHERE id = ?", (stored, ident))
        return idents

    found: list[int] = await site.database.write(change)
    return found


async def stored(site: Any, column: Column, ident: int) -> bytes:
    [(text,)] = await site.rows(f"SELECT {column.name} FROM task WHERE id = ?", ident)
    assert isinstance(text, bytes)
    return text


async def read(site: Any, column: Column, ident: int, owner: str = "operator") -> bytes:
    return letters.unprotect(
        site.ring, column.letter(ident, owner), await stored(site, column, ident)
    )


def test_no_two_columns_share_a_number() -> None:
    numbers = [column.field for column in columns.COLUMNS]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) > letters.SCHEDULE
    assert max(numbers) < 256


async def test_every_column_is_one_of_the_file(site: Any) -> None:
    for column in columns.COLUMNS:
        assert await site.rows(f"{column.selected} LIMIT 0") == []


@pytest.mark.parametrize(("environment", "sealed"), [("production", True), ("development", False)])
async def test_a_text_is_sealed_where_isolation_is_strict(
    opening: Any, environment: str, sealed: bool
) -> None:
    async with opening(environment) as site:
        [ident] = await add(site)
        assert (TEXT not in await stored(site, TASK_RESULT, ident)) is sealed
        assert await read(site, TASK_RESULT, ident) == TEXT


async def test_a_text_is_at_home_in_its_own_row_and_column_alone(site: Any) -> None:
    first, second = await add(site, 2)
    text = await stored(site, TASK_RESULT, first)
    await site.change("UPDATE task SET result = ? WHERE id = ?", text, second)
    await site.change("UPDATE task SET requirements = ? WHERE id = ?", text, first)
    for column, ident in ((TASK_RESULT, second), (TASK_REQUIREMENTS, first)):
        with pytest.raises(Damaged, match=f"the {column.name} of task {ident}"):
            await read(site, column, ident)
    with pytest.raises(Damaged):
        await read(site, TASK_RESULT, first, owner="dev_agent_other")
    assert await read(site, TASK_RESULT, first) == TEXT


async def test_a_text_without_a_check_is_never_believed(site: Any) -> None:
    [ident] = await add(site)
    await site.change("UPDATE task SET result = ? WHERE id = ?", b'"forged"', ident)
    with pytest.raises(Damaged):
        await read(site, TASK_RESULT, ident)


async def test_texts_move_to_new_keys_and_the_old_ones_are_destroyed(site: Any) -> None:
    idents = await add(site, 250)
    await site.change("UPDATE task SET result = NULL WHERE id % 2 = 0")
    before = await stored(site, TASK_RESULT, idents[0])
    await site.vault._rotation(site.name).run("operator", lambda _: None, duty=1.0)
    assert letters.key_of(await stored(site, TASK_RESULT, idents[0])) != letters.key_of(before)
    assert await site.keys() == {"active": 3, "destroyed": 3}
    for ident in idents[::50]:
        assert await read(site, TASK_REQUIREMENTS, ident) == TEXT
    assert await site.rows("SELECT count(*) FROM task WHERE result IS NULL") == [(125,)]


async def test_a_damaged_text_keeps_its_key(site: Any) -> None:
    [ident] = await add(site)
    text = await stored(site, TASK_RESULT, ident)
    await site.change("UPDATE task SET result = ?", text[:-1] + bytes([text[-1] ^ 1]))
    await site.vault._rotation(site.name).run("operator", lambda _: None, duty=1.0)
    assert (await site.keys())["retiring"] == 1


async def test_shredding_takes_what_a_text_said_and_leaves_its_row(site: Any) -> None:
    [ident] = await add(site)
    await site.vault._rotation(site.name).shred(["rest"], "operator")
    assert TEXT not in site.database.path.read_bytes()
    with pytest.raises(SwarmDeckError):
        await read(site, TASK_RESULT, ident)
    assert await site.rows("SELECT title FROM task") == [("title",)]


async def test_a_full_check_opens_every_text(site: Any) -> None:
    first, second = await add(site, 2)

    async def check() -> None:
        await site.database.checkpoint()
        raw = driver.look(site.database.path)
        try:
            for _ in records_of(site.ring, site.name)(raw):
                pass
        finally:
            raw.close()

    await check()
    text = await stored(site, TASK_RESULT, first)
    await site.change("UPDATE task SET result = ? WHERE id = ?", text, second)
    with pytest.raises(Damaged, match=f"the result of task {second}"):
        await check()
    await site.vault._rotation(site.name).shred(["rest"], "operator")
    await check()


async def test_missing_keys_are_noticed_where_only_a_column_holds_something(site: Any) -> None:
    await add(site)
    await site.vault.finish(site.name)
    await site.change("DELETE FROM data_key")
    site.ring.forget()
    with pytest.raises(SwarmDeckError, match="keys of development"):
        await add(site)
