"""Settings and key files that others could read, write or get wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from swarmdeck.engine.errors import ConfigError, Sealed
from swarmdeck.engine.settings import load_settings, read_file
from swarmdeck.engine.vault import sources

SECRET = '[redis]\nhost = "h"\npassword = "hunter2"\n'


def load(file: Path) -> None:
    load_settings(file, {}, {})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_secret_in_a_file_that_others_may_read_is_refused_with_its_line(
    tmp_path: Path, mode: int
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(SECRET)
    file.chmod(mode)
    with pytest.raises(
        ConfigError, match=r"config\.toml:3: redis\.password is a secret"
    ) as refused:
        load(file)
    assert "chmod 600" in refused.value.hint
    assert "hunter2" not in refused.value.message + refused.value.hint


def test_a_secret_in_a_file_of_its_owner_alone_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(SECRET)
    file.chmod(0o600)
    load(file)
    file.write_text("[store]\nbatch_limit = 5\n")
    file.chmod(0o644)
    load(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[store]\nbatch_limits = 5\n", "config.toml:2: unknown setting store.batch_limits"),
        ("\n\nstor.batch_limit = 5\n", "config.toml:3: unknown setting stor"),
        ('[store]\ncache_bytes = "16XB"\n', "config.toml:2: store.cache_bytes must be a size"),
        (
            '[store]\nbusy_timeout_ms = "5s"\n',
            "config.toml:2: store.busy_timeout_ms must be a whole",
        ),
        ("[clock]\nmax_jump_s = nan\n", "config.toml:2: clock.max_jump_s must be a number"),
        ("[clock]\nmax_jump_s = inf\n", "config.toml:2: clock.max_jump_s must be a number"),
        (f"[store]\nbatch_limit = {'9' * 30}\n", "config.toml:2: store.batch_limit must be"),
        (f"[store]\nbatch_limit = {'9' * 5000}\n", "config.toml:2: not valid TOML"),
        ("[store]\nbatch_limit = 5\nbatch_limit = 6\n", "config.toml:3: not valid TOML"),
        (f"x = {'[' * 5000}\n", "config.toml:1: not valid TOML"),
        (f"{'a.' * 30_000}b = 1\n", "config.toml:1: not valid TOML: a name of too many parts"),
        ("a: 1\n", "config.toml:1: not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line_at_once(text: str, said: str) -> None:
    begun = time.thread_time()
    with pytest.raises(ConfigError) as refused:
        read_file("config.toml", text.encode())
    assert refused.value.message.startswith(said)
    assert refused.value.hint
    assert time.thread_time() - begun < 1


def test_a_value_of_ten_thousand_lines_does_not_hold_up_the_search_for_a_line() -> None:
    text = "[engine]\ndata_dir = '''" + "\n" * 20_000 + "'''\n[store]\nbatch_limit = 0\n"
    begun = time.thread_time()
    with pytest.raises(ConfigError, match=r"^config\.toml:"):
        read_file("config.toml", text.encode())
    assert time.thread_time() - begun < 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o606])
def test_a_key_file_that_others_may_read_seals_the_vault(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "vault.key"
    sources.make_file(file, bytes(32))
    assert sources.read_file(file) == bytes(32)
    file.chmod(mode)
    with pytest.raises(Sealed, match="others may read the key file"):
        sources.read_file(file)
