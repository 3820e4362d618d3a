"""Who may do what to a record, and which rule decides.

The decision is a pure function of a few small values, each made once and kept in a table
(`table.py`). Entries say more or less than the rules do, for a time (`grants.py`, with hours and
days in `conditions.py`). `decisions.py` puts the values together for each call; `Access` changes
the entries too.
"""

from .access import Access
from .conditions import Conditions, spoken
from .decisions import People
from .grants import Grant, Record, Standing, Wanted
from .rows import Resource, Rows
from .table import TABLE, Case, Explicit, Gate, Relation, Rule, Verdict, decide, gate, level_rule
from .words import BY_ENTRY

__all__ = [
    "BY_ENTRY",
    "TABLE",
    "Access",
    "Case",
    "Conditions",
    "Explicit",
    "Gate",
    "Grant",
    "People",
    "Record",
    "Relation",
    "Resource",
    "Rows",
    "Rule",
    "Standing",
    "Verdict",
    "Wanted",
    "decide",
    "gate",
    "level_rule",
    "spoken",
]
