"""An explanation while it is put together, and the words its parts share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Final

from ..actions import Action
from ..commandline import PROGRAM, render
from ..errors import NotFound
from ..model import Principal, Role, format_size, printable
from ..views import ExplanationView, LoanView, ReasonView

_SPANS: Final = (("s", 1, 1, 10), ("s", 1, 10, 60), ("min", 60, 1, 60), ("h", 3600, 0.5, 48))
"""Units with their seconds, in which steps they count, and up to how many."""
HINT: Final = (
    "a message, schedule, task, event, artifact, proposal, conflict, swarm, agent or grant id, or "
    "an environment"
)


class Draft:
    """Reasons, most telling first, and the commands that would change something."""

    def __init__(self, subject: str, kind: str, environment: str, state: str) -> None:
        self._subject = subject
        self._kind = kind
        self._environment = environment
        self._state = state
        self._reasons: list[ReasonView] = []
        self._remedies: list[str] = []

    def blocks(self, rule: str, text: str) -> None:
        """Add a reason why it does not go on."""
        self._reasons.append(ReasonView(rule=rule, text=text))

    def adds(self, rule: str, text: str) -> None:
        """Add to the picture."""
        self._reasons.append(ReasonView(rule=rule, text=text, blocks=False))

    def remedy(self, action: Action) -> None:
        """Add a command, once. It is written by what reads it, so it is always valid."""
        line = shlex.join((PROGRAM, *render(action)))
        if line not in self._remedies:
            self._remedies.append(line)

    @property
    def is_blocked(self) -> bool:
        return any(reason.blocks for reason in self._reasons)

    def view(self, verdict: str) -> ExplanationView:
        """What blocks stands before what only adds."""
        return ExplanationView(
            subject=self._subject,
            kind=self._kind,
            environment=self._environment,
            state=self._state,
            verdict=verdict,
            reasons=tuple(sorted(self._reasons, key=lambda reason: not reason.blocks)),
            remedies=tuple(self._remedies),
        )


def require_concern(principal: Principal, subject: str, *concerned: str | None) -> None:
    """An agent asks about what is its own, its swarm's or its teams', with a role about all of its
    environment; other things look to it as if they were not there. Raises NotFound."""
    if principal.role is not Role.AGENT:
        return
    own = {principal.id, principal.swarm, *principal.teams} - {None}
    if own.isdisjoint(concerned):
        raise unknown(subject)


def unknown(subject: str) -> NotFound:
    return NotFound(f"nothing to explain is called {printable(subject)}", hint=HINT)


def span(seconds: float) -> str:
    """`4 s`, `40 s`, `5 min`, `2.5 h`, `3 d`: in steps so coarse that an explanation which is
    asked for again and again mostly says the same."""
    value = abs(seconds)
    for unit, factor, step, below in _SPANS:
        steps = int(value / factor / step + 0.5)
        if steps * step < below:
            return f"{steps * step:g} {unit}"
    return f"{int(value / 43_200 + 0.5) / 2:g} d"


def count(number: int, noun: str) -> str:
    """`1 agent`, `4 agents`, `no agent`."""
    if not number:
        return f"no {noun}"
    return f"{number:,} {noun}{'s' if number > 1 else ''}"


def loans(lenders: Iterable[LoanView]) -> str:
    """`2 GB from the buffer and 1 GB from staging`."""
    parts = [
        f"{format_size(loan.bytes)} from {'the buffer' if loan.lender == 'buffer' else loan.lender}"
        for loan in lenders
    ]
    return " and ".join(parts)
