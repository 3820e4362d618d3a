"""The engine's log: one JSON document a line, in files that are put aside."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.journal import Journal
from swarmdeck.engine.service.log import engine_log
from swarmdeck.engine.settings import LoggingSettings, load_settings

ENGINE = logging.getLogger("swarmdeck.engine.swarms.crew")


def settings(**changed: Any) -> LoggingSettings:
    return msgspec.structs.replace(load_settings(None, {}, {}).logging, **changed)


def lines(data: Path) -> list[dict[str, Any]]:
    text = (data / "logs/engine.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def made(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


def test_a_line_is_a_document_with_the_error_in_it(tmp_path: Path) -> None:
    data = made(tmp_path)
    with engine_log(data, settings()):
        try:
            Path("no\x1b[31m disk\n\udcff").stat()
        except OSError:
            ENGINE.exception("agent %s\u202e failed", "dev_agent_1")
        ENGINE.debug("not from this level on")
    [line] = lines(data)
    assert (line["level"], line["logger"], line["pid"]) == ("error", "swarms.crew", os.getpid())
    assert line["message"] == "agent dev_agent_1\u202e failed"
    assert line["at"].endswith("Z")
    assert line["error"]["type"] == "FileNotFoundError"
    assert "in_it" in line["error"]["trace"][0]
    raw = (data / "logs/engine.log").read_bytes()
    assert b"\x1b" not in raw
    assert "\u202e".encode() not in raw, "it would turn the line around in a terminal"


def test_what_happened_is_in_it_once_however_often_it_is_repeated(tmp_path: Path) -> None:
    data = made(tmp_path)
    journal = Journal(FakeClock())
    with engine_log(data, settings()):
        for _ in range(3):
            journal.note("swarm", "dev_swarm_1", "running", environment="development")
        journal.note("agent", "dev_agent_1", "failed", severity="critical")
    journal.note("agent", "dev_agent_1", "after it was closed")
    first, second = lines(data)
    assert first["logger"] == "events"
    assert (first["kind"], first["subject"], first["level"]) == ("swarm", "dev_swarm_1", "info")
    assert (second["message"], second["level"]) == ("failed", "critical")


def test_a_full_file_is_put_aside_and_only_so_many_are_kept(tmp_path: Path) -> None:
    data = made(tmp_path)
    with engine_log(data, settings(file_bytes=65_536, files=2)):
        for number in range(400):
            ENGINE.info("%d %s", number, "x" * 1000)
    files = sorted((data / "logs").iterdir())
    assert [file.name for file in files] == ["engine.log", "engine.log.1", "engine.log.2"]
    assert all(file.stat().st_size <= 65_536 for file in files)
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    assert lines(data)[-1]["message"].startswith("399 ")


def test_its_settings_can_change_while_it_is_written(tmp_path: Path) -> None:
    data = made(tmp_path)
    with engine_log(data, settings(level="warning")) as log:
        ENGINE.info("too little")
        log.take(settings(level="debug"))
        ENGINE.debug("now")
    assert [line["message"] for line in lines(data)] == ["now"]


def test_a_disk_that_refuses_costs_lines_and_nothing_else(tmp_path: Path, capfd: Any) -> None:
    with engine_log(tmp_path, settings()):
        ENGINE.warning("there is no directory yet")
        (tmp_path / "logs").mkdir()
        ENGINE.warning("now there is")
    assert [line["message"] for line in lines(tmp_path)] == ["now there is"]
    assert "Traceback" not in capfd.readouterr().err
