"""The audit trail: signed checkpoints, verification, what is noted of reads."""

from .auditor import Auditor
from .checkpoints import Signer, outside_directory
from .reads import Reads

__all__ = ["Auditor", "Reads", "Signer", "outside_directory"]
