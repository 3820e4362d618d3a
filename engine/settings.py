"""The settings of a run, and where each value came from.

Layers, later ones win: the TOML files packaged in `configs`, the user's file, environment
variables, the command line. A number that can be changed stands in those files and nowhere in the
code; `sections.py` says what can be set.
"""

# Annotations are not postponed here: msgspec would read every one of them back from its text,
# which costs each command more than parsing the files does.

import os
import pathlib
import stat
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from .. import configs
from . import views
from .errors import ConfigError
from .layers import (
    Catalogue,
    Given,
    Secret,
    TomlText,
    build,
    from_environment,
    from_overrides,
    from_toml,
)
from .model import Environment, format_size
from .sections import (
    AgentSettings,
    AuditSettings,
    BenchSettings,
    BreakerSettings,
    CacheSettings,
    ClockSettings,
    ConsoleSettings,
    Durabilities,
    EnforcementSettings,
    EngineSettings,
    EnvironmentPlan,
    HealthSettings,
    HostPlan,
    IdentitySettings,
    Lanes,
    LaneSettings,
    LoggingSettings,
    MetricsSettings,
    PerEnvironment,
    QueueSettings,
    RedisSettings,
    Section,
    Sections,
    StoreSettings,
    TaskSettings,
    VaultSettings,
)

__all__ = [
    "AgentSettings",
    "AuditSettings",
    "BenchSettings",
    "BreakerSettings",
    "CacheSettings",
    "ClockSettings",
    "ConsoleSettings",
    "Durabilities",
    "EnforcementSettings",
    "EngineSettings",
    "EnvironmentPlan",
    "HealthSettings",
    "HostPlan",
    "IdentitySettings",
    "LaneSettings",
    "Lanes",
    "LoggingSettings",
    "MetricsSettings",
    "PerEnvironment",
    "QueueSettings",
    "RedisSettings",
    "Section",
    "Sections",
    "Settings",
    "StoreSettings",
    "TaskSettings",
    "VaultSettings",
    "catalogue",
    "load_settings",
    "read_file",
]

_MAX_FILE_BYTES: Final = 64 << 10
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Origin(msgspec.Struct, frozen=True):
    """Where the settings of a run were read, to read them again: a file that was named or None,
    and what was given besides."""

    config_file: pathlib.Path | None
    overrides: dict[str, Any]

    def load(self, env: Mapping[str, str]) -> "Settings":
        """The settings as they are there now. Raises ConfigError."""
        return load_settings(self.config_file, env, self.overrides)

    def __repr__(self) -> str:
        return f"Origin(config_file={self.config_file!r}, overrides={sorted(self.overrides)})"


class Settings(Sections, frozen=True):
    """All settings of a run. `sources` says where each value came from; a setting that is unset
    is not in it. `origin` is None for settings a program has made itself."""

    sources: dict[str, str]
    origin: Origin | None = None

    @property
    def data_dir(self) -> pathlib.Path:
        """Directory that holds databases, keys, socket and logs; it need not exist yet."""
        return pathlib.Path(self.engine.data_dir).expanduser()

    def shown(self) -> list[views.SettingView]:
        """Every setting with its value and source, in order of definition. A secret is shown as
        `(set)` or None. Sizes are bytes."""
        return [
            views.SettingView(
                name=field.name,
                value=shown_value(self, field.name),
                source=self.sources.get(field.name, "unset"),
                help=field.help,
            )
            for field in catalogue().fields.values()
        ]


def shown_value(settings: Settings, name: str) -> Any:  # noqa: ANN401 - of any setting
    """One setting by its dotted name, as people may see it: a secret is `(set)` or None."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return "(set)" if isinstance(value, Secret) else value


@cache
def catalogue() -> Catalogue:
    """Every setting by dotted name, with its type and help."""
    return Catalogue(Sections)


def load_settings(
    config_file: pathlib.Path | None, env: Mapping[str, str], overrides: Mapping[str, Any]
) -> Settings:
    """The settings of a run.

    `config_file` None means config.toml below $XDG_CONFIG_HOME/swarmdeck (or
    $HOME/.config/swarmdeck), which need not exist; a file that is named must. `env` is the
    environment to read, nothing else of the process is. `overrides` maps dotted names
    (`store.batch_limit`) to values or text. Raises ConfigError: place, setting, what was expected.
    """
    given = _derived(env)
    given |= _user_file(config_file, env)
    given |= from_environment(catalogue(), env)
    given |= from_overrides(catalogue(), overrides)
    return _assembled(given, Origin(config_file, dict(overrides)))


def read_file(label: str, body: bytes, *, private: bool = True) -> Settings:
    """The settings of a file over the packaged ones, and nothing else. `label` is its name in
    errors; in one that is not `private` a secret is refused. Raises ConfigError."""
    return _assembled(_derived({}) | _layer(label, body, private=private))


def _assembled(layers: dict[str, Given], origin: Origin | None = None) -> Settings:
    given = _packaged() | layers
    sections = build(Sections, given)
    _check_plan(sections.host, given)
    _check_backoff(sections.queue, given)
    sources = {name: value.source for name, value in given.items()}
    parts = {name: getattr(sections, name) for name in Sections.__struct_fields__}
    return Settings(**parts, sources=sources, origin=origin)


@cache
def _packaged_files() -> tuple[tuple[str, Given], ...]:
    return tuple(
        entry
        for file in configs.PACKAGED
        for entry in from_toml(
            catalogue(), TomlText(file, configs.read(file)), f"default ({file})"
        ).items()
    )


def _packaged() -> dict[str, Given]:
    return dict(_packaged_files())


def _derived(env: Mapping[str, str]) -> dict[str, Given]:
    """What is not packaged because it depends on who runs the program."""
    home = _xdg(env, "XDG_DATA_HOME", ".local/share") or pathlib.Path("~/.local/share")
    return {"engine.data_dir": Given(str(home / "swarmdeck"), "default (XDG data home)")}


def _xdg(env: Mapping[str, str], variable: str, below_home: str) -> pathlib.Path | None:
    """A base directory. The XDG specification has relative paths ignored."""
    named = env.get(variable, "")
    if pathlib.PurePath(named).is_absolute():
        return pathlib.Path(named)
    home = env.get("HOME", "")
    return pathlib.Path(home) / below_home if home else None


def _user_file(config_file: pathlib.Path | None, env: Mapping[str, str]) -> dict[str, Given]:
    path = config_file
    if path is None:
        base = _xdg(env, "XDG_CONFIG_HOME", ".config")
        path = base / "swarmdeck" / "config.toml" if base else None
        if path is None or not os.path.lexists(path):
            return {}
    body, mode = _read(path)
    return _layer(str(path), body, private=not mode & _OTHERS)


def _read(path: pathlib.Path) -> tuple[bytes, int]:
    """What is in a file, a little more than a settings file may hold, and its mode."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES + 1), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", hint="name another file with --config"
        ) from error


def _layer(label: str, body: bytes, *, private: bool) -> dict[str, Given]:
    layer = from_toml(catalogue(), TomlText(label, _text(label, body)))
    secrets = [name for name in layer if catalogue().fields[name].secret]
    if secrets and not private:
        raise ConfigError(
            f"{layer[secrets[0]].source}: {secrets[0]} is a secret, and others may read this file",
            hint=f"chmod 600 {label}, and change the secret: it may be known",
        )
    return layer


def _text(label: str, body: bytes) -> str:
    if len(body) > _MAX_FILE_BYTES:
        raise ConfigError(
            f"{label}: larger than {format_size(_MAX_FILE_BYTES)}",
            hint="a settings file is a few lines of TOML",
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{label}:{line}: not UTF-8 text", hint="save it as UTF-8") from error


def _check_plan(host: HostPlan, given: Mapping[str, Given]) -> None:
    for name, plan in host.environments.items():
        names = [f"host.environments.{name}.{part}" for part in ("base_bytes", "max_bytes")]
        if plan.base_bytes > plan.max_bytes:
            raise ConfigError(
                f"{_place(given, names)}: {names[0]} is {format_size(plan.base_bytes)}, above its "
                f"max_bytes of {format_size(plan.max_bytes)}",
                hint="the base is part of the maximum",
            )
    _check_sums(host, given)


def _check_sums(host: HostPlan, given: Mapping[str, Given]) -> None:
    extras = ["coordination_bytes", "monitoring_bytes", "buffer_bytes"]
    bases = sum(plan.base_bytes for _, plan in host.environments.items())
    wanted = bases + sum(getattr(host, name) for name in extras)
    names = [f"host.environments.{name}.base_bytes" for name in Environment]
    names += [f"host.{name}" for name in (*extras, "swarms_bytes")]
    if wanted > host.swarms_bytes:
        raise ConfigError(
            f"{_place(given, names)}: bases, coordination, monitoring and buffer add up to "
            f"{format_size(wanted)}, above host.swarms_bytes of {format_size(host.swarms_bytes)}",
            hint=f"{format_size(wanted - host.swarms_bytes)} too much: lower a base or the buffer",
        )
    if host.swarms_bytes > host.total_bytes:
        raise ConfigError(
            f"{_place(given, ['host.swarms_bytes', 'host.total_bytes'])}: host.swarms_bytes is "
            f"{format_size(host.swarms_bytes)}, above host.total_bytes of "
            f"{format_size(host.total_bytes)}",
            hint="swarms get a part of the host",
        )


def _check_backoff(queue: QueueSettings, given: Mapping[str, Given]) -> None:
    if queue.backoff_base_s > queue.backoff_cap_s:
        names = ["queue.backoff_base_s", "queue.backoff_cap_s"]
        raise ConfigError(
            f"{_place(given, names)}: queue.backoff_base_s is {queue.backoff_base_s:g}, above "
            f"queue.backoff_cap_s of {queue.backoff_cap_s:g}",
            hint="the first wait is the shortest",
        )


def _place(given: Mapping[str, Given], names: list[str]) -> str:
    """Where the value was set that somebody chose, among settings that do not fit together."""
    places = [given[name].source for name in names]
    return next((place for place in places if not place.startswith("default ")), places[0])
