"""Every setting, typed and explained, and where its value came from.

Layers, later ones win: the TOML files packaged in `configs`, the user's file, environment
variables, the command line. A number that can be changed stands in those files and nowhere in the
code; the only defaults here are of what is unset until somebody sets it.
"""

# Annotations are not postponed here: msgspec would read every one of them back from its text,
# which costs each command more than parsing the files does.

import os
import pathlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

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
    setting,
)
from .model import GIB, MIB, MIN_SWARM_BYTES, Durability, Environment, Isolation, format_size

T = TypeVar("T")

_MAX_FILE_BYTES: Final = 64 << 10
_HOST_MAX: Final = 4096 * GIB
_DAY_S: Final = 86_400
_ID: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections."""


class PerEnvironment(Section, Generic[T], frozen=True):
    """One value for each of the five environments."""

    production: T
    development: T
    testing: T
    research: T
    staging: T

    def __getitem__(self, name: str) -> T:
        """The value for an environment, by name. Raises KeyError."""
        if name not in self.__struct_fields__:
            raise KeyError(name)
        value: T = getattr(self, name)
        return value

    def items(self) -> Iterator[tuple[Environment, T]]:
        """The five, most important environment first."""
        for name in Environment:
            yield name, self[name]


class EnvironmentPlan(Section, frozen=True):
    """What one environment may hold of the host."""

    base_bytes: Annotated[
        int,
        setting(
            "Memory the environment is always granted, taken back from borrowers if need be.",
            size=True,
            ge=MIN_SWARM_BYTES,
            le=_HOST_MAX,
        ),
    ]
    max_bytes: Annotated[
        int,
        setting(
            "Memory it never passes; what it holds above its base is borrowed.",
            size=True,
            ge=MIN_SWARM_BYTES,
            le=_HOST_MAX,
        ),
    ]
    priority: Annotated[
        int, setting("1 is the most important; the least important gives back first.", ge=1, le=100)
    ]
    agents: Annotated[
        int, setting("Live agent processes and connected agents at once.", ge=0, le=10_000)
    ]


class HostPlan(Section, frozen=True):
    """How the memory of the host is shared out. Sizes of a scaled plan may be below the bounds
    that a written plan must keep."""

    total_bytes: Annotated[
        int,
        setting(
            "Memory of the host the plan was made for; a smaller one scales it.",
            size=True,
            ge=GIB,
            le=_HOST_MAX,
        ),
    ]
    swarms_bytes: Annotated[
        int,
        setting(
            "Memory for swarms, coordination, monitoring and the buffer together.",
            size=True,
            ge=GIB // 2,
            le=_HOST_MAX,
        ),
    ]
    coordination_bytes: Annotated[
        int, setting("Memory kept for the coordination store.", size=True, ge=0, le=_HOST_MAX)
    ]
    monitoring_bytes: Annotated[
        int, setting("Memory kept for monitoring.", size=True, ge=0, le=_HOST_MAX)
    ]
    buffer_bytes: Annotated[
        int,
        setting("Memory lent first, before an idle environment's.", size=True, ge=0, le=_HOST_MAX),
    ]
    environments: PerEnvironment[EnvironmentPlan]

    @property
    def reserved_bytes(self) -> int:
        """What is left to the operating system, caches and the console."""
        return self.total_bytes - self.swarms_bytes


IsolationOf = Annotated[
    Isolation, setting("How closed it is to other environments: strict, moderate or loose.")
]
DurabilityOf = Annotated[
    Durability,
    setting(
        "What an acknowledged write survives. full: power loss; normal: a crash, not power loss."
    ),
]


class Durabilities(PerEnvironment[DurabilityOf], frozen=True):
    """The five environments and the coordination database."""

    coordination: DurabilityOf


class EngineSettings(Section, frozen=True):
    data_dir: Annotated[str, setting("Directory that holds databases, keys, socket and logs.")]


class StoreSettings(Section, frozen=True):
    """Each database file."""

    page_size: Annotated[
        Literal[4096, 8192, 16_384, 32_768, 65_536],
        setting("Bytes in a page of a new database; larger ones measured slower."),
    ]
    reserve_bytes: Annotated[
        int,
        setting(
            "Disk space held back so that deletes work on a full disk; less on a small disk, 0 is "
            "none.",
            size=True,
            ge=0,
            le=64 * GIB,
        ),
    ]
    cache_bytes: Annotated[
        int, setting("Page cache of each connection.", size=True, ge=MIB, le=64 * GIB)
    ]
    mmap_bytes: Annotated[
        int,
        setting("Bytes of a file mapped into memory; 0 is off.", size=True, ge=0, le=64 * GIB),
    ]
    autocheckpoint_pages: Annotated[
        int, setting("Pages in the write-ahead log that start a checkpoint.", ge=100, le=1_000_000)
    ]
    busy_timeout_ms: Annotated[
        int, setting("Longest wait for a lock on a database file.", ge=0, le=600_000)
    ]
    batch_limit: Annotated[int, setting("Most operations in one commit.", ge=1, le=10_000)]
    checkpoint_interval_s: Annotated[
        float,
        setting(
            "With normal durability: seconds of writes that a power loss can take.", ge=0.1, le=3600
        ),
    ]
    compression_threshold_bytes: Annotated[
        int,
        setting(
            "Size above which a value is compressed.",
            size=True,
            ge=0,
            le=16 * MIB,
            variable="SQLITE_COMPRESSION_THRESHOLD",
        ),
    ]
    compression: Annotated[
        bool, setting("Compress values (LZ4) from the threshold on, before they are sealed.")
    ]
    slow_statement_ms: Annotated[
        float, setting("Statements that take longer are logged and counted.", ge=1, le=600_000)
    ]
    encryption_key: (
        Annotated[
            Secret,
            setting(
                "Key given by value: 32 bytes, hex or base64. Not for production and staging.",
                variable="SQLITE_ENCRYPTION_KEY",
            ),
        ]
        | None
    ) = None


class VaultSettings(Section, frozen=True):
    """Keys that seal records."""

    source: Annotated[
        Literal["file", "passphrase", "keyring"],
        setting("Where the key of a new data directory comes from."),
    ]
    rotation_days: Annotated[
        float, setting("Age at which the keys that seal records are replaced.", ge=1, le=3650)
    ]
    key_file: (
        Annotated[
            str,
            setting("File that holds the key; unset: one in the user's configuration directory."),
        ]
        | None
    ) = None


ReadsOf = Annotated[
    Literal["all", "sampled", "none"],
    setting("Which reads are audited: all (before the value is given), sampled, or none."),
]


class AuditSettings(Section, frozen=True):
    """The audit trail."""

    reads: PerEnvironment[ReadsOf]
    sample_every: Annotated[
        int, setting("Of sampled reads, one in so many is audited.", ge=1, le=1_000_000)
    ]
    wait_s: Annotated[
        float, setting("Longest wait for a read to be audited before it is refused.", ge=0.1, le=60)
    ]
    retention_days: Annotated[
        float, setting("Age at which audit rows are deleted.", ge=1, le=36_500)
    ]
    checkpoint_rows: Annotated[
        int, setting("Rows after which the trail is signed.", ge=1, le=1_000_000)
    ]
    checkpoint_s: Annotated[
        float, setting("Longest time until new rows are signed.", ge=1, le=3600)
    ]
    outside_dir: (
        Annotated[
            str,
            setting("Directory for signed checkpoints; unset: the user's state directory."),
        ]
        | None
    ) = None


OperatorRoleOf = Annotated[
    Literal["monitor", "coordinator", "admin", "system"],
    setting("What the operator may do there: monitor only looks, system does everything."),
]


class ClockSettings(Section, frozen=True):
    max_jump_s: Annotated[
        float,
        setting("A jump of the host's clock that pauses expiry until confirmed.", ge=1, le=86_400),
    ]


class CacheSettings(Section, frozen=True):
    records_bytes: Annotated[
        int,
        setting("Records kept in memory for each environment.", size=True, ge=0, le=64 * GIB),
    ]


class QueueSettings(Section, frozen=True):
    """What a message gets unless its sender or claimer says otherwise."""

    max_attempts: Annotated[
        int, setting("Deliveries before a message is a dead letter.", ge=1, le=100)
    ]
    lease_s: Annotated[
        float, setting("How long a claimed message is its claimer's.", ge=0.1, le=_DAY_S)
    ]
    backoff_base_s: Annotated[
        float, setting("Wait before the first retry; it doubles each time.", ge=0, le=3600)
    ]
    backoff_cap_s: Annotated[float, setting("Longest wait before a retry.", ge=0, le=_DAY_S)]
    backoff_jitter: Annotated[
        float, setting("Share by which a wait varies at random: 0.1 is 10 % each way.", ge=0, le=1)
    ]


class AgentSettings(Section, frozen=True):
    """Supervision of agent processes."""

    heartbeat_s: Annotated[float, setting("Seconds between two heartbeats.", ge=0.1, le=3600)]
    missed_heartbeats: Annotated[
        int, setting("Heartbeats missed before an agent is stale.", ge=1, le=100)
    ]
    restarts: Annotated[
        int, setting("Restarts of an agent within the window before it has failed.", ge=0, le=1000)
    ]
    restart_window_s: Annotated[
        float, setting("Window that restarts are counted in.", ge=1, le=_DAY_S)
    ]
    grace_s: Annotated[
        float, setting("Longest wait for running work when a swarm ends.", ge=0, le=300)
    ]
    kill_after_s: Annotated[
        float, setting("Wait between asking a process to end and killing it.", ge=0, le=300)
    ]
    orphan_grace_s: Annotated[
        float,
        setting("How long an agent outlives a lost connection to the engine.", ge=0, le=_DAY_S),
    ]


class LaneSettings(Section, frozen=True):
    """One lane of actions."""

    workers: Annotated[int, setting("Actions of this lane that run at once.", ge=1, le=64)]
    queued: Annotated[
        int, setting("Actions that wait in this lane before it answers busy.", ge=1, le=100_000)
    ]


class Lanes(Section, frozen=True):
    interactive: LaneSettings
    background: LaneSettings
    bulk: LaneSettings


class RedisSettings(Section, frozen=True):
    """The optional bus between hosts. Without a host it is not used."""

    port: Annotated[int, setting("Port of the server.", ge=1, le=65_535, variable="REDIS_PORT")]
    db: Annotated[int, setting("Number of the database.", ge=0, le=65_535, variable="REDIS_DB")]
    host: (
        Annotated[
            str,
            setting(
                "Name or address of the server; unset: no Redis.",
                pattern=r"^\S+$",
                variable="REDIS_HOST",
            ),
        ]
        | None
    ) = None
    password: Annotated[Secret, setting("Password.", variable="REDIS_PASSWORD")] | None = None


class IdentitySettings(Section, frozen=True):
    """Who this process is when it was started as part of a swarm."""

    swarm_id: (
        Annotated[str, setting("Swarm this process belongs to.", pattern=_ID, variable="SWARM_ID")]
        | None
    ) = None
    agent_id: (
        Annotated[str, setting("Agent this process is.", pattern=_ID, variable="AGENT_ID")] | None
    ) = None


class ConsoleSettings(Section, frozen=True):
    """How the console looks and what it may do."""

    theme: Annotated[str, setting("Colours of the console.", pattern=r"^[a-z0-9][a-z0-9-]*$")]
    read_only: Annotated[
        tuple[Literal["all", "production", "development", "testing", "research", "staging"], ...],
        setting("Environments the console only looks at; all: it changes nothing at all."),
    ]
    low_bandwidth: Annotated[
        bool, setting("Send as little to the terminal as can be: slow lines, metered links.")
    ]
    interval_s: Annotated[
        float,
        setting("How often the console looks when nothing is said to change.", ge=0.1, le=60),
    ]
    mouse: Annotated[bool, setting("Whether the console takes the mouse from the terminal.")]


class LoggingSettings(Section, frozen=True):
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        setting("Least severe message that is logged."),
    ]


class Sections(Section, frozen=True):
    """All that can be set."""

    engine: EngineSettings
    host: HostPlan
    isolation: PerEnvironment[IsolationOf]
    durability: Durabilities
    store: StoreSettings
    vault: VaultSettings
    audit: AuditSettings
    operator: PerEnvironment[OperatorRoleOf]
    clock: ClockSettings
    cache: CacheSettings
    queue: QueueSettings
    agents: AgentSettings
    lanes: Lanes
    redis: RedisSettings
    identity: IdentitySettings
    console: ConsoleSettings
    logging: LoggingSettings


class Settings(Sections, frozen=True):
    """All settings of a run. `sources` says where each value came from; a setting that is unset
    is not in it."""

    sources: dict[str, str]

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
                value=_shown_value(self, field.name),
                source=self.sources.get(field.name, "unset"),
                help=field.help,
            )
            for field in catalogue().fields.values()
        ]


def _shown_value(settings: Settings, name: str) -> Any:  # noqa: ANN401 - of any setting
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
    given = _packaged() | _derived(env)
    given |= _user_file(config_file, env)
    given |= from_environment(catalogue(), env)
    given |= from_overrides(catalogue(), overrides)
    sections = build(Sections, given)
    _check_plan(sections.host, given)
    _check_backoff(sections.queue, given)
    sources = {name: value.source for name, value in given.items()}
    parts = {name: getattr(sections, name) for name in Sections.__struct_fields__}
    return Settings(**parts, sources=sources)


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
    return from_toml(catalogue(), TomlText(str(path), _read(path)))


def _read(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            body = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", hint="name another file with --config"
        ) from error
    if len(body) > _MAX_FILE_BYTES:
        raise ConfigError(
            f"{path}: larger than {format_size(_MAX_FILE_BYTES)}",
            hint="a settings file is a few lines of TOML",
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text", hint="save it as UTF-8") from error


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
