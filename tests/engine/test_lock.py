"""The owner lock and the place of the socket."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmdeck.engine.errors import Denied, EngineBusy, StorageError
from swarmdeck.engine.lock import OwnerLock, find_socket, runtime_directory

HOLDER = """
import asyncio, pathlib, sys
from swarmdeck.engine.lock import OwnerLock

async def main():
    lock = await OwnerLock.acquire(pathlib.Path(sys.argv[1]))
    print(lock.prepare_socket(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def start(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is dead when the block ends. It inherits what can be inherited."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, close_fds=False) as process:
        try:
            yield process
        finally:
            process.kill()


def bind(place: Path) -> None:
    """Leave a socket behind that nobody serves."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sd-", dir="/tmp") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


async def test_the_second_opener_is_told_the_pid_of_the_first(data: Path) -> None:
    with await OwnerLock.acquire(data):
        with pytest.raises(EngineBusy) as caught:
            await OwnerLock.acquire(data)
        assert caught.value.pid == os.getpid()
        assert str(os.getpid()) in caught.value.message
        assert stat.S_IMODE((data / "run" / "engine.lock").stat().st_mode) == 0o600


async def test_release_lets_the_next_one_in_at_once(data: Path) -> None:
    for _ in range(2):
        lock = await OwnerLock.acquire(data)
        lock.release()
        lock.release()


async def test_a_disk_that_refuses_the_pid_refuses_the_lock_and_keeps_none(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", _refuse)
        with pytest.raises(StorageError, match=r"cannot lock .*: Input/output error"):
            await OwnerLock.acquire(data)
    with await OwnerLock.acquire(data) as lock, monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", _refuse)
        lock.release()
    (await OwnerLock.acquire(data)).release()


async def test_a_disk_that_takes_no_link_is_said_so(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with await OwnerLock.acquire(data) as lock:
        monkeypatch.setattr(Path, "symlink_to", _refuse)
        with pytest.raises(StorageError, match=r"engine\.sock: Input/output error"):
            lock.prepare_socket()


def _refuse(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_waiting_ends_when_the_owner_goes(data: Path) -> None:
    first = await OwnerLock.acquire(data)
    waiting = asyncio.create_task(OwnerLock.acquire(data, wait_s=5))
    asyncio.get_running_loop().call_later(0.02, first.release)
    (await waiting).release()


async def test_waiting_is_bounded(data: Path) -> None:
    with await OwnerLock.acquire(data):
        begin = time.monotonic()
        with pytest.raises(EngineBusy):
            await OwnerLock.acquire(data, wait_s=0.1)
        assert 0.1 <= time.monotonic() - begin < 2


async def test_a_killed_owner_frees_the_directory_and_its_stale_socket_goes(data: Path) -> None:
    with start(sys.executable, "-c", HOLDER, str(data)) as holder:
        assert holder.stdout is not None
        place = Path(holder.stdout.readline().strip())
        with pytest.raises(EngineBusy) as caught:
            await OwnerLock.acquire(data)
        assert caught.value.pid == holder.pid
        bind(place)
        holder.kill()
        begin = time.monotonic()
        with await OwnerLock.acquire(data, wait_s=1) as lock:
            assert time.monotonic() - begin < 1
            assert place.exists()
            assert lock.prepare_socket() == place
            assert not place.exists()


async def test_a_child_process_does_not_keep_the_lock(data: Path) -> None:
    lock = await OwnerLock.acquire(data)
    with start("sleep", "30"):
        lock.release()
        (await OwnerLock.acquire(data)).release()


async def test_the_socket_is_found_through_the_data_directory_and_goes_with_the_owner(
    data: Path,
) -> None:
    assert find_socket(data) is None
    with await OwnerLock.acquire(data) as lock:
        place = lock.prepare_socket()
        bind(place)
        assert find_socket(data) == place
        assert lock.prepare_socket() == place
    assert find_socket(data) is None
    assert not place.exists()


async def test_a_socket_left_in_another_runtime_directory_is_removed(
    data: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = await OwnerLock.acquire(data)
    place = lock.prepare_socket()
    bind(place)
    (runtime / "other").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "other"))
    assert lock.prepare_socket() != place
    assert not place.exists()
    lock.release()


async def test_two_data_directories_never_share_a_socket(tmp_path: Path) -> None:
    places = set()
    for name in ("a", "b", "a/b"):
        (tmp_path / name).mkdir()
        with await OwnerLock.acquire(tmp_path / name) as lock:
            places.add(lock.prepare_socket())
    assert len(places) == 3


async def test_a_long_data_path_has_a_short_socket_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    data = tmp_path / ("d" * 120)
    data.mkdir()
    with await OwnerLock.acquire(data) as lock:
        place = lock.prepare_socket()
        assert len(os.fsencode(place)) <= 107
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))


def test_the_runtime_directory_is_private(runtime: Path) -> None:
    directory = runtime_directory()
    assert directory == runtime / "swarmdeck"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_runtime_directory_open_to_others_is_refused(runtime: Path) -> None:
    (runtime / "swarmdeck").mkdir()
    (runtime / "swarmdeck").chmod(0o755)
    with pytest.raises(Denied, match="closed to others"):
        runtime_directory()


def test_a_runtime_directory_that_is_a_link_is_refused(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (runtime / "swarmdeck").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Denied):
        runtime_directory()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_runtime_directory_of_another_user_is_refused(runtime: Path) -> None:
    (runtime / "swarmdeck").mkdir(mode=0o700)
    os.chown(runtime / "swarmdeck", 65534, 65534)
    with pytest.raises(Denied):
        runtime_directory()


def test_an_unusable_session_directory_is_passed_over(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.chmod(0o755)
    assert runtime_directory() == Path(f"/tmp/swarmdeck-{os.getuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert runtime_directory() == Path(f"/tmp/swarmdeck-{os.getuid()}")


async def test_a_directory_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot lock"):
        await OwnerLock.acquire(tmp_path / "missing")
