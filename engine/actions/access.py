"""Actions on access rights and the audit trail."""

from __future__ import annotations

from typing import Annotated, Literal

from .. import views
from ..model import Role
from .spec import (
    Action,
    Contains,
    Environment,
    Limit,
    Namespace,
    Offset,
    OptionalWhere,
    Reader,
    Where,
    action,
    arg,
)

Actions = Annotated[
    tuple[Literal["read", "write", "delete"], ...],
    arg("read, write, delete; may be repeated", min_length=1),
]


Lifetime = Annotated[float, arg("seconds it lasts", flag="--expires", ge=1, le=90 * 86_400)]
Hours = Annotated[str, arg("only at this time of day, such as 09:00-17:30")]
Days = Annotated[
    tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...],
    arg("only on this weekday; may be repeated"),
]
Zone = Annotated[str, arg("time zone of hours and days, such as Europe/Berlin")]
ResourceName = Literal["memory", "task", "event", "consensus", "conflict", "artifact", "metric"]
Resource = Annotated[ResourceName, arg("what it is about")]
TrailName = Literal["production", "development", "testing", "research", "staging", "coordination"]
Risk = Literal["low", "medium", "high", "critical"]


@action(views.GrantView, role=Role.ADMIN)
class AclGrant(Action, frozen=True, kw_only=True, tag="acl.grant"):
    """Allow an agent more than its level rule does, for a time."""

    subject: Annotated[str, arg("agent id", positional=True)]
    resource: Resource = "memory"
    level: Annotated[str | int, arg("level of the records", unit="level")] = "swarm"
    actions: Actions = ("read",)
    namespace: Namespace = "default"
    key_prefix: Annotated[str, arg("only keys, or ids, that begin with this")] = ""
    environment: Annotated[
        Environment | None, arg("environment of the records (default: the agent's own)")
    ] = None
    expires_s: Lifetime = 86_400
    hours: Hours = ""
    days: Days = ()
    zone: Zone = "UTC"
    actor: Reader = None


@action(views.GrantView, role=Role.ADMIN, destructive=True)
class AclDeny(Action, frozen=True, kw_only=True, tag="acl.deny"):
    """Deny an agent what its level rule or a grant allows, for a time."""

    subject: Annotated[str, arg("agent id", positional=True)]
    resource: Resource = "memory"
    level: Annotated[str | int, arg("level of the records", unit="level")] = "swarm"
    actions: Actions = ("read",)
    namespace: Namespace = "default"
    key_prefix: Annotated[str, arg("only keys, or ids, that begin with this")] = ""
    environment: Annotated[
        Environment | None, arg("environment of the records (default: the agent's own)")
    ] = None
    expires_s: Lifetime = 86_400
    hours: Hours = ""
    days: Days = ()
    zone: Zone = "UTC"
    actor: Reader = None


@action(views.Done, role=Role.ADMIN, destructive=True)
class AclRevoke(Action, frozen=True, kw_only=True, tag="acl.revoke"):
    """Remove a grant or a denial."""

    id: Annotated[str, arg("grant id", positional=True)]


@action(views.GrantView, role=Role.SYSTEM, destructive=True)
class AclBreakglass(Action, frozen=True, kw_only=True, tag="acl.breakglass"):
    """Let the operator read a private record for 15 minutes; its owner is told."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    reason: Annotated[str, arg("why, for the audit trail and the owner", min_length=3)]
    namespace: Namespace = "default"


@action(views.GrantView, role=Role.SYSTEM, destructive=True)
class AclExport(Action, frozen=True, kw_only=True, tag="acl.export"):
    """Let another environment read public records of a closed one, for a time."""

    source: Annotated[Environment, arg("environment of the records", positional=True)]
    target: Annotated[Environment, arg("environment that may read them", positional=True)]
    name: Annotated[str, arg("name of the rule", positional=True)]
    namespace: Namespace = "default"
    key_prefix: Annotated[str, arg("only keys that begin with this")] = ""
    expires_s: Lifetime = 86_400


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


@action(views.DecisionView, query=True)
class AclCheck(Action, frozen=True, kw_only=True, tag="acl.check"):
    """Say whether an agent may do something to what there is at a level, and by which rule."""

    subject: Annotated[str, arg("agent id", positional=True)]
    right: Annotated[
        Literal["read", "write", "delete", "grant"], arg("what it wants to do", positional=True)
    ]
    resource: Annotated[ResourceName, arg("what kind of thing", positional=True)] = "memory"
    level: Annotated[str | int, arg("level of what there is", unit="level")] = "swarm"
    namespace: Namespace = "default"


@action(list[views.AuditView], query=True)
class AuditList(Action, frozen=True, kw_only=True, tag="audit.list"):
    """List what was changed, read and refused, and by whom, newest first."""

    environment: OptionalWhere = None
    actor: Annotated[str | None, arg("only by this actor")] = None
    risk: Annotated[Risk | None, arg("only of this risk and above")] = None
    denied: Annotated[bool, arg("only what was refused")] = False
    contains: Contains = ""
    offset: Offset = 0
    limit: Limit = 200


@action(list[views.ChainView], query=True, lane="background", timeout_s=600)
class AuditVerify(Action, frozen=True, kw_only=True, tag="audit.verify"):
    """Check that no row of the audit trail was changed, cut or moved."""

    environment: Annotated[
        TrailName | None, arg("only this environment, or coordination", positional=True)
    ] = None


@action(views.Done, role=Role.ADMIN, query=True, lane="background", timeout_s=3600)
class AuditExport(Action, frozen=True, kw_only=True, tag="audit.export"):
    """Write the audit trail of an environment to a new file, one JSON object a line."""

    environment: Annotated[TrailName, arg("environment, or coordination", positional=True)]
    file: Annotated[
        str, arg("file to write, which must not be there yet", positional=True, unit="path")
    ]


@action(views.MatrixView, query=True)
class AclMatrix(Action, frozen=True, kw_only=True, tag="acl.matrix"):
    """Show what each agent may do to each record, and which rule decides."""

    environment: Where
    prefix: Annotated[str, arg("only keys that begin with this", positional=True)] = ""
    namespace: Annotated[str | None, arg("only this namespace (default: all)")] = None
    subjects: Annotated[tuple[str, ...], arg("only these agents; may be repeated")] = ()
    offset: Offset = 0
    limit: Annotated[int, arg("at most so many records", ge=1, le=1000)] = 100
    csv: Annotated[bool, arg("write it as CSV, one line for each record and agent")] = False


@action(list[views.DecisionView], query=True)
class AclWho(Action, frozen=True, kw_only=True, tag="acl.who"):
    """Show who may read, write and delete a record, and by which rule."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    right: Annotated[
        Literal["read", "write", "delete", "grant"] | None, arg("only this right (default: all)")
    ] = None
    namespace: Namespace = "default"
