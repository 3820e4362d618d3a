"""Swarms, agents and teams."""

from __future__ import annotations

import msgspec

from .. import actions, codec, views
from ..dispatch import Context
from ..environment import Place
from ..store.aside import Aside
from ..swarms.setup import read_setup
from .services import Part


class SwarmHandlers(Part):
    """Swarms, agents and teams."""

    # --- swarms -----------------------------------------------------------------------------

    async def swarm_create(self, context: Context, action: actions.SwarmCreate) -> views.SwarmView:
        return await self._services.swarms.create(
            action.environment,
            agents=action.agents,
            memory_bytes=action.memory_bytes,
            command=action.command,
            name=action.name,
            setup=read_setup(
                action.variables,
                action.directory,
                action.warm_up_s,
                cpu_percent=action.cpu_percent,
            ),
            actor=context.principal.id,
            progress=context.progress,
        )

    async def swarm_list(self, _: Context, action: actions.SwarmList) -> list[views.SwarmView]:
        return list(self._services.swarms.list(action.environment, ended=action.all))

    async def swarm_health(self, _: Context, action: actions.SwarmHealth) -> views.HealthView:
        return self._services.swarms.health(action.id)

    async def swarm_scale(self, context: Context, action: actions.SwarmScale) -> views.SwarmView:
        return await self._services.swarms.scale(
            action.id,
            agents=action.agents,
            memory_bytes=action.memory_bytes,
            actor=context.principal.id,
            progress=context.progress,
        )

    async def swarm_terminate(
        self, context: Context, action: actions.SwarmTerminate
    ) -> views.SwarmView:
        return await self._services.swarms.terminate(
            action.id,
            force=action.force,
            wait_s=action.wait_s,
            actor=context.principal.id,
            progress=context.progress,
        )

    # --- agents and teams -------------------------------------------------------------------

    async def agent_register(
        self, context: Context, action: actions.AgentRegister
    ) -> views.AgentView:
        place = self._place(action.environment)
        agent = await place.registry.register(
            name=action.name,
            type=action.type,
            swarm=action.swarm,
            team=action.team,
            capabilities=action.capabilities,
            role=action.role,
            metadata=action.metadata,
            actor=context.principal.id,
        )
        return self._described(place, agent.id)

    async def agent_update(self, context: Context, action: actions.AgentUpdate) -> views.AgentView:
        place = self._of(action.id)
        await place.registry.update(
            action.id,
            name=action.name,
            type=action.type,
            capabilities=action.capabilities,
            role=action.role,
            metadata=action.metadata,
            actor=context.principal.id,
        )
        return self._described(place, action.id)

    def _described(self, place: Place, ident: str) -> views.AgentView:
        """An agent with what else is known of it."""
        metadata = codec.decode_json(place.registry.agent(ident).metadata.encode())
        found = self._services.swarms.agent(ident)
        return msgspec.structs.replace(found, metadata=metadata)

    async def agent_unregister(
        self, context: Context, action: actions.AgentUnregister
    ) -> views.Done:
        await self._of(action.id).registry.unregister(action.id, actor=context.principal.id)
        return views.Done()

    async def agent_token(self, context: Context, action: actions.AgentToken) -> views.TokenView:
        return await self._services.issue_token(action.id, action.ttl_s, context.principal)

    async def agent_revoke(self, context: Context, action: actions.AgentRevoke) -> views.Done:
        return await self._services.revoke_token(action.id, context.principal)

    async def agent_list(self, _: Context, action: actions.AgentList) -> list[views.AgentView]:
        found = self._services.swarms.agents(
            action.environment,
            swarm=action.swarm,
            team=action.team,
            type=action.type,
            capability=action.capability,
            state=action.state,
        )
        return list(found)

    async def agent_show(self, _: Context, action: actions.AgentShow) -> views.AgentView:
        from ..swarms.performance import performance  # noqa: PLC0415 - asked for here alone

        place = self._of(action.id)
        found = self._described(place, action.id)
        done = await Aside(place.database).read(performance(action.id, found.done))
        return msgspec.structs.replace(found, performance=done)

    async def team_create(self, context: Context, action: actions.TeamCreate) -> views.TeamView:
        registry = self._place(action.environment).registry
        team = await registry.create_team(
            action.name, leader=action.leader, actor=context.principal.id
        )
        return team.view()

    async def team_list(self, _: Context, action: actions.TeamList) -> list[views.TeamView]:
        chosen = self._places(action.environment)
        return [view for place in chosen for view in place.registry.team_views()]

    async def team_show(self, _: Context, action: actions.TeamShow) -> views.TeamView:
        return self._of(action.team).registry.team(action.team).view()

    async def team_rename(self, context: Context, action: actions.TeamRename) -> views.TeamView:
        registry = self._of(action.team).registry
        team = await registry.change_team(action.team, name=action.name, actor=context.principal.id)
        return team.view()

    async def team_lead(self, context: Context, action: actions.TeamLead) -> views.TeamView:
        registry = self._of(action.team).registry
        team = await registry.change_team(
            action.team,
            leader=action.agent,
            leaderless=action.agent is None,
            actor=context.principal.id,
        )
        return team.view()

    async def team_delete(self, context: Context, action: actions.TeamDelete) -> views.Done:
        registry = self._of(action.team).registry
        name = registry.team(action.team).name
        await registry.remove_team(action.team, actor=context.principal.id)
        return views.Done(detail=f"team {name} is dissolved; its members and their records stay")

    async def team_add(self, context: Context, action: actions.TeamAdd) -> views.TeamView:
        registry = self._of(action.team).registry
        team = await registry.add_to_team(action.team, action.agent, actor=context.principal.id)
        return team.view()

    async def team_remove(self, context: Context, action: actions.TeamRemove) -> views.TeamView:
        registry = self._of(action.team).registry
        team = await registry.remove_from_team(
            action.team, action.agent, actor=context.principal.id
        )
        return team.view()
