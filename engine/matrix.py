"""Who may do what to which record, seen at once: the decisions of many calls side by side.

Every cell is asked of the same `Access.verdict` that decides real calls, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from .acl import BY_ENTRY, Access, Grant, Rule, Standing, spoken
from .actions import AclMatrix, AclWho
from .environment import Place
from .errors import NotFound, SwarmDeckError
from .model import (
    OPERATOR,
    OPERATOR_PRINCIPAL,
    AgentState,
    Level,
    Principal,
    Right,
    Role,
    environment_of,
    printable,
)
from .store.database import Reader
from .views import CellView, DecisionView, MatrixRow, MatrixView, SubjectView

MAX_SUBJECTS: Final = 100

PAGE: Final = 1000

_RIGHTS: Final = (Right.READ, Right.WRITE, Right.DELETE)
_LAST: Final = "\U0010ffff"
_SELECT: Final = """
SELECT namespace, key, level, owner, team, swarm FROM memory
WHERE env = ? AND (? IS NULL OR namespace = ?) AND key >= ? AND key < ?
  AND (expires_at IS NULL OR expires_at > ?) AND (namespace, key) > (?, ?)
ORDER BY namespace, key LIMIT ?"""
_ENDED: Final = frozenset({AgentState.EXITED, AgentState.FAILED})

Subject = tuple[Principal, SubjectView]
Places = Mapping[str, Place]
Cells = dict[tuple[tuple[bool, ...], Rule, str], CellView]


class Kept(NamedTuple):
    """A record as it stands, without what it holds."""

    namespace: str
    key: str
    record: Standing


async def matrix(
    place: Place, principal: Principal, action: AclMatrix, others: Places | None = None
) -> MatrixView:
    """Records by subjects. To the operator all records, by the agents that have not ended, in
    order of name, and agents of other environments that hold a grant here; to an agent what it
    may read, in its own column. `others` are the environments by name, for the names of guests.
    Raises NotFound for a subject that is not there."""
    subjects = _subjects(place, principal, action.subjects, others or {})
    found = await _records(place, principal, action)
    columns = [each for each, _ in subjects]
    known: Cells = {}
    return MatrixView(
        environment=place.environment.value,
        subjects=tuple(view for _, view in subjects),
        rows=tuple(_row(place.access, each, columns, known) for each in found[: action.limit]),
        more=len(found) > action.limit,
    )


async def who(
    place: Place, principal: Principal, action: AclWho, others: Places | None = None
) -> list[DecisionView]:
    """Decisions about one record, those that allow first: of the operator and of all subjects a
    matrix would have; to an agent its own. Raises NotFound for a record that is not there, or
    looks so to an agent."""
    record = await place.memory.peek(action.namespace, action.key)
    may_see = record is not None and (
        principal.is_operator
        or place.access.allows(principal, Right.READ, record, action.namespace, action.key)
    )
    if not may_see:
        raise NotFound(f"no key {printable(action.key)}", hint="see swarmdeck memory keys")
    rights = tuple(Right) if action.right is None else (Right(action.right),)
    subjects = [each for each, _ in _subjects(place, principal, (), others or {})]
    if principal.is_operator:
        subjects = [OPERATOR_PRINCIPAL, *(each for each in subjects if not each.is_operator)]
    decisions = [
        place.access.explain(subject, right, record, action.namespace, action.key)
        for right in rights
        for subject in subjects
    ]
    return sorted(decisions, key=lambda decision: not decision.allowed)


# --- subjects ---------------------------------------------------------------------------------


def _subjects(
    place: Place, principal: Principal, named: Sequence[str], others: Places
) -> list[Subject]:
    if not principal.is_operator:
        if any(ident != principal.id for ident in named):
            raise NotFound("no such agent", hint="an agent sees its own rights")
        return [_subject(place, principal.id, others)]
    if named:
        return [_subject(place, ident, others) for ident in dict.fromkeys(named)]
    own = [
        agent.id
        for agent in sorted(place.registry.select(), key=lambda agent: (agent.name, agent.id))
        if agent.state not in _ENDED
    ]
    guests = [ident for ident in _guests(place, others) if ident not in own]
    breaking = [OPERATOR] if place.access.breaking() else []
    chosen = (*breaking, *own, *guests)[:MAX_SUBJECTS]
    return [_subject(place, ident, others) for ident in chosen]


def _guests(place: Place, others: Places) -> Iterable[str]:
    """Agents of other environments that hold an entry here, as far as they are still there."""
    holders = {entry.subject for entry in place.access.entries() if entry.kind == "entry"}
    for ident in sorted(holders - {OPERATOR}):
        home = environment_of(ident)
        site = others.get(home)
        if home is not place.environment and (site is None or ident in site.registry.agents):
            yield ident


def _subject(place: Place, ident: str, others: Places) -> Subject:
    """Who acts under an id, and how to show it. Raises NotFound."""
    if ident == OPERATOR:
        role = place.access.operator.value
        return OPERATOR_PRINCIPAL, SubjectView(
            id=OPERATOR, name=OPERATOR, swarm=None, teams=(), role=role
        )
    try:
        home = environment_of(ident)
    except SwarmDeckError as error:
        raise NotFound(f"no agent {printable(ident)}", hint="see swarmdeck agent list") from error
    site = place if home is place.environment else others.get(home)
    if site is None:
        # Of an agent of another environment nothing but its home counts.
        return Principal(ident, Role.AGENT, home.value), SubjectView(
            id=ident, name=ident, swarm=None, teams=(), role=Role.AGENT.value
        )
    found = site.registry.principal(ident)
    return found, SubjectView(
        id=ident,
        name=site.registry.agent(ident).name,
        swarm=found.swarm,
        teams=found.teams,
        role=found.role.value,
    )


# --- cells ------------------------------------------------------------------------------------


async def _records(place: Place, principal: Principal, action: AclMatrix) -> list[Kept]:
    """The records of a page and one more if there is one: of an agent those it may read, of the
    operator all, who sees of each how it stands and not what it holds."""
    wanted = action.offset + action.limit + 1
    found: list[Kept] = []
    after = ("", "")
    while len(found) < wanted:
        page = await place.database.read(_page(place, action, after))
        found += (
            kept
            for kept in page
            if principal.is_operator
            or place.access.allows(principal, Right.READ, kept.record, kept.namespace, kept.key)
        )
        if len(page) < PAGE:
            break
        after = (page[-1].namespace, page[-1].key)
    return found[action.offset : wanted]


def _page(
    place: Place, action: AclMatrix, after: tuple[str, str]
) -> Callable[[Reader], list[Kept]]:
    now_us = place.database.clock.wall_us()
    bounds = (action.prefix, action.prefix + _LAST, now_us, *after, PAGE)

    def query(reader: Reader) -> list[Kept]:
        where = (reader.env, action.namespace, action.namespace, *bounds)
        return [
            Kept(namespace, key, Standing(Level(level), owner, team, swarm))
            for namespace, key, level, owner, team, swarm in reader.execute(_SELECT, where)
        ]

    return query


def _row(access: Access, kept: Kept, subjects: Sequence[Principal], known: Cells) -> MatrixRow:
    namespace, key, record = kept
    return MatrixRow(
        key=key,
        namespace=namespace,
        level=record.level.name.lower(),
        owner=record.owner,
        team=record.team,
        cells=tuple(_cell(access, each, kept, known) for each in subjects),
    )


def _cell(access: Access, subject: Principal, kept: Kept, known: Cells) -> CellView:
    namespace, key, record = kept
    verdicts = [access.verdict(subject, right, record, namespace, key) for right in _RIGHTS]
    note = ""
    for right, verdict in zip(_RIGHTS, verdicts, strict=True):
        if not note and verdict.rule in BY_ENTRY:
            entry = access.deciding(subject, right, record, namespace, key)
            note = "" if entry is None else _note(entry)
    asked = tuple(verdict.allowed for verdict in verdicts), verdicts[0].rule, note
    cell = known.get(asked)
    if cell is None:
        letters = (c if allowed else "-" for c, allowed in zip("rwd", asked[0], strict=True))
        cell = known[asked] = CellView(rights="".join(letters), rule=asked[1].value, note=note)
    return cell


def _note(entry: Grant) -> str:
    """What limits the entry a cell rests on."""
    end = datetime.fromtimestamp(entry.expires_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = (f"until {end}", spoken(entry.hours, entry.days, entry.zone), entry.reason)
    return ", ".join(filter(None, parts))
