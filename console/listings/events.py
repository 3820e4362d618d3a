"""Events that agents publish."""

from __future__ import annotations

from typing import Final

from ...engine import actions
from .. import columns
from ..places import Place
from .base import Listing, ident

EVENTS: Final = Listing(
    title="Events, newest first",
    columns=columns.events,
    key=ident,
    empty="Nothing is said to have happened.\n\nn  publishes an event; or type  "
    ":event publish development build.done",
    groups=("events", "rows", "table", "motion"),
    query=lambda scope: actions.EventList(environment=scope.place),
    opens=lambda event: Place("event", event.id),
    paged=True,
    words=lambda event: (
        f"{event.id}: {event.type} from {event.source}"
        + (f" for {event.target}" if event.target else f", {event.level}")
        + (f", {event.error}" if event.error else "")
    ),
)
