"""`serve --unit`: a systemd unit for this data directory, on standard output.

    swarmdeck serve --unit --user > ~/.config/systemd/user/swarmdeck.service

The unit stops only the engine, never its agents: an engine that crashed is started again within a
second and takes them up, and one that is stopped has ended them before it goes.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..errors import InvalidInput
from ..model import printable
from . import where
from .options import Options

STOP_S: Final = 30
"""An orderly stop takes three seconds; a disk that hangs is given more."""

WATCHDOG_S: Final = 60
"""The engine's loop is never held up for so long unless it is stuck."""

SUBGROUP_SINCE: Final = 254
"""The first systemd that starts a service in a group below its own; older ones warn of the word."""

VERSION_S: Final = 5.0

_KEPT: Final = ("XDG_CONFIG_HOME", "XDG_STATE_HOME")
"""Where keys and checkpoints are: a service that looked elsewhere would make new ones."""

_SYSTEM: Final = """\
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
CapabilityBoundingSet=
"""

_SUBGROUP: Final = """\
# The engine in a group of its own: only one without processes can be divided among swarms.
DelegateSubgroup=engine
"""

_UNIT: Final = """\
# Made by `swarmdeck serve --unit`; make it again rather than edit it, or use a drop-in.
# TERM ends agents and closes databases in order; `systemctl reload` reads the settings again.

[Unit]
Description=SwarmDeck engine on {shown}
Documentation=man:systemd.service(5)
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
{who}{environment}
# An engine that dies is started again and takes up its agents: they must not die with it.
KillMode=process
Restart=on-failure
RestartSec=1
TimeoutStopSec={stop_s}
WatchdogSec={watchdog_s}
# One agent that the kernel ends for its memory is no reason to end them all.
OOMPolicy=continue

# Memory and processor of each swarm are limited by control groups below this one.
Delegate=cpu memory pids
{subgroup}TasksMax=infinity
LimitNOFILE=65536

# What an engine and its agents do without. Homes and /tmp stay as they are: agents work there.
UMask=0077
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
{hardening}
[Install]
WantedBy={target}
"""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit is made from. `user` is who the engine runs as; None makes a unit of the
    user's own manager. `environment` are variables that the service needs; `systemd` is the version
    that will read it, 0 when nobody knows."""

    command: tuple[str, ...]
    data: Path
    user: str | None
    environment: Mapping[str, str]
    systemd: int = 0


def print_unit(options: Options, *, user: bool) -> int:
    """Write the unit for what the options name. Raises InvalidInput, ConfigError."""
    data = where.data_directory(options)
    config = None if options.config is None else str(Path(options.config).expanduser().absolute())
    command = [*program(), "--data", str(data)]
    command += ["--config", config] if config is not None else []
    command += ["--log-level", options.log_level] if options.log_level is not None else []
    made = Unit(
        command=(*command, "serve"),
        data=data,
        user=None if user else getpass.getuser(),
        environment={name: os.environ[name] for name in _KEPT if os.environ.get(name)},
        systemd=systemd_version(),
    )
    sys.stdout.write(text_of(made))
    return 0


def program() -> tuple[str, ...]:
    """The command of this installation, found without a search path."""
    script = Path(sys.executable).with_name("swarmdeck")
    if os.access(script, os.X_OK):
        return (str(script),)
    return (sys.executable, "-m", "swarmdeck.engine.cli")


def systemd_version(program: str = "systemctl") -> int:
    """The version of systemd on this host, 0 where there is none or it does not say."""
    found = shutil.which(program)
    if found is None:
        return 0
    try:
        said = subprocess.run(  # noqa: S603 - found on the path, no shell
            [found, "--version"], capture_output=True, text=True, timeout=VERSION_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    name, _, rest = said.partition(" ")
    number = rest.partition(" ")[0].partition(".")[0]
    return int(number) if name == "systemd" and number.isdecimal() else 0


def text_of(unit: Unit) -> str:
    """The unit file. Raises InvalidInput for a name that no line can hold."""
    system = unit.user is not None
    variables = [f"{name}={value}" for name, value in unit.environment.items()]
    who = ""
    if unit.user is not None:
        # A directory of its own for the socket: a service of the system has none.
        place = f"swarmdeck-{hashlib.sha256(os.fsencode(unit.data)).hexdigest()[:8]}"
        who = f"User={_word(unit.user)}\nRuntimeDirectory={place}\nRuntimeDirectoryMode=0700\n"
        who += "RuntimeDirectoryPreserve=yes\n"
        variables.append(f"XDG_RUNTIME_DIR=/run/{place}")
    return _UNIT.format(
        shown=_line(str(unit.data)).replace("%", "%%"),
        command=" ".join(map(_word, unit.command)),
        who=who,
        environment="".join(f"Environment={_word(each, dollar=False)}\n" for each in variables),
        stop_s=STOP_S,
        subgroup=_SUBGROUP if unit.systemd >= SUBGROUP_SINCE else "",
        watchdog_s=WATCHDOG_S,
        hardening=_SYSTEM if system else "",
        target="multi-user.target" if system else "default.target",
    )


def _word(text: str, *, dollar: bool = True) -> str:
    """A word of a command line, as systemd reads it (systemd.service(5))."""
    escaped = _line(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if dollar:
        escaped = escaped.replace("$", "$$")
    plain = escaped.isascii() and not set(" \t'\";") & set(escaped)
    return escaped if plain and escaped else f'"{escaped}"'


def _line(text: str) -> str:
    if not text.isprintable():
        raise InvalidInput(
            f"{printable(text)} cannot stand in a unit", hint="use a path without such characters"
        )
    return text
