"""The audit trail."""

from __future__ import annotations

from .base import View


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
