"""Conflicts between two agents, records, tasks or whatever else has a name."""

from .service import Conflicts

__all__ = ["Conflicts"]
