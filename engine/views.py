"""What the engine shows: frozen read models without behaviour.

Units are in the names: `_bytes`, `_s`, `_us` (microseconds; a name ending in `_at_us` is a time
since the epoch). Console, command line and socket all carry these same structs.
"""

from __future__ import annotations

from typing import Any

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all views."""


class QueueCounts(View, frozen=True, kw_only=True):
    """Messages of one environment by state."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    done: int = 0
    dead: int = 0
    expired: int = 0
    cancelled: int = 0


class HostView(View, frozen=True, kw_only=True):
    """The machine and the plan laid over it. `scale` is 1.0 on a host of 96 GB or more."""

    total_bytes: int
    available_bytes: int
    cpu_percent: float
    load_1m: float
    scale: float
    swarm_plan_bytes: int
    reserved_bytes: int
    coordination_bytes: int
    monitoring_bytes: int
    buffer_bytes: int
    allocated_bytes: int
    used_bytes: int
    enforcement: str


class LoanView(View, frozen=True, kw_only=True):
    """Memory held above a base: `lender` is `buffer` or an environment."""

    lender: str
    bytes: int


class EnvironmentView(View, frozen=True, kw_only=True):
    """One environment: its budget (plan), what its swarms were granted (allocated) and what
    their processes hold now (used). `available_bytes` is the most that one more swarm could be
    granted, `full_in_s` when use reaches what was granted if it goes on as in the last minutes;
    None when it does not grow. `state` is open, sealed or quarantined, `reason` says why. `role`
    is the operator's there: monitor, coordinator, admin or system."""

    name: str
    priority: int
    isolation: str
    durability: str
    loss_window: str
    base_bytes: int
    max_bytes: int
    allocated_bytes: int
    borrowed_bytes: int
    lent_bytes: int
    used_bytes: int
    agents: int
    agent_limit: int
    swarms: int
    records: int
    queue: QueueCounts
    state: str = "open"
    reason: str = ""
    role: str = "system"
    lenders: tuple[LoanView, ...] = ()
    available_bytes: int = 0
    full_in_s: float | None = None


class SwarmView(View, frozen=True, kw_only=True):
    id: str
    name: str
    environment: str
    state: str
    agents_wanted: int
    agents_live: int
    agents_ready: int
    memory_bytes: int
    borrowed_bytes: int
    used_bytes: int
    restarts: int
    created_at_us: int
    command: tuple[str, ...] = ()
    reason: str = ""
    lenders: tuple[LoanView, ...] = ()


class AgentView(View, frozen=True, kw_only=True):
    """`heartbeat_age_s` is None before the first heartbeat."""

    id: str
    name: str
    type: str
    environment: str
    swarm: str | None
    teams: tuple[str, ...]
    capabilities: tuple[str, ...]
    state: str
    pid: int | None
    heartbeat_age_s: float | None
    used_bytes: int
    restarts: int
    leased: int
    done: int
    created_at_us: int
    reason: str = ""


class TeamView(View, frozen=True, kw_only=True):
    id: str
    name: str
    environment: str
    leader: str | None
    members: tuple[str, ...]
    created_at_us: int


class HealthView(View, frozen=True, kw_only=True):
    """Health of a swarm: `status` is healthy, degraded or critical; `issues` say why."""

    swarm: SwarmView
    status: str
    issues: tuple[str, ...]
    agents: tuple[AgentView, ...]
    ready_messages: int
    leased_messages: int


class MessageView(View, frozen=True, kw_only=True):
    id: str
    environment: str
    kind: str
    priority: int
    state: str
    attempt: int
    max_attempts: int
    sender: str
    holder: str | None
    to: str | None
    created_at_us: int
    due_at_us: int | None
    lease_until_us: int | None
    expires_at_us: int | None
    error: str
    body: Any = None
    result: Any = None


class LaneView(View, frozen=True, kw_only=True):
    """One priority of an environment's queue. `oldest_at_us` is when the oldest ready message was
    sent, None when none is ready."""

    environment: str
    priority: int
    ready: int
    delayed: int
    leased: int
    dead: int
    oldest_at_us: int | None = None


class RecordView(View, frozen=True, kw_only=True):
    """A record. What was written by somebody who may not read it has no level, owner and size."""

    key: str
    namespace: str
    environment: str
    level: str
    owner: str
    team: str | None
    version: int
    size_bytes: int
    updated_at_us: int
    expires_at_us: int | None
    value: Any = None


class KeyPage(View, frozen=True, kw_only=True):
    """Keys in order; `cursor` continues after the last one, None at the end."""

    keys: tuple[str, ...]
    cursor: str | None


class GrantView(View, frozen=True, kw_only=True):
    """An explicit entry: `effect` is allow or deny. `kind` is entry, export (the subject is an
    environment) or break-glass (the subject is the operator). `hours` and `days`, in `zone`,
    say when it counts; empty: always."""

    id: str
    environment: str
    subject: str
    effect: str
    resource: str
    level: str
    actions: tuple[str, ...]
    namespace: str
    key_prefix: str
    granted_by: str
    created_at_us: int
    expires_at_us: int
    kind: str = "entry"
    name: str = ""
    reason: str = ""
    hours: str = ""
    days: tuple[str, ...] = ()
    zone: str = "UTC"


class DecisionView(View, frozen=True, kw_only=True):
    """An access decision and the rule that made it: isolation, explicit-deny, level, public,
    export, break-glass, grant or default."""

    allowed: bool
    rule: str
    detail: str
    subject: str
    action: str
    environment: str
    namespace: str
    key: str
    level: str | None
    owner: str | None


class CellView(View, frozen=True, kw_only=True):
    """What one agent may do to one record: `rights` are letters of `rwd` in that order, a dash for
    each that is denied; `rule` decided about reading. `note` is what limits the entry that a right
    rests on: its end, its hours and days, its reason."""

    rights: str
    rule: str
    note: str = ""


class MatrixRow(View, frozen=True, kw_only=True):
    """One record, with a cell for each subject of the matrix."""

    key: str
    namespace: str
    level: str
    owner: str
    team: str | None
    cells: tuple[CellView, ...]


class SubjectView(View, frozen=True, kw_only=True):
    """One who may or may not: an agent, or the operator."""

    id: str
    name: str
    swarm: str | None
    teams: tuple[str, ...]
    role: str


class MatrixView(View, frozen=True, kw_only=True):
    """Effective rights: records in order of namespace and key, by subjects. `more` when further
    records follow."""

    environment: str
    subjects: tuple[SubjectView, ...]
    rows: tuple[MatrixRow, ...]
    more: bool = False


class AuditView(View, frozen=True, kw_only=True):
    """One row of an audit trail. `risk` is low, medium, high or critical."""

    sequence: int
    environment: str
    at_us: int
    actor: str
    action: str
    object: str
    allowed: bool
    detail: str
    risk: str = "low"


class ChainView(View, frozen=True, kw_only=True):
    """What verifying one audit trail found. `status` is ok, warning or failed; `first` and `last`
    are the rows it covers, `checkpoints` the signed ones that agree, `outside` how many of them
    were compared with the copy outside the data directory."""

    environment: str
    status: str
    detail: str
    rows: int
    first: int
    last: int
    checkpoints: int
    outside: int
    elapsed_s: float
    hint: str = ""


class DataKeyView(View, frozen=True, kw_only=True):
    """A key that seals records of one class: private, team or rest. `state` is active, retiring
    or destroyed; `uses` counts messages, reserved ahead; `rotate_at_us` is when it is due."""

    id: int
    kind: str
    state: str
    created_at_us: int
    uses: int
    rotate_at_us: int | None = None


class KeyringView(View, frozen=True, kw_only=True):
    """The keys of one environment. `state` is open or sealed; `rotating` is how far a rotation
    is, 0 to 1, None when none runs."""

    environment: str
    state: str
    reason: str
    keys: tuple[DataKeyView, ...]
    rotating: float | None = None


class VaultView(View, frozen=True, kw_only=True):
    """The vault: `state` is open or sealed, `reason` says why it is sealed. `source` is where its
    key comes from: file, passphrase, keyring or variable; `place` where that is."""

    state: str
    source: str
    place: str
    reason: str
    environments: tuple[KeyringView, ...] = ()


class VaultGlance(View, frozen=True, kw_only=True):
    """What the overview shows of the vault."""

    state: str = "open"
    source: str = "file"
    reason: str = ""


class TokenView(View, frozen=True, kw_only=True):
    """A new token. It is shown once; only its hash is kept."""

    agent: str
    token: str
    expires_at_us: int

    def __repr__(self) -> str:
        return f"TokenView(agent={self.agent!r}, token=…, expires_at_us={self.expires_at_us})"


class BackupView(View, frozen=True, kw_only=True):
    """A backup of an environment. `status` is verified, unverified or failed, `detail` says what
    was looked at or what is wrong. Times are microseconds since the epoch, `elapsed_s` how long
    what was asked for took."""

    name: str
    environment: str
    created_at_us: int
    size_bytes: int
    records: int
    messages: int
    audit_rows: int
    schema_version: int
    status: str
    detail: str = ""
    elapsed_s: float = 0.0


class StatementView(View, frozen=True, kw_only=True):
    """A statement that took longer than the threshold at least once: `count` of its slow runs,
    times in milliseconds, its plan one step a line."""

    environment: str
    statement: str
    count: int
    p99_ms: float
    max_ms: float
    plan: str
    last_at_us: int


class AccessSummary(View, frozen=True, kw_only=True):
    agents: int
    teams: int
    grants: int
    denies: int
    denied_calls: int
    epoch: int


class BucketView(View, frozen=True, kw_only=True):
    """Calls that took at most `upto_us` and longer than the bucket before."""

    upto_us: float
    count: int


class BenchView(View, frozen=True, kw_only=True):
    """One measured workload. Rates are operations a second, latencies microseconds.

    `repeats` are the rates of the interleaved repeats, `references` those of a fixed piece of work
    done right before each: their ratio does not move with the machine's load. `verdict` is
    better, same or worse than `baseline`, `ratio` how many times its rate, both by these ratios;
    empty and None where nothing is compared.
    """

    name: str
    workload: str
    ops_s: float
    p50_us: float
    p99_us: float
    concurrency: int
    operations: int
    at_us: int
    repeats: tuple[float, ...] = ()
    references: tuple[float, ...] = ()
    latencies: tuple[BucketView, ...] = ()
    encryption: bool = False
    compression: bool = False
    machine: str = ""
    versions: str = ""
    commit: str = ""
    baseline: str = ""
    ratio: float | None = None
    verdict: str = ""


class ClientView(View, frozen=True, kw_only=True):
    """A console, command or program that is attached as the operator, by its user and process."""

    user: str
    uid: int
    pid: int
    program: str
    since_at_us: int


class EngineView(View, frozen=True, kw_only=True):
    """The engine's own condition. `user` is whom it runs as, `clients` who is attached to it."""

    pid: int
    version: str
    data: str
    uptime_s: float
    loop_lag_ms: float
    writer_queue: int
    wal_bytes: int
    operations: int
    bus: str
    headless: bool
    user: str = ""
    clients: tuple[ClientView, ...] = ()


class Overview(View, frozen=True, kw_only=True):
    """Everything the first screen needs, of one moment: all parts carry `sequence`. `breaking`
    are the break-glass reads in force; `clock` says how the host's clock has jumped, empty when
    it has not."""

    sequence: int
    at_us: int
    engine: EngineView
    host: HostView
    environments: tuple[EnvironmentView, ...]
    swarms: tuple[SwarmView, ...]
    agents: tuple[AgentView, ...]
    access: AccessSummary
    benchmarks: tuple[BenchView, ...] = ()
    vault: VaultGlance = VaultGlance()
    breaking: tuple[GrantView, ...] = ()
    clock: str = ""


class SettingView(View, frozen=True, kw_only=True):
    """One setting, and where its value came from."""

    name: str
    value: Any
    source: str
    help: str


class CheckView(View, frozen=True, kw_only=True):
    """One finding of `doctor` or `db check`: `status` is ok, warning or failed."""

    name: str
    status: str
    detail: str
    hint: str = ""


class PragmaView(View, frozen=True, kw_only=True):
    """A database setting: what was asked for and what SQLite answered."""

    environment: str
    name: str
    requested: str
    granted: str


class DatabaseView(View, frozen=True, kw_only=True):
    environment: str
    path: str
    schema_version: int
    size_bytes: int
    wal_bytes: int
    page_size: int
    tables: tuple[str, ...]
    records: int
    messages: int
    batches: int
    operations: int
    free_bytes: int = 0
    pinned_readers: int = 0
    pinned_s: float = 0.0


class DemoAgentView(View, frozen=True, kw_only=True):
    id: str
    pid: int
    done: int


class DemoView(View, frozen=True, kw_only=True):
    """What the main job did. `redelivered` counts deliveries beyond the first."""

    files: int
    bytes: int
    sent: int
    done: int
    dead: int
    redelivered: int
    agents: tuple[DemoAgentView, ...]
    records: int
    elapsed_s: float


class Done(View, frozen=True, kw_only=True):
    """The answer of an action that has nothing more to say."""

    changed: int = 1
    detail: str = ""


class ComparisonView(View, frozen=True, kw_only=True):
    """Ours beside a peer in one run: medians of the rounds, and the ratio with its spread.
    Rates are operations a second; for `claim growth` they are microseconds a claim."""

    name: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int
    workload: str


class HolderView(View, frozen=True, kw_only=True):
    """A swarm that holds memory, and from whom what it borrowed is."""

    swarm: str
    environment: str
    bytes: int
    borrowed_bytes: int
    lenders: tuple[LoanView, ...]


class AdmissionView(View, frozen=True, kw_only=True):
    """A budget beside the one in force. `reason` and `hint` say why it does not fit; `holders` who
    holds the memory in question."""

    environment: str
    accepted: bool
    base_before_bytes: int
    base_after_bytes: int
    max_before_bytes: int
    max_after_bytes: int
    buffer_before_bytes: int
    buffer_after_bytes: int
    allocated_bytes: int
    borrowed_before_bytes: int
    borrowed_after_bytes: int
    reason: str = ""
    hint: str = ""
    holders: tuple[HolderView, ...] = ()


class ReasonView(View, frozen=True, kw_only=True):
    """One reason. `rule` is its short name, such as `delayed` or `explicit-deny`; `blocks` is
    False for what only adds to the picture."""

    rule: str
    text: str
    blocks: bool = True


class ExplanationView(View, frozen=True, kw_only=True):
    """Why something is as it is: `verdict` in one sentence, the reasons, most telling first, and
    command lines that would change it."""

    subject: str
    kind: str
    environment: str
    state: str
    verdict: str
    reasons: tuple[ReasonView, ...]
    remedies: tuple[str, ...] = ()


class AlertView(View, frozen=True, kw_only=True):
    """Something that needs a person. `severity` is warning or critical, `state` firing or
    resolved; `subject` can be explained."""

    id: str
    rule: str
    severity: str
    state: str
    environment: str
    subject: str
    since_at_us: int
    resolved_at_us: int | None
    detail: str
    hint: str = ""


class EventView(View, frozen=True, kw_only=True):
    """Something that happened. `severity` is info, warning or critical."""

    sequence: int
    at_us: int
    environment: str
    kind: str
    subject: str
    severity: str
    text: str
