"""What protects records: keys, copies and files."""

from __future__ import annotations

from typing import Final

from ...engine import actions
from .. import columns
from ..places import Place
from .base import Listing

VAULT: Final = Listing(
    title="Keys",
    columns=columns.data_keys,
    key=lambda key: f"{key.environment}\n{key.id}",
    empty="No environment is open.",
    groups=("vault", "rows", "table", "motion"),
    query=lambda scope: actions.VaultStatus(environment=scope.place),
    opens=lambda key: Place("records", key.environment),
    about_height=4,
)
BACKUPS: Final = Listing(
    title="Backups, newest first",
    columns=columns.backups,
    key=lambda backup: f"{backup.environment}\n{backup.name}",
    empty="No backup was made yet: nothing could be restored.\n\n"
    "n  makes one while the environment is used, and verifies it",
    groups=("backups", "rows", "table", "motion"),
    query=lambda scope: actions.BackupList(environment=scope.place),
    words=lambda backup: f"{backup.name}: {backup.status}. {backup.detail}".strip(),
)
DATABASES: Final = Listing(
    title="Files",
    columns=columns.databases,
    key=lambda database: str(database.environment),
    empty="No database is open.",
    groups=("db", "parts", "rows", "table", "motion"),
    query=lambda scope: actions.DatabaseStats(environment=scope.place),
)
