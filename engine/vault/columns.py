"""Columns of tables beside records and messages, whose texts keys protect as they do letters.

    [stored] = letters.protect(ring, tx, [(columns.TASK_RESULT.letter(ident), text)])
    text = letters.unprotect(ring, columns.TASK_RESULT.letter(ident), stored)

A table that has one says so in COLUMNS, and then rotation, shredding, backups and full checks
reach it. Its id is a whole number that is never used twice; a column that holds nothing is NULL.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .letters import Letter


class Column(NamedTuple):
    """A column of sealed texts. `field` is its number in the seal, for good and for no other
    column. `bound` are up to three columns of the same row, texts that never change, that the seal
    binds beside the id: a text under the seal of a row in which they differ is damaged."""

    table: str
    name: str
    field: int
    bound: tuple[str, ...] = ()

    def letter(self, ident: int, *bound: str) -> Letter:
        """What the text of a row belongs to, with what stands in its `bound` columns."""
        kind, sender, target = (*bound, "", "", "")[:3]
        return Letter(ident, kind, sender, target, self.field)

    @property
    def spoken(self) -> str:
        return f"the {self.name} of {self.table}"

    @property
    def selected(self) -> str:
        """A SELECT of id, text and what is bound, without a WHERE."""
        return f"SELECT {', '.join(('id', self.name, *self.bound))} FROM {self.table}"  # noqa: S608


# From letters.SECRET on the texts are keys, sealed in every environment.
# Numbers: 0 to 2 are those of letters.py, 10 to 19 of tasks; each table begins with a ten of its
# own. A number is never given to another column.
TASK_REQUIREMENTS: Final = Column("task", "requirements", 10, ("owner",))
TASK_DELIVERABLES: Final = Column("task", "deliverables", 11, ("owner",))
TASK_RESULT: Final = Column("task", "result", 12, ("owner",))

# Whom an event is from and for: one that is moved to another level says nothing any more.
EVENT_STANDS: Final = (
    "target || '|' || level || '|' || ifnull(team, '') || '|' || ifnull(swarm, '')"
)
EVENT_PAYLOAD: Final = Column("event", "payload", 20, ("type", "owner", EVENT_STANDS))

# A proposal says nothing any more once it is another's or for others, a ballot once its vote is
# another one, a conflict once it is between others.
STANDS: Final = "level || '|' || ifnull(team, '') || '|' || ifnull(swarm, '')"
CONSENSUS_BODY: Final = Column("consensus", "body", 30, ("owner", STANDS))
BALLOT_REASON: Final = Column(
    "ballot", "reason", 31, ("proposal || '|' || voter", "vote || '|' || confidence")
)
CONFLICT_BODY: Final = Column("conflict", "body", 35, ("owner", STANDS, "one || '|' || other"))
CONFLICT_RESOLUTION: Final = Column("conflict", "resolution", 36, ("owner", STANDS))

ARTIFACT_METADATA: Final = Column("artifact", "metadata", 40, ("owner", "name", "content"))
CONTENT_SECRET: Final = Column("artifact_content", "secret", 200, ("address",))

COLUMNS: Final[tuple[Column, ...]] = (
    TASK_REQUIREMENTS,
    TASK_DELIVERABLES,
    TASK_RESULT,
    EVENT_PAYLOAD,
    CONSENSUS_BODY,
    BALLOT_REASON,
    CONFLICT_BODY,
    CONFLICT_RESOLUTION,
    ARTIFACT_METADATA,
    CONTENT_SECRET,
)
"""Every column of this kind there is."""

SPOKEN: Final = {column.field: column.spoken for column in COLUMNS}
