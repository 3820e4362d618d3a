"""Actions on access rights and the audit trail."""

from __future__ import annotations

from typing import Annotated, Literal

from .. import views
from .spec import (
    Action,
    Contains,
    Environment,
    Limit,
    Namespace,
    Offset,
    OptionalWhere,
    Where,
    action,
    arg,
)

Actions = Annotated[
    tuple[Literal["read", "write", "delete"], ...],
    arg("read, write, delete; may be repeated", min_length=1),
]


Lifetime = Annotated[float, arg("seconds it lasts", flag="--expires", ge=1, le=90 * 86_400)]


@action(views.GrantView)
class AclGrant(Action, frozen=True, kw_only=True, tag="acl.grant"):
    """Allow an agent more than its level rule does, for a time."""

    subject: Annotated[str, arg("agent id", positional=True)]
    resource: Annotated[Literal["memory"], arg("what it is about")] = "memory"
    level: Annotated[str | int, arg("level of the records", unit="level")] = "swarm"
    actions: Actions = ("read",)
    namespace: Namespace = "default"
    key_prefix: Annotated[str, arg("only keys that begin with this")] = ""
    environment: Annotated[
        Environment | None, arg("environment of the records (default: the agent's own)")
    ] = None
    expires_s: Lifetime = 86_400


@action(views.GrantView, destructive=True)
class AclDeny(Action, frozen=True, kw_only=True, tag="acl.deny"):
    """Deny an agent what its level rule or a grant allows, for a time."""

    subject: Annotated[str, arg("agent id", positional=True)]
    resource: Annotated[Literal["memory"], arg("what it is about")] = "memory"
    level: Annotated[str | int, arg("level of the records", unit="level")] = "swarm"
    actions: Actions = ("read",)
    namespace: Namespace = "default"
    key_prefix: Annotated[str, arg("only keys that begin with this")] = ""
    environment: Annotated[
        Environment | None, arg("environment of the records (default: the agent's own)")
    ] = None
    expires_s: Lifetime = 86_400


@action(views.Done, destructive=True)
class AclRevoke(Action, frozen=True, kw_only=True, tag="acl.revoke"):
    """Remove a grant or a denial."""

    id: Annotated[str, arg("grant id", positional=True)]


@action(list[views.GrantView], query=True)
class AclList(Action, frozen=True, kw_only=True, tag="acl.list"):
    """List the grants and denials in force."""

    environment: OptionalWhere = None
    subject: Annotated[str | None, arg("only of this agent")] = None


@action(views.DecisionView, query=True)
class AclExplain(Action, frozen=True, kw_only=True, tag="acl.explain"):
    """Say whether an agent may do something to a record, and which rule decides."""

    subject: Annotated[str, arg("agent id, or operator", positional=True)]
    right: Annotated[
        Literal["read", "write", "delete", "grant"], arg("what it wants to do", positional=True)
    ]
    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    namespace: Namespace = "default"


@action(list[views.AuditView], query=True)
class AuditList(Action, frozen=True, kw_only=True, tag="audit.list"):
    """List what was changed, by whom, newest first."""

    environment: OptionalWhere = None
    actor: Annotated[str | None, arg("only by this actor")] = None
    contains: Contains = ""
    offset: Offset = 0
    limit: Limit = 200


@action(views.MatrixView, query=True)
class AclMatrix(Action, frozen=True, kw_only=True, tag="acl.matrix"):
    """Show what each agent may do to each record, and which rule decides."""

    environment: Where
    prefix: Annotated[str, arg("only keys that begin with this", positional=True)] = ""
    namespace: Annotated[str | None, arg("only this namespace (default: all)")] = None
    subjects: Annotated[tuple[str, ...], arg("only these agents; may be repeated")] = ()
    offset: Offset = 0
    limit: Annotated[int, arg("at most so many records", ge=1, le=1000)] = 100


@action(list[views.DecisionView], query=True)
class AclWho(Action, frozen=True, kw_only=True, tag="acl.who"):
    """Show who may read, write and delete a record, and by which rule."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    right: Annotated[
        Literal["read", "write", "delete", "grant"] | None, arg("only this right (default: all)")
    ] = None
    namespace: Namespace = "default"
