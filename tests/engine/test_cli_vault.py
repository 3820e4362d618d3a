"""Secrets on the command line's border: asked for or read, never a word, never shown again."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from swarmdeck.engine import views
from swarmdeck.engine.actions import VaultRekey, VaultUnseal
from swarmdeck.engine.cli import secrets
from swarmdeck.engine.cli.main import main
from swarmdeck.engine.cli.options import Options
from swarmdeck.engine.errors import InvalidInput

PASSPHRASE = "correct horse battery"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return tmp_path


def type_in(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Give standard input that is no terminal."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body)))


def answer_with(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Sit at a terminal; the prompts are kept."""
    waiting, asked = list(answers), []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    monkeypatch.setattr("getpass.getpass", getpass)
    return asked


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"", b"\nmore"])
def test_a_secret_is_one_line_of_standard_input(
    monkeypatch: pytest.MonkeyPatch, ending: bytes
) -> None:
    type_in(monkeypatch, "Ä secret".encode() + ending)
    assert secrets.ask("passphrase") == "Ä secret"


@pytest.mark.parametrize("body", [b"", b"\n", b"\xff\n", b"x" * 5000])
def test_what_is_no_secret_is_refused(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    type_in(monkeypatch, body)
    with pytest.raises(InvalidInput, match="passphrase"):
        secrets.ask("passphrase")


def test_a_new_passphrase_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_with(monkeypatch, PASSPHRASE, PASSPHRASE)
    assert secrets.new_passphrase() == PASSPHRASE
    assert asked == ["new passphrase: ", "the same again: "]
    answer_with(monkeypatch, PASSPHRASE, PASSPHRASE + "x")
    with pytest.raises(InvalidInput, match="differ"):
        secrets.new_passphrase()
    answer_with(monkeypatch, "short")
    with pytest.raises(InvalidInput, match="too short"):
        secrets.new_passphrase()
    answer_with(monkeypatch)
    with pytest.raises(InvalidInput, match="no new passphrase was given"):
        secrets.new_passphrase()


def test_only_what_needs_a_passphrase_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def vault(source: str) -> Callable[..., views.VaultView]:
        return lambda *_: views.VaultView(state="sealed", source=source, place="", reason="so")

    asked = answer_with(monkeypatch, PASSPHRASE)
    monkeypatch.setattr(secrets, "find_socket", lambda _: Path("/run/x"))
    monkeypatch.setattr(secrets, "perform", vault("file"))
    assert secrets.with_secrets(VaultUnseal(), Options(data="d")) == VaultUnseal()
    wanted = VaultRekey(source="file")
    assert secrets.with_secrets(wanted, Options(data="d")) == wanted
    assert asked == []
    monkeypatch.setattr(secrets, "perform", vault("passphrase"))
    unseal = secrets.with_secrets(VaultUnseal(), Options(data="d"))
    assert unseal == VaultUnseal(passphrase=PASSPHRASE)
    assert asked == ["passphrase: "]


def test_init_with_a_passphrase_makes_a_directory_that_starts_sealed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = ["--data", str(home / "data")]
    type_in(monkeypatch, b"short\n")
    assert main([*data, "init", "--key-source", "passphrase"]) == 2
    assert not (home / "data").exists()
    type_in(monkeypatch, PASSPHRASE.encode() + b"\n")
    assert main([*data, "init", "--key-source=passphrase"]) == 0
    assert b"key source: passphrase" in capfdbinary.readouterr().out
    assert main([*data, "memory", "get", "testing", "k"]) == 7
    said = capfdbinary.readouterr().err
    assert said.startswith(b"swarmdeck: testing is sealed: its passphrase is needed")
    assert b"swarmdeck vault unseal" in said
    assert main([*data, "vault", "status"]) == 0
    assert b"sealed: its passphrase is needed" in capfdbinary.readouterr().out
    assert main([*data, "vault", "unseal"]) == 7
    assert b"no engine owns" in capfdbinary.readouterr().err
    assert main([*data, "init", "--key-source", "file"]) == 5
    assert b"vault rekey file" in capfdbinary.readouterr().err
    assert main([*data, "init"]) == 0


@pytest.mark.parametrize(
    "words", [["now"], ["--key-source"], ["--key-source", "file", "x"], ["--key-sauce", "file"]]
)
def test_init_takes_nothing_else(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["--data", str(home / "data"), "init", *words]) == 2
    assert "usage: swarmdeck init [--key-source" in capsys.readouterr().err
    assert not (home / "data").exists()


def test_init_refuses_a_source_it_does_not_know(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(home / "data"), "init", "--key-source", "disk"]) == 2
    assert "one of file, passphrase, keyring" in capsys.readouterr().err


def test_a_passphrase_opens_the_vault_of_a_service(home: Path) -> None:
    entry = "from swarmdeck.console.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", entry, "--data", str(home / "data")]

    def run(*words: str, say: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], input=say, capture_output=True, text=True, timeout=60, check=False,
            env=dict(os.environ),
        )  # fmt: skip

    assert run("init", "--key-source", "passphrase", say=PASSPHRASE).returncode == 0
    with subprocess.Popen([*command, "serve"], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(b"ready")
            wrong = run("vault", "unseal", say="wrong horse battery")
            assert wrong.returncode == 4
            assert "horse" not in wrong.stdout + wrong.stderr
            assert run("memory", "set", "testing", "k", "1").returncode == 7
            opened = run("vault", "unseal", say=PASSPHRASE)
            assert (opened.returncode, "battery" in opened.stdout) == (0, False)
            assert run("memory", "set", "testing", "k", "1").returncode == 0
            assert run("vault", "seal").returncode == 0
            assert run("memory", "get", "testing", "k").returncode == 7
        finally:
            server.kill()
