"""Who may ask for which action: agents for their own, roles for more, the operator by its role."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.actions import Action
from swarmdeck.engine.authority import (
    AGENT_MAY,
    EVERYWHERE,
    NEVER_AGENTS,
    OWN_SWARM,
    READING,
    SHOWS_KEYS,
    Authority,
    concerned,
    least_role,
    reaches,
)
from swarmdeck.engine.dataplane import DataPlane
from swarmdeck.engine.errors import Denied
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, Environment, Principal, Role

AGENT = Principal("dev_agent_1", Role.AGENT, "development", "dev_swarm_1")
FREE = Authority()
LIMITED = Authority(
    {
        "production": Role.MONITOR,
        "development": Role.SYSTEM,
        "testing": Role.ADMIN,
        "research": Role.COORDINATOR,
        "staging": Role.MONITOR,
    }
)
ALLOWED = [
    actions.MemorySet(environment="testing", key="k", value=1, actor=AGENT.id),
    actions.MemoryGet(environment="development", key="k", actor=AGENT.id),
    actions.MemoryLevel(environment="development", key="k", level="team", actor=AGENT.id),
    actions.QueueSend(environment="development", kind="k", body={}, actor=AGENT.id),
    actions.QueueCount(environment="development"),
    actions.QueueShow(id="dev_msg_1"),
    actions.AclGrant(subject="test_agent_2", environment="development", actor=AGENT.id),
    actions.AclDeny(subject="dev_agent_2", environment="development", actor=AGENT.id),
    actions.AclRevoke(id="dev_grant_1"),
    actions.AclList(environment="development"),
    actions.AclExplain(subject=AGENT.id, right="read", environment="testing", key="k"),
    actions.AgentShow(id=AGENT.id),
    actions.SwarmHealth(id="dev_swarm_1"),
    actions.ConsensusPropose(environment="development", title="t", actor=AGENT.id),
    actions.ConsensusVote(id="dev_consensus_1", vote="approve", actor=AGENT.id),
    actions.ConflictReport(
        environment="development", title="t", one="a", other="b", actor=AGENT.id
    ),
    actions.ConflictResolve(id="dev_conflict_1", actor=AGENT.id),
    actions.AclCheck(subject=AGENT.id, right="read"),
]
REFUSED: list[Action] = [
    actions.ConsensusVote(id="prod_consensus_1", vote="approve"),
    actions.ConsensusVote(id="dev_consensus_1", vote="approve", actor="dev_agent_2"),
    actions.ConflictReport(environment="testing", title="t", one="a", other="b"),
    actions.ConflictBegin(id="dev_conflict_1", actor="operator"),
    actions.AclCheck(subject="dev_agent_2", right="read"),
    actions.TeamLead(team="dev_team_1"),
    actions.MemoryGet(environment="development", key="k", actor="dev_agent_2"),
    actions.MemoryGet(environment="development", key="k", actor="operator"),
    actions.QueueSend(environment="testing", kind="k", body={}),
    actions.QueueCount(environment="production"),
    actions.QueueShow(id="prod_msg_1"),
    actions.AclGrant(subject="dev_agent_2", environment="testing"),
    actions.AclGrant(subject="dev_agent_2", actor="operator"),
    actions.AclRevoke(id="test_grant_1"),
    actions.AclExplain(subject="dev_agent_2", right="read", environment="testing", key="k"),
    actions.AclExplain(subject="operator", right="read", environment="testing", key="k"),
    actions.AgentShow(id="dev_agent_2"),
    actions.SwarmHealth(id="dev_swarm_2"),
]


def with_role(role: Role) -> Principal:
    return msgspec.structs.replace(AGENT, role=role)


def may(action: Action, principal: Principal, authority: Authority = FREE) -> bool:
    try:
        authority.authorised(action, principal)
    except Denied:
        return False
    return True


# --- agents without a role --------------------------------------------------------------------


@pytest.mark.parametrize("action", ALLOWED, ids=lambda a: type(a).__name__)
def test_an_agent_may_act_on_its_own(action: Action) -> None:
    assert FREE.authorised(action, AGENT) == action


@pytest.mark.parametrize("action", REFUSED, ids=lambda a: type(a).__name__)
def test_an_agent_may_not_act_on_what_is_not_its_own(action: Action) -> None:
    with pytest.raises(Denied, match=AGENT.id):
        FREE.authorised(action, AGENT)
    assert FREE.authorised(action, OPERATOR_PRINCIPAL) is action


def test_what_an_agent_leaves_out_is_itself_never_the_operator() -> None:
    asked = FREE.authorised(actions.MemoryGet(environment="testing", key="k"), AGENT)
    assert asked.actor == AGENT.id
    assert FREE.authorised(actions.QueueCount(), AGENT).environment == "development"
    granted = FREE.authorised(actions.AclGrant(subject="research_agent_9"), AGENT)
    assert (granted.actor, granted.environment) == (AGENT.id, "development")


@pytest.mark.parametrize("name", sorted(set(actions.ACTIONS) - set(AGENT_MAY)))
def test_everything_else_needs_a_role(name: str) -> None:
    with pytest.raises(Denied, match=r"only the operator|needs the role"):
        FREE.authorised(any_action(name), AGENT)


def test_the_rules_for_agents_name_real_actions_and_fields() -> None:
    for name, owned in AGENT_MAY.items():
        fields = {field.name for field, _ in actions.fields(actions.named(name).type)}
        assert {field for field, _ in owned} <= fields
        assert "actor" not in fields or ("actor", "id") in owned
    assert set(actions.ACTIONS) >= OWN_SWARM | NEVER_AGENTS | SHOWS_KEYS


def test_every_action_with_an_actor_is_one_that_an_agent_does_as_itself() -> None:
    for spec in actions.ACTIONS.values():
        if spec.name == "audit.list" or spec.name in NEVER_AGENTS:
            continue
        if "actor" in spec.type.__struct_fields__:
            assert ("actor", "id") in AGENT_MAY[spec.name]


def test_an_agent_without_a_swarm_has_no_swarm_to_ask_about() -> None:
    alone = msgspec.structs.replace(AGENT, swarm=None)
    assert not may(actions.SwarmHealth(id="dev_swarm_1"), alone)


# --- agents with a role -----------------------------------------------------------------------

BY_ROLE: list[tuple[Action, Role]] = [
    (actions.QueueList(environment="development"), Role.MONITOR),
    (actions.QueueList(), Role.MONITOR),
    (actions.AgentList(), Role.MONITOR),
    (actions.AgentShow(id="dev_agent_2"), Role.MONITOR),
    (actions.SwarmHealth(id="dev_swarm_2"), Role.MONITOR),
    (actions.Logs(agent="dev_agent_2"), Role.MONITOR),
    (actions.AclExplain(subject="dev_agent_2", right="read", environment="development", key="k"),
     Role.MONITOR),
    (actions.QueueRetry(id="dev_msg_1"), Role.COORDINATOR),
    (actions.QueueCancel(id="dev_msg_1"), Role.COORDINATOR),
    (actions.QueueEdit(id="dev_msg_1", priority=1), Role.COORDINATOR),
    (actions.QueuePurge(environment="development", state="dead"), Role.COORDINATOR),
    (actions.SwarmScale(id="dev_swarm_1", agents=1, memory_bytes=1 << 30), Role.COORDINATOR),
    (actions.SwarmTerminate(id="dev_swarm_1"), Role.COORDINATOR),
    (actions.AgentRegister(environment="development", name="x"), Role.COORDINATOR),
    (actions.AgentUpdate(id="dev_agent_2", name="x"), Role.COORDINATOR),
    (actions.AgentUpdate(id="dev_agent_2", role="agent"), Role.ADMIN),
    (actions.AgentUpdate(id="dev_agent_1", role="admin"), Role.ADMIN),
    (actions.AgentRegister(environment="development", name="x", role="monitor"), Role.ADMIN),
    (actions.AgentRegister(environment="development", name="x", team="dev_team_1"), Role.ADMIN),
    (actions.TeamAdd(team="dev_team_1", agent="dev_agent_1"), Role.ADMIN),
    (actions.AuditList(), Role.ADMIN),
    (actions.JournalList(), Role.ADMIN),
    (actions.BackupCreate(environment="development"), Role.ADMIN),
    (actions.AgentRevoke(id="dev_agent_2"), Role.ADMIN),
]  # fmt: skip
NEVER: list[Action] = [
    actions.Status(),
    actions.Stop(),
    actions.QueueRetry(id="test_msg_1"),
    actions.QueueList(environment="testing"),
    actions.QueuePurge(environment="production", state="dead"),
    actions.SwarmScale(id="dev_swarm_2", agents=1, memory_bytes=1 << 30),
    actions.SwarmCreate(environment="development", agents=1, memory_bytes=1 << 30),
    actions.AgentToken(id="dev_agent_2"),
    actions.MemoryGet(environment="development", key="k", actor="dev_agent_2"),
    actions.AclGrant(subject="dev_agent_2", actor="dev_agent_2"),
    actions.AclBreakglass(environment="development", key="k", reason="why not"),
    actions.AclExport(source="development", target="testing", name="x"),
    actions.AuditExport(environment="development", file="/x"),
    actions.BackupRestore(environment="development", name="x"),
    actions.BackupCreate(environment="testing"),
    actions.VaultShred(environment="development"),
    actions.MemoryBudget(environment="development", base_bytes=1 << 30, max_bytes=1 << 30),
    actions.BenchRun(),
    actions.ConfigShow(),
    actions.AlertAck(id="dead-letters.development"),
]


@pytest.mark.parametrize(("action", "needed"), BY_ROLE, ids=lambda x: type(x).__name__)
def test_a_role_gives_an_agent_more_of_its_own_environment(action: Action, needed: Role) -> None:
    for role in Role:
        if role is not Role.SYSTEM:
            assert may(action, with_role(role)) == reaches(role, needed), role
    elsewhere = msgspec.structs.replace(with_role(Role.ADMIN), environment="testing")
    if concerned(action) is not None:
        assert not may(action, elsewhere)


@pytest.mark.parametrize("action", NEVER, ids=lambda a: type(a).__name__)
def test_no_role_of_an_agent_reaches_further(action: Action) -> None:
    assert not any(may(action, with_role(role)) for role in Role if role is not Role.SYSTEM)


@pytest.mark.parametrize("action", ALLOWED, ids=lambda a: type(a).__name__)
def test_a_role_takes_nothing_away(action: Action) -> None:
    for role in Role:
        assert FREE.authorised(action, with_role(role)) == action


def test_a_refusal_names_the_role_that_is_needed() -> None:
    with pytest.raises(Denied, match="needs the role coordinator, and you are monitor"):
        FREE.authorised(actions.QueueRetry(id="dev_msg_1"), with_role(Role.MONITOR))


# --- the operator -----------------------------------------------------------------------------

OPERATING: list[tuple[Action, str | None, Role]] = [
    (actions.Status(), None, Role.MONITOR),
    (actions.QueueList(), None, Role.MONITOR),
    (actions.MemoryKeys(environment="production"), "production", Role.MONITOR),
    (actions.MemorySet(environment="production", key="k", value=1), "production",
     Role.COORDINATOR),
    (actions.QueueRetry(id="prod_msg_1"), "production", Role.COORDINATOR),
    (actions.Logs(agent="staging_agent_1"), "staging", Role.MONITOR),
    (actions.TeamAdd(team="test_team_1", agent="test_agent_1"), "testing", Role.ADMIN),
    (actions.AclGrant(subject="test_agent_1"), "testing", Role.ADMIN),
    (actions.AclGrant(subject="test_agent_1", environment="research"), "research", Role.ADMIN),
    (actions.AclExport(source="staging", target="research", name="x"), "staging", Role.SYSTEM),
    (actions.AgentRegister(environment="research", name="x"), "research", Role.COORDINATOR),
    (actions.AgentRegister(environment="research", name="x", role="admin"), "research",
     Role.ADMIN),
    (actions.AgentUpdate(id="research_agent_1", role="agent"), "research", Role.ADMIN),
    (actions.AgentToken(id="test_agent_1"), "testing", Role.SYSTEM),
    (actions.Stop(), None, Role.SYSTEM),
    (actions.VaultSeal(), None, Role.SYSTEM),
    (actions.DatabaseOptimize(), None, Role.ADMIN),
    (actions.DatabaseOptimize(environment="testing"), "testing", Role.ADMIN),
    (actions.BackupList(), None, Role.ADMIN),
    (actions.Explain(subject="production"), "production", Role.MONITOR),
    (actions.Explain(subject="engine"), None, Role.MONITOR),
    (actions.AlertAck(id="dead-letters.testing"), "testing", Role.COORDINATOR),
    (actions.AlertAck(id="agent-restarts.dev_agent_1"), "development", Role.COORDINATOR),
    (actions.AlertAck(id="host-memory.host"), None, Role.COORDINATOR),
    (actions.AlertAck(id="testing"), None, Role.COORDINATOR),
]  # fmt: skip


@pytest.mark.parametrize(("action", "place", "needed"), OPERATING, ids=lambda x: type(x).__name__)
def test_the_operator_needs_the_role_where_the_action_is(
    action: Action, place: str | None, needed: Role
) -> None:
    spec = actions.spec_of(action)
    assert (concerned(action), least_role(spec, action)) == (place, needed)
    for role in Role:
        everywhere = Authority(dict.fromkeys(EVERYWHERE, role))
        assert may(action, OPERATOR_PRINCIPAL, everywhere) == reaches(role, needed)
        chosen = Environment.TESTING if place is None else place
        there = Authority({**dict.fromkeys(EVERYWHERE, Role.AGENT), chosen: role})
        once = spec.query if place is None else True
        assert may(action, OPERATOR_PRINCIPAL, there) == (once and reaches(role, needed))


def test_acting_as_an_agent_needs_the_system_role_in_its_environment() -> None:
    def read(actor: str) -> Action:
        return actions.MemoryGet(environment="testing", key="k", actor=actor)

    assert may(read("operator"), OPERATOR_PRINCIPAL, LIMITED)
    assert may(read("dev_agent_1"), OPERATOR_PRINCIPAL, LIMITED)
    with pytest.raises(Denied, match="acting as test_agent_1 needs the role system in testing"):
        LIMITED.authorised(read("test_agent_1"), OPERATOR_PRINCIPAL)


def test_a_question_of_the_whole_engine_needs_the_role_somewhere_a_change_everywhere() -> None:
    assert may(actions.BackupList(), OPERATOR_PRINCIPAL, LIMITED)
    with pytest.raises(Denied, match=r"db\.optimize needs the role admin in every environment"):
        LIMITED.authorised(actions.DatabaseOptimize(), OPERATOR_PRINCIPAL)


def test_calls_of_the_data_plane_need_the_role_of_their_actions() -> None:
    verbs = DataPlane({}, {}).verbs
    assert set(verbs) >= READING
    for verb in verbs:
        for place, role in (("production", Role.MONITOR), ("research", Role.COORDINATOR)):
            needed = Role.MONITOR if verb in READING else Role.COORDINATOR
            if reaches(role, needed):
                LIMITED.require_verb(verb, place)
            else:
                with pytest.raises(Denied, match=f"{verb} needs the role {needed} in {place}"):
                    LIMITED.require_verb(verb, place)


def test_every_action_has_a_role_that_somebody_can_have() -> None:
    for spec in actions.ACTIONS.values():
        assert spec.role is not Role.AGENT
        assert spec.query or spec.role is not Role.MONITOR, spec.name


def any_action(name: str) -> Action:
    """One with whatever its required fields accept."""
    samples: dict[str, Any] = {
        "environment": "development",
        "source": "staging",
        "target": "research",
        "agents": 1,
        "memory_bytes": 1 << 30,
        "body": {},
        "value": 1,
        "right": "read",
    }
    kind = actions.named(name).type
    required = [field for field, _ in actions.fields(kind) if field.required]
    return kind(**{field.name: samples.get(field.name, "x") for field in required})
