"""What can be set: every section and its settings, each with its type, bounds and one line of help.

The values stand in the TOML files of `configs`; the only defaults here are of what is unset until
somebody sets it. `settings.py` loads them.
"""

# Annotations are not postponed here: msgspec would read every one of them back from its text,
# which costs each command more than parsing the files does.

from collections.abc import Iterator
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec

from .layers import Secret, setting
from .model import GIB, MIB, MIN_SWARM_BYTES, Durability, Environment, Isolation

T = TypeVar("T")

_HOST_MAX: Final = 4096 * GIB
_DAY_S: Final = 86_400
_KEPT_S: Final = 3650 * _DAY_S
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
    data_dir: Annotated[
        str,
        setting(
            "Directory that holds databases, keys, socket and logs; for programs also :memory:.",
            variable="SQLITE_DB_PATH",
        ),
    ]


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
    results_bytes: Annotated[
        int,
        setting(
            "Answers of lists kept in memory for each environment.", size=True, ge=0, le=64 * GIB
        ),
    ]
    results_ttl_s: Annotated[
        float, setting("How long an answer is kept at most, though it still holds.", ge=0, le=3600)
    ]


DepthOf = Annotated[
    int,
    setting("Most open messages: ready, delayed and leased. Senders wait.", ge=1, le=100_000_000),
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
    done_keep_s: Annotated[
        float, setting("How long messages that are done are kept.", ge=0, le=_KEPT_S)
    ]
    ended_keep_s: Annotated[
        float, setting("How long expired and cancelled messages are kept.", ge=0, le=_KEPT_S)
    ]
    dead_keep_s: Annotated[float, setting("How long dead letters are kept.", ge=60, le=_KEPT_S)]
    depth: PerEnvironment[DepthOf]


class TaskSettings(Section, frozen=True):
    keep_s: Annotated[float, setting("How long tasks that have ended are kept.", ge=60, le=_KEPT_S)]


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
    spawn_per_minute: Annotated[
        int,
        setting(
            "Processes one swarm starts in a minute; so many at once, then evenly.", ge=1, le=10_000
        ),
    ]
    warm_up_s: Annotated[
        float,
        setting("How long an agent may take to say that it is ready; 0: any time.", ge=0, le=3600),
    ]
    output_bytes: Annotated[
        int,
        setting("Size at which an agent's output is put aside.", size=True, ge=65_536, le=GIB),
    ]
    output_files: Annotated[
        int, setting("Older files of an agent's output that are kept.", ge=1, le=100)
    ]


class EnforcementSettings(Section, frozen=True):
    """What holds agents to the memory of their swarm."""

    level: Annotated[
        Literal["auto", "guarded", "advisory"],
        setting("auto: the kernel's limits where delegated, else a guard; advisory: none."),
    ]
    guard_interval_s: Annotated[
        float, setting("How often the guard reads what agents hold.", ge=0.02, le=10)
    ]
    pressure_available: Annotated[
        float,
        setting(
            "Share of the host's memory below which the least important swarms give way.",
            ge=0,
            le=0.9,
        ),
    ]


class HealthSettings(Section, frozen=True):
    """Probes, and how often recovery is tried."""

    interval_s: Annotated[float, setting("Time between two probes.", ge=0.1, le=3600)]
    timeout_s: Annotated[float, setting("Longest a probe may take.", ge=0.1, le=600)]
    attempts: Annotated[int, setting("Recoveries tried one after the other.", ge=1, le=100)]
    cooldown_s: Annotated[
        float,
        setting("Wait between two recoveries; health for so long counts anew.", ge=0, le=_DAY_S),
    ]


class BreakerSettings(Section, frozen=True):
    """When calls to something that fails are no longer made."""

    failures: Annotated[int, setting("Failures one after the other that open it.", ge=1, le=1000)]
    failure_rate: Annotated[float, setting("Share of failed calls that opens it.", ge=0.01, le=1)]
    least_calls: Annotated[
        int, setting("Calls in the window before the share counts.", ge=1, le=100_000)
    ]
    window_s: Annotated[float, setting("Window calls are counted in.", ge=1, le=_DAY_S)]
    open_s: Annotated[float, setting("How long it stays open.", ge=0.1, le=_DAY_S)]
    successes: Annotated[
        int, setting("Successes one after the other that close it again.", ge=1, le=1000)
    ]


class MetricsSettings(Section, frozen=True):
    """What is measured over time."""

    enabled: Annotated[
        bool,
        setting("Measure in an engine that stays.", variable="ENABLE_PERFORMANCE_MONITORING"),
    ]
    interval_s: Annotated[float, setting("Time between two measurements.", ge=1, le=3600)]
    retention_days: Annotated[float, setting("Age at which they are deleted.", ge=1, le=3650)]


class BenchSettings(Section, frozen=True):
    """Benchmarks."""

    output_dir: (
        Annotated[
            str,
            setting(
                "Directory each benchmark also leaves a report in; unset: only where it is asked "
                "for.",
                variable="BENCHMARK_OUTPUT_DIR",
            ),
        ]
        | None
    ) = None


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
    file_bytes: Annotated[
        int, setting("Size at which the log file is put aside.", size=True, ge=65_536, le=GIB)
    ]
    files: Annotated[int, setting("Older log files that are kept.", ge=1, le=100)]


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
    tasks: TaskSettings
    agents: AgentSettings
    enforcement: EnforcementSettings
    health: HealthSettings
    breaker: BreakerSettings
    metrics: MetricsSettings
    bench: BenchSettings
    lanes: Lanes
    redis: RedisSettings
    identity: IdentitySettings
    console: ConsoleSettings
    logging: LoggingSettings
