"""The main job: real agents digest real files.

Each text file becomes a message addressed to a swarm made for the occasion. Agents store a digest
in one transaction with the end of its message, so that it counts once however often it was
delivered; when nothing is left to do, one of them sums the records up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sysconfig
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol
from weakref import WeakSet

from . import worker
from .actions import Demo
from .engine import Engine
from .environment import Place
from .errors import Conflict, Defect, InvalidInput, NotFound, SwarmDeckError, Unavailable
from .model import MIB, MIN_SWARM_BYTES, OPERATOR_PRINCIPAL, Environment, check_key, printable
from .swarms.service import Swarms
from .swarms.supervisor import BUNDLED_WORKER
from .views import AgentView, DemoAgentView, DemoView

Progress = Callable[[float, str], object]

ENVIRONMENT: Final = Environment.DEVELOPMENT.value
NAME: Final = "demo"
AGENT_BYTES: Final = 64 * MIB
READY_S: Final = 60.0
TOTAL_S: Final = 120.0
DRAIN_S: Final = 10.0
LOOK_S: Final = 0.05  # what is looked at stands in memory
TALLY_S: Final = 0.5  # between two counts of the rows while agents seem idle
SEND_AT_ONCE: Final = 200
ROOM_S: Final = 60.0  # for a full queue to have room for a message
READ_BYTES: Final = 1 << 20
SHARE_STARTED, SHARE_SENT, SHARE_DONE = 0.05, 0.10, 0.97  # of the progress
# Only its own kinds: it must not take what others have sent to nobody in particular.
COMMAND: Final = (*BUNDLED_WORKER, "digest", "total")
LEFT_OUT: Final = frozenset({"site-packages", "__pycache__"})

_GONE: Final = frozenset({"failed", "exited"})
_under_way: WeakSet[Place] = WeakSet()

log = logging.getLogger(__name__)


class Services(Protocol):
    """What the demo uses of an engine."""

    @property
    def engine(self) -> Engine: ...

    @property
    def swarms(self) -> Swarms: ...

    @property
    def places(self) -> Mapping[str, Place]: ...


async def run_demo(services: Services, action: Demo, progress: Progress) -> DemoView:
    """Digest every text file below a directory with agents of a swarm made for it.

    Records of an earlier demo are replaced. Without `keep` everything the demo has made is
    removed at the end; its processes end in every case. Raises InvalidInput for a directory
    without text files, Conflict while another demo runs, OverBudget, Unavailable when no agent
    is left.
    """
    root, left_out = _root_of(action.files)
    with _only_one(services.places[ENVIRONMENT]):
        return await _run_demo(services, action, progress, root, left_out)


async def _run_demo(
    services: Services, action: Demo, progress: Progress, root: Path, left_out: frozenset[str]
) -> DemoView:
    progress(0.0, f"looking for text files below {root}")
    files, skipped = await _text_files(root, left_out)
    if not files:
        raise InvalidInput(
            f"no text file below {printable(str(root))}", hint="give another --files"
        )
    run = _Run(services, progress, root, files)
    try:
        view = await run.run(action.agents)
    except BaseException:
        try:
            await _to_the_end(run.clean_up(keep=False, force=True))
        except SwarmDeckError:
            log.exception("the demo could not be cleaned up")
        raise
    await _to_the_end(run.clean_up(keep=action.keep, force=False))
    progress(1.0, f"{view.done} files digested, {skipped} skipped")
    return view


@contextmanager
def _only_one(place: Place) -> Iterator[None]:
    """Two demos would write the same records. Raises Conflict."""
    if place in _under_way:
        raise Conflict("a demo is running", hint="wait for its end, or cancel it")
    _under_way.add(place)
    try:
        yield
    finally:
        _under_way.discard(place)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Clean up whole, also when the action is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class _Run:
    """One demo under way, and what it has made so far."""

    def __init__(
        self, services: Services, progress: Progress, root: Path, files: Sequence[str]
    ) -> None:
        self._swarms = services.swarms
        self._place = services.places[ENVIRONMENT]
        self._queue = services.engine.queue(ENVIRONMENT)
        self._memory = services.engine.memory(ENVIRONMENT)
        self._agents = services.engine.agents
        self._progress = progress
        self._root = root
        self._files = files
        self._swarm = ""
        self._team = ""
        self._pids: dict[str, int] = {}

    async def run(self, agents: int) -> DemoView:
        began_s = asyncio.get_running_loop().time()
        await self._start(agents)
        await self._memory.clear(namespace=worker.NAMESPACE)
        await self._send()
        await self._work()
        tally = await self._place.queue.tally(self._swarm)
        size_bytes = await self._sum_up(tally.done)
        return DemoView(
            files=len(self._files),
            bytes=size_bytes,
            sent=tally.sent,
            done=tally.done,
            dead=tally.dead,
            redelivered=tally.redelivered,
            agents=tuple(
                DemoAgentView(
                    id=agent.id,
                    pid=self._pids.get(agent.id, 0),
                    done=tally.done_by.get(agent.id, 0),
                )
                for agent in self._crew()
            ),
            records=await self._count_records(),
            elapsed_s=round(asyncio.get_running_loop().time() - began_s, 3),
        )

    async def clean_up(self, *, keep: bool, force: bool) -> None:
        """End the processes; unless `keep`, remove everything the demo has made."""
        if self._swarm:
            with suppress(NotFound):
                await self._swarms.terminate(
                    self._swarm, force=force, wait_s=DRAIN_S, reason="the demo is over"
                )
        if keep:
            return
        await self._memory.clear(namespace=worker.NAMESPACE)
        for target in filter(None, (self._swarm, self._team)):
            await self._place.queue.purge(OPERATOR_PRINCIPAL, to=target)
        with suppress(NotFound):
            if self._swarm:
                await self._swarms.remove(self._swarm)
        with suppress(NotFound):
            if self._team:
                await self._place.registry.remove_team(self._team)

    # --- its steps ----------------------------------------------------------------------------

    async def _start(self, agents: int) -> None:
        """A swarm with its team, and every agent of it ready."""
        swarm = await self._swarms.create(
            ENVIRONMENT,
            agents=agents,
            memory_bytes=self._memory_for(agents),
            command=COMMAND,
            name=NAME,
            lasting=False,
            progress=lambda fraction, text: self._progress(fraction * SHARE_STARTED, text),
        )
        self._swarm = swarm.id
        self._team = (await self._agents.create_team(ENVIRONMENT, name=NAME)).id
        for agent in self._crew():
            await self._agents.add_to_team(agent.id, self._team)
        await self._all_ready()

    def _memory_for(self, agents: int) -> int:
        """64 MiB an agent where there is so much; on a small host what there is."""
        available_bytes = self._swarms.available_bytes(ENVIRONMENT)
        return max(MIN_SWARM_BYTES, min(agents * AGENT_BYTES, available_bytes))

    async def _send(self) -> None:
        for start in range(0, len(self._files), SEND_AT_ONCE):
            part = self._files[start : start + SEND_AT_ONCE]
            async with asyncio.TaskGroup() as group:
                for path in part:
                    body = {"root": str(self._root), "path": path}
                    group.create_task(
                        self._queue.send("digest", body, to=self._swarm, wait_s=ROOM_S)
                    )
            share = (start + len(part)) / len(self._files)
            fraction = SHARE_STARTED + share * (SHARE_SENT - SHARE_STARTED)
            self._progress(fraction, f"sent {start + len(part)} of {len(self._files)} files")

    async def _work(self) -> None:
        """Wait until every message is done or dead."""
        loop = asyncio.get_running_loop()
        wanted = len(self._files)
        counters = self._place.queue.counters
        counted_s = 0.0
        while True:
            crew = self._crew()
            done = sum(agent.done for agent in crew)
            fraction = SHARE_SENT + (SHARE_DONE - SHARE_SENT) * done / wanted
            self._progress(fraction, f"{done} of {wanted} files digested")
            idle = not counters.lanes.ready(self._swarm) and not any(a.leased for a in crew)
            if idle and (done >= wanted or loop.time() - counted_s > TALLY_S):
                tally = await self._place.queue.tally(self._swarm)
                if tally.done + tally.dead >= wanted:
                    return
                counted_s = loop.time()
            self._check_alive(crew)
            await asyncio.sleep(LOOK_S)

    async def _sum_up(self, files: int) -> int:
        """Have an agent write the total, once all is done; the bytes it has found."""
        self._progress(SHARE_DONE, "summing up")
        # To the team, so that the tally of the swarm stays one of files.
        ident = await self._queue.send("total", {"files": files}, to=self._team, wait_s=ROOM_S)
        try:
            async with asyncio.timeout(TOTAL_S):
                while (message := await self._place.queue.show(ident)).state != "done":
                    if message.state == "dead":
                        raise Defect(f"the total could not be written: {message.error}")
                    self._check_alive(self._crew())
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise Unavailable(f"nobody wrote the total within {TOTAL_S:.0f} s") from error
        found = await self._memory.get(worker.TOTAL, namespace=worker.NAMESPACE)
        return int(found["bytes"])

    async def _count_records(self) -> int:
        count, cursor = 0, None
        while True:
            keys, cursor = await self._memory.keys(
                worker.PREFIX, namespace=worker.NAMESPACE, cursor=cursor
            )
            count += len(keys)
            if cursor is None:
                return count

    # --- its agents ---------------------------------------------------------------------------

    def _crew(self) -> Sequence[AgentView]:
        crew = self._swarms.agents(swarm=self._swarm)
        self._pids.update((agent.id, agent.pid) for agent in crew if agent.pid is not None)
        return crew

    async def _all_ready(self) -> None:
        """Wait until every agent that has not failed is ready."""
        try:
            async with asyncio.timeout(READY_S):
                while self._are_starting():  # noqa: ASYNC110 - it stands in memory
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise Unavailable(f"the agents were not ready within {READY_S:.0f} s") from error
        self._check_alive(self._crew())

    def _are_starting(self) -> bool:
        return any(agent.state not in {"ready", *_GONE} for agent in self._crew())

    @staticmethod
    def _check_alive(crew: Sequence[AgentView]) -> None:
        """Raises Unavailable when no agent works, or ever will."""
        if all(agent.state in _GONE for agent in crew):
            reason = crew[0].reason if crew else "they were ended"
            raise Unavailable(f"no agent of the demo is left: {reason}", hint="see swarmdeck logs")


# --- files ------------------------------------------------------------------------------------


def _root_of(files: str | None) -> tuple[Path, frozenset[str]]:
    """The directory to read, and the names of directories to leave out. Raises InvalidInput."""
    if files is None:
        return Path(sysconfig.get_path("stdlib")), LEFT_OUT
    root = Path(files).expanduser()
    if not files or not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist"
        raise InvalidInput(f"{printable(files)} {what}", hint="--files takes a directory")
    return root.resolve(), frozenset()


async def _text_files(root: Path, left_out: frozenset[str]) -> tuple[list[str], int]:
    """Paths of the text files below `root`, in order, and how many files were skipped because
    they could not be read or named."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(1, thread_name_prefix="swarmdeck-demo")
    try:
        look = pool.submit(_look, root, left_out, stop)
        return await asyncio.wrap_future(look)
    finally:
        stop.set()
        pool.shutdown(wait=True)


def _look(root: Path, left_out: frozenset[str], stop: threading.Event) -> tuple[list[str], int]:
    found, skipped = [], 0
    for path in _walk(root, left_out):
        if stop.is_set():
            break
        try:
            name = path.relative_to(root).as_posix()
            check_key(f"{worker.PREFIX}{name}")
            if _is_text(path):
                found.append(name)
        except (OSError, SwarmDeckError):
            skipped += 1
    return sorted(found), skipped


def _walk(root: Path, left_out: frozenset[str]) -> Iterator[Path]:
    """Regular files below a directory; links are not followed."""
    directories = [root]
    while directories:
        try:
            entries = list(os.scandir(directories.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False) and entry.name not in left_out:
                directories.append(Path(entry.path))


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            if b"\0" in piece:
                return False
    return True
