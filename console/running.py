"""Running what was asked for: the plan before it, how it goes, and what is said and shown of it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from textual.worker import get_current_worker

from ..engine import views
from ..engine.actions import Action, spec_of
from ..engine.errors import SwarmDeckError
from ..engine.events import Progress
from ..engine.text import safe_text
from ..widgets.format import clock
from . import batch, commands, plans, wording
from .batch import Job
from .bridge import Host
from .operations import Operations
from .places import Place
from .screens import DeckScreen, OverviewScreen
from .screens.dialogs import ConfirmScreen, Dialog, TokenScreen
from .walking import Walker


class Runner(Walker, inherit_bindings=False):
    """The part of the app that runs actions on `host` beside everything else. `operations` are
    those under way."""

    host: Host
    _first: OverviewScreen

    def __init__(self, theme: str) -> None:
        super().__init__(theme)
        self.operations = Operations()
        self._later: list[tuple[Action, object]] = []

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work beside everything else; what it is refused with is said."""
        self.run_worker(self._said(work), exit_on_error=False)

    async def _said(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SwarmDeckError as error:
            self.say_error(error)

    async def _plan(self, action: Action) -> None:
        """Show what a destructive action will touch, and run it only after a clear yes."""
        looked = plans.look(action)
        seen = await self.host.run(looked) if looked is not None else None
        plan = plans.plan_of(action, seen)
        if await self.push_screen_wait(ConfirmScreen(plan, action)):
            await self._run(action)

    async def _run_all(self, screen: DeckScreen | None, jobs: Sequence[Job]) -> None:
        """One plan where something is destroyed, then all of them, and one word at the end."""
        outcome = batch.Outcome()
        if plans.needs_plan(jobs[0].action):
            plan, jobs, outcome = await batch.plan(self.host.run, jobs)
            if not await self.push_screen_wait(ConfirmScreen(plan)):
                return
        operation = self.operations.begin(jobs[0].action, get_current_worker().cancel)

        def advance(fraction: float, text: str) -> None:
            operation.fraction, operation.text = fraction, text
            self.show_foot()

        try:
            await batch.run_all(self.host.run, jobs, outcome, advance)
        finally:
            self.operations.end(operation)
            self.refresh_soon()
        if screen is not None:
            screen.unmark([job.row for job in outcome.done])
        self._toast(operation.name, outcome.text, "warning" if outcome.refused else "information")

    async def _run(self, action: Action) -> None:
        operation = self.operations.begin(action, get_current_worker().cancel)

        def advance(progress: Progress) -> None:
            operation.advance(progress)
            self.refresh_soon()

        self.show_foot()
        try:
            result = await self.host.run(action, advance)
        finally:
            self.operations.end(operation)
            self.show_foot()
            self.refresh_soon()
        if spec_of(action).query and self.is_typing:
            self._later.append((action, result))
        else:
            self._finished(action, result)

    @property
    def is_typing(self) -> bool:
        """Whether a line or a dialog is under way: what took its time must not come between."""
        asking = self.deck is not None and self.deck.asking
        return asking or isinstance(self.screen, Dialog)

    def _show_later(self) -> None:
        """Show what had to wait for somebody to end typing."""
        while self._later and not self.is_typing:
            self._finished(*self._later.pop(0))

    def _finished(self, action: Action, result: object) -> None:
        spec = spec_of(action)
        text = wording.done(spec.name, result)
        self._first.add_event(f"{clock(self.moment.us)} {text}", "text")
        if isinstance(result, views.TokenView):
            self.push_screen(TokenScreen(result), lambda yes: self._take(result) if yes else None)
        elif spec.query and isinstance(result, list):
            self.visit(Place("result", action=action, row=tuple(result)))
        elif spec.query and not isinstance(result, views.Done):
            self.visit(Place("detail", row=result))
        else:
            self.say(f"{text}\n$ {commands.line_of(action)}")

    def _take(self, token: views.TokenView) -> None:
        self.copy_to_clipboard(token.token)
        self.say(f"copied: the token of {token.agent}")

    def say_error(self, error: SwarmDeckError) -> None:
        """A toast from the error table."""
        self._toast(*wording.toast_of(error))

    def say(self, text: str, title: str = "") -> None:
        """A toast that all is well."""
        self._toast(title, text, "information")

    def _toast(self, title: str, text: str, severity: Any) -> None:  # noqa: ANN401 - Textual's own
        clean = "\n".join(safe_text(part, 200) for part in text.split("\n"))
        self.notify(
            clean, title=safe_text(title), severity=severity, markup=False
        )  # painted: clean
