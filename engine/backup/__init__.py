"""Backups of an environment: made while it is used, verified, put back."""

from .service import Backups

__all__ = ["Backups"]
