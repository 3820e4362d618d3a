"""What every decision must be, written down once more and differently: the rules as the tables
that people read, and explicit entries one condition after the other.

Nothing here is taken from the engine but the names of things. Run as a program, it writes the
committed table: `python tests/engine/access/access_reference.py`.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

ENVIRONMENTS = ("production", "development", "testing", "research", "staging")
RELATIONS = ("owner", "team", "swarm", "namespace")
ROLES = ("agent", "monitor", "coordinator", "admin", "system")
LEVELS = ("private", "team", "swarm", "public", "system")
RIGHTS = ("read", "write", "delete", "grant")
SAID = ("none", "allow", "deny", "both", "break-glass")

# Who may do what to a record of a level where no entry says anything: r w d g, - nothing.
RULES = """
              private  team  swarm  public  system
owner         rwdg     rwdg  rwdg   rwdg    -
team          -        rw    rw     rw      -
swarm         -        -     r      r       -
namespace     -        -     -      r       -
+agent        -        -     -      -       -
+monitor      -        -     -      -       -
+coordinator  -        -     -      -       -
+admin        d        dg    dg     dg      -
+system       d        rdg   rdg    rdg     rwdg
"""
# From whose records (across) somebody (down) reads what is public (P) or nothing (.).
GATE = """
             production staging development testing research
production   .          .       .           .       .
staging      .          .       .           .       .
development  .          .       .           P       P
testing      .          .       P           .       P
research     .          .       P           P       .
"""


def parsed(table: str) -> dict[tuple[str, str], str]:
    header, *lines = (line.split() for line in table.strip().splitlines())
    return {
        (row[0], column): cell
        for row in lines
        for column, cell in zip(header, row[1:], strict=True)
    }


_RULES = parsed(RULES)
_GATE = parsed(GATE)


def may_by_rule(relation: str, role: str, level: str, right: str) -> bool:
    letters = _RULES[relation, level] + _RULES[f"+{role}", level]
    return right[0] in letters


def expected(  # noqa: PLR0911 - the rules in their order
    subject: str,
    home: str,
    *,
    exported: bool,
    relation: str,
    role: str,
    level: str,
    right: str,
    said: str,
) -> tuple[bool, str]:
    """Whether somebody of one environment has a right on a record whose home is another (or the
    same), and by which rule. `said` is what entries say."""
    inside = subject == home
    passes = _GATE[subject, home] == "P"
    if not inside and not passes and not exported:
        return False, "isolation"
    if said in {"deny", "both"} and not (role == "system" and right == "grant"):
        return False, "explicit-deny"
    if not inside:
        if right == "read" and level == "public":
            return True, "public" if passes else "export"
        if right == "read" and level in {"team", "swarm"} and said == "allow" and passes:
            return True, "grant"
        return False, "isolation"
    if may_by_rule(relation, role, level, right):
        return True, "level"
    if said == "break-glass" and (role, level, right) == ("system", "private", "read"):
        return True, "break-glass"
    grantable = right == "read" if level == "private" else right != "grant" and level != "system"
    if said == "allow" and grantable:
        return True, "grant"
    return False, "default"


def cases() -> Iterator[tuple[str, ...]]:
    """Every case that can occur, with its decision: subject's environment, record's environment,
    export rule, relation, role, level, right, entries, decision, rule."""
    kinds = tuple(itertools.product(ROLES, LEVELS, RIGHTS))
    for subject, home in itertools.product(ENVIRONMENTS, ENVIRONMENTS):
        open_ = home == "staging" and subject in {"development", "testing", "research"}
        for exported in (False, True) if open_ else (False,):
            relations = RELATIONS if subject == home else ("none",)
            words = SAID if subject == home else SAID[:4]
            for relation, (role, level, right), said in itertools.product(relations, kinds, words):
                allowed, rule = expected(
                    subject, home, exported=exported, relation=relation, role=role, level=level,
                    right=right, said=said,
                )  # fmt: skip
                way = "export" if exported else ""
                yield (subject, home, way, relation, role, level, right, said,
                       "yes" if allowed else "no", rule)  # fmt: skip


# --- entries ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """Somebody as the reference sees them. The operator has no home."""

    id: str
    role: str
    home: str
    swarm: str | None = None
    teams: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thing:
    """A record as the reference sees it."""

    home: str
    namespace: str
    key: str
    level: str
    owner: str
    team: str | None = None
    swarm: str | None = None


@dataclass(frozen=True)
class Word:
    """An entry as it was made. `kind` is entry, export or break-glass; times are microseconds."""

    kind: str
    subject: str
    effect: str
    level: str
    rights: tuple[str, ...]
    namespace: str
    prefix: str
    granter: str
    until_us: int
    hours: str = ""
    days: tuple[str, ...] = ()
    zone: str = "UTC"
    owner: str = ""


class Reference:
    """Decisions over one environment, from who is there and every entry ever made and not revoked.
    `people` by id, `now_us` the latest time ever seen."""

    def __init__(self, home: str, operator: str = "system") -> None:
        self.home = home
        self.operator = operator
        self.people: dict[str, Person] = {}
        self.words: list[Word] = []
        self.now_us = 0

    def decide(self, who: Person, right: str, thing: Thing) -> tuple[bool, str]:
        inside = who.home in {"", self.home}
        role = self.operator if who.id == "operator" else who.role
        return expected(
            self.home if inside else who.home,
            self.home,
            exported=not inside and self._is_exported(who.home, thing),
            relation=relation(who, thing) if inside else "none",
            role=role,
            level=thing.level,
            right=right,
            said=self._said(who.id, right, thing),
        )

    def _is_exported(self, to: str, thing: Thing) -> bool:
        if self.home != "staging" or to in {"production", "staging"} or self.operator != "system":
            return False
        return any(
            word.kind == "export"
            and word.subject == to
            and word.until_us > self.now_us
            and word.namespace == thing.namespace
            and thing.key.startswith(word.prefix)
            for word in self.words
        )

    def _said(self, subject: str, right: str, thing: Thing) -> str:
        mine = [
            word
            for word in self.words
            if word.subject == subject and self._is_about(word, right, thing)
        ]
        denied = any(w.effect == "deny" and self._may_deny(w, thing) for w in mine)
        allowed = any(
            w.kind == "entry" and w.effect == "allow" and self._may_allow(w, right, thing)
            for w in mine
        )
        if denied:
            return "both" if allowed else "deny"
        if any(w.kind == "break-glass" for w in mine):
            return "break-glass" if not allowed else "allow"
        return "allow" if allowed else "none"

    def _is_about(self, word: Word, right: str, thing: Thing) -> bool:
        if word.until_us <= self.now_us or not in_hours(word, self.now_us):
            return False
        if word.kind == "break-glass" and (word.prefix, word.owner) != (thing.key, thing.owner):
            return False
        return (
            word.level == thing.level
            and right in word.rights
            and word.namespace == thing.namespace
            and thing.key.startswith(word.prefix)
        )

    def _may_deny(self, word: Word, thing: Thing) -> bool:
        if word.granter == "operator" and self.operator == "system":
            return True
        granter = self._person(word.granter)
        if granter is None:
            return thing.owner == word.granter
        return self._by_rule(granter, "grant", thing)

    def _may_allow(self, word: Word, right: str, thing: Thing) -> bool:
        if thing.level == "private" and thing.owner != word.granter:
            return False
        if word.granter == "operator" and self.operator == "system":
            return True
        granter = self._person(word.granter)
        if granter is None or not self._by_rule(granter, "grant", thing):
            return False
        against = (
            w
            for w in self.words
            if w.subject == granter.id and w.effect == "deny" and self._is_about(w, right, thing)
        )
        is_denied = any(self._may_deny(w, thing) for w in against)
        return self._by_rule(granter, right, thing) and not is_denied

    def _person(self, ident: str) -> Person | None:
        operator = Person("operator", self.operator, "")
        return operator if ident == "operator" else self.people.get(ident)

    def _by_rule(self, who: Person, right: str, thing: Thing) -> bool:
        return may_by_rule(relation(who, thing), who.role, thing.level, right)


def relation(who: Person, thing: Thing) -> str:
    if thing.owner == who.id:
        return "owner"
    if thing.team in who.teams:
        return "team"
    if thing.swarm is not None and thing.swarm == who.swarm:
        return "swarm"
    return "namespace"


def in_hours(word: Word, now_us: int) -> bool:
    """Whether an entry counts at a time, said minute by minute: it does if the minute that began
    its window, at most a day ago, was on one of its days."""
    if not (word.hours or word.days):
        return True
    zone = UTC if word.zone == "UTC" else ZoneInfo(word.zone)
    local = datetime.fromtimestamp(now_us // 1_000_000, zone)
    begin, end = (word.hours or "00:00-24:00").split("-")
    clock = local.strftime("%H:%M")
    day = local.date()
    if begin < end:
        if not begin <= clock < end:
            return False
    elif clock < end:
        day -= timedelta(days=1)
    elif clock < begin:
        return False
    return not word.days or day.strftime("%a").lower() in word.days


# --- the committed table ------------------------------------------------------------------------

TABLE = Path(__file__).with_name("access_table.csv")
HEADER = (
    "subject",
    "record",
    "way",
    "relation",
    "role",
    "level",
    "right",
    "entries",
    "may",
    "rule",
)


def committed() -> list[tuple[str, ...]]:
    with TABLE.open(newline="") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != HEADER:
        raise ValueError(f"{TABLE.name} begins with {header}")
    return [tuple(row) for row in rows]


def write(rows: Iterable[tuple[str, ...]]) -> None:
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    write(cases())
    sys.stdout.write(f"{len(committed()):,} rows\n")
