"""SwarmDB: events, agents, memory and metrics in a file of one's own, for threads."""

from .database import SwarmDB

__all__ = ["SwarmDB"]
