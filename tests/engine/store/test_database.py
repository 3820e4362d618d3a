"""Group commit: who is answered, with what, and what a failure takes with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import (
    Conflict,
    Corrupt,
    Defect,
    OutcomeUnknown,
    StorageError,
    Unavailable,
)
from swarmdeck.engine.model import Durability
from swarmdeck.engine.store import batch, driver, transaction
from swarmdeck.engine.store import database as database_module
from swarmdeck.engine.store.database import (
    Database,
    Operation,
    Reader,
    StoreOptions,
    Transaction,
    open_database,
)

INSERT = "INSERT INTO team (env, id, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?)"


class AddTeam(Operation):
    """A real operation over the real schema: names are unique enough to break on purpose."""

    __slots__ = ("ident", "name")
    topic = "agents"

    def __init__(self, ident: str, name: Any) -> None:
        self.ident = ident
        self.name = name

    @classmethod
    def apply(cls, tx: Transaction, operations: Sequence[Self]) -> list[Any]:
        rows = [(tx.env, op.ident, op.name, tx.now_us, tx.now_us) for op in operations]
        tx.insert_many(INSERT, rows)
        for op in operations:
            tx.audit("operator", "team.create", op.ident)
        return [op.ident for op in operations]


def count(reader: Reader) -> int:
    row = reader.execute("SELECT count(*) FROM team").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(params=["lasting", "brief", "brief, loaded"])
async def database(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    path = tmp_path / "development.db"
    brief = request.param != "lasting"
    async with open_database(
        path, "development", options=StoreOptions(), clock=FakeClock(), brief=brief
    ) as opened:
        if request.param == "brief, loaded":
            opened.loaded()
        yield opened


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 63, 64, 65, 200])
async def test_many_rows_are_inserted_by_few_statements(database: Database, rows: int) -> None:
    """The interpreter goes to others after each."""
    wanted = [(f"t{n:03}", f"name {n}") for n in range(rows)]

    def change(tx: Transaction) -> int:
        ran = []
        execute = tx.execute
        tx.execute = lambda *arguments: (ran.append(1), execute(*arguments))[1]
        tx.insert_many(INSERT, [(tx.env, ident, name, 1, 2) for ident, name in wanted])
        return len(ran)

    assert await database.write(change) <= rows // 64 + 3
    found = await database.read(
        lambda reader: reader.execute("SELECT id, name FROM team ORDER BY id").fetchall()
    )
    assert found == wanted


async def test_callers_of_one_turn_share_a_commit(database: Database) -> None:
    ids = [f"dev_team_{n}" for n in range(100)]
    answers = await asyncio.gather(*(database.submit(AddTeam(i, "t")) for i in ids))
    assert answers == ids
    assert database.stats.batches == 1
    assert database.stats.largest_batch == 100
    assert await database.read(count) == 100


async def test_one_bad_value_fails_alone(database: Database) -> None:
    good = [database.submit(AddTeam(f"dev_team_{n}", "t")) for n in range(10)]
    bad = database.submit(AddTeam("dev_team_bad", object()))
    more = [database.submit(AddTeam(f"dev_team_{n}", "t")) for n in range(10, 20)]
    answers = await asyncio.gather(*good, bad, *more, return_exceptions=True)
    assert isinstance(answers[10], Defect)
    assert [a for a in answers if isinstance(a, str)] == [f"dev_team_{n}" for n in range(20)]
    assert await database.read(count) == 20


async def test_without_the_rerun_one_bad_value_would_fail_all(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug that the test above is there to catch."""
    attempt = batch._attempt

    def no_rerun(*arguments: Any, last: bool = False) -> Any:
        return attempt(*arguments, last=True)

    monkeypatch.setattr(batch, "_attempt", no_rerun)
    good = database.submit(AddTeam("dev_team_1", "t"))
    bad = database.submit(AddTeam("dev_team_2", object()))
    answers = await asyncio.gather(good, bad, return_exceptions=True)
    assert all(isinstance(answer, Defect) for answer in answers)


async def test_a_failed_operation_leaves_no_audit_row(database: Database) -> None:
    answers = await asyncio.gather(
        database.submit(AddTeam("dev_team_1", "t")),
        database.submit(AddTeam("dev_team_1", "again")),
        return_exceptions=True,
    )
    assert isinstance(answers[1], Defect)
    rows = await database.read(lambda r: r.execute("SELECT object FROM audit").fetchall())
    assert rows == [("dev_team_1",)]


async def test_a_cancelled_caller_stops_nobody(database: Database) -> None:
    futures = [database.submit(AddTeam(f"dev_team_{n}", "t")) for n in range(5)]
    futures[2].cancel()
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(answers[2], asyncio.CancelledError)
    assert [a for a in answers if isinstance(a, str)] == [f"dev_team_{n}" for n in (0, 1, 3, 4)]
    assert await database.submit(AddTeam("dev_team_9", "t")) == "dev_team_9"


async def test_answering_a_cancelled_caller_would_stop_the_writer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug that the test above is there to catch."""
    right = transaction.answer

    def planted(future: asyncio.Future[object], outcome: object) -> None:
        right(future, outcome) if isinstance(outcome, Exception) else future.set_result(outcome)

    monkeypatch.setattr(transaction, "answer", planted)
    cancelled, other = database.submit(AddTeam("a", "t")), database.submit(AddTeam("b", "t"))
    cancelled.cancel()
    drain = database._draining
    assert drain is not None
    with pytest.raises(asyncio.InvalidStateError):
        await drain
    assert isinstance(other.exception(), OutcomeUnknown)


async def test_a_change_that_raises_ours_leaves_nothing_and_fails_alone(
    database: Database,
) -> None:
    def refused(tx: Transaction) -> None:
        tx.execute(INSERT, (tx.env, "dev_team_x", "x", 0, 0))
        raise Conflict("no")

    def accepted(tx: Transaction) -> int:
        tx.execute(INSERT, (tx.env, "dev_team_y", "y", 0, 0))
        return 7

    answers = await asyncio.gather(
        database.write(refused), database.write(accepted), return_exceptions=True
    )
    assert isinstance(answers[0], Conflict)
    assert answers[1] == 7
    assert await database.read(count) == 1


async def test_then_runs_before_the_caller_continues(database: Database) -> None:
    seen: list[str] = []

    def change(tx: Transaction) -> str:
        tx.execute(INSERT, (tx.env, "dev_team_1", "x", 0, 0))
        return "done"

    assert await database.write(change, then=seen.append) == "done"
    assert seen == ["done"]


async def test_queries_of_one_turn_share_a_snapshot(database: Database) -> None:
    await database.submit(AddTeam("dev_team_1", "t"))
    assert await asyncio.gather(*(database.read(count) for _ in range(50))) == [1] * 50


async def test_a_bad_query_fails_alone(database: Database) -> None:
    def bad(reader: Reader) -> object:
        return reader.execute("SELECT * FROM nothing").fetchall()

    answers = await asyncio.gather(database.read(count), database.read(bad), return_exceptions=True)
    assert answers[0] == 0
    assert isinstance(answers[1], StorageError)


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(StorageError):
        await database.read(lambda r: r.execute("DELETE FROM team"))


async def test_after_a_refused_write_of_a_reader_writers_go_on(database: Database) -> None:
    with pytest.raises(StorageError):
        await database.read(lambda r: r.execute("DELETE FROM team"))
    await database.submit(AddTeam("dev_team_1", "t"))
    assert await database.read(count) == 1


async def test_reads_and_writes_that_begin_together_do_not_meet(database: Database) -> None:
    """A brief opening has one connection for all, whose thread begins with the first of them."""

    async def add(number: int) -> None:
        await database.submit(AddTeam(f"dev_team_{number}", "t"))

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(database.read(count))
            group.create_task(database.pragmas())
            group.create_task(add(number))
    assert await database.read(count) == 20


async def test_a_brief_opening_that_only_loads_begins_no_thread(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    path, options = tmp_path / "development.db", StoreOptions()
    async with open_database(
        path, "development", options=options, clock=FakeClock(), brief=True
    ) as database:
        assert await database.read(count) == 0
        assert set(threading.enumerate()) <= threads  # those of tests before may end meanwhile
        database.loaded()
        await database.submit(AddTeam("dev_team_1", "t"))
        begun = set(threading.enumerate()) - threads
        assert await database.read(count) == 1
        assert set(threading.enumerate()) - threads == begun
    assert len(begun) == 1
    async with open_database(path, "development", options=options, clock=FakeClock()) as again:
        assert await again.read(count) == 1


async def test_a_connection_is_never_used_beside_its_own_thread(tmp_path: Path) -> None:
    connection = driver.connect_here(tmp_path / "d.db")
    assert connection.here(lambda raw: raw.in_transaction) is False
    assert await connection.run(lambda raw: raw.in_transaction) is False
    with pytest.raises(Defect):
        connection.here(lambda raw: raw.in_transaction)
    await connection.close()


async def test_close_finishes_what_was_submitted(tmp_path: Path) -> None:
    path = tmp_path / "development.db"
    options = StoreOptions()
    async with open_database(path, "development", options=options, clock=FakeClock()) as first:
        futures = [first.submit(AddTeam(f"dev_team_{n}", "t")) for n in range(50)]
    assert all(future.done() for future in futures)
    with pytest.raises(Unavailable):
        await first.submit(AddTeam("dev_team_late", "t"))
    async with open_database(path, "development", options=options, clock=FakeClock()) as again:
        assert await again.read(count) == 50


async def test_commits_are_announced_once_with_their_topics(tmp_path: Path) -> None:
    seen: list[tuple[str, frozenset[str], int]] = []
    async with open_database(
        tmp_path / "d.db",
        "development",
        options=StoreOptions(),
        clock=FakeClock(),
        on_commit=lambda *event: seen.append(event),
    ) as database:
        await asyncio.gather(*(database.submit(AddTeam(f"dev_team_{n}", "t")) for n in range(9)))
    assert seen == [("development", frozenset({"agents"}), 1)]


@pytest.mark.parametrize("durability", list(Durability))
async def test_pragmas_are_granted_as_requested(tmp_path: Path, durability: Durability) -> None:
    options = StoreOptions(durability=durability)
    async with open_database(
        tmp_path / "d.db", "development", options=options, clock=FakeClock()
    ) as database:
        wrong = [row for row in await database.pragmas() if row[1] != row[2]]
    assert wrong == []


@pytest.mark.parametrize("brief", [False, True])
async def test_a_newer_file_is_refused_and_not_changed(tmp_path: Path, *, brief: bool) -> None:
    path = tmp_path / "development.db"
    async with open_database(path, "development", options=StoreOptions(), clock=FakeClock()) as d:
        await d._writer.run(lambda raw: raw.execute("PRAGMA user_version = 99").fetchall())
    before = path.read_bytes()
    with pytest.raises(Corrupt, match="schema 99"):
        async with open_database(
            path, "development", options=StoreOptions(), clock=FakeClock(), brief=brief
        ):
            pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize(
    "content", [b"hello, this is text\n" * 500, b"SQLite format 3\0" + b"x" * 9000]
)
async def test_a_file_that_is_not_ours_is_refused_and_not_changed(
    tmp_path: Path, content: bytes, *, brief: bool
) -> None:
    path = tmp_path / "development.db"
    path.write_bytes(content)
    with pytest.raises(Corrupt):
        async with open_database(
            path, "development", options=StoreOptions(), clock=FakeClock(), brief=brief
        ):
            pass
    assert path.read_bytes() == content


@pytest.mark.parametrize("brief", [False, True])
async def test_a_read_of_a_damaged_file_says_so(tmp_path: Path, *, brief: bool) -> None:
    path = tmp_path / "development.db"
    async with open_database(path, "development", options=StoreOptions(), clock=FakeClock()) as d:
        pages = await d.read(lambda r: r.execute("SELECT rootpage FROM sqlite_schema").fetchall())
    with path.open("r+b") as file:
        for (page,) in pages:
            if page:
                file.seek((page - 1) * 4096)
                file.write(b"\xa5" * 4096)
    async with open_database(
        path, "development", options=StoreOptions(), clock=FakeClock(), brief=brief
    ) as database:
        with pytest.raises(Corrupt, match="development database is damaged"):
            await database.read(count)


@pytest.mark.parametrize(
    ("version", "sound"),
    [("3.51.2", False), ("3.51.3", True), ("3.50.7", True), ("3.44.6", True), ("3.40.1", False)],
)
def test_a_library_that_corrupts_is_refused(version: str, *, sound: bool) -> None:
    assert driver.is_sound(version) is sound
    if not sound:
        with pytest.raises(Unavailable, match=version):
            driver.require_sound_library(version)


def test_only_the_driver_names_sqlite() -> None:
    engine = Path(database_module.__file__).parents[1]
    drivers = {"driver.py", "dbapi.py", "kin.py"}  # with loop, without, and the errors of both
    allowed = {engine / "store" / name for name in drivers} | {engine / "bench" / "baselines.py"}
    guilty = [
        path.name
        for path in engine.rglob("*.py")
        if path not in allowed
        and ("sqlite3" in (t := path.read_text()) and "import" in t)
        and any(line.startswith(("import", "from")) and "sqlite" in line for line in t.splitlines())
    ]
    assert guilty == []
