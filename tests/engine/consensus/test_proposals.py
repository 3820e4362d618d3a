"""Proposals: who votes, what the ballots come to, when one ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swarmdeck.engine.errors import Conflict, Damaged, Denied, InvalidInput, NotFound
from swarmdeck.engine.model import OPERATOR_PRINCIPAL

from .conftest import KEPT_S

if TYPE_CHECKING:
    from .conftest import World


async def test_a_proposal_is_shown_as_it_was_made(world: World) -> None:
    made = await world.votes(world.one).propose(
        "Deploy", {"commit": "a1"}, type="gate", target_type="phase", target="2",
        strategy="majority", threshold=2 / 3, loop=3, deadline_s=60,
    )  # fmt: skip
    assert made == await world.votes(world.two).get(made.id)
    assert (made.proposer, made.level, made.swarm) == (world.one, "swarm", world.swarm)
    assert (made.type, made.target_type, made.target, made.loop) == ("gate", "phase", "2", 3)
    assert (made.status, made.strategy, made.score, made.body) == (
        "pending", "majority", None, {"commit": "a1"},
    )  # fmt: skip
    assert made.threshold == pytest.approx(2 / 3, abs=1e-6)
    assert made.deadline_at_us == made.created_at_us + 60_000_000
    [row] = await world.votes(world.two).list(status="open", target="2")
    assert (row.id, row.body, row.ballots) == (made.id, None, ())


async def test_ballots_are_counted_plainly_and_each_voter_has_one(world: World) -> None:
    made = await world.votes(world.one).propose("Deploy", level="public", threshold=0.5)
    for voter, vote in ((world.one, "approve"), (world.two, "approve"), (world.three, "reject")):
        await world.votes(voter).vote(made.id, vote, confidence=0.25, reason=f"says {voter}")
    found = await world.votes(world.three).vote(made.id, "abstain")
    assert (found.approve, found.reject, found.abstain, found.score) == (2, 0, 1, 1.0)
    assert found.status == "in_progress"
    shown = await world.votes().get(made.id)
    assert [(each.voter, each.vote, each.confidence) for each in shown.ballots] == [
        (world.one, "approve", 0.25), (world.two, "approve", 0.25), (world.three, "abstain", 1.0),
    ]  # fmt: skip
    assert shown.ballots[0].reason == f"says {world.one}"


async def test_only_participants_vote_and_each_can_read_what_it_is_asked(world: World) -> None:
    votes = world.votes(world.one)
    made = await votes.propose("Deploy", participants=[world.two], level="public")
    by_team = await votes.propose("Merge", participants=[world.team], level="public")
    await world.votes(world.two).vote(made.id, "approve")
    await world.votes(world.three).vote(by_team.id, "approve")
    for ident, stranger in ((made.id, world.one), (made.id, None), (by_team.id, world.two)):
        with pytest.raises(Denied, match="does not take part"):
            await world.votes(stranger).vote(ident, "approve")
    with pytest.raises(InvalidInput, match="could not read"):
        await world.votes(world.two).propose("Deploy", participants=[world.three])
    with pytest.raises(NotFound):
        await votes.propose("Deploy", participants=["dev_agent_nobody00"])


async def test_who_may_not_read_a_proposal_finds_none(world: World) -> None:
    made = await world.votes(world.two).propose("Secret")
    three = world.votes(world.three)
    assert await three.list() == []
    for call in (three.get(made.id), three.vote(made.id, "approve")):
        with pytest.raises(NotFound):
            await call
    await world.core.engine.acl.grant(world.three, resource="consensus", level="swarm")
    assert [each.id for each in await three.list()] == [made.id]
    assert (await three.get(made.id)).title == "Secret"


async def test_what_is_closed_takes_no_more_ballots(world: World) -> None:
    votes = world.votes(world.one)
    made, other = await votes.propose("Deploy"), await votes.propose("Merge")
    await world.votes(world.two).vote(made.id, "reject")
    with pytest.raises(Denied):
        await world.votes(world.two).close(made.id, "failed")
    found = await votes.close(made.id, "failed", reason="too few")
    assert (found.status, found.score, found.closed_by) == ("failed", 0.0, world.one)
    back = await votes.withdraw(other.id, reason="another plan")
    assert (back.status, back.reason) == ("failed", "withdrawn: another plan")
    for call in (
        world.votes(world.two).vote(made.id, "approve"), votes.close(made.id, "achieved"),
        votes.withdraw(other.id),
    ):  # fmt: skip
        with pytest.raises(Conflict, match="is closed"):
            await call
    assert (await votes.get(made.id)).reject == 1


async def test_a_deadline_counts_before_anybody_has_noted_it(world: World) -> None:
    votes = world.votes(world.one)
    made = await votes.propose("Deploy", deadline_s=60)
    await votes.vote(made.id, "approve")
    world.clock.advance(60)
    with pytest.raises(Conflict, match="it is expired"):
        await votes.vote(made.id, "reject")
    assert [each.status for each in await votes.list(status="expired")] == ["expired"]
    assert await votes.list(status="open") == []


async def test_a_sweep_notes_what_expired_and_deletes_what_is_old(world: World) -> None:
    kept = world.place.consensus
    votes = world.votes(world.one)
    late = await votes.propose("Deploy", deadline_s=60)
    await votes.vote(late.id, "approve")
    await votes.propose("Stays")
    assert await kept.sweep(1.0, KEPT_S) == 0
    world.clock.advance(61)
    assert kept.is_behind
    assert await kept.sweep(1.0, KEPT_S) == 1
    found = await votes.get(late.id)
    assert (found.status, found.score, found.closed_by) == ("expired", 1.0, "engine")
    assert found.closed_at_us == found.deadline_at_us
    world.clock.advance(KEPT_S - 2)
    assert await kept.sweep(1.0, KEPT_S) == 0
    world.clock.advance(2)
    assert await kept.sweep(1.0, KEPT_S) == 1
    assert [each.title for each in await votes.list()] == ["Stays"]
    left = await world.place.database.read(
        lambda reader: reader.execute("SELECT count(*) FROM ballot").fetchone()
    )
    assert left == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ballot SET vote = 'approve'",
        "UPDATE ballot SET confidence = 1000000",
        "UPDATE ballot SET voter = 'operator'",
        "UPDATE consensus SET level = 4",
    ],
)
async def test_what_was_changed_behind_the_engine_is_noticed(world: World, statement: str) -> None:
    votes = world.votes(world.one)
    made = await votes.propose("Deploy", {"n": 1})
    await votes.vote(made.id, "reject", confidence=0.5)
    assert (await votes.get(made.id)).ballots[0].vote == "reject"
    await world.tamper(statement)
    with pytest.raises(Damaged, match="does not match its seal"):
        await world.place.consensus.show(OPERATOR_PRINCIPAL, made.id)


async def test_new_keys_reach_bodies_and_ballots(world: World) -> None:
    votes = world.votes(world.one)
    made = await votes.propose("Deploy", {"n": 1})
    await votes.vote(made.id, "reject", reason="why")
    before = await votes.get(made.id)
    await world.core.vault.rotate("development", actor="operator")
    assert await votes.get(made.id) == before
    states = await world.place.database.read(
        lambda reader: reader.execute("SELECT DISTINCT state FROM data_key").fetchall()
    )
    assert ("retiring",) not in states


async def test_what_makes_no_sense_is_refused(world: World) -> None:
    votes = world.votes(world.one)
    for fields in (
        {"threshold": 1.5}, {"target": "2"}, {"target_type": "phase"}, {"deadline_s": 0},
        {"type": "wish"}, {"loop": 0}, {"title": ""}, {"body": "x" * 70_000}, {"team": "none"},
    ):  # fmt: skip
        with pytest.raises((InvalidInput, Denied)):
            await votes.propose(**({"title": "T"} | fields))  # type: ignore[arg-type]
    made = await votes.propose("T")
    for vote, confidence in (("maybe", 1.0), ("approve", 1.1), ("approve", float("nan"))):
        with pytest.raises(InvalidInput):
            await votes.vote(made.id, vote, confidence=confidence)
    for ident in ("dev_consensus_0", "dev_consensus_01", "dev_conflict_1", "dev_consensus_99"):
        with pytest.raises(NotFound):
            await votes.get(ident)


async def test_after_a_shredding_proposals_stay_without_what_they_said(world: World) -> None:
    votes, conflicts = world.votes(world.one), world.conflicts(world.one)
    made = await votes.propose("Deploy", {"n": 1})
    await votes.vote(made.id, "reject", reason="secret why")
    between = await conflicts.report("Both write", "a", "b", body={"n": 2})
    await conflicts.resolve(between.id, "secretly")
    await world.core.vault.shred("development", "all", actor="operator")
    found = await votes.get(made.id)
    assert (found.title, found.reject, found.body) == ("Deploy", 1, None)
    assert "destroyed" in found.ballots[0].reason
    shown = await conflicts.get(between.id)
    assert (shown.title, shown.body, shown.resolution) == ("Both write", None, None)
    await votes.vote(made.id, "approve", reason="again")
    assert (await votes.get(made.id)).ballots[0].reason == "again"
