"""What needs a person: rules about what is wrong, and the alerts that come of it."""

from __future__ import annotations

from .rules import Finding, Sight, findings
from .state import Alerts

__all__ = ["Alerts", "Finding", "Sight", "findings"]
