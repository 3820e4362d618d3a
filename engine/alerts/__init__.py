"""What needs a person: rules about what is wrong, and the alerts that come of it."""

from __future__ import annotations

from .ailments import Ailing
from .finding import Finding
from .rules import Sight, findings
from .state import Alerts

__all__ = ["Ailing", "Alerts", "Finding", "Sight", "findings"]
