"""What the doctor says of what a data directory holds: databases, keys, backups.

Nothing is opened for writing and nothing is made. Databases are looked at through SQLite, also
those in use: reading one as a plain file would end the locks this process may hold on it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .environment import database_path
from .errors import SwarmDeckError
from .model import Environment, format_size
from .settings import Settings
from .store import driver
from .store.migrate import Series, require_known
from .views import CheckView

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_COORDINATION: Final = "coordination"


def examine(data: Path, settings: Settings) -> list[CheckView]:
    """Databases, keys and backups of a data directory that is there."""
    if not (data / "instances").is_dir():
        return []
    return [_databases(data), _keys(data, settings), _backups(data)]


# --- databases ------------------------------------------------------------------------------


def _databases(data: Path) -> CheckView:
    names = (_COORDINATION, *(name.value for name in Environment))
    there = [name for name in names if database_path(data, name).exists()]
    damaged = {name: why for name in there if (why := _trouble(data, name))}
    if not damaged:
        return CheckView(name="databases", status="ok", detail=f"{len(there)} files are ours")
    name = next(iter(damaged))
    hint = (
        f"swarmdeck backup restore {name} NAME (see swarmdeck backup list)"
        if name != _COORDINATION
        else f"move {database_path(data, name)} away: budgets that were changed are lost with it"
    )
    return CheckView(
        name="databases", status="failed", detail="; ".join(damaged.values()), hint=hint
    )


def _trouble(data: Path, name: str) -> str:
    """Why a file cannot be used, as far as its first page tells; empty when it can."""
    path = database_path(data, name)
    series: Series = "coordination" if name == _COORDINATION else "environment"
    log = path.with_name(path.name + "-wal")
    try:
        raw = driver.look(path, immutable=not log.exists())
        try:
            require_known(raw, series, path.name)
        finally:
            raw.close()
    except driver.Error as error:
        return driver.translate(error, path.name).message
    except SwarmDeckError as error:
        return error.message
    return ""


# --- keys -----------------------------------------------------------------------------------


def _keys(data: Path, settings: Settings) -> CheckView:
    """Whether keys are where they should be and closed to others."""
    from .vault import sources, vaultfile  # noqa: PLC0415 - every command loads the doctor's name

    directory = data / "keys"
    for path in (directory, directory / vaultfile.NAME):
        if path.exists() and path.stat().st_mode & _OTHERS:
            return _loose(path)
    try:
        file = vaultfile.load(directory)
    except SwarmDeckError as error:
        return CheckView(name="keys", status="failed", detail=error.message, hint=error.hint)
    if file is None:
        return CheckView(name="keys", status="ok", detail="there are none yet")
    source = file.source
    if source.kind == "file":
        named = settings.vault.key_file or source.place
        path = Path(named).expanduser() if named else sources.usual_file(file.id)
        if trouble := sources.file_trouble(path):
            hint = "put the key file back, or see the page on recovery: without it nothing opens"
            return CheckView(name="keys", status="failed", detail=trouble, hint=hint)
        return CheckView(name="keys", status="ok", detail=f"key file {path}; keep a copy elsewhere")
    return CheckView(name="keys", status="ok", detail=f"the key comes from a {source.kind}")


def _loose(path: Path) -> CheckView:
    return CheckView(
        name="keys",
        status="warning",
        detail=f"{path} is open to others",
        hint=f"chmod go= {path}",
    )


# --- backups --------------------------------------------------------------------------------


def _backups(data: Path) -> CheckView:
    """Whether backups can be made and are closed to others, and what there is."""
    root = data / "backups"
    if root.is_symlink() or not root.is_dir():
        hint = f"make {root} a directory of its own: links are not followed"
        return _warn(f"{root} is not a directory", hint)
    files = list(_files(root))
    for path in (root, *(file.parent for file in files), *files):
        if path.is_symlink():
            return _warn(f"{path} is a link", "links are not followed: move the file itself there")
        if path.stat().st_mode & _OTHERS:
            return _warn(f"{path} is open to others", f"chmod -R go= {root}")
    copies = {file.with_suffix("") for file in files if file.suffix == ".db"}
    papers = {file.with_suffix("") for file in files if file.suffix == ".json"}
    if odd := sorted(copies ^ papers):
        return _warn(
            f"{odd[0]} has only a copy or only a manifest", "delete it: it is no backup any more"
        )
    size = sum(file.stat().st_size for file in files)
    detail = f"{len(copies)} in {root}, {format_size(size)}" if copies else "there are none"
    if not copies:
        return _warn(detail, "swarmdeck backup create ENVIRONMENT")
    return CheckView(name="backups", status="ok", detail=detail)


def _files(root: Path) -> Iterator[Path]:
    for name in Environment:
        folder = root / name.value
        if folder.is_symlink():
            yield folder
        elif folder.is_dir():
            yield from (path for path in folder.iterdir() if path.suffix in {".db", ".json"})


def _warn(detail: str, hint: str) -> CheckView:
    return CheckView(name="backups", status="warning", detail=detail, hint=hint)
