"""The rows that tests of the store write: teams, of which each is a short row without others."""

from __future__ import annotations

from swarmdeck.engine.store import driver
from swarmdeck.engine.store.database import Database, Reader, Transaction

INSERT = "INSERT INTO team (env, id, name, created_at, updated_at) VALUES (?, ?, ?, 0, 0)"


async def add(database: Database, ident: str, name: str = "t") -> None:
    def change(tx: Transaction) -> None:
        tx.execute(INSERT, (tx.env, ident, name))

    await database.write(change)


def names(reader: Reader) -> list[str]:
    """The teams there are, in order."""
    return [row[0] for row in reader.execute("SELECT id FROM team ORDER BY id").fetchall()]


def alone(database: Database) -> list[str]:
    """The teams that the file holds without its log, in order."""
    looking = driver.look(database.path, immutable=True)
    try:
        return [row[0] for row in looking.execute("SELECT id FROM team ORDER BY id").fetchall()]
    except driver.Error:  # not even the table
        return []
    finally:
        looking.close()
