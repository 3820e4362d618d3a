"""What probes have found: the latest of each, and since when it is so."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

BELIEVED: Final = 2  # findings in a row, of what may be a matter of chance

replace = msgspec.structs.replace


class Status(enum.StrEnum):
    """OK; SUSPECT: failed, and nobody believes it yet; FAILED."""

    OK = "ok"
    SUSPECT = "suspect"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The latest of one probe. `failures` counts those in a row, `since_us` is when its status
    began, `checked_us` when it was looked at last; `latency_s` is how long that took."""

    subject: str
    probe: str
    environment: str
    status: Status
    detail: str
    latency_s: float
    failures: int
    since_us: int
    checked_us: int


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `sure`: it is believed although it is the first of its kind."""

    ok: bool
    detail: str
    latency_s: float
    at_us: int
    sure: bool = False


def found(
    before: Finding | None, subject: str, probe: str, environment: str, look: Look
) -> Finding:
    """The finding after one more look."""
    failures = 0 if look.ok else (before.failures if before else 0) + 1
    status = Status.OK
    if failures:
        status = Status.FAILED if look.sure or failures >= BELIEVED else Status.SUSPECT
    same = before is not None and before.status is status
    return Finding(
        subject=subject,
        probe=probe,
        environment=environment,
        status=status,
        detail=look.detail,
        latency_s=look.latency_s,
        failures=failures,
        since_us=before.since_us if same and before is not None else look.at_us,
        checked_us=look.at_us,
    )
