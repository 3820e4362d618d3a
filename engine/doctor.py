"""What SwarmDeck needs of a machine and a data directory, examined without opening it."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .errors import SwarmDeckError
from .hostmem import LinuxProbe
from .ledger import scale_plan
from .lock import find_socket, runtime_directory
from .model import GIB, format_size
from .settings import Settings
from .store import driver
from .views import CheckView

_LOW_DISK_BYTES: Final = GIB
_CONNECT_S: Final = 1.0
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"})


def examine(data: Path, settings: Settings) -> list[CheckView]:
    """One finding a check, in the order of what stands on what. Changes nothing; takes at most
    a second for each server it looks for."""
    checks: tuple[Callable[[], CheckView], ...] = (
        _python,
        _platform,
        _sqlite,
        _event_loop,
        lambda: _memory(settings),
        lambda: _enforcement(settings),
        lambda: _directory(data),
        lambda: _disk(data),
        lambda: _filesystem(data),
        _runtime_directory,
        lambda: _owner(data),
        lambda: _redis(settings),
    )
    from . import holdings  # noqa: PLC0415 - every command loads this module, few examine anything

    return [*(check() for check in checks), *holdings.examine(data, settings)]


def _ok(name: str, detail: str) -> CheckView:
    return CheckView(name=name, status="ok", detail=detail)


def _warning(name: str, detail: str, hint: str) -> CheckView:
    return CheckView(name=name, status="warning", detail=detail, hint=hint)


def _failed(name: str, detail: str, hint: str) -> CheckView:
    return CheckView(name=name, status="failed", detail=detail, hint=hint)


# --- the machine ----------------------------------------------------------------------------


def _python() -> CheckView:
    return _ok("python", platform.python_version())  # the package installs on no older one


def _platform() -> CheckView:
    found = f"{platform.system()} {platform.machine()}"
    if found != "Linux x86_64":
        return _warning("platform", found, "supported is Linux on x86-64; elsewhere much may work")
    return _ok("platform", found)


def _sqlite() -> CheckView:
    try:
        driver.require_sound_library()
    except SwarmDeckError as error:
        return _failed("sqlite", error.message, error.hint)
    return _ok("sqlite", driver.LIBRARY_VERSION)


def _event_loop() -> CheckView:
    if importlib.util.find_spec("uvloop") is None:
        return _warning("event loop", "asyncio", "install uvloop for a faster engine")
    return _ok("event loop", "uvloop")


def _memory(settings: Settings) -> CheckView:
    total_bytes = LinuxProbe().host().total_bytes
    scaled = scale_plan(settings.host, total_bytes)
    if scaled.scale < 1:
        detail = f"{format_size(total_bytes)}: {scaled.text}"
        return _warning("memory", detail, "budgets are scaled down; agent limits are not")
    return _ok("memory", format_size(total_bytes))


def _enforcement(settings: Settings) -> CheckView:
    """What would hold agents to their memory here. Which level is in force is read from agents."""
    from .swarms.enforcement.cgroup import look_for_groups  # noqa: PLC0415 - as in examine

    name, level = "memory limits", settings.enforcement.level
    if level == "advisory":
        hint = "set enforcement.level to auto"
        return _warning(name, "advisory: agents are measured and held to nothing", hint)
    why_not = look_for_groups().why_not if level == "auto" else f"set to {level}"
    if why_not:
        return _ok(name, f"guarded: limits of each process and a guard; {why_not}")
    return _ok(name, "kernel: a control group for each swarm")


# --- the data directory ---------------------------------------------------------------------


def _directory(data: Path) -> CheckView:
    name = "data directory"
    if not data.exists():
        parent = _existing(data)
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return _ok(name, f"{data} is not there yet; the first command makes it")
        return _failed(name, f"{data} cannot be made in {parent}", "name another with --data")
    if not data.is_dir():
        return _failed(name, f"{data} is not a directory", "name another with --data")
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        return _failed(name, f"{data} is not yours to write", "change its owner or rights")
    if data.stat().st_mode & 0o022:
        return _warning(name, f"{data} can be written by others", f"chmod go-w {data}")
    return _ok(name, str(data))


def _disk(data: Path) -> CheckView:
    free_bytes = shutil.disk_usage(_existing(data)).free
    detail = f"{format_size(free_bytes)} free"
    if free_bytes < _LOW_DISK_BYTES:
        return _warning("disk", detail, f"below {format_size(_LOW_DISK_BYTES)}: free some")
    return _ok("disk", detail)


def _filesystem(data: Path) -> CheckView:
    kind = _filesystem_kind(_existing(data).resolve())
    if kind in _REMOTE:
        hint = "locks and the shared memory of SQLite need a local disk"
        return _failed("filesystem", f"{kind} is remote", hint)
    return _ok("filesystem", kind or "unknown")


def _runtime_directory() -> CheckView:
    try:
        return _ok("socket directory", str(runtime_directory()))
    except SwarmDeckError as error:
        return _failed("socket directory", error.message, error.hint)


def _owner(data: Path) -> CheckView:
    place = find_socket(data)
    if place is None:
        return _ok("owner", "none")
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_CONNECT_S)
        try:
            link.connect(os.fspath(place))
        except OSError as error:
            gone = error.errno in {errno.ECONNREFUSED, errno.ENOENT}
            hint = "the next owner cleans up" if gone else "it may be overloaded or stopped"
            return _warning("owner", f"nobody answers on {place}", hint)
    return _ok("owner", f"answers on {place}")


def _redis(settings: Settings) -> CheckView:
    redis = settings.redis
    if redis.host is None:
        return _ok("redis", "not configured")
    try:
        socket.create_connection((redis.host, redis.port), timeout=_CONNECT_S).close()
    except OSError as error:
        hint = "the engine works without it; broadcast and fan-out between hosts do not"
        return _warning("redis", f"{redis.host}:{redis.port}: {error}", hint)
    return _ok("redis", f"{redis.host}:{redis.port}")


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _filesystem_kind(path: Path) -> str:
    import psutil  # noqa: PLC0415 - every command loads this module, few examine anything

    mounts = [
        (part.mountpoint, part.fstype)
        for part in psutil.disk_partitions(all=True)
        if path.is_relative_to(part.mountpoint)
    ]
    return max(mounts, key=lambda mount: len(mount[0]), default=("", ""))[1]
