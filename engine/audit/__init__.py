"""The audit trail: signed checkpoints, verification, what is noted of reads."""

from .reads import Reads

__all__ = ["Reads"]
