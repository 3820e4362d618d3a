"""What agents have to do: tasks, and what each of them waits for."""

from .service import Tasks

__all__ = ["Tasks"]
