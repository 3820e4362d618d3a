"""A file of JSON that is whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from ..store.kin import DiskError
from ..store.log import sync_directory

_FOLDER: Final = "moai-flow"
_NAME: Final = "session-state.json"


def write_state(home: Path, text: str) -> Path:
    """Put a text in place of the one of before; where it is. Raises DiskError."""
    path = home / _FOLDER / _NAME
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise DiskError(
            f"{path} was not written: {error.strerror}", hint="check the disk and its rights"
        ) from error
    return path
