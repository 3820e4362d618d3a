"""Writes and messages that are stored with one commit."""

from .handle import Batch, Outcome

__all__ = ["Batch", "Outcome"]
