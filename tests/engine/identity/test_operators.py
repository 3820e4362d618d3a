"""Who opened an engine and who is attached: recorded, bounded, and shown."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine import connect, open_engine
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied
from swarmdeck.engine.identity import MAX_KNOWN, user_name
from swarmdeck.engine.link.peers import Client, Peer, check_peer, program_of
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.settings import load_settings


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def core(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Core]:
    async with open_core(
        tmp_path / "data",
        settings=load_settings(None, {}, {}),
        transient=False,
        headless=True,
        clock=clock,
    ) as found:
        yield found


async def rows(core: Core, action: str) -> list[Any]:
    await core.coordination.write(lambda _: None)  # rows are written by themselves, in order
    listed = await core.dispatch(act.AuditList(contains=action), OPERATOR_PRINCIPAL)
    return [row for row in listed if row.action == action]


async def attached(core: Core) -> None:
    async with connect(core.data):
        pass


async def test_opening_is_recorded_with_the_user(core: Core) -> None:
    (row,) = await rows(core, "engine.open")
    assert user_name(os.getuid()) in row.detail
    assert f"uid {os.getuid()}, process {os.getpid()}" in row.detail
    assert core.overview().engine.user == user_name(os.getuid())


async def test_attaching_is_recorded_once_a_minute_for_a_program(
    core: Core, clock: FakeClock
) -> None:
    for _ in range(3):
        await attached(core)
    (row,) = await rows(core, "operator.attach")
    assert f"process {os.getpid()} {program_of(os.getpid())}" in row.detail
    clock.advance(61)
    await attached(core)
    assert len(await rows(core, "operator.attach")) == 2


async def test_another_program_is_another_row(core: Core) -> None:
    await attached(core)
    core.identity.attached(Client(Peer(1, os.getuid()), "other", 0))
    core.identity.attached(Client(Peer(2, 4_000_000), "other", 0))
    found = await rows(core, "operator.attach")
    assert len(found) == 3
    assert any("uid 4000000" in row.detail for row in found)


async def test_what_is_remembered_of_those_who_attached_is_bounded(core: Core) -> None:
    for number in range(MAX_KNOWN + 10):
        core.identity.attached(Client(Peer(number, 0), f"program{number}", 0))
    assert len(core.identity._attached) == MAX_KNOWN


async def test_who_is_attached_is_shown(core: Core, clock: FakeClock) -> None:
    assert core.overview().engine.clients == ()
    async with connect(core.data):
        (client,) = core.overview().engine.clients
        assert (client.uid, client.pid) == (os.getuid(), os.getpid())
        assert client.user == user_name(os.getuid())
        assert client.program == program_of(os.getpid())
        assert client.since_at_us == clock.wall_us()
    async with asyncio.timeout(10):
        while core.overview().engine.clients:
            await asyncio.sleep(0.01)


async def test_a_command_in_another_process_is_told_apart(core: Core) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(core.data), "status",
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await asyncio.wait_for(process.wait(), 60) == 0
    (row,) = await rows(core, "operator.attach")
    assert f"process {process.pid} " in row.detail
    assert "status" not in row.detail  # the arguments of a program may hold values


def test_the_name_of_a_program_is_never_its_arguments() -> None:
    assert program_of(os.getpid()).isalnum() or "-" in program_of(os.getpid())
    assert program_of(2**22 + 1) == ""


def test_only_the_owner_and_root_may_attach() -> None:
    check_peer(1000, 1000)
    check_peer(0, 1000)
    with pytest.raises(Denied):
        check_peer(1001, 1000)
    with pytest.raises(Denied):
        check_peer(1000, 0)


async def test_acting_as_an_agent_is_recorded_once_a_minute(tmp_path: Path) -> None:
    async with open_engine(tmp_path / "data") as engine:
        agent = await engine.agents.register("development", name="Backend")
        memory = engine.memory(agent)
        for number in range(3):
            await memory.set("k", number)
        await engine.run(act.MemoryGet(environment="development", key="k", actor=agent.id))
        rows = await engine.run(act.AuditList(environment="development", contains=agent.id))
        acted = [row for row in rows if row.action == "operator.act"]
        assert [(row.actor, row.object) for row in acted] == [("operator", agent.id)]
