"""Actions on artifacts: whole files that agents have made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from .. import views
from .spec import Action, Contains, Limit, Offset, OptionalWhere, Order, Reader, Where, action, arg

ArtifactId = Annotated[str, arg("artifact id", positional=True)]
Type = Literal[
    "code", "documentation", "test", "config", "binary", "data", "model", "report", "other"
]


@action(views.ArtifactView, lane="background", timeout_s=3600)
class ArtifactPut(Action, frozen=True, kw_only=True, tag="artifact.put"):
    """Store a file as an artifact, or as the next version of the one with its name."""

    environment: Where
    file: Annotated[str, arg("file to store", positional=True, unit="path")]
    actor: Reader = None
    name: Annotated[str, arg("name (default: that of the file)")] = ""
    type: Annotated[Type, arg("what it is")] = "other"
    format: Annotated[str, arg("format (default: the ending of the name)")] = ""
    level: Annotated[
        str | int | None,
        arg("private, team, swarm, public, system (of a new one: swarm)", unit="level"),
    ] = None
    team: Annotated[str | None, arg("for this one of its owner's teams")] = None
    parent: Annotated[str | None, arg("id of the artifact it was made from")] = None
    of: Annotated[str | None, arg("id of an artifact whose next version it is")] = None
    metadata: Annotated[Any, arg("JSON kept with it", unit="json")] = None
    uncompressed: Annotated[bool, arg("keep it as it is, also where compressed is smaller")] = False


@action(views.Done, lane="background", timeout_s=3600, query=True)
class ArtifactGet(Action, frozen=True, kw_only=True, tag="artifact.get"):
    """Write what an artifact holds to a file, once all of it was checked."""

    id: ArtifactId
    output: Annotated[str, arg("file to write", flag="-o", unit="path")]
    actor: Reader = None
    replace: Annotated[bool, arg("replace a file that is there")] = False


@action(list[views.ArtifactView], query=True)
class ArtifactList(Action, frozen=True, kw_only=True, tag="artifact.list"):
    """List artifacts that may be read, the newest version of each."""

    environment: OptionalWhere = None
    actor: Reader = None
    type: Annotated[Type | None, arg("only this type")] = None
    owner: Annotated[str | None, arg("only of this agent")] = None
    name: Annotated[str | None, arg("only with this name")] = None
    contains: Contains = ""
    damaged: Annotated[bool, arg("only those whose content was found damaged")] = False
    versions: Annotated[bool, arg("older versions too")] = False
    order: Annotated[
        Literal["age", "name", "size", "type", "version", "owner"], arg("what to sort by")
    ] = "age"
    descending: Order = False
    offset: Offset = 0
    limit: Limit = 200


@action(views.ArtifactView, query=True)
class ArtifactShow(Action, frozen=True, kw_only=True, tag="artifact.show"):
    """Show one version of an artifact with its SHA-256 and metadata."""

    id: ArtifactId
    actor: Reader = None


@action(list[views.ArtifactView], query=True)
class ArtifactVersions(Action, frozen=True, kw_only=True, tag="artifact.versions"):
    """List all versions of an artifact, the newest first."""

    id: ArtifactId
    actor: Reader = None


@action(list[views.LineageView], query=True)
class ArtifactLineage(Action, frozen=True, kw_only=True, tag="artifact.lineage"):
    """List what an artifact was made from and what was made from it."""

    id: ArtifactId
    actor: Reader = None


@action(views.Done, destructive=True, lane="background", timeout_s=600)
class ArtifactDelete(Action, frozen=True, kw_only=True, tag="artifact.delete"):
    """Delete one version of an artifact, or all of them."""

    id: ArtifactId
    actor: Reader = None
    all_versions: Annotated[bool, arg("all versions of it")] = False


@action(list[views.CheckView], query=True, lane="background", timeout_s=3600)
class ArtifactVerify(Action, frozen=True, kw_only=True, tag="artifact.verify"):
    """Read an artifact, or all of an environment, whole and compare every chunk with its seal."""

    id: Annotated[str, arg("artifact id, or an environment for all in it", positional=True)]
    actor: Reader = None
