"""The keyed memory of an environment."""

from .records import Entry, Place
from .staging import Put
from .store import MemoryStore, Write

__all__ = ["Entry", "MemoryStore", "Place", "Put", "Write"]
