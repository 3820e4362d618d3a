"""Access to the rows of tables that hold no records: tasks, events, artifacts and their like.

A row stands as a record does, with a level, an owner, a team and a swarm, and the same table
decides. Entries count for it that were made for its resource; in place of a key stands its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeVar

from ..errors import Denied, NotFound
from ..model import Level, Principal, Right
from .access import Access
from .grants import Record, Standing, space
from .sight import Where, by_standing

Resource = Literal["task", "event", "consensus", "conflict", "artifact", "metric"]

R = TypeVar("R", bound=Record)

_ANY: Final[Where] = ("1", ())


class Rows:
    """Who may do what to the rows of one table of an environment. Decides from memory, on any
    thread."""

    def __init__(self, access: Access, resource: Resource) -> None:
        self.resource = resource
        self._access = access
        self._space = space(resource)

    def allows(self, principal: Principal, right: Right, row: Record, ident: str) -> bool:
        return self._access.allows(principal, right, row, self._space, ident)

    def require(self, principal: Principal, right: Right, row: Record | None, ident: str) -> None:
        """Raises NotFound for a row that is not there or that `principal` may not read, Denied
        for one that it may read but not change so."""
        if row is None or not self.allows(principal, Right.READ, row, ident):
            raise NotFound(f"no {self.resource} {ident}")
        if right is not Right.READ and not self.allows(principal, right, row, ident):
            raise Denied(f"{principal.id} may not {right.value} {self.resource} {ident}")

    def stand(self, principal: Principal, level: Level, team: str | None = None) -> Standing:
        """How a new row of `principal` stands; `team` is one of its teams (None: its first).
        Raises Denied for a level it may not create at, or another's team."""
        if team is not None and team not in principal.teams and not principal.is_operator:
            raise Denied(f"{principal.id} is not in team {team}")
        own = team if team is not None else next(iter(principal.teams), None)
        standing = Standing(level, principal.id, own, principal.swarm)
        if not self.allows(principal, Right.WRITE, standing, ""):
            raise Denied(f"{principal.id} may not create a {level.name.lower()} {self.resource}")
        return standing

    def visible(self, principal: Principal) -> tuple[Where, bool]:
        """A condition on level, owner, team and swarm that passes over what `principal` may not
        read, and whether it is exact: if not, `seen` has to look at each row."""
        if self._access.about(principal):
            return _ANY, False
        return by_standing(self._access, principal), True

    def seen(self, principal: Principal, rows: Iterable[tuple[str, R]]) -> Sequence[tuple[str, R]]:
        """Of rows under their ids, those that `principal` may read."""
        return [
            (ident, row) for ident, row in rows if self.allows(principal, Right.READ, row, ident)
        ]
