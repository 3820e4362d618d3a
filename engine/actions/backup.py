"""Actions on copies of an environment, and on the state of its file."""

from __future__ import annotations

from typing import Annotated

from .. import views
from ..model import Role
from .spec import Action, OptionalWhere, Where, action, arg

Name = Annotated[str, arg("name of the backup", positional=True)]


@action(views.BackupView, role=Role.ADMIN, lane="background", timeout_s=3600)
class BackupCreate(Action, frozen=True, kw_only=True, tag="backup.create"):
    """Copy an environment while it is used, and verify the copy."""

    environment: Where


@action(list[views.BackupView], role=Role.ADMIN, query=True)
class BackupList(Action, frozen=True, kw_only=True, tag="backup.list"):
    """List the backups, newest first."""

    environment: OptionalWhere = None


@action(views.BackupView, role=Role.ADMIN, query=True, lane="background", timeout_s=3600)
class BackupVerify(Action, frozen=True, kw_only=True, tag="backup.verify"):
    """Check a backup: its manifest, its file, every record and the audit chain."""

    environment: Where
    name: Name


@action(views.BackupView, role=Role.SYSTEM, lane="background", timeout_s=3600, destructive=True)
class BackupRestore(Action, frozen=True, kw_only=True, tag="backup.restore"):
    """Replace an environment by a verified backup; what was there is kept aside."""

    environment: Where
    name: Name


@action(views.Done, role=Role.ADMIN, destructive=True)
class BackupDelete(Action, frozen=True, kw_only=True, tag="backup.delete"):
    """Delete a backup."""

    environment: Where
    name: Name
