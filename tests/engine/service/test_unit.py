"""The systemd unit that `serve --unit` prints."""

from __future__ import annotations

import configparser
import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from swarmdeck.engine.cli.main import main
from swarmdeck.engine.cli.serve import Wanted, read_words
from swarmdeck.engine.cli.unit import Unit, systemd_version, text_of
from swarmdeck.engine.errors import InvalidInput


def unit(data: str = "/srv/swarm", user: str | None = "swarm") -> Unit:
    return Unit(
        command=("/opt/bin/swarmdeck", "--data", data, "serve"),
        data=Path(data),
        user=user,
        environment={"XDG_CONFIG_HOME": "/srv/config home"},
    )


def sections(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_agents_outlive_an_engine_that_dies_and_settings_are_read_again() -> None:
    service = sections(text_of(unit()))["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "process"
    assert service["Restart"] == "on-failure"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["OOMPolicy"] == "continue"
    assert "memory" in service["Delegate"]


@pytest.mark.parametrize(
    ("version", "word"), [(0, None), (252, None), (253, None), (254, "engine")]
)
def test_the_engine_gets_a_group_of_its_own_where_systemd_can(
    version: int, word: str | None
) -> None:
    made = sections(text_of(msgspec.structs.replace(unit(), systemd=version)))["Service"]
    assert made.get("DelegateSubgroup") == word


@pytest.mark.parametrize(
    ("said", "version"),
    [("systemd 257 (257.5-2)", 257), ("systemd 256.7 (x)", 256), ("what?", 0), ("", 0)],
)
def test_the_version_is_what_systemd_says(
    said: str, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert systemd_version() == version
    assert systemd_version("no-such-program") == 0


def test_words_are_written_as_systemd_reads_them() -> None:
    text = text_of(unit('/srv/a b$HOME"%h\\x'))
    assert 'ExecStart=/opt/bin/swarmdeck --data "/srv/a b$$HOME\\"%%h\\\\x" serve\n' in text
    assert 'Environment="XDG_CONFIG_HOME=/srv/config home"\n' in text


def test_two_directories_have_two_places_for_their_sockets() -> None:
    places = [sections(text_of(unit(data)))["Service"]["RuntimeDirectory"] for data in ("/a", "/b")]
    assert places[0] != places[1]


def test_a_unit_of_the_user_names_no_user_and_needs_no_privilege() -> None:
    text = text_of(unit(user=None))
    service = sections(text)["Service"]
    assert "User" not in service
    assert "ProtectSystem" not in service
    assert "WantedBy=default.target" in text


def test_a_path_that_no_line_can_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot stand in a unit"):
        text_of(unit("/srv/a\nExecStart=/bin/sh"))


@pytest.mark.parametrize("mode", [["--unit"], ["--unit", "--user"]])
@pytest.mark.systemd
def test_systemd_finds_nothing_to_say_of_it(
    mode: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path / "da ta"), "serve", *mode]) == 0
    file = tmp_path / "swarmdeck.service"
    file.write_text(capsys.readouterr().out)
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    done = subprocess.run(
        [analyze, *mode[1:], "verify", str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_starts_this_installation_as_this_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--data", str(tmp_path), "--log-level", "debug", "serve", "--unit"])
    service = sections(capsys.readouterr().out)["Service"]
    program, *words = service["ExecStart"].split()
    assert Path(program).parent == Path(sys.executable).parent
    assert words[-5:] == ["--data", str(tmp_path), "--log-level", "debug", "serve"]
    assert service["User"] == getpass.getuser()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], Wanted()),
        (["--wait", "5", "--quiet"], Wanted(wait_s=5, quiet=True)),
        (["--wait=0.5"], Wanted(wait_s=0.5)),
        (["--unit", "--user"], Wanted(unit=True, user=True)),
    ],
)
def test_what_stands_behind_serve(words: list[str], wanted: Wanted) -> None:
    assert read_words(words) == wanted


@pytest.mark.parametrize("words", [["now"], ["--wait"], ["--wait", "x"], ["--wait=-1"],
                                   ["--user"], ["--quiet=yes"]])  # fmt: skip
def test_what_serve_does_not_take(words: list[str]) -> None:
    with pytest.raises(InvalidInput):
        read_words(words)
