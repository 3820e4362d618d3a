"""One handler for each action of the control plane: `handle(context, action) -> result`.

A handler asks the service that owns the matter and shapes its answer as a view; it decides
nothing itself. A test compares the table at the end with the registry of actions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import actions, codec, upkeep, views
from .acl import Wanted
from .actions import Action
from .authority import reaches
from .bench import launch
from .bench.names import chosen
from .dispatch import Context, Handler
from .doctor import examine
from .engine import Engine
from .environment import Place
from .errors import InvalidInput, NotFound
from .journal import concerned
from .memory.browse import Browse
from .model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    Environment,
    MessageState,
    Principal,
    Right,
    Role,
    environment_of,
    parse_environment,
    printable,
)
from .queue.edit import Edit
from .queue.listing import Wish, list_over
from .settings import Settings
from .swarms.service import Swarms

if TYPE_CHECKING:
    from .alerts import Alerts
    from .audit import Auditor
    from .backup import Backups
    from .bench.meter import Sample
    from .budgets import Budgets
    from .journal import Journal
    from .store.database import Database
    from .vault import Vault


class Services(Protocol):
    """What handlers work with."""

    engine: Engine
    settings: Settings
    swarms: Swarms
    alerts: Alerts
    journal: Journal
    budgets: Budgets
    coordination: Database
    vault: Vault
    auditor: Auditor
    backups: Backups

    @property
    def places(self) -> Mapping[str, Place]: ...

    def resolve(self, actor: str) -> Principal: ...
    def overview(self) -> views.Overview: ...
    def request_stop(self, reason: str) -> None: ...
    async def confirm_clock(self, principal: Principal) -> views.Done: ...
    async def issue_token(
        self, agent: str, ttl_s: float, principal: Principal
    ) -> views.TokenView: ...
    async def revoke_token(self, agent: str, principal: Principal) -> views.Done: ...
    def sampled(self, operation: str, sample: Sample) -> None: ...
    def measured(self, found: list[views.BenchView]) -> list[views.BenchView]: ...
    def benchmarks_beside(self, baseline: str | None) -> list[views.BenchView]: ...
    def keep_baseline(self, name: str, *, remove: bool) -> views.Done: ...


class Handlers:
    """The handlers of an engine, by action type."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def table(self) -> dict[type[Action], Handler]:
        return {
            kind: getattr(self, name)
            if actions.named(str(kind.__struct_config__.tag)).name in ON_REFUSED
            else partial(self._handle, getattr(self, name))
            for kind, name in _TABLE.items()
        }

    async def _handle(self, handler: Handler, context: Context, action: Action) -> Any:  # noqa: ANN401
        """Refuse what concerns an environment that cannot be used now."""
        environment = concerned(action)[0]
        if environment:
            self._place(environment)
        return await handler(context, action)

    # --- engine -----------------------------------------------------------------------------

    async def status(self, _: Context, __: Action) -> views.Overview:
        return self._services.overview()

    async def memory_plan(self, _: Context, __: Action) -> views.Overview:
        return self._services.overview()

    async def stop(self, context: Context, action: actions.Stop) -> views.Done:
        swarms = self._services.swarms
        ending = [
            swarms.terminate(
                swarm.id, force=action.force, actor=context.principal.id, reason="engine stopped"
            )
            for swarm in swarms.list()
        ]
        context.progress(0.0, f"ending {len(ending)} swarms")
        await asyncio.gather(*ending)
        self._services.request_stop("stopped by the operator")
        return views.Done(detail="stopping")

    async def demo(self, context: Context, action: actions.Demo) -> views.DemoView:
        from .demo import run_demo  # noqa: PLC0415 - most commands never need it

        return await run_demo(self._services, action, context.progress)

    async def doctor(self, _: Context, __: Action) -> list[views.CheckView]:
        settings = self._services.settings
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, examine, self._services.engine.data, settings)
        return found + [
            views.CheckView(
                name=name, status="failed", detail=place.refusal.message, hint=place.refusal.hint
            )
            for name, place in self._services.places.items()
            if place.refusal is not None
        ]

    async def config_show(self, _: Context, __: Action) -> list[views.SettingView]:
        return self._services.settings.shown()

    async def explain(self, context: Context, action: actions.Explain) -> views.ExplanationView:
        from .explain import explain  # noqa: PLC0415 - most commands never need it

        return await explain(self._services, context.principal, action.subject)

    async def alert_list(self, _: Context, action: actions.AlertList) -> list[views.AlertView]:
        return self._services.alerts.list(action.environment, firing=action.firing)

    async def event_list(self, _: Context, action: actions.EventList) -> list[views.EventView]:
        return self._services.journal.list(action.environment, action.contains, action.limit)

    async def logs(self, _: Context, action: actions.Logs) -> list[str]:
        return list(await self._services.swarms.logs(action.agent, action.lines))

    # --- budgets ----------------------------------------------------------------------------

    async def memory_admit(self, _: Context, action: actions.MemoryAdmit) -> views.AdmissionView:
        budgets = self._services.budgets
        return budgets.admit(action.environment, action.base_bytes, action.max_bytes)

    async def memory_budget(
        self, context: Context, action: actions.MemoryBudget
    ) -> views.AdmissionView:
        return await self._services.budgets.change(
            action.environment, action.base_bytes, action.max_bytes, actor=context.principal.id
        )

    # --- databases --------------------------------------------------------------------------

    async def db_stats(self, _: Context, action: actions.DatabaseStats) -> list[views.DatabaseView]:
        return [await upkeep.statistics(place) for place in self._places(action.environment)]

    async def db_check(self, context: Context, action: actions.DatabaseCheck) -> list[Any]:
        found = []
        names = Environment if action.environment is None else (action.environment,)
        chosen = [self._services.places[name] for name in names]
        for number, place in enumerate(chosen):

            def progress(part: float, text: str, number: int = number, place: Place = place) -> None:
                context.progress((number + part) / len(chosen), f"{place.environment}: {text}")

            progress(0.0, "checking")
            ring = self._services.vault.ring(place.environment) if action.full else None
            found.append(
                await upkeep.check(place, full=action.full, ring=ring, progress=progress)
            )
        return found

    async def db_optimize(
        self, context: Context, action: actions.DatabaseOptimize
    ) -> list[views.CheckView]:
        return [await upkeep.optimize(place) for place in self._places(action.environment)]

    async def db_slow(self, _: Context, action: actions.DatabaseSlow) -> list[views.StatementView]:
        return [
            row for place in self._places(action.environment) for row in place.database.slow.views()
        ]

    async def clock_confirm(self, context: Context, _: actions.ClockConfirm) -> views.Done:
        return await self._services.confirm_clock(context.principal)

    async def db_pragmas(
        self, _: Context, action: actions.DatabasePragmas
    ) -> list[views.PragmaView]:
        found = [await upkeep.pragmas(place) for place in self._places(action.environment)]
        return [row for rows in found for row in rows]

    async def db_schema(self, _: Context, action: actions.DatabaseSchema) -> list[str]:
        return await upkeep.schema(self._place(action.environment))

    # --- swarms -----------------------------------------------------------------------------

    async def swarm_create(self, context: Context, action: actions.SwarmCreate) -> views.SwarmView:
        return await self._services.swarms.create(
            action.environment,
            agents=action.agents,
            memory_bytes=action.memory_bytes,
            command=action.command,
            name=action.name,
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
            actor=context.principal.id,
        )
        return self._services.swarms.agent(agent.id)

    async def agent_update(self, context: Context, action: actions.AgentUpdate) -> views.AgentView:
        place = self._of(action.id)
        await place.registry.update(
            action.id,
            name=action.name,
            type=action.type,
            capabilities=action.capabilities,
            role=action.role,
            actor=context.principal.id,
        )
        return self._services.swarms.agent(action.id)

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
        )
        return list(found)

    async def agent_show(self, _: Context, action: actions.AgentShow) -> views.AgentView:
        return self._services.swarms.agent(action.id)

    async def team_create(self, context: Context, action: actions.TeamCreate) -> views.TeamView:
        registry = self._place(action.environment).registry
        team = await registry.create_team(
            action.name, leader=action.leader, actor=context.principal.id
        )
        return team.view()

    async def team_list(self, _: Context, action: actions.TeamList) -> list[views.TeamView]:
        chosen = self._places(action.environment)
        return [view for place in chosen for view in place.registry.team_views()]

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

    # --- memory -----------------------------------------------------------------------------

    async def memory_set(self, context: Context, action: actions.MemorySet) -> views.RecordView:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        format_, body = codec.encode(action.value)
        version = await memory.set(
            actor, action.namespace, action.key, format_, body, action.level, action.ttl_s,
            action.if_version,
        )  # fmt: skip
        return await self._written(actor, action, version)

    async def memory_get(self, context: Context, action: actions.MemoryGet) -> views.RecordView:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        return await self._record(memory.show(actor, action.namespace, action.key), action.key)

    async def memory_delete(self, context: Context, action: actions.MemoryDelete) -> views.Done:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        if not await memory.delete(actor, action.namespace, action.key, action.if_version):
            raise _no_key(action.key)
        return views.Done(detail=f"deleted {action.key}")

    async def memory_keys(self, context: Context, action: actions.MemoryKeys) -> views.KeyPage:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        keys, cursor = await memory.keys(
            actor, action.namespace, action.prefix, action.limit, action.cursor
        )
        return views.KeyPage(keys=tuple(keys), cursor=cursor)

    async def memory_list(
        self, context: Context, action: actions.MemoryList
    ) -> list[views.RecordView]:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        wanted = Browse(
            namespace=action.namespace,
            prefix=action.prefix,
            contains=action.contains,
            order=action.order,
            descending=action.descending,
            offset=action.offset,
            limit=action.limit,
        )
        return await memory.browse(actor, wanted)

    async def memory_level(self, context: Context, action: actions.MemoryLevel) -> views.RecordView:
        actor = self._actor(context, action.actor)
        memory = self._place(action.environment).memory
        version = await memory.set_level(
            actor, action.namespace, action.key, action.level, action.if_version
        )
        return await self._written(actor, action, version)

    # --- queue ------------------------------------------------------------------------------

    async def queue_send(self, context: Context, action: actions.QueueSend) -> views.MessageView:
        queue = self._place(action.environment).queue
        ident = await queue.send(
            self._actor(context, action.actor), action.kind, codec.encode_json(action.body),
            action.priority, action.delay_s, action.expires_s, None, action.to,
            action.max_attempts,
        )  # fmt: skip
        return await queue.show(ident)

    async def queue_list(self, _: Context, action: actions.QueueList) -> list[views.MessageView]:
        wanted = Wish(
            state=None if action.state is None else MessageState(action.state),
            kind=action.kind,
            holder=action.holder,
            sender=action.sender,
            contains=action.contains,
            order=action.order,
            descending=action.descending,
        )
        queues = [place.queue for place in self._places(action.environment)]
        return await list_over(queues, wanted, offset=action.offset, limit=action.limit)

    async def queue_lanes(self, _: Context, action: actions.QueueLanes) -> list[views.LaneView]:
        found = [await place.queue.lane_views() for place in self._places(action.environment)]
        return [row for rows in found for row in rows]

    async def queue_count(self, _: Context, action: actions.QueueCount) -> views.QueueCounts:
        counts = [place.queue.counts() for place in self._places(action.environment)]
        wanted = (action.state,) if action.state else tuple(MessageState)
        return views.QueueCounts(
            **{state: sum(getattr(each, state) for each in counts) for state in wanted}
        )

    async def queue_show(self, context: Context, action: actions.QueueShow) -> views.MessageView:
        place = self._of(action.id)
        message = await place.queue.show(action.id)
        principal = context.principal
        if not principal.is_operator and not reaches(principal.role, Role.MONITOR):
            concerned = {message.sender, message.holder, message.to}
            if concerned.isdisjoint({principal.id, principal.swarm or "", *principal.teams}):
                await place.reads.refuse(principal, "queue.show", action.id)
                raise NotFound(f"no message {action.id} of yours", hint="an agent sees its own")
        mark = (message.state, str(message.attempt))
        await place.reads.look(principal, "queue.show", action.id, mark)
        return message

    async def queue_retry(self, context: Context, action: actions.QueueRetry) -> views.MessageView:
        return await self._of(action.id).queue.retry(context.principal, action.id)

    async def queue_cancel(
        self, context: Context, action: actions.QueueCancel
    ) -> views.MessageView:
        return await self._of(action.id).queue.cancel(context.principal, action.id)

    async def queue_edit(self, context: Context, action: actions.QueueEdit) -> views.MessageView:
        change = Edit(
            body=None if action.body is None else codec.encode_json(action.body),
            priority=action.priority,
            delay_s=action.delay_s,
            expires_s=action.expires_s,
            max_attempts=action.max_attempts,
        )
        return await self._of(action.id).queue.edit(context.principal, action.id, change)

    async def queue_purge(self, context: Context, action: actions.QueuePurge) -> views.Done:
        queue = self._place(action.environment).queue
        gone = await queue.purge_state(
            context.principal, MessageState(action.state), action.kind, context.progress
        )
        return views.Done(changed=gone, detail=f"{gone:,} messages deleted")

    async def queue_dead(self, _: Context, action: actions.QueueDead) -> list[views.MessageView]:
        queues = [place.queue for place in self._places(action.environment)]
        return await list_over(queues, Wish(MessageState.DEAD), offset=0, limit=action.limit)

    # --- access and audit -------------------------------------------------------------------

    async def acl_grant(self, context: Context, action: actions.AclGrant) -> views.GrantView:
        return await self._add(context, action, "allow")

    async def acl_deny(self, context: Context, action: actions.AclDeny) -> views.GrantView:
        return await self._add(context, action, "deny")

    async def _add(
        self,
        context: Context,
        action: actions.AclGrant | actions.AclDeny,
        effect: Any,  # noqa: ANN401
    ) -> views.GrantView:
        granter = self._actor(context, action.actor)
        place = self._place(action.environment or _home_of_entry(granter, action.subject))
        if action.subject != OPERATOR:
            self._of(action.subject).registry.agent(action.subject)
        wanted = Wanted(
            subject=action.subject,
            effect=effect,
            level=action.level,
            rights=action.actions,
            namespace=action.namespace,
            key_prefix=action.key_prefix,
            expires_s=action.expires_s,
            resource=action.resource,
            hours=action.hours,
            days=action.days,
            zone=action.zone,
        )
        return await place.access.add(granter, wanted)

    async def acl_revoke(self, context: Context, action: actions.AclRevoke) -> views.Done:
        await self._of(action.id).access.revoke(context.principal, action.id)
        return views.Done(detail=f"revoked {action.id}")

    async def acl_list(self, context: Context, action: actions.AclList) -> list[views.GrantView]:
        found = [
            view
            for place in self._places(action.environment)
            for view in place.access.list(action.subject)
        ]
        asker = context.principal
        if asker.is_operator or reaches(asker.role, Role.ADMIN):
            return found
        return [view for view in found if asker.id in {view.subject, view.granted_by}]

    async def acl_explain(self, context: Context, action: actions.AclExplain) -> views.DecisionView:
        principal = self._services.resolve(action.subject)
        place = self._place(action.environment)
        record = await place.memory.peek(action.namespace, action.key)
        if record is not None and not context.principal.is_operator:
            # To an agent a record that it may not read looks like a missing one here too.
            asked = (context.principal, Right.READ, record, action.namespace, action.key)
            record = record if place.access.allows(*asked) else None
        return place.access.explain(
            principal, Right(action.right), record, action.namespace, action.key
        )

    async def acl_matrix(self, context: Context, action: actions.AclMatrix) -> views.MatrixView:
        from .matrix import matrix  # noqa: PLC0415 - most commands never need it

        place = self._place(action.environment)
        return await matrix(place, context.principal, action, self._services.places)

    async def acl_who(self, context: Context, action: actions.AclWho) -> list[views.DecisionView]:
        from .matrix import who  # noqa: PLC0415 - most commands never need it

        place = self._place(action.environment)
        return await who(place, context.principal, action, self._services.places)

    async def audit_list(self, _: Context, action: actions.AuditList) -> list[views.AuditView]:
        from .audit import listing  # noqa: PLC0415 - most commands never need it

        end = action.offset + action.limit
        trails = [place.database for place in self._places(action.environment)]
        if action.environment is None:  # what concerns all of them, such as budgets
            trails.append(self._services.coordination)
        wanted = listing.Wanted(
            actor=action.actor, risk=action.risk, denied=action.denied, contains=action.contains
        )
        found = [await listing.rows_of(database, wanted, end) for database in trails]
        rows = sorted((row for rows in found for row in rows), key=lambda row: -row.at_us)
        return rows[action.offset : end]

    async def acl_breakglass(
        self, context: Context, action: actions.AclBreakglass
    ) -> views.GrantView:
        place = self._place(action.environment)
        return await place.access.break_glass(
            context.principal, action.namespace, action.key, action.reason
        )

    async def acl_export(self, context: Context, action: actions.AclExport) -> views.GrantView:
        return await self._place(action.source).access.export(context.principal, action)

    async def audit_verify(self, _: Context, action: actions.AuditVerify) -> list[views.ChainView]:
        return await self._services.auditor.verify(action.environment)

    async def audit_export(self, context: Context, action: actions.AuditExport) -> views.Done:
        return await self._services.auditor.export(
            action.environment, action.file, context.progress
        )

    # --- vault ------------------------------------------------------------------------------

    async def vault_status(self, _: Context, action: actions.VaultStatus) -> views.VaultView:
        return self._services.vault.view(action.environment)

    async def vault_seal(self, context: Context, _: actions.VaultSeal) -> views.VaultView:
        return await self._services.vault.seal(actor=context.principal.id)

    async def vault_unseal(self, context: Context, action: actions.VaultUnseal) -> views.VaultView:
        return await self._services.vault.unseal(action.passphrase, actor=context.principal.id)

    async def vault_rotate(self, context: Context, action: actions.VaultRotate) -> views.VaultView:
        return await self._services.vault.rotate(
            action.environment, actor=context.principal.id, progress=context.progress
        )

    async def vault_rekey(self, context: Context, action: actions.VaultRekey) -> views.VaultView:
        return await self._services.vault.rekey(
            action.source, action.passphrase, actor=context.principal.id
        )

    async def vault_shred(self, context: Context, action: actions.VaultShred) -> views.Done:
        return await self._services.vault.shred(
            action.environment, action.kind, actor=context.principal.id
        )

    # --- backups ----------------------------------------------------------------------------

    async def backup_create(
        self, context: Context, action: actions.BackupCreate
    ) -> views.BackupView:
        return await self._services.backups.create(
            action.environment, actor=context.principal.id, progress=context.progress
        )

    async def backup_list(self, _: Context, action: actions.BackupList) -> list[views.BackupView]:
        return await self._services.backups.list(action.environment)

    async def backup_verify(
        self, context: Context, action: actions.BackupVerify
    ) -> views.BackupView:
        return await self._services.backups.verify(
            action.environment, action.name, progress=context.progress
        )

    async def backup_restore(
        self, context: Context, action: actions.BackupRestore
    ) -> views.BackupView:
        return await self._services.backups.restore(
            action.environment, action.name, actor=context.principal.id, progress=context.progress
        )

    async def backup_delete(self, context: Context, action: actions.BackupDelete) -> views.Done:
        return await self._services.backups.delete(
            action.environment, action.name, actor=context.principal.id
        )

    # --- benchmarks -------------------------------------------------------------------------

    async def bench_run(self, context: Context, action: actions.BenchRun) -> list[views.BenchView]:
        chosen(action.names)
        sampled = partial(self._services.sampled, context.operation)
        found = await launch.measure(action, views.BenchView, context.progress, sampled)
        return self._services.measured(found)

    async def bench_compare(
        self, context: Context, action: actions.BenchCompare
    ) -> list[views.ComparisonView]:
        return await launch.measure(action, views.ComparisonView, context.progress)

    async def bench_show(self, _: Context, action: actions.BenchShow) -> list[views.BenchView]:
        return self._services.benchmarks_beside(action.against)

    async def bench_baseline(self, _: Context, action: actions.BenchBaseline) -> views.Done:
        return self._services.keep_baseline(action.name, remove=action.remove)

    # --- parts ------------------------------------------------------------------------------

    def _place(self, environment: str) -> Place:
        """Raises what the environment answers when it cannot be used."""
        place = self._services.places[parse_environment(environment)]
        if place.refusal is not None:
            raise place.refusal.again()
        return place

    def _places(self, environment: str | None) -> Iterator[Place]:
        """The one asked for, else all that can be used."""
        if environment is not None:
            return iter((self._place(environment),))
        places = self._services.places
        return (places[name] for name in Environment if places[name].refusal is None)

    def _of(self, ident: str) -> Place:
        return self._place(environment_of(ident))

    def _actor(self, context: Context, actor: str | None) -> Principal:
        if actor in {None, context.principal.id}:
            return context.principal
        return OPERATOR_PRINCIPAL if actor == OPERATOR else self._services.resolve(actor or "")

    async def _written(
        self, actor: Principal, action: actions.MemorySet | actions.MemoryLevel, version: int
    ) -> views.RecordView:
        """A record that was just written. To whom may write it and not read it, what it knows."""
        place = self._place(action.environment)
        where = action.namespace, action.key
        record = await place.memory.peek(*where)
        if record is not None and place.access.allows(actor, Right.READ, record, *where):
            return await self._record(place.memory.show(actor, *where), action.key)
        return views.RecordView(
            key=action.key,
            namespace=action.namespace,
            environment=action.environment,
            level="",
            owner="",
            team=None,
            version=version,
            size_bytes=0,
            updated_at_us=place.database.clock.wall_us(),
            expires_at_us=None,
        )

    @staticmethod
    async def _record(showing: Any, key: str) -> views.RecordView:  # noqa: ANN401 - a coroutine
        view: views.RecordView | None = await showing
        if view is None:
            raise _no_key(key)
        return view


def _home_of_entry(granter: Principal, subject: str) -> str:
    """The environment an entry is about where none is given: that of the agent that makes it, else
    that of its subject. Raises InvalidInput."""
    if not granter.is_operator:
        return granter.environment
    if subject == OPERATOR:
        raise InvalidInput("an entry about the operator needs --environment")
    return environment_of(subject).value


def _no_key(key: str) -> NotFound:
    return NotFound(f"no key {printable(key)} that may be read", hint="see swarmdeck memory keys")


# What is there to look at an environment that cannot be used, and to repair it.
ON_REFUSED: Final = frozenset({
    "explain", "alert.list", "event.list", "memory.admit", "memory.budget", "db.check", "logs",
    "backup.create", "backup.list", "backup.verify", "backup.restore", "backup.delete",
    "vault.status", "vault.rotate", "vault.shred", "audit.verify", "audit.export", "bench.run",
})  # fmt: skip

_TABLE: Final[dict[type[Action], str]] = {
    spec.type: name.replace(".", "_") for name, spec in actions.ACTIONS.items()
}
