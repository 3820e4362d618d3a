"""Settings: layers, sources, refusals that name the place, and secrets that stay secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.configs import PACKAGED, read
from swarmdeck.engine.errors import ConfigError
from swarmdeck.engine.layers import Secret, TomlText
from swarmdeck.engine.model import GIB, Durability, Isolation
from swarmdeck.engine.settings import Settings, catalogue, load_settings

GB = GIB


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def shipped(**env: str) -> Settings:
    return load_settings(None, env, {})


def refusal(
    file: Path | None = None, env: dict[str, str] | None = None, **more: Any
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(file, env or {}, more)
    return caught.value


# --- what is shipped ------------------------------------------------------------------------


def test_the_shipped_plan_shares_out_62_of_96_gb_exactly() -> None:
    host = shipped().host
    bases = sum(plan.base_bytes for _, plan in host.environments.items())
    maxima = sum(plan.max_bytes for _, plan in host.environments.items())
    extras = host.coordination_bytes + host.monitoring_bytes + host.buffer_bytes
    assert (host.total_bytes, host.swarms_bytes, host.reserved_bytes) == (96 * GB, 62 * GB, 34 * GB)
    assert (bases, extras, maxima) == (46 * GB, 16 * GB, 66 * GB)


@pytest.mark.parametrize(
    ("name", "base", "limit", "priority", "agents", "isolation", "durability"),
    [
        ("production", 12, 16, 1, 20, Isolation.STRICT, Durability.FULL),
        ("development", 10, 14, 2, 16, Isolation.MODERATE, Durability.NORMAL),
        ("testing", 8, 12, 3, 12, Isolation.MODERATE, Durability.NORMAL),
        ("research", 10, 14, 4, 16, Isolation.LOOSE, Durability.NORMAL),
        ("staging", 6, 10, 5, 10, Isolation.STRICT, Durability.FULL),
    ],
)
def test_each_environment_has_its_shipped_row(
    name: str,
    base: int,
    limit: int,
    priority: int,
    agents: int,
    isolation: Isolation,
    durability: Durability,
) -> None:
    loaded = shipped()
    plan = loaded.host.environments[name]
    assert (plan.base_bytes, plan.max_bytes) == (base * GB, limit * GB)
    assert (plan.priority, plan.agents) == (priority, agents)
    assert (loaded.isolation[name], loaded.durability[name]) == (isolation, durability)


def test_every_setting_has_help_and_a_shipped_value_or_none() -> None:
    loaded = shipped()
    for view in loaded.shown():
        assert view.help.endswith(".")
        assert view.value is not None or view.source == "unset"
    unset = {view.name for view in loaded.shown() if view.source == "unset"}
    assert unset == {
        "store.encryption_key",
        "vault.key_file",
        "bench.output_dir",
        "audit.outside_dir",
        "redis.host",
        "redis.password",
        "identity.swarm_id",
        "identity.agent_id",
    }


def test_no_setting_is_shipped_twice() -> None:
    names = [
        path
        for file in PACKAGED
        for path in _leaves(TomlText(file, read(file)).tables)
        if path in catalogue().fields
    ]
    assert len(names) == len(set(names))


def _leaves(table: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        leaf
        for key, value in table.items()
        for leaf in (
            _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
        )
    ]


# --- layers ---------------------------------------------------------------------------------


def test_later_layers_win_and_each_value_says_where_it_came_from(user_file: Path) -> None:
    user_file.write_text(
        "[store]\nbatch_limit = 100\nbusy_timeout_ms = 1\n\n[queue]\nlease_s = 7\n"
    )
    env = {"SWARMDECK_STORE__BUSY_TIMEOUT_MS": "2", "SWARMDECK_QUEUE__LEASE_S": "8"}
    loaded = load_settings(user_file, env, {"queue.lease_s": 9})
    assert loaded.store.page_size == 4096
    assert loaded.store.batch_limit == 100
    assert loaded.store.busy_timeout_ms == 2
    assert loaded.queue.lease_s == 9.0
    assert loaded.sources["store.page_size"] == "default (defaults.toml)"
    assert loaded.sources["store.batch_limit"] == f"{user_file}:2"
    assert (
        loaded.sources["store.busy_timeout_ms"]
        == "SWARMDECK_STORE__BUSY_TIMEOUT_MS in the environment"
    )
    assert loaded.sources["queue.lease_s"] == "command line"


def test_the_user_file_is_found_below_the_xdg_directories(tmp_path: Path) -> None:
    place = tmp_path / ".config" / "swarmdeck" / "config.toml"
    place.parent.mkdir(parents=True)
    place.write_text("logging.level = 'error'\n")
    assert shipped(HOME=str(tmp_path)).logging.level == "error"
    assert shipped(XDG_CONFIG_HOME=str(tmp_path / ".config")).logging.level == "error"
    assert shipped(HOME=str(tmp_path), XDG_CONFIG_HOME=".config").logging.level == "error"
    assert shipped(HOME=str(tmp_path / "elsewhere")).logging.level == "info"


def test_the_data_directory_follows_xdg_then_home() -> None:
    assert shipped(XDG_DATA_HOME="/x", HOME="/h").data_dir == Path("/x/swarmdeck")
    assert shipped(XDG_DATA_HOME="x", HOME="/h").data_dir == Path("/h/.local/share/swarmdeck")
    assert load_settings(None, {}, {"engine.data_dir": "here"}).data_dir == Path("here")
    assert "~" not in str(shipped().data_dir)


def test_short_names_are_read_and_the_long_form_wins_over_them() -> None:
    loaded = shipped(
        REDIS_HOST="r1", REDIS_PORT="6400", REDIS_DB="2", REDIS_PASSWORD="p",
        SQLITE_ENCRYPTION_KEY="k", SQLITE_COMPRESSION_THRESHOLD="2KB",
        SWARM_ID="dev_swarm_1", AGENT_ID="dev_agent_1", SWARMDECK_REDIS__PORT="6401",
    )  # fmt: skip
    assert (loaded.redis.host, loaded.redis.port, loaded.redis.db) == ("r1", 6401, 2)
    assert loaded.redis.password == Secret("p")
    assert loaded.store.encryption_key == Secret("k")
    assert loaded.store.compression_threshold_bytes == 2048
    assert loaded.identity.swarm_id == "dev_swarm_1"
    assert loaded.identity.agent_id == "dev_agent_1"
    assert loaded.sources["redis.host"] == "REDIS_HOST in the environment"


def test_an_empty_variable_is_unset_and_foreign_variables_are_left_alone() -> None:
    loaded = shipped(REDIS_HOST="", SWARMDECK_STORE__BATCH_LIMIT="", SWARMDECK_TOKEN="t", LANG="C")
    assert loaded.redis.host is None
    assert loaded.store.batch_limit == 500


def test_sizes_are_written_with_units_everywhere(user_file: Path) -> None:
    user_file.write_text('cache.records_bytes = "1.5GiB"\n')
    env = {"SWARMDECK_STORE__CACHE_BYTES": "32MB"}
    loaded = load_settings(user_file, env, {"store.mmap_bytes": "1GB"})
    assert loaded.cache.records_bytes == 3 * GB // 2
    assert loaded.store.cache_bytes == 32 << 20
    assert loaded.store.mmap_bytes == GB


def test_a_nested_setting_has_a_variable_of_its_own() -> None:
    loaded = shipped(SWARMDECK_HOST__ENVIRONMENTS__STAGING__AGENTS="11")
    assert loaded.host.environments["staging"].agents == 11


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "unknown", "hint"),
    [
        ("[store]\n\npage_sise = 4096\n", 3, "store.page_sise", "store.page_size"),
        ("[stoer]\npage_size = 4096\n", 1, "stoer", "store"),
        ("x = 1\n", 1, "x", "config show"),
        ("[queue]\nlease_s = 1\npage_size = 4096\n", 3, "queue.page_size", "store.page_size"),
        ("host.environments.live.agents = 1\n", 1, "host.environments.live", "one of production, "),
        ("['store.page_size']\nx = 1\n", 1, "store.page_size", "store.page_size"),
        ('s = """\n[store]\npage_size = 1\n"""\n', 1, "s", "config show"),
        ("store = {batch_limit = 1,\tpage = 2}\n", 1, "store.page", "store.page_size"),
    ],
)
def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_name(
    user_file: Path, text: str, line: int, unknown: str, hint: str
) -> None:
    user_file.write_text(text)
    error = refusal(user_file)
    assert error.message == f"{user_file}:{line}: unknown setting {unknown}"
    assert hint in error.hint


def test_lines_are_right_behind_values_of_several_lines(user_file: Path) -> None:
    user_file.write_text(
        '# page_size = 1\n[logging]\nlevel = """\\\n   info"""\n\n[store] # batch_limit\n'
        "'page_size' = 8192\nbatch_limit = [\n  1,\n]\n"
    )
    assert refusal(user_file).message.startswith(f"{user_file}:8: store.batch_limit must be")


@pytest.mark.parametrize(
    ("text", "expectation"),
    [
        ("store.batch_limit = '5'", "a whole number from 1 to 10000, not '5'"),
        ("store.batch_limit = 0", "a whole number from 1 to 10000, not '0'"),
        ("store.batch_limit = true", "a whole number from 1 to 10000, not 'True'"),
        ("store.page_size = 4097", "one of 4096, 8192, 16384, 32768, 65536, not '4097'"),
        ("queue.lease_s = '30s'", "a number of seconds from 0.1 to 86400, not '30s'"),
        ("queue.lease_s = nan", "a number of seconds from 0.1 to 86400, not 'nan'"),
        ("queue.lease_s = inf", "a number of seconds from 0.1 to 86400, not 'inf'"),
        ("durability.staging = 'max'", "one of full, normal, not 'max'"),
        ("isolation.staging = 3", "one of strict, moderate, loose, not '3'"),
        (
            "cache.records_bytes = '5 bananas'",
            "a size such as 512MB or 2GB, from 0 B to 64 GB, not",
        ),
        (
            "host.buffer_bytes = '9999999GB'",
            "a size such as 512MB or 2GB, from 0 B to 4096 GB, not",
        ),
        ("redis.host = ''", r"text that matches ^\S+$, not ''"),
        ("redis.port = {a = 1}", "a whole number from 1 to 65535, not"),
        ("identity.agent_id = 'a/b'", "text that matches"),
    ],
)
def test_a_wrong_value_is_refused_with_place_and_expectation(
    user_file: Path, text: str, expectation: str
) -> None:
    user_file.write_text(text)
    error = refusal(user_file)
    name = text.partition(" ")[0]
    assert error.message.startswith(f"{user_file}:1: {name} must be {expectation}")
    assert error.exit_code == 2
    assert error.hint


def test_a_size_of_absurd_length_is_refused() -> None:
    text = "9" * 400 + "GB"
    error = refusal(None, {"SWARMDECK_CACHE__RECORDS_BYTES": text})
    assert "cache.records_bytes must be a size" in error.message


def test_a_value_where_a_section_belongs_is_refused(user_file: Path) -> None:
    user_file.write_text("store = 5\n")
    assert refusal(user_file).message == f"{user_file}:1: store must be a section, not '5'"


@pytest.mark.parametrize(
    ("text", "line"),
    [("[store]\npage_size = \n", 2), ("a = 1\na = 2\n", 2), ("[store", 1), ("x = 'a\n\n", 1)],
)
def test_broken_toml_is_refused_with_its_line(user_file: Path, text: str, line: int) -> None:
    user_file.write_text(text)
    assert refusal(user_file).message.startswith(f"{user_file}:{line}: not valid TOML: ")


def test_values_nested_too_deep_or_too_long_are_refused(user_file: Path) -> None:
    for text in ("x = " + "[" * 20_000, "x = " + "9" * 5000):
        user_file.write_text(text)
        assert "not valid TOML" in refusal(user_file).message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, user_file: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path / "none.toml").message
    assert "cannot be read: Is a directory" in refusal(tmp_path).message
    user_file.write_bytes(b"a = 1\nb = '\xff'\n")
    assert refusal(user_file).message == f"{user_file}:2: not UTF-8 text"
    user_file.write_bytes(b"#" * (65 << 10))
    assert "larger than 64 KB" in refusal(user_file).message


def test_a_dangling_link_is_not_taken_for_no_file(tmp_path: Path) -> None:
    (tmp_path / "swarmdeck").mkdir()
    (tmp_path / "swarmdeck" / "config.toml").symlink_to(tmp_path / "gone")
    assert "cannot be read" in refusal(None, {"XDG_CONFIG_HOME": str(tmp_path)}).message


def test_unknown_names_in_the_environment_and_on_the_command_line_are_refused() -> None:
    error = refusal(None, {"SWARMDECK_STORE__PAGE_SISE": "1"})
    assert "SWARMDECK_STORE__PAGE_SISE' in the environment: unknown setting" in error.message
    assert error.hint == "did you mean store.page_size?"
    error = refusal(None, {}, **{"queue.lease": 5})
    assert error.message == "command line: unknown setting queue.lease"
    assert error.hint == "did you mean queue.lease_s?"


def test_a_plan_that_does_not_add_up_is_refused_where_it_was_changed(user_file: Path) -> None:
    user_file.write_text('[host.environments.staging]\nmax_bytes = "20GB"\nbase_bytes = "7GB"\n')
    error = refusal(user_file)
    assert error.message.startswith(f"{user_file}:3: bases, coordination, monitoring and buffer")
    assert "63 GB, above host.swarms_bytes of 62 GB" in error.message
    assert error.hint.startswith("1 GB too much")


def test_a_base_above_its_maximum_is_refused() -> None:
    error = refusal(None, {"SWARMDECK_HOST__ENVIRONMENTS__STAGING__MAX_BYTES": "5GB"})
    assert "SWARMDECK_HOST__ENVIRONMENTS__STAGING__MAX_BYTES in the environment" in error.message
    assert "base_bytes is 6 GB, above its max_bytes of 5 GB" in error.message


def test_swarms_above_the_host_and_a_backoff_above_its_cap_are_refused() -> None:
    assert "above host.total_bytes" in refusal(None, {}, **{"host.total_bytes": "60GB"}).message
    assert (
        "command line: queue.backoff" in refusal(None, {}, **{"queue.backoff_cap_s": 0.5}).message
    )


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_no_text_in_a_file_gets_anything_but_lines_or_a_config_error(text: str) -> None:
    try:
        place = TomlText("f.toml", text).place(("nothing",))
    except ConfigError as error:
        place = error.message
    assert place.startswith("f.toml:")


# --- secrets and cost -----------------------------------------------------------------------


def test_secrets_are_in_no_repr_no_view_and_no_error(user_file: Path) -> None:
    loaded = shipped(REDIS_PASSWORD="hunter2", SQLITE_ENCRYPTION_KEY="hunter2")
    shown = {view.name: view.value for view in loaded.shown()}
    assert shown["redis.password"] == shown["store.encryption_key"] == "(set)"
    assert "hunter2" not in repr(loaded) + repr(shown)
    assert loaded.redis.password is not None
    assert loaded.redis.password.reveal() == "hunter2"
    with pytest.raises(TypeError):
        msgspec.json.encode(loaded)
    user_file.write_text("redis.password = ['hunter2']")
    error = refusal(user_file)
    assert "hunter2" not in error.message + error.hint + repr(error.__cause__)


def test_importing_settings_is_light() -> None:
    code = (
        "import sys, swarmdeck.engine.settings\n"
        "print([m for m in ('asyncio', 'psutil', 'redis', 'importlib.resources', 'textual')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ},
    )
    assert done.stdout.strip() == "[]"
