"""The main job on real files with real agent processes: each file counted once, nothing left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import demo
from swarmdeck.engine.actions import Demo
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.demo import run_demo
from swarmdeck.engine.errors import Conflict, InvalidInput, Unavailable
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.swarms.supervisor import RestartLimits, start_time
from swarmdeck.engine.views import DemoView, QueueCounts

WORDS = [f"word{number}" for number in range(500)]


def silent(_: float, __: str) -> None:
    pass


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with open_core(
        tmp_path / "data",
        settings=load_settings(None, {}, {}),
        transient=False,
        headless=False,
        clock=None,
    ) as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "site-packages").mkdir()
    for number in range(40):
        place = ("", "deep/", "deep/er/", "site-packages/")[number % 4]
        write(root / f"{place}{number:03}.txt", number, 300)
    (root / "empty").write_bytes(b"")
    (root / "binary").write_bytes(b"text and then \0 a NUL")
    (root / "late binary").write_bytes(b"x" * (1 << 20) + b"\0")
    (root / "link.txt").symlink_to(root / "000.txt")
    (root / "linked").symlink_to(root / "deep")
    (root / "un\nnameable").write_text("no key can hold this name")
    os.mkfifo(root / "pipe")
    return root


def write(path: Path, seed: int, count: int) -> None:
    chosen = random.Random(seed).choices(WORDS, k=count)
    path.write_text("\n".join(" ".join(chosen[n : n + 9]) for n in range(0, count, 9)))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Enough work that something can happen in the middle."""
    root = tmp_path / "many"
    root.mkdir()
    write(root / "000.txt", 0, 40_000)
    text = (root / "000.txt").read_text()
    for number in range(1, 240):
        (root / f"{number:03}.txt").write_text(f"{number}\n{text}")
    return root


async def records_of(core: Core) -> dict[str, Any]:
    memory = core.engine.memory("development")
    keys, _ = await memory.keys(namespace="demo", limit=10_000)
    return await memory.mget(keys, namespace="demo")


def adds_up(view: DemoView) -> bool:
    return view.done == sum(agent.done for agent in view.agents) == view.files == view.records


def nothing_is_left(core: Core) -> bool:
    place = core.places["development"]
    return (
        not place.registry.agents
        and not place.registry.teams
        and not place.registry.swarms
        and not core.swarms._crew.watched
        and core.ledger.allocated_bytes == 0
        and place.queue.counts() == QueueCounts()
    )


def alive(view: DemoView) -> list[int]:
    return [agent.pid for agent in view.agents if start_time(agent.pid) is not None]


async def test_every_text_file_is_digested_once_and_its_record_is_right(
    core: Core, files: Path
) -> None:
    seen: list[float] = []
    view = await run_demo(
        core, Demo(files=str(files), agents=4, keep=True), lambda f, _: seen.append(f)
    )
    assert (view.files, view.sent, view.done, view.dead, view.records) == (41, 41, 41, 0, 41)
    assert view.redelivered == 0
    assert adds_up(view)
    assert len({agent.pid for agent in view.agents}) == 4
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    records = await records_of(core)
    total = records.pop("total")
    assert set(records) == {
        f"digest:{path.relative_to(files)}"
        for path in files.rglob("*.txt")
        if not path.is_symlink()
    } | {"digest:empty"} - {f"digest:{name}" for name in ("link.txt",)}
    for key, record in records.items():
        content = (files / key.removeprefix("digest:")).read_bytes()
        assert record["sha256"] == hashlib.sha256(content).hexdigest()
        assert (record["bytes"], record["lines"]) == (len(content), content.count(b"\n"))
    assert total["files"] == 41
    assert total["bytes"] == view.bytes == sum(record["bytes"] for record in records.values())


async def test_kept_records_and_registrations_stay_and_processes_end(
    core: Core, files: Path
) -> None:
    view = await run_demo(core, Demo(files=str(files), agents=2, keep=True), silent)
    assert not alive(view)
    swarms = core.swarms.list("development", ended=True)
    assert [(swarm.state, swarm.reason) for swarm in swarms] == [("terminated", "the demo is over")]
    team = next(iter(core.places["development"].registry.teams.values()))
    assert set(team.members) == {agent.id for agent in view.agents}
    assert len(await records_of(core)) == 42


async def test_without_keep_nothing_is_left(core: Core, files: Path) -> None:
    view = await run_demo(core, Demo(files=str(files), agents=2), silent)
    assert view.done == 41
    assert not alive(view)
    assert nothing_is_left(core)
    assert await records_of(core) == {}


async def test_records_of_an_earlier_demo_are_replaced(core: Core, files: Path) -> None:
    await run_demo(core, Demo(files=str(files), agents=2, keep=True), silent)
    (files / "000.txt").unlink()
    (files / "004.txt").write_text("changed\n")
    view = await run_demo(core, Demo(files=str(files), agents=2, keep=True), silent)
    records = await records_of(core)
    assert view.records == len(records) - 1 == 40
    assert "digest:000.txt" not in records
    assert records["digest:004.txt"]["words"] == 1
    assert records["total"]["files"] == 40


async def kill_one_that_holds_work(core: Core) -> str:
    """SIGKILL an agent in the middle: it is halted first, so that what it holds stays held."""
    while True:
        for agent in core.swarms.agents("development"):
            if agent.leased > 1 and agent.pid is not None:
                os.kill(agent.pid, signal.SIGSTOP)
                await asyncio.sleep(0.05)  # what it had sent arrives
                now = core.swarms.agent(agent.id)
                os.kill(agent.pid, signal.SIGKILL if now.leased else signal.SIGCONT)
                if now.leased:
                    return agent.id
        await asyncio.sleep(0.005)


async def test_a_killed_agent_loses_nothing_and_nothing_counts_twice(
    core: Core, many: Path
) -> None:
    async with asyncio.timeout(60):
        running = asyncio.ensure_future(
            run_demo(core, Demo(files=str(many), agents=4, keep=True), silent)
        )
        killed = await kill_one_that_holds_work(core)
        view = await running
    assert (view.done, view.dead, view.sent) == (240, 0, 240)
    assert view.redelivered > 0
    assert adds_up(view)
    records = await records_of(core)
    assert records["total"]["files"] == 240
    assert records["total"]["bytes"] == sum(path.stat().st_size for path in many.iterdir())
    assert killed in {agent.id for agent in view.agents}
    assert not alive(view)


async def test_a_cancelled_demo_leaves_nothing(core: Core, many: Path) -> None:
    working = asyncio.Event()
    pids: list[int] = []

    def progress(_: float, text: str) -> None:
        if "digested" in text and not text.startswith("0 "):
            pids.extend(a.pid for a in core.swarms.agents() if a.pid is not None)
            working.set()

    task = asyncio.ensure_future(run_demo(core, Demo(files=str(many), agents=3), progress))
    await asyncio.wait_for(working.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pids
    assert not [pid for pid in pids if start_time(pid) is not None]
    assert nothing_is_left(core)


async def test_agents_that_all_fail_end_the_demo_with_the_reason(
    core: Core, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "COMMAND", ("sh", "-c", "echo out of luck; exit 3"))
    monkeypatch.setattr(core.swarms._crew, "_limits", RestartLimits(restarts=0))
    with pytest.raises(Unavailable, match="no agent of the demo is left: exit code 3: out of luck"):
        await run_demo(core, Demo(files=str(files), agents=2), silent)
    assert nothing_is_left(core)


async def test_messages_of_others_are_left_alone(core: Core, files: Path) -> None:
    theirs = await core.engine.queue("development").send("build", {}, priority=10)
    await run_demo(core, Demo(files=str(files), agents=2), silent)
    shown = await core.places["development"].queue.show(theirs)
    assert (shown.state, shown.attempt) == ("ready", 0)


async def test_one_demo_at_a_time(core: Core, files: Path) -> None:
    first = asyncio.ensure_future(run_demo(core, Demo(files=str(files), agents=2), silent))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="a demo is running"):
        await run_demo(core, Demo(files=str(files), agents=2), silent)
    assert (await first).done == 41


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "does not exist"),
        ("files/000.txt", "is not a directory"),
        ("bare", "no text file"),
        ("binaries", "no text file"),
        ("", "is not a directory"),
        ("a\0b", "does not exist"),
    ],
)
async def test_a_directory_that_gives_no_work_is_refused(
    core: Core, files: Path, name: str, said: str
) -> None:
    del files
    parent = core.data.parent
    (parent / "bare").mkdir()
    (parent / "binaries").mkdir()
    (parent / "binaries" / "a").write_bytes(b"\0")
    where = str(parent / name) if name else ""
    with pytest.raises(InvalidInput, match=said):
        await run_demo(core, Demo(files=where), silent)
    assert nothing_is_left(core)


def test_the_standard_library_is_read_without_packages_and_caches() -> None:
    root, left_out = demo._root_of(None)
    assert (root / "asyncio" / "__init__.py").is_file()
    assert left_out == {"site-packages", "__pycache__"}
