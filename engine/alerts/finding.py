"""What a rule says."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that is wrong now. It fires once it has lasted `after_s`."""

    rule: str
    subject: str
    detail: str
    hint: str = ""
    environment: str = ""
    severity: str = "warning"
    after_s: float = 0.0
