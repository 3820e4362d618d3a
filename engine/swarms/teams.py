"""Teams, and what changes them."""

from __future__ import annotations

from typing import Final

from ..model import OPERATOR, check_display_name
from ..store.database import Database, Transaction
from . import roster
from .roll import Roll, replace
from .roster import Team

ID_LENGTH: Final = 8


class Teams(Roll):
    """The part of a registry that is about teams. Each change is one transaction; what stands in
    memory follows its commit."""

    _database: Database

    def new_id(self, what: str) -> str:
        """An id of this environment, such as `dev_agent_0123abcd`."""
        return f"{self.environment.prefix}_{what}_{self._clock.token(ID_LENGTH)}"

    async def create_team(
        self, name: str, *, leader: str | None = None, actor: str = OPERATOR
    ) -> Team:
        """A new team; the leader is its first member. Raises InvalidInput, NotFound."""
        if leader is not None:
            self.agent(leader)
        team = Team(
            id=self.new_id("team"),
            name=check_display_name(name),
            environment=self.environment,
            leader=leader,
            members=() if leader is None else (leader,),
            created_at_us=self._clock.wall_us(),
        )

        def change(tx: Transaction) -> None:
            roster.require(tx, "agent", leader)
            roster.insert_team(tx, team)
            tx.audit(actor, "team.create", team.id, detail=team.name)

        def then(_: None) -> None:
            self._teams[team.id] = team
            self._access_changed(team.members)

        await self._database.write(change, topic="agents", then=then)
        return team

    async def add_to_team(self, team: str, agent: str, *, actor: str = OPERATOR) -> Team:
        """Put an agent into a team; a member stays one. Raises NotFound."""
        self.team(team)
        self.agent(agent)

        def change(tx: Transaction) -> None:
            roster.require(tx, "team", team)
            roster.require(tx, "agent", agent)
            if roster.insert_member(tx, team, agent):
                tx.audit(actor, "team.add", team, detail=agent)

        def then(_: None) -> None:
            self._join(team, agent)
            self._access_changed([agent])

        await self._database.write(change, topic="agents", then=then)
        return self.team(team)

    async def remove_from_team(self, team: str, agent: str, *, actor: str = OPERATOR) -> Team:
        """Take an agent out of a team; a leader who goes leaves it without one. Raises
        NotFound."""
        self.team(team)
        self.agent(agent)

        def change(tx: Transaction) -> None:
            roster.require(tx, "team", team)
            if roster.delete_member(tx, team, agent):
                tx.audit(actor, "team.remove", team, detail=agent)

        def then(_: None) -> None:
            self._leave(team, agent)
            self._access_changed([agent])

        await self._database.write(change, topic="agents", then=then)
        return self.team(team)

    async def change_team(
        self,
        ident: str,
        *,
        name: str | None = None,
        leader: str | None = None,
        leaderless: bool = False,
        actor: str = OPERATOR,
    ) -> Team:
        """Rename a team, or give it another leader, who joins it, or none. Raises NotFound,
        InvalidInput."""
        self.team(ident)
        changes: dict[str, str | None] = {}
        if name is not None:
            changes["name"] = check_display_name(name)
        if leader is not None or leaderless:
            changes["leader"] = leader if leader is None else self.agent(leader).id

        def change(tx: Transaction) -> None:
            roster.require(tx, "team", ident)
            roster.require(tx, "agent", leader)
            roster.update(tx, "team", ident, changes)
            if leader is not None:
                roster.insert_member(tx, ident, leader)
            told = ", ".join(f"{field} {value or 'none'}" for field, value in changes.items())
            tx.audit(actor, "team.update", ident, detail=told)

        def then(_: None) -> None:
            self._teams[ident] = replace(self._teams[ident], **changes)
            if leader is not None:
                self._join(ident, leader)
                self._access_changed([leader])

        await self._database.write(change, topic="agents", then=then)
        return self.team(ident)

    async def remove_team(self, ident: str, *, actor: str = OPERATOR) -> None:
        """Dissolve a team; its members stay. Raises NotFound."""
        members = self.team(ident).members

        def change(tx: Transaction) -> None:
            roster.require(tx, "team", ident)
            roster.delete_team(tx, ident)
            tx.audit(actor, "team.delete", ident)

        def then(_: None) -> None:
            self._teams.pop(ident, None)
            self._access_changed(members)

        await self._database.write(change, topic="agents", then=then)
