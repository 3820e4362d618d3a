"""What was measured in a data directory, and the baselines it is compared with.

`bench/results.json` holds the last result of each workload, protected and unprotected ones apart;
`bench/baselines.json` holds copies of them by name, and which one is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ..errors import NotFound, StorageError
from ..model import check_name, printable
from ..store.volatile import is_volatile
from ..views import BenchView, Done
from .names import NAMES

KEPT: Final = "results.json"
BASELINES: Final = "baselines.json"

T = TypeVar("T")
_Key = tuple[str, bool, bool]


class _Baselines(msgspec.Struct):
    chosen: str = ""
    results: dict[str, list[BenchView]] = {}


class Results:
    """Reads the files when they are first asked for; one engine writes them."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "bench"
        self._unkept: dict[str, bytes] | None = {} if is_volatile(data) else None
        self._shown: tuple[BenchView, ...] | None = None
        self._glance: tuple[BenchView, ...] = ()
        self._glance_of: tuple[BenchView, ...] | None = None

    @property
    def glance(self) -> tuple[BenchView, ...]:
        """The last results without what only charts need: the overview carries them ten times a
        second."""
        shown = self.shown
        if self._glance_of is not shown:
            bare = {"references": (), "latencies": ()}
            self._glance = tuple(msgspec.structs.replace(view, **bare) for view in shown)
            self._glance_of = shown
        return self._glance

    @property
    def shown(self) -> tuple[BenchView, ...]:
        """The last results beside the chosen baseline; none where a file cannot be read."""
        if self._shown is None:
            try:
                self._shown = tuple(self.beside(None))
            except StorageError:
                self._shown = ()
        return self._shown

    def add(self, found: Iterable[BenchView]) -> list[BenchView]:
        """Keep new results in place of older ones of the same kind; the new ones beside the
        chosen baseline. Raises StorageError."""
        new = {_key(view): view for view in found}
        kept: dict[_Key, BenchView] = {}
        with suppress(StorageError):  # results that cannot be read are replaced
            kept = {_key(view): view for view in self._latest()}
        kept |= new
        self._write(KEPT, sorted(kept.values(), key=_order))
        self._shown = None
        return [view for view in self.shown if _key(view) in new] or list(new.values())

    def beside(self, baseline: str | None) -> list[BenchView]:
        """The last results, each compared with the baseline of that name, or with the chosen one.
        Raises NotFound with the names there are, StorageError for a file that cannot be read."""
        baselines = self._baselines()
        if baseline is None and not baselines.chosen:
            return self._latest()
        name = baselines.chosen if baseline is None else baseline
        then = {_key(view): view for view in _named(baselines, name)}
        from . import verdict  # noqa: PLC0415 - its statistics are slow to load

        return [
            verdict.beside(view, then[_key(view)], name) if _key(view) in then else view
            for view in self._latest()
        ]

    def keep(self, name: str, *, remove: bool) -> Done:
        """Keep the last results as the baseline of that name and choose it, or forget that one.
        Raises InvalidInput for a name that cannot be one, NotFound, StorageError."""
        check_name(name, "baseline")
        baselines = self._baselines()
        detail = _forget(baselines, name) if remove else self._choose(baselines, name)
        self._write(BASELINES, baselines)
        self._shown = None
        return Done(detail=detail)

    def _choose(self, baselines: _Baselines, name: str) -> str:
        latest = self._latest()
        if not latest:
            raise NotFound("nothing has been measured yet", hint="swarmdeck bench run")
        baselines.results[name] = latest
        baselines.chosen = name
        return f"baseline {name}: {len(latest)} results, compared with from now on"

    def _latest(self) -> list[BenchView]:
        return self._read(KEPT, list[BenchView], [])

    def _baselines(self) -> _Baselines:
        return self._read(BASELINES, _Baselines, _Baselines())

    def _read(self, name: str, kind: type[T], missing: T) -> T:
        path = self._folder / name
        if self._unkept is not None:
            body = self._unkept.get(name)
            return missing if body is None else msgspec.json.decode(body, type=kind)
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return missing
        except (OSError, msgspec.DecodeError) as error:
            raise StorageError(
                f"cannot read {path}: {error}", hint="move it away to begin anew"
            ) from error

    def _write(self, name: str, content: Sequence[BenchView] | _Baselines) -> None:
        if self._unkept is not None:
            self._unkept[name] = msgspec.json.encode(content)
            return
        fresh = self._folder / f".{name}"
        try:
            self._folder.mkdir(exist_ok=True)
            fresh.write_bytes(msgspec.json.encode(content))
            fresh.replace(self._folder / name)
        except OSError as error:
            raise StorageError(f"cannot keep {name}: {error.strerror}") from error


def _forget(baselines: _Baselines, name: str) -> str:
    _named(baselines, name)
    del baselines.results[name]
    if baselines.chosen == name:
        baselines.chosen = ""
    return f"baseline {name} is forgotten"


def _named(baselines: _Baselines, name: str) -> list[BenchView]:
    if name not in baselines.results:
        names = ", ".join(sorted(baselines.results))
        raise NotFound(
            f"no baseline {printable(name)}",
            hint=f"there are {names}" if names else "swarmdeck bench baseline NAME keeps one",
        )
    return baselines.results[name]


def _key(view: BenchView) -> _Key:
    return view.name, view.encryption, view.compression


def _order(view: BenchView) -> tuple[int, _Key]:
    names = list(NAMES)
    return names.index(view.name) if view.name in names else len(names), _key(view)
