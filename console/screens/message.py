"""One message: what matters of it, what happened to it, then all of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...engine import actions, views
from ...engine.errors import ErrorReport
from ...widgets import Line, Span, line, state_span
from ...widgets.format import moment as written
from .. import wording
from ..bridge import Pull
from ..columns import Moment, place_style
from .pane import TextScreen, json_lines

MOST_STEPS = 20
"""The last steps that are shown; the command shows more."""

_FAILED = frozenset({"nack", "take_back", "expire", "damaged"})


class MessageScreen(TextScreen):
    """Looks at its message with each pull, and at its history when the message has moved on."""

    def __init__(self, ident: str, moment: Moment) -> None:
        query = actions.QueueShow(id=ident)
        super().__init__(ident, moment, "Message", query=query, read=self._read_message)
        self._steps: Sequence[views.HistoryView] = ()
        self._no_steps = ""
        self._stage: tuple[object, ...] = ()
        self._message: views.MessageView | None = None

    def show(self, pull: Pull) -> None:
        super().show(pull)
        message = self._message
        if message is None:
            return
        stage = (message.state, message.attempt, message.lease_until_us, message.priority)
        if stage != self._stage:
            self._stage = stage
            wanted = actions.QueueHistory(id=message.id, limit=MOST_STEPS)
            self.put(wanted, self._take_steps)

    def _read_message(self, message: views.MessageView, moment: Moment) -> Sequence[Line]:
        self._message = message
        return message_lines(message, self._steps, self._no_steps, moment)

    def _take_steps(
        self, steps: Sequence[views.HistoryView] | None, error: ErrorReport | None
    ) -> None:
        self._steps = steps or ()
        self._no_steps = "" if error is None else error.message
        if self._message is not None:
            self.tell(self._read_message(self._message, self.moment))


def message_lines(
    message: views.MessageView,
    steps: Sequence[views.HistoryView],
    no_steps: str,
    moment: Moment,
) -> list[Line]:
    """A message: what matters of it in words, its history, then all of it."""
    tries = f"attempt {message.attempt} of {message.max_attempts}"
    spans: list[Span] = [
        ("  ", "text"),
        state_span(message.state),
        ("  ", "text"),
        (message.environment, place_style(message.environment)),
        (f"  {message.kind}, priority {message.priority}, {tries}", "text"),
    ]
    facts = [f"from {message.sender}", f"sent {written(message.created_at_us)}"]
    if message.holder:
        facts.append(f"held by {message.holder}")
        facts.append(f"{wording.left(moment.us, message.lease_until_us)} of its lease left")
    if message.due_at_us and message.state == "delayed":
        facts.append(f"due in {wording.left(moment.us, message.due_at_us)}")
    lines: list[Line] = [tuple(spans), line(("  " + ", ".join(facts), "muted"))]
    if message.error:
        lines.append(line(("  ✗ ", "bad"), message.error))
    if no_steps:
        lines.append(line(("  ✗ its history: ", "bad"), no_steps))
    fields = msgspec.to_builtins(message, builtin_types=())
    content = {name: fields.pop(name) for name in ("body", "result")}
    return [*lines, (), *history_lines(steps), *json_lines(content | fields, moment)]


def history_lines(steps: Sequence[views.HistoryView]) -> list[Line]:
    """What happened, oldest first, a line each."""
    found = [
        line(
            (f"  {written(step.at_us)}  ", "muted"),
            (f"{step.action:<10}", "bad" if step.action in _FAILED else "accent"),
            step.actor,
            (f"  {step.detail}", "muted"),
        )
        for step in steps
    ]
    if len(found) >= MOST_STEPS:
        more = f"  the last {MOST_STEPS} steps: queue history ID --limit 1000 shows more"
        found.insert(0, line((more, "muted")))
    return [*found, ()] if found else []
