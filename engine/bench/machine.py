"""What measured: the machine, the versions and the commit, as text beside each result."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Final

from .. import __version__
from ..model import format_size
from ..store.driver import LIBRARY_VERSION

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")


def machine() -> str:
    """Processor, cores this process may use, and memory: `EPYC 7B13, 8 cores, 96 GB`."""
    cores = len(os.sched_getaffinity(0))
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{_processor()}, {cores} cores, {format_size(size)}"


def versions() -> str:
    """`python 3.11.2, sqlite 3.53.0, swarmdeck 0.1.0`."""
    return f"python {platform.python_version()}, sqlite {LIBRARY_VERSION}, swarmdeck {__version__}"


def commit(checkout: Path = _CHECKOUT) -> str:
    """The commit that is checked out; empty where the program is installed, not checked out."""
    try:
        folder = _repository(checkout)
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        found = _resolved(folder, head.removeprefix("ref: ")) if head[:5] == "ref: " else head
    except (OSError, UnicodeDecodeError):
        return ""
    return found if _COMMIT.fullmatch(found) else ""


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.machine()


def _repository(checkout: Path) -> Path:
    """The repository of a checkout; that of a second working tree is named in a file."""
    git = checkout / ".git"
    if git.is_dir():
        return git
    return checkout / git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")


def _resolved(folder: Path, branch: str) -> str:
    common = folder / "commondir"
    root = folder / common.read_text(encoding="utf-8").strip() if common.exists() else folder
    if (root / branch).exists():
        return (root / branch).read_text(encoding="utf-8").strip()
    packed = (root / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in packed if line.endswith(f" {branch}")), "")
