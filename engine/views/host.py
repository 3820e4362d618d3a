"""The memory of the host and its environments."""

from __future__ import annotations

from .base import View
from .queue import QueueCounts


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
    is the operator's there: monitor, coordinator, admin or system. `queue_mode` is running, paused
    or draining and `queue_reason` why; `queue_limit` is the most open messages,
    `oldest_ready_at_us` when the oldest of the ready ones was sent."""

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
    queue_mode: str = "running"
    queue_reason: str = ""
    queue_limit: int = 0
    oldest_ready_at_us: int | None = None


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
