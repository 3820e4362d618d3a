"""Settings read again while an engine runs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import Busy, ConfigError, Conflict
from swarmdeck.engine.reload import APPLIED, LATER, Reloading
from swarmdeck.engine.settings import Settings, load_settings

SLEEPER = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
FILE = "[logging]\nlevel = {level}\n[store]\nbatch_limit = {batch}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(FILE.format(level='"info"', batch=500))
    return path


async def test_what_is_taken_is_in_force_and_the_rest_waits(file: Path) -> None:
    first = load_settings(file, os.environ, {"console.theme": "mine"})
    told: list[Settings] = []
    taken: list[str] = []
    reloading = Reloading(first, told.append)
    reloading.takes(("logging.",), lambda settings: taken.append(settings.logging.level))
    file.write_text(FILE.format(level='"debug"', batch=77))
    changes = {change.name: change for change in await reloading.reload()}
    assert changes["logging.level"].state == APPLIED
    assert changes["store.batch_limit"].state == LATER
    assert (changes["store.batch_limit"].before, changes["store.batch_limit"].after) == (500, 77)
    assert changes["store.batch_limit"].source == f"{file}:4"
    assert taken == ["debug"]
    assert told[-1].logging.level == "debug"
    assert told[-1].store.batch_limit == 500, "nobody looks at half of a file"
    assert told[-1].sources["logging.level"] == f"{file}:2"
    assert told[-1].sources["store.batch_limit"] == first.sources["store.batch_limit"]
    assert told[-1].console.theme == "mine", "what the command line said stands"


async def test_what_waits_is_named_each_time_until_the_file_says_otherwise(file: Path) -> None:
    reloading = Reloading(load_settings(file, os.environ, {}), lambda _: None)
    file.write_text(FILE.format(level='"info"', batch=77))
    for _ in range(2):
        assert [change.name for change in await reloading.reload()] == ["store.batch_limit"]
    file.write_text(FILE.format(level='"info"', batch=500))
    assert await reloading.reload() == []


async def test_a_file_that_is_wrong_changes_nothing(file: Path) -> None:
    told: list[Settings] = []
    reloading = Reloading(load_settings(file, os.environ, {}), told.append)
    reloading.takes(("logging.",), told.append)
    file.write_text(FILE.format(level='"loud"', batch=77))
    with pytest.raises(ConfigError, match=r"config.toml:2"):
        await reloading.reload()
    assert told == []


async def test_who_has_ended_takes_nothing_more(file: Path) -> None:
    told: list[Settings] = []
    reloading = Reloading(load_settings(file, os.environ, {}), lambda _: None)
    leave = reloading.takes(("logging.level",), told.append)
    leave()
    file.write_text(FILE.format(level='"debug"', batch=500))
    [change] = await reloading.reload()
    assert (change.state, told) == (LATER, [])


async def test_two_at_once_take_turns(file: Path) -> None:
    reloading = Reloading(load_settings(file, os.environ, {}), lambda _: None)
    reloading.takes(("logging.",), lambda _: None)
    file.write_text(FILE.format(level='"debug"', batch=500))
    both = await asyncio.gather(reloading.reload(), reloading.reload())
    assert sorted(len(changes) for changes in both) == [0, 1]


async def test_settings_given_by_a_program_cannot_be_read_again(tmp_path: Path) -> None:
    own = msgspec.structs.replace(load_settings(None, {}, {}), origin=None)
    with pytest.raises(Conflict, match="given by a program"):
        await Reloading(own, lambda _: None).reload()


def test_what_is_kept_of_the_command_line_is_not_shown() -> None:
    settings = load_settings(None, {}, {"store.encryption_key": "ab" * 32})
    assert "ab" * 32 not in repr(settings)


async def test_an_engine_starts_and_ends_agents_by_new_settings(tmp_path: Path, file: Path) -> None:
    file.write_text("[agents]\nspawn_per_minute = 1\n")
    settings = load_settings(file, os.environ, {})
    async with open_core(
        tmp_path / "data", settings=settings, transient=False, headless=True, clock=None
    ) as core:
        file.write_text(
            "[agents]\nspawn_per_minute = 7\nwarm_up_s = 3\nkill_after_s = 0.5\ngrace_s = 1\n"
            "output_bytes = '64 KB'\noutput_files = 1\nheartbeat_s = 0.5\n"
        )
        changes = await core.engine.run(act.Reload())
        states = {change.name.partition(".")[2]: change.state for change in changes}
        assert states.pop("heartbeat_s") == LATER
        assert states == dict.fromkeys(
            ("spawn_per_minute", "warm_up_s", "kill_after_s", "grace_s", "output_bytes",
             "output_files"), APPLIED,
        )  # fmt: skip
        made = await core.swarms.create("testing", agents=3, memory_bytes=3 << 26, command=SLEEPER)
        assert made.warm_up_s == 3.0
        assert all(agent.pid for agent in core.swarms.agents(swarm=made.id))
        agent, rotated = core.swarms.agents(swarm=made.id)[0], core.data / "logs" / "testing"
        (rotated / f"{agent.id}.log").write_bytes(b"x" * 70_000)
        await core.swarms.sample()
        assert (rotated / f"{agent.id}.log.1").stat().st_size == 65_536
        await core.swarms.terminate(made.id, force=True)


async def test_an_engine_goes_by_the_new_limits_of_its_queue(tmp_path: Path, file: Path) -> None:
    file.write_text("[queue.depth]\ntesting = 1\n")
    settings = load_settings(file, os.environ, {})
    async with open_core(
        tmp_path / "data", settings=settings, transient=False, headless=True, clock=None
    ) as core:
        queue = core.engine.queue("testing")
        await queue.send("work", 1)
        with pytest.raises(Busy):
            await queue.send("work", 2)
        file.write_text("[queue]\nmax_attempts = 9\n[queue.depth]\ntesting = 2\n")
        changes = await core.engine.run(act.Reload())
        assert {change.name: change.state for change in changes} == {
            "queue.max_attempts": APPLIED, "queue.depth.testing": APPLIED,
        }  # fmt: skip
        sent = await queue.send("work", 2)
        shown = await core.engine.run(act.QueueShow(id=sent))
        assert shown.max_attempts == 9
        assert core.settings.queue.depth.testing == 2
        said = await core.engine.run(act.AuditList(limit=50))
        assert any(each.action == "engine.reload" for each in said)
