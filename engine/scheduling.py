"""Schedules, for those who write Python: `engine.schedules`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import actions, views
from .model import parse_environment, parse_priority

if TYPE_CHECKING:
    from .engine import Engine

ScheduleViews = list[views.ScheduleView]


class Schedules:
    """Messages that are sent again and again. All methods raise NotFound for an unknown id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(  # noqa: PLR0913 - the fields of a schedule
        self,
        environment: str,
        *,
        name: str,
        kind: str,
        body: Any = None,  # noqa: ANN401 - JSON types
        every_s: float | None = None,
        cron: str | None = None,
        zone: str = "UTC",
        to: str | None = None,
        priority: int | str = 5,
        overlap: bool = False,
        expires_s: float | None = None,
        max_attempts: int = 3,
    ) -> views.ScheduleView:
        """Send a message of `kind` every so many seconds, from one second on, or when `cron` (five
        fields, in `zone`) says so. Unless it may `overlap`, a due time is skipped while the last
        message is open. `to`, `priority`, `expires_s` and `max_attempts` as in `Queue.send`. Raises
        InvalidInput, NotFound for an unknown `to`, Conflict for a name that is taken, Denied."""
        action = actions.ScheduleCreate(
            environment=parse_environment(environment).value, name=name, kind=kind, body=body,
            every_s=every_s, cron=cron, zone=zone, to=to, priority=parse_priority(priority),
            overlap=overlap, expires_s=expires_s, max_attempts=max_attempts,
        )  # fmt: skip
        return await self._engine.ask(action, views.ScheduleView)

    async def list(self, environment: str | None = None) -> ScheduleViews:
        """Schedules, what is due next first."""
        place: actions.Environment | None
        place = None if environment is None else parse_environment(environment).value
        found: ScheduleViews = await self._engine.run(actions.ScheduleList(environment=place))
        return found

    async def get(self, ident: str) -> views.ScheduleView:
        """One schedule with what its messages say."""
        return await self._engine.ask(actions.ScheduleShow(id=ident), views.ScheduleView)

    async def pause(self, ident: str) -> views.ScheduleView:
        """Send nothing until `resume`. Raises Conflict for one that is paused."""
        return await self._engine.ask(actions.SchedulePause(id=ident), views.ScheduleView)

    async def resume(self, ident: str) -> views.ScheduleView:
        """Go on with the next time after now. Raises Conflict for one that is not paused."""
        return await self._engine.ask(actions.ScheduleResume(id=ident), views.ScheduleView)

    async def delete(self, ident: str) -> None:
        """Delete a schedule; messages it has sent stay."""
        await self._engine.run(actions.ScheduleDelete(id=ident))

    async def run(self, ident: str) -> views.MessageView:
        """Send its message now; its times stay. Raises Busy when the queue takes nothing in."""
        return await self._engine.ask(actions.ScheduleRun(id=ident), views.MessageView)
