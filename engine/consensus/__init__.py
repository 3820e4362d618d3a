"""Proposals and the ballots cast on them."""

from .service import Consensus

__all__ = ["Consensus"]
