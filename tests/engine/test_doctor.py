"""The doctor finds what would stop an engine, without opening or changing anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from swarmdeck.engine.doctor import examine
from swarmdeck.engine.lock import OwnerLock
from swarmdeck.engine.settings import Settings, load_settings
from swarmdeck.engine.views import CheckView


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


def settings_with(**overrides: object) -> Settings:
    return load_settings(None, {}, {name.replace("__", "."): v for name, v in overrides.items()})


def found(data: Path, settings: Settings | None = None) -> dict[str, CheckView]:
    return {check.name: check for check in examine(data, settings or settings_with())}


def test_every_finding_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    for check in found(tmp_path / "data").values():
        assert check.status in {"ok", "warning", "failed"}
        assert check.detail
        assert check.status == "ok" or check.hint


def test_a_directory_that_is_not_there_is_no_problem_and_stays_away(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    assert found(data)["data directory"].status == "ok"
    assert not data.parent.exists()


def test_a_file_in_its_place_fails(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.write_text("not a directory")
    assert found(place)["data directory"].status == "failed"
    assert found(place / "below")["data directory"].status == "failed"


def test_a_directory_others_can_write_is_a_warning(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    assert found(data)["data directory"].status == "warning"


async def test_an_owner_that_answers_and_one_that_is_gone(tmp_path: Path) -> None:
    assert found(tmp_path)["owner"].detail == "none"
    with await OwnerLock.acquire(tmp_path) as lock, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(lock.prepare_socket()))
        listening.listen()
        assert found(tmp_path)["owner"].status == "ok"
        listening.close()
        stale = found(tmp_path)["owner"]
    assert stale.status == "warning"
    assert "nobody answers" in stale.detail


def test_a_server_that_does_not_answer_is_a_warning() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    settings = settings_with(redis__host="127.0.0.1", redis__port=port)
    assert found(Path("/"), settings)["redis"].status == "warning"


def test_a_smaller_host_is_told_the_share_of_the_plan(tmp_path: Path) -> None:
    settings = settings_with(host__total_bytes="4096GB")
    check = found(tmp_path, settings)["memory"]
    assert check.status == "warning"
    assert "plan for" in check.detail
