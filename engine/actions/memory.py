"""Actions on memory records."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from .. import views
from .spec import (
    Action,
    Contains,
    Limit,
    Namespace,
    Offset,
    OptionalWhere,
    Order,
    Reader,
    Version,
    VersionOrNone,
    Where,
    action,
    arg,
)


@action(views.RecordView)
class MemorySet(Action, frozen=True, kw_only=True, tag="memory.set"):
    """Store a value under a key."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    value: Annotated[
        Any, arg("JSON; plain text is stored as a string", positional=True, unit="value")
    ]
    actor: Reader = None
    namespace: Namespace = "default"
    level: Annotated[
        str | int | None, arg("private, team, swarm, public, system (new: private)", unit="level")
    ] = None
    ttl_s: Annotated[float | None, arg("seconds until it expires", flag="--ttl")] = None
    if_version: Annotated[
        VersionOrNone | None, arg("only if the record has this version (0: is not there)")
    ] = None


@action(views.RecordView, query=True)
class MemoryGet(Action, frozen=True, kw_only=True, tag="memory.get"):
    """Show the value of a key."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    actor: Reader = None
    namespace: Namespace = "default"


@action(views.Done, destructive=True)
class MemoryDelete(Action, frozen=True, kw_only=True, tag="memory.delete"):
    """Delete a key."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    actor: Reader = None
    namespace: Namespace = "default"
    if_version: Annotated[Version | None, arg("only if the record has this version")] = None


@action(views.KeyPage, query=True)
class MemoryKeys(Action, frozen=True, kw_only=True, tag="memory.keys"):
    """List the keys that can be read, in order."""

    environment: Where
    prefix: Annotated[str, arg("only keys that begin with this", positional=True)] = ""
    actor: Reader = None
    namespace: Namespace = "default"
    limit: Limit = 1000
    cursor: Annotated[str | None, arg("continue after this key")] = None


@action(list[views.RecordView], query=True)
class MemoryList(Action, frozen=True, kw_only=True, tag="memory.list"):
    """List the records that can be read, with level, owner and version."""

    environment: Where
    prefix: Annotated[str, arg("only keys that begin with this", positional=True)] = ""
    actor: Reader = None
    namespace: Annotated[str | None, arg("only this namespace (default: all)")] = None
    contains: Contains = ""
    order: Annotated[
        Literal["key", "size", "changed", "version", "level", "owner", "expires"],
        arg("what to sort by"),
    ] = "key"
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(list[views.MemoryStatsView], query=True, lane="background")
class MemoryStats(Action, frozen=True, kw_only=True, tag="memory.stats"):
    """Show how many records there are, their bytes, and how often reads are found in memory."""

    environment: OptionalWhere = None


@action(views.RecordView, destructive=True)
class MemoryLevel(Action, frozen=True, kw_only=True, tag="memory.level"):
    """Change the level of a record, and with it who may read and write it."""

    environment: Where
    key: Annotated[str, arg("key", positional=True)]
    level: Annotated[
        str | int, arg("private, team, swarm, public, system", positional=True, unit="level")
    ]
    actor: Reader = None
    namespace: Namespace = "default"
    if_version: Annotated[Version | None, arg("only if the record has this version")] = None
