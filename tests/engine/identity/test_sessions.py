"""Sessions end by themselves, by being left alone, and at once when revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmdeck.engine import sessions
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Busy, Denied, NotFound
from swarmdeck.engine.sessions import Session, Sessions
from swarmdeck.engine.store.database import Database, StoreOptions, open_database

MINUTE_S = 60.0


@asynccontextmanager
async def opened(path: Path, clock: FakeClock) -> AsyncIterator[tuple[Sessions, Database]]:
    async with open_database(
        path, "coordination", options=StoreOptions(), clock=clock, series="coordination"
    ) as database:
        found = Sessions(database, clock)
        await found.open()
        yield found, database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def kept(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Sessions]:
    async with opened(tmp_path / "c.db", clock) as (found, _):
        yield found


async def test_a_token_says_whose_session_it_is(kept: Sessions) -> None:
    token = await kept.issue("ada", actor="operator")
    assert kept.check(token) == "ada"
    (session,) = kept.of("ada")
    secret = token.partition(".")[2]
    assert len(secret) * 5 >= 256
    assert secret not in repr(session)
    assert session.token_hash.hex() not in repr(session)


async def test_only_the_hash_reaches_the_file(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "c.db"
    async with opened(path, clock) as (found, _):
        secret = (await found.issue("ada", actor="operator")).partition(".")[2]
    assert all(secret.encode() not in each.read_bytes() for each in tmp_path.iterdir())


@pytest.mark.parametrize("use_every_s", [MINUTE_S, 29 * MINUTE_S])
async def test_a_session_in_use_ends_after_a_day(
    kept: Sessions, clock: FakeClock, use_every_s: float
) -> None:
    token = await kept.issue("ada", actor="operator")
    begun_us = clock.wall_us()
    while clock.wall_us() - begun_us < (86_400 - use_every_s) * 1_000_000:
        assert kept.check(token) == "ada"
        clock.advance(use_every_s)
    clock.advance(use_every_s)
    with pytest.raises(Denied):
        kept.check(token)


async def test_a_session_that_is_left_alone_ends_after_half_an_hour(
    kept: Sessions, clock: FakeClock
) -> None:
    token = await kept.issue("ada", actor="operator")
    clock.advance(30 * MINUTE_S - 1)
    assert kept.check(token) == "ada"
    clock.advance(30 * MINUTE_S)
    with pytest.raises(Denied):
        kept.check(token)
    assert await kept.sweep() == 1
    assert kept.of("ada") == []


async def test_a_revoked_session_counts_no_more_at_once(kept: Sessions) -> None:
    token = await kept.issue("ada", actor="operator")
    other = await kept.issue("ada", actor="operator")
    (session, _) = kept.of("ada")
    revoking = kept.revoke(session.id, actor="operator")
    await revoking
    with pytest.raises(Denied):
        kept.check(token)
    assert kept.check(other) == "ada"
    assert await kept.revoke_all("ada", actor="operator") == 1
    with pytest.raises(Denied):
        kept.check(other)
    with pytest.raises(NotFound):
        await kept.revoke(session.id, actor="operator")


async def test_a_principal_has_a_bounded_number(kept: Sessions, clock: FakeClock) -> None:
    for _ in range(sessions.MAX_PER_PRINCIPAL):
        await kept.issue("ada", actor="operator")
    with pytest.raises(Busy):
        await kept.issue("ada", actor="operator")
    await kept.issue("grace", actor="operator")
    clock.advance(31 * MINUTE_S)
    await kept.issue("ada", actor="operator")  # those before are over


async def test_sessions_outlive_a_restart_with_what_was_used(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path / "c.db", clock) as (found, _):
        token = await found.issue("ada", actor="operator")
        gone = await found.issue("ada", actor="operator")
        await found.revoke(gone.partition(".")[0], actor="operator")
        clock.advance(20 * MINUTE_S)
        found.check(token)
        await found.sweep()
    clock.advance(20 * MINUTE_S)
    async with opened(tmp_path / "c.db", clock) as (found, _):
        assert found.check(token) == "ada"
        with pytest.raises(Denied):
            found.check(gone)


async def test_what_is_wrong_is_not_told_apart(kept: Sessions, clock: FakeClock) -> None:
    token = await kept.issue("ada", actor="operator")
    ident, _, secret = token.partition(".")
    said = set()
    for wrong in (
        "",
        ".",
        ident,
        f"{ident}.",
        f"{ident}.x",
        f"x.{secret}",
        token + "x",
        "\udc80.x",
    ):
        with pytest.raises(Denied) as denied:
            kept.check(wrong)
        said.add(denied.value.message)
    clock.advance(31 * MINUTE_S)
    with pytest.raises(Denied) as denied:
        kept.check(token)
    assert said == {denied.value.message}


async def test_every_change_is_audited_without_the_token(tmp_path: Path, clock: FakeClock) -> None:
    async with opened(tmp_path / "c.db", clock) as (found, database):
        token = await found.issue("ada", actor="operator")
        await found.revoke(token.partition(".")[0], actor="grace")
        rows = await database.read(
            lambda reader: reader.execute("SELECT actor, action, detail FROM audit").fetchall()
        )
    assert [row[:2] for row in rows] == [("operator", "session.open"), ("grace", "session.revoke")]
    assert token.partition(".")[2] not in repr(rows)


@given(st.integers(0, 2**62), st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_session_is_over_from_its_end_on(made_us: int, used_us: int, later_us: int) -> None:
    session = Session("s", "ada", b"", made_us, made_us + used_us, made_us + 86_400_000_000)
    over = session.is_over(made_us + later_us)
    assert over == (later_us >= min(86_400_000_000, used_us + 1_800_000_000))
