"""The message queue of one environment: priorities, leases, retries, waiting consumers."""

from .counters import Counters
from .delivery import Writes
from .line import Directory
from .service import MessageQueue
from .views import Tally

__all__ = ["Counters", "Directory", "MessageQueue", "Tally", "Writes"]
