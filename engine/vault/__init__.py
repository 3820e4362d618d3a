"""Keys and what they protect: every record sealed or checked, and when neither can be done."""

from .ring import Ring
from .service import Vault

__all__ = ["Ring", "Vault"]
