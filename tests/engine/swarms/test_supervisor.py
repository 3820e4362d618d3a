"""Processes: started, seen ending, killed with what they started, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from swarmdeck.engine.errors import InvalidInput, Unavailable
from swarmdeck.engine.swarms import output, supervisor
from swarmdeck.engine.swarms.supervisor import (
    Exit,
    Launch,
    RestartHistory,
    RestartLimits,
    Running,
    Supervisor,
    is_running,
    resolve_command,
    start_time,
)

PYTHON = sys.executable


def launch(*command: str, agent: str = "dev_agent_00000001") -> Launch:
    return Launch(
        agent=agent,
        environment="development",
        swarm="dev_swarm_00000001",
        token="t" * 32,
        command=command,
    )


def script(text: str) -> tuple[str, str, str]:
    return PYTHON, "-c", text


async def until(condition: Callable[[], object], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def foreign(*command: str) -> subprocess.Popen[bytes]:
    """A process the supervisor under test did not start."""
    return subprocess.Popen(command, start_new_session=True)


def alive(pid: int) -> bool:
    found = start_time(pid)
    return found is not None and is_running(pid, found)


@pytest.fixture
def exits() -> list[Exit]:
    return []


@pytest.fixture
async def running(tmp_path: Path, exits: list[Exit]) -> AsyncIterator[Supervisor]:
    found = Supervisor(
        tmp_path,
        tmp_path / "run" / "engine.sock",
        on_exit=exits.append,
        output=output.Rotation(limit_bytes=1000, kept=2),
    )
    yield found
    await found.close(kill_after_s=0)


async def test_an_agent_finds_who_it_is_in_its_environment(
    running: Supervisor, tmp_path: Path, exits: list[Exit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLITE_ENCRYPTION_KEY", "secret")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    text = "import os\nfor n, v in os.environ.items(): print(n, v)\nprint('cwd', os.getcwd())"
    await running.start(launch(*script(text)))
    await until(lambda: exits)
    lines = set(await running.last_lines("development", "dev_agent_00000001", 1000))
    assert {
        f"SWARMDECK_SOCKET {tmp_path}/run/engine.sock",
        "SWARMDECK_AGENT dev_agent_00000001",
        "SWARMDECK_TOKEN " + "t" * 32,
        "SWARMDECK_SWARM dev_swarm_00000001",
        "SWARMDECK_ENVIRONMENT development",
        "SWARM_ID dev_swarm_00000001",
        "AGENT_ID dev_agent_00000001",
        "PYTHONUNBUFFERED 1",
        f"cwd {tmp_path}/instances/development/swarms/dev_swarm_00000001/work",
    } <= lines
    assert not [line for line in lines if "secret" in line]


async def test_output_and_work_belong_to_their_owner_only(
    running: Supervisor, tmp_path: Path, exits: list[Exit]
) -> None:
    await running.start(launch(*script("import sys; print('out'); print('err', file=sys.stderr)")))
    await until(lambda: exits)
    log = running.log_path("development", "dev_agent_00000001")
    work = tmp_path / "instances/development/swarms/dev_swarm_00000001/work"
    assert sorted(log.read_text().split()) == ["err", "out"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(work.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("pass", 0, "exit code 0"),
        ("raise SystemExit(7)", 7, "exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", -9, "killed by SIGKILL"),
    ],
)
async def test_an_end_is_seen_with_its_reason_and_reaped(
    running: Supervisor, exits: list[Exit], text: str, code: int, reason: str
) -> None:
    started = await running.start(launch(*script(text)))
    await until(lambda: exits)
    assert exits == [Exit(started.agent, "development", started.pid, code)]
    assert exits[0].reason == reason
    assert start_time(started.pid) is None
    assert running.running == {}


async def test_an_end_is_seen_at_once(running: Supervisor, exits: list[Exit]) -> None:
    loop = asyncio.get_running_loop()
    took = []
    for number in range(5):
        started = await running.start(launch("sleep", "60", agent=f"dev_agent_{number:08}"))
        begin = loop.time()
        os.kill(started.pid, signal.SIGKILL)
        await until(lambda wanted=number + 1: len(exits) == wanted)
        took.append(loop.time() - begin)
    assert min(took) < 0.05


async def test_what_an_agent_started_ends_with_it(running: Supervisor, exits: list[Exit]) -> None:
    text = (
        "import subprocess, time\n"
        "print(subprocess.Popen(['sleep', '60']).pid)\n"
        "print(subprocess.Popen(['sleep', '60']).pid)\n"
    )
    await running.start(launch(*script(text)))
    await until(lambda: exits)
    lines = await running.last_lines("development", "dev_agent_00000001", 10)
    grandchildren = [int(line) for line in lines]
    assert len(grandchildren) == 2
    await until(lambda: not any(alive(pid) for pid in grandchildren))


async def test_stop_asks_first_and_kills_what_does_not_listen(
    running: Supervisor, exits: list[Exit]
) -> None:
    polite = (
        "import signal, time; signal.signal(15, lambda *_: exit(0)); print('up'); time.sleep(60)"
    )
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"
    await running.start(launch(*script(polite), agent="polite"))
    await running.start(launch(*script(deaf), agent="deaf"))
    logs = [running.log_path("development", name) for name in ("polite", "deaf")]
    await until(lambda: all("up" in log.read_text() for log in logs))

    await running.stop(["polite", "deaf", "unknown"], kill_after_s=0.5)

    assert {exit_.agent: exit_.code for exit_ in exits} == {"polite": 0, "deaf": -9}


async def test_close_leaves_no_process_and_no_thread(tmp_path: Path, exits: list[Exit]) -> None:
    import threading

    before = set(threading.enumerate())
    opened = Supervisor(tmp_path, tmp_path / "s", on_exit=exits.append)
    started = [await opened.start(launch("sleep", "60", agent=f"a{n}")) for n in range(3)]
    await opened.close()
    assert not any(alive(process.pid) for process in started)
    assert len(exits) == 3
    assert set(threading.enumerate()) == before
    with pytest.raises(Unavailable):
        await opened.start(launch("sleep", "60"))


async def test_a_cancelled_start_leaves_nothing(running: Supervisor, exits: list[Exit]) -> None:
    task = asyncio.ensure_future(running.start(launch("sleep", "60")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: exits)
    assert exits[0].code == -9
    assert running.running == {}


async def test_closing_ends_what_is_still_being_started(tmp_path: Path, exits: list[Exit]) -> None:
    opened = Supervisor(tmp_path, tmp_path / "s", on_exit=exits.append)
    starting = asyncio.ensure_future(opened.start(launch("sleep", "60")))
    await asyncio.sleep(0)
    await opened.close()
    process = await starting
    assert not alive(process.pid)


async def test_a_file_that_is_no_program_starts_nothing(
    running: Supervisor, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o700)
    with pytest.raises(InvalidInput, match="cannot be started"):
        await running.start(launch(str(broken)))
    assert running.running == {}


def test_a_command_is_looked_up_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)
    (tmp_path / "plain.txt").write_text("x")
    (tmp_path / "worker.py").write_text("x")
    (tmp_path / "word").write_text("x")
    monkeypatch.setenv("PATH", str(tool.parent))

    assert resolve_command((), tmp_path)[0] == PYTHON
    assert resolve_command(("tool", "worker.py", "word", "none.py"), tmp_path) == (
        str(tool), str(tmp_path / "worker.py"), "word", "none.py"
    )  # fmt: skip
    assert resolve_command(("./bin/tool",), tmp_path) == (str(tool),)
    for wrong, said in (
        ("nosuch", "not found"),
        ("./nosuch", "not found"),
        ("./plain.txt", "is not executable"),
        ("./bin", "not found"),
        ("to\x1b[31mol", "not found"),
        ("", "not found"),
        ("a\0b", "NUL"),
    ):
        with pytest.raises(InvalidInput, match=said):
            resolve_command((wrong,), tmp_path)
    assert resolve_command(("tool", "x" * 5000), tmp_path)[1] == "x" * 5000


async def test_a_process_of_another_engine_is_watched_again(
    running: Supervisor, exits: list[Exit]
) -> None:
    child = foreign("sleep", "60")
    try:
        started_at = start_time(child.pid)
        assert started_at is not None
        assert running.adopt(Running("a", "development", child.pid, started_at))
        child.kill()
        await until(lambda: exits)
        assert exits == [Exit("a", "development", child.pid, None)]
        assert exits[0].reason == "ended (adopted, so with what code is not known)"
    finally:
        child.kill()
        child.wait()


async def test_a_reused_pid_is_neither_adopted_nor_signalled(running: Supervisor) -> None:
    child = foreign("sleep", "60")
    try:
        started_at = start_time(child.pid)
        assert started_at is not None
        assert not running.adopt(Running("a", "development", child.pid, started_at - 1))
        assert running.adopt(Running("a", "development", child.pid, started_at))
        # As if the process had been replaced after it was adopted.
        process = running._processes["a"]
        process.running = Running("a", "development", child.pid, started_at - 1)
        running._signal("a", signal.SIGKILL)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.2)
        process.running = Running("a", "development", child.pid, started_at)
    finally:
        child.kill()
        child.wait()
    await until(lambda: not running.running)


async def test_a_dead_or_unreaped_process_is_not_adopted(running: Supervisor) -> None:
    child = foreign("true")
    started_at = start_time(child.pid)
    assert started_at is not None
    await until(lambda: not is_running(child.pid, started_at))
    assert start_time(child.pid) == started_at
    assert not running.adopt(Running("a", "development", child.pid, started_at))
    child.wait()
    assert not running.adopt(Running("a", "development", child.pid, started_at))


def test_the_same_ticks_after_another_boot_are_another_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = start_time(os.getpid())
    assert before == start_time(os.getpid())
    assert before is not None
    assert before < 1 << 63
    other = tmp_path / "boot_id"
    other.write_text("another boot")
    monkeypatch.setattr(supervisor, "_BOOT_ID", other)
    assert start_time(os.getpid()) != before


def test_processes_end_is_seen_on_uvloop_too(tmp_path: Path) -> None:
    async def main() -> list[Exit]:
        exits: list[Exit] = []
        opened = Supervisor(tmp_path, tmp_path / "s", on_exit=exits.append)
        await opened.start(launch("true"))
        await until(lambda: exits)
        await opened.close()
        return exits

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert [found.code for found in runner.run(main())] == [0]


def test_restarts_wait_longer_each_time_and_end_at_the_limit() -> None:
    history = RestartHistory(RestartLimits(restarts=3, window_s=600, delay_s=1))
    assert [history.next_delay_s(at) for at in (0, 10, 20, 30)] == [1, 2, 4, None]
    assert history.next_delay_s(600) == 4  # the first has left the window
    assert history.next_delay_s(601) is None
    assert RestartHistory(RestartLimits(restarts=0)).next_delay_s(0) is None


def test_a_long_row_of_restarts_waits_at_most_the_cap() -> None:
    history = RestartHistory(RestartLimits(restarts=100, max_delay_s=8))
    assert [history.next_delay_s(0) for _ in range(6)] == [1, 2, 4, 8, 8, 8]


async def test_output_that_cannot_be_put_aside_is_cut_all_the_same(
    running: Supervisor, tmp_path: Path
) -> None:
    """The disk may be full, and whoever floods it must not go on; nor may that end anything."""
    log = running.log_path("development", "dev_agent_00000001")
    await running.start(launch(*script("import time; print('x' * 2000); time.sleep(60)")))
    await until(lambda: log.stat().st_size > 2000)
    log.with_name(log.name + ".1").mkdir()
    await running.rotate()
    assert log.stat().st_size == 0
    log.unlink()
    log.mkdir()
    await running.rotate()
    assert await running.last_words("development", "dev_agent_00000001") == ""


async def test_output_is_rotated_while_the_agent_goes_on_writing(
    running: Supervisor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    text = (
        "import os, sys, time\n"
        "print('x' * 2000)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "print('after')\n"
        "time.sleep(60)"
    )
    await running.start(launch(*script(text)))
    log = running.log_path("development", "dev_agent_00000001")
    await until(lambda: log.stat().st_size > 2000)
    await running.rotate()
    gate.touch()
    await until(lambda: log.read_text() == "after\n")
    older = log.with_name(log.name + ".1")
    assert older.read_text() == "x" * 999 + "\n"
    assert stat.S_IMODE(older.stat().st_mode) == 0o600
    assert await running.last_lines("development", "dev_agent_00000001", 2) == ["x" * 999, "after"]


def test_as_many_older_files_are_kept_as_is_said(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for number in range(4):
        log.write_text(f"{number}\n" * 10)
        assert output.rotate(log, 16, 2)
    assert log.read_text() == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert output.last_lines(log, 12) == ["2"] * 4 + ["3"] * 8
    assert not output.rotate(log, 16, 2)
    assert not output.rotate(tmp_path / "none.log", 16, 2)
    for _ in range(2):
        log.write_text("9\n" * 10)
        assert output.rotate(log, 16, 3)
    assert len(output.last_lines(log, 99)) == 3 * 8
    log.write_text("9\n" * 10)
    assert output.rotate(log, 16, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1"]


def test_the_end_of_a_large_file_is_found_however_many_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"{number}\n" for number in range(50_000)))
    for lines in (1, 7, 3000, 50_000):
        assert output.last_lines(log, lines) == [str(n) for n in range(50_000 - lines, 50_000)]
    log.write_text("z" * 100_000)
    assert output.last_lines(log, 1) == ["z" * 100_000]


def test_last_words_are_one_printable_line(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert output.last_words(log) == ""
    log.write_bytes(b"first\n\x1b[31mValueError: \xff no\n\n  \n")
    assert output.last_words(log) == "[31mValueError: \\xff no"
    log.write_text("y" * 500)
    assert len(output.last_words(log)) == 200
    assert output.last_lines(tmp_path / "none.log", 3) == []
