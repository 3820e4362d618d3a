"""Options for the console: what they set, and that a command does not take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmdeck.engine.cli.main import main
from swarmdeck.engine.cli.options import Options, read_options
from swarmdeck.engine.errors import ConfigError, InvalidInput
from swarmdeck.engine.settings import load_settings

CONSOLE = (
    ["--view", "queue"],
    ["--filter", "state=dead"],
    ["--read-only"],
    ["--low-bandwidth"],
    ["--interval", "2"],
    ["--theme", "swarmdeck-light"],
)


@pytest.mark.parametrize("words", CONSOLE, ids=lambda words: words[0])
def test_an_option_of_the_console_is_refused_with_a_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "status"]) == InvalidInput.exit_code
    assert f"{words[0]} is for the console" in capsys.readouterr().err


@pytest.mark.parametrize("words", CONSOLE, ids=lambda words: words[0])
def test_an_option_of_the_console_is_taken_without_one(words: list[str]) -> None:
    taken: list[Options] = []
    assert main(words, console=lambda options: taken.append(options) or 0) == 0
    assert taken == [read_options(words)[0]]


def test_a_view_may_carry_blanks_and_a_filter_a_dash() -> None:
    options, words = read_options(["--view", "queue dead @dev", "--filter", "-f dgst"])
    assert (options.view, options.filter, words) == ("queue dead @dev", "-f dgst", [])


def test_options_stand_over_the_settings_of_the_console(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[console]\nread_only = ["production"]\ninterval_s = 5\nmouse = false\n')
    settings = load_settings(file, {}, {}).console
    assert settings.read_only == ("production",)
    assert (settings.interval_s, settings.mouse, settings.low_bandwidth) == (5, False, False)
    options, _ = read_options(["--read-only", "--low-bandwidth", "--interval=0.5"])
    settings = load_settings(file, {}, options.overrides()).console
    assert settings.read_only == ("all",)
    assert (settings.interval_s, settings.low_bandwidth) == (0.5, True)


def test_a_list_is_taken_from_the_environment_too() -> None:
    env = {"SWARMDECK_CONSOLE__READ_ONLY": "production, staging"}
    assert load_settings(None, env, {}).console.read_only == ("production", "staging")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('read_only = ["moon"]', "a list of all, production"),
        ('read_only = "production"', "a list of all, production"),
        ("mouse = 3", "true or false"),
        ("interval_s = 0", "from 0.1 to 60"),
        ('theme = "../x"', "console.theme must be text that matches"),
    ],
)
def test_a_wrong_setting_of_the_console_names_its_line(
    tmp_path: Path, line: str, says: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[console]\n{line}\n")
    with pytest.raises(ConfigError, match=r"config\.toml:2") as refused:
        load_settings(file, {}, {})
    assert says in refused.value.message
