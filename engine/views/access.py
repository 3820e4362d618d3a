"""Who may do what."""

from __future__ import annotations

from .base import View


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


class AccessSummary(View, frozen=True, kw_only=True):
    agents: int
    teams: int
    grants: int
    denies: int
    denied_calls: int
    epoch: int
