"""Why, alerts and the journal."""

from __future__ import annotations

from .base import View


class ReasonView(View, frozen=True, kw_only=True):
    """One reason. `rule` is its short name, such as `delayed` or `explicit-deny`; `blocks` is
    False for what only adds to the picture."""

    rule: str
    text: str
    blocks: bool = True


class ExplanationView(View, frozen=True, kw_only=True):
    """Why something is as it is: `verdict` in one sentence, the reasons, most telling first, and
    command lines that would change it."""

    subject: str
    kind: str
    environment: str
    state: str
    verdict: str
    reasons: tuple[ReasonView, ...]
    remedies: tuple[str, ...] = ()


class AlertView(View, frozen=True, kw_only=True):
    """Something that needs a person. `severity` is warning or critical, `state` firing,
    acknowledged (it still holds, and somebody knows) or resolved; `subject` can be explained."""

    id: str
    rule: str
    severity: str
    state: str
    environment: str
    subject: str
    since_at_us: int
    resolved_at_us: int | None
    detail: str
    hint: str = ""
    acknowledged_at_us: int | None = None
    acknowledged_by: str = ""


class JournalView(View, frozen=True, kw_only=True):
    """Something that happened. `severity` is info, warning or critical."""

    sequence: int
    at_us: int
    environment: str
    kind: str
    subject: str
    severity: str
    text: str
