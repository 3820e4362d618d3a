"""Proposals and ballots as they are stored and as they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from .. import codec
from ..model import Level
from ..numbered import Numbered
from ..store.database import Reader, Transaction
from ..vault import Ring, columns, letters
from ..vault.letters import Letter
from ..views import BallotView, ProposalView

MILLION: Final = 1_000_000
DESTROYED: Final = "destroyed with its key: nothing shows that this is how they voted"
OPEN: Final = frozenset({"pending", "in_progress"})

COLUMNS: Final = """id, title, type, target_type, target, strategy, threshold, participants, loop,
       status, score, owner, level, team, swarm, deadline, closed_at, closed_by, reason,
       created_at, updated_at"""
_SELECT: Final = f"SELECT {COLUMNS}, body FROM consensus WHERE id = ? AND env = ?"  # noqa: S608
_BALLOTS: Final = """
SELECT id, voter, vote, confidence, reason, updated_at FROM ballot
WHERE proposal = ? AND env = ? ORDER BY created_at, id"""
_COUNTS: Final = """
SELECT proposal, vote, count(*) FROM ballot
WHERE env = ? AND proposal IN (SELECT value FROM json_each(?)) GROUP BY proposal, vote"""


class Proposal(msgspec.Struct, frozen=True):
    """A row of the table, without its body. Times are microseconds since the epoch, `threshold`
    and `score` millionths."""

    ident: int
    title: str
    type: str
    target_type: str | None
    target: str | None
    strategy: str
    threshold: int
    participants: tuple[str, ...]
    loop: int
    status: str
    score: int | None
    owner: str
    level: Level
    team: str | None
    swarm: str | None
    deadline_us: int | None
    closed_us: int | None
    closed_by: str | None
    reason: str
    created_us: int
    updated_us: int

    @property
    def letter(self) -> Letter:
        stands = f"{self.level:d}|{self.team or ''}|{self.swarm or ''}"
        return columns.CONSENSUS_BODY.letter(self.ident, self.owner, stands)

    def status_at(self, now_us: int) -> str:
        """One that is open past its deadline has expired, whether that was noted yet or not."""
        late = self.deadline_us is not None and self.deadline_us <= now_us
        return "expired" if late and self.status in OPEN else self.status


class Tally(msgspec.Struct, frozen=True):
    """Ballots counted one by one, whatever the strategy."""

    approve: int = 0
    reject: int = 0
    abstain: int = 0

    @property
    def score(self) -> int | None:
        """The part of those for or against that are for, in millionths."""
        said = self.approve + self.reject
        return self.approve * MILLION // said if said else None


def proposal(row: tuple[Any, ...]) -> Proposal:
    """A row of COLUMNS."""
    fields = list(row)
    fields[7] = tuple(msgspec.json.decode(row[7]))
    fields[12] = Level(row[12])
    return Proposal(*fields)


def find(place: Reader | Transaction, ident: int) -> tuple[Proposal, bytes] | None:
    """A proposal and its body as it is stored."""
    row = place.execute(_SELECT, (ident, place.env)).fetchone()
    return None if row is None else (proposal(row[:-1]), row[-1])


def tallies(place: Reader | Transaction, idents: Iterable[int]) -> dict[int, Tally]:
    """How many ballots of each kind some proposals have; none for those without."""
    counts: dict[int, dict[str, int]] = {}
    wanted = msgspec.json.encode(list(idents)).decode()
    for ident, vote, number in place.execute(_COUNTS, (place.env, wanted)):
        counts.setdefault(ident, {})[vote] = number
    return {ident: Tally(**votes) for ident, votes in counts.items()}


def ballot_letter(ident: int, proposal: int, voter: str, vote: str, confidence: int) -> Letter:
    """What a reason is bound to: the ballot of this voter on this proposal, with this vote."""
    return columns.BALLOT_REASON.letter(ident, f"{proposal}|{voter}", f"{vote}|{confidence}")


def ballots(reader: Reader, ring: Ring, ident: int) -> tuple[BallotView, ...]:
    """The ballots on a proposal, first cast first. Raises Sealed, Damaged."""
    found = []
    for number, voter, vote, confidence, stored, cast_us in reader.execute(
        _BALLOTS, (ident, reader.env)
    ):
        letter = ballot_letter(number, ident, voter, vote, confidence)
        reason = letters.opened(ring, letter, stored)
        found.append(
            BallotView(
                voter=voter,
                vote=vote,
                confidence=confidence / MILLION,
                reason=DESTROYED if reason is None else reason.decode(),
                cast_at_us=cast_us,
            )
        )
    return tuple(found)


def body(ring: Ring, found: Proposal, stored: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """What exactly is proposed; None where its key was destroyed. Raises Sealed, Damaged."""
    text = letters.opened(ring, found.letter, stored)
    return None if text is None else codec.decode_json(text)


def view(
    ids: Numbered,
    found: Proposal,
    tally: Tally,
    now_us: int,
    said: Any = None,  # noqa: ANN401 - any JSON value
    cast: Sequence[BallotView] = (),
) -> ProposalView:
    """A proposal as it is shown, with its body and ballots or without."""
    score = tally.score if found.score is None else found.score
    return ProposalView(
        id=ids.shown(found.ident),
        environment=ids.environment.value,
        title=found.title,
        type=found.type,
        target_type=found.target_type,
        target=found.target,
        strategy=found.strategy,
        status=found.status_at(now_us),
        threshold=found.threshold / MILLION,
        score=None if score is None else score / MILLION,
        approve=tally.approve,
        reject=tally.reject,
        abstain=tally.abstain,
        participants=found.participants,
        loop=found.loop,
        proposer=found.owner,
        level=found.level.name.lower(),
        team=found.team,
        swarm=found.swarm,
        created_at_us=found.created_us,
        deadline_at_us=found.deadline_us,
        closed_at_us=found.closed_us,
        closed_by=found.closed_by,
        reason=found.reason,
        body=said,
        ballots=tuple(cast),
    )
