"""One event: what matters of it in words, then all of it with what it says first."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...engine import actions, views
from ...widgets import Line, line, state_span
from ...widgets.format import moment as written
from .. import wording
from ..columns import Moment, place_style
from .pane import TextScreen, json_lines


class EventScreen(TextScreen):
    """Looks at its event with each pull."""

    def __init__(self, ident: str, moment: Moment) -> None:
        query = actions.EventShow(id=ident)
        super().__init__(ident, moment, "Event", query=query, read=event_lines)


def event_lines(event: views.EventView, moment: Moment) -> Sequence[Line]:
    """An event as lines."""
    head = line(
        "  ",
        state_span(event.status),
        "  ",
        (event.environment, place_style(event.environment)),
        f"  {event.type}, priority {event.priority}, retry {event.retries} of {event.max_retries}",
    )
    facts = [f"from {event.source}", f"published {written(event.created_at_us)}"]
    facts.append(f"for {event.target}" if event.target else f"{event.level} level")
    if event.status == "processing":
        facts.append(f"held by {event.holder}")
        facts.append(f"{wording.left(moment.us, event.lease_until_us)} of its lease left")
    elif event.status == "pending":
        facts.append(f"expires in {wording.left(moment.us, event.expires_at_us)}")
    if event.chain != event.id:
        facts.append(f"follows from {event.parent}")
    lines = [head, line(("  " + ", ".join(facts), "muted"))]
    if event.error:
        lines.append(line(("  ✗ ", "bad"), event.error))
    fields = msgspec.to_builtins(event, builtin_types=())
    said = {"payload": fields.pop("payload")}
    return [*lines, (), *json_lines(said | fields, moment)]
