"""Why something is as it is: `explain(services, principal, subject)`."""

from .subjects import explain

__all__ = ["explain"]
