"""What is looked at, broken for real: stores, the disk, the bus; and when calls are not made."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from swarmdeck.engine import actions as act
from swarmdeck.engine.errors import InvalidInput, NotFound, Unavailable
from swarmdeck.engine.health.address import Address, ask, parse_address

DEV: Final = "development"
WORKED: Final = "written and read back"

HOLDER = """
import sys
from pysqlite3 import dbapi2
raw = dbapi2.connect(sys.argv[1], isolation_level=None)
raw.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def lock(path: Path) -> subprocess.Popen[bytes]:
    """Another process that keeps the lock of a file until its input ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def unlock(holder: subprocess.Popen[bytes]) -> None:
    holder.communicate()


# --- stores ---------------------------------------------------------------------------------


async def test_a_store_is_written_and_read_without_a_trace(ward: Any) -> None:
    database = ward.place.database
    before = [await database.read(lambda r: r.execute("SELECT count(*) FROM audit").fetchone())]
    batches = database.stats.batches
    await ward.round()
    assert ward.finding(DEV, "store") == ("ok", WORKED)
    assert database.stats.batches == batches + 1
    after = [await database.read(lambda r: r.execute("SELECT count(*) FROM audit").fetchone())]
    assert before == after


async def test_a_store_that_another_process_locks_is_not_closed_and_works_again(ward: Any) -> None:
    holder = lock(ward.place.database.path)
    try:
        await ward.round()
        assert ward.finding(DEV, "store")[0] == "suspect"
        await ward.round()
        assert ward.finding(DEV, "store")[0] == "failed"
        seen = await ward.recovery(DEV)
        assert (seen.policy, seen.attempts) == ("RESTART", 1)
        assert "is locked: another process" in seen.outcome
        assert ward.place.state == "open"
        assert ward.finding("testing", "store") == ("ok", WORKED)
    finally:
        unlock(holder)
    await ward.round(after_s=1)
    assert ward.finding(DEV, "store") == ("ok", WORKED)


async def test_a_store_that_was_damaged_is_opened_anew_once_its_file_is_whole(
    make_ward: Callable[..., Awaitable[Any]],
) -> None:
    first = await make_ward()
    await first.core.engine.memory(DEV).set("k", "v")
    path = first.place.database.path
    await first.close()
    whole = path.read_bytes()
    path.write_bytes(b"not a database at all" * 1000)
    ward = await make_ward()
    await ward.round()
    assert ward.finding(DEV, "store")[0] == "failed"
    assert (await ward.recovery(DEV)).outcome.startswith("failed: development is quarantined")
    path.write_bytes(whole)
    await ward.round(after_s=301)
    assert (await ward.recovery(DEV)).outcome == "its store was opened anew"
    assert await ward.core.engine.memory(DEV).get("k") == "v"
    await ward.round()
    assert ward.finding(DEV, "store") == ("ok", WORKED)


async def test_a_store_is_opened_anew_under_running_agents(ward: Any) -> None:
    swarm = await ward.swarm(2)
    pids = ward.pids(swarm)
    await ward.health.remedies.apply(ward.health.recovery(DEV))
    assert ward.pids(swarm) == pids
    await ward.round()
    assert ward.finding(swarm, "agents")[0] == "ok"
    await ward.core.swarms.terminate(swarm, force=True)
    assert ward.record(swarm).state == "terminated"


# --- disk and memory ------------------------------------------------------------------------


async def test_a_disk_that_takes_no_file_is_ill_and_only_told(ward: Any) -> None:
    folder = ward.data / "run"
    (folder / "probe").mkdir()
    for _ in range(3):
        await ward.round(after_s=1000)
    status, detail = ward.finding("disk", "disk")
    assert (status, "cannot be written" in detail) == ("failed", True)
    assert (await ward.recovery("disk")).attempts == 0
    (folder / "probe").rmdir()
    await ward.round()
    assert ward.finding("disk", "disk")[0] == "ok"
    assert not (folder / "probe").exists()


async def test_a_host_short_of_memory_is_ill(ward: Any) -> None:
    host = ward.core.host
    little = host.latest.total_bytes // 20
    host.latest = msgspec.structs.replace(host.latest, available_bytes=little)
    await ward.round()
    await ward.round()
    assert ward.finding("memory", "memory")[0] == "failed"


# --- the bus and its breaker ----------------------------------------------------------------


def start_redis(folder: Path, port: int) -> subprocess.Popen[bytes]:
    program = shutil.which("redis-server")
    assert program is not None
    return subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.redis
async def test_a_stopped_redis_opens_the_breaker_and_comes_back(
    make_ward: Callable[..., Awaitable[Any]], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = start_redis(tmp_path, port)
    ward = await make_ward(**{"redis.host": "127.0.0.1", "redis.port": str(port)})
    try:
        await ward.until(lambda: ward.core.channels.state == "redis")
        await ward.round()
        assert ward.finding("bus", "bus") == ("ok", "Redis answers")
        server.terminate()
        server.wait()
        for _ in range(5):
            await ward.round(after_s=30)
        assert ward.finding("bus", "bus")[0] == "failed"
        assert ward.health.breaker("bus").state == "open"
        server = start_redis(tmp_path, port)
        await ward.until(lambda: ward.core.channels.state == "redis")
        await ward.round(after_s=30)
        assert ward.finding("bus", "bus")[1].startswith("not asked, its breaker is open: ")
        await ward.round(after_s=31)
        assert ward.health.breaker("bus").state == "half-open"
        for _ in range(2):
            await ward.round(after_s=30)
        assert ward.health.breaker("bus").state == "closed"
        assert (await ward.recovery("bus")).attempts == 0
    finally:
        server.terminate()
        server.wait()


async def test_a_breaker_outlives_its_engine(
    make_ward: Callable[..., Awaitable[Any]],
) -> None:
    first = await make_ward()
    swarm = await first.swarm(1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        await first.policy(swarm, "ALERT_ONLY", address=address)
        for _ in range(5):
            await first.round(after_s=30)
    name = f"http:{swarm}"
    assert first.finding(swarm, "http")[1].startswith("no connection: ")
    kept = first.health.breaker(name)
    assert kept.state == "open"
    await first.close()
    second = await make_ward()
    await second.health.load()
    assert second.health.breaker(name) == kept


async def test_another_address_is_asked_although_the_one_before_failed(ward: Any) -> None:
    swarm = await ward.swarm(1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        await ward.policy(swarm, "ALERT_ONLY", address=f"http://127.0.0.1:{port}/")
        for _ in range(5):
            await ward.round(after_s=1)
        assert ward.health.breaker(f"http:{swarm}").state == "open"
        assert (f"http:{swarm}", swarm) in ward.health.ailing().open_breakers
        ward.clock.advance(61)
        assert ward.health.ailing().open_breakers == []  # it may be asked again
        await ward.policy(swarm, "ALERT_ONLY", address=f"http://127.0.0.1:{port}/other")
        assert ward.health.breaker(f"http:{swarm}").state == "closed"
    _, breakers = await ward.health.records.load()
    assert breakers[f"http:{swarm}"].state == "closed"


# --- addresses ------------------------------------------------------------------------------


async def answered(line: bytes) -> str:
    """What is said of a server that answers with this line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(line)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            return await ask(parse_address(f"http://127.0.0.1:{port}/health?deep=1"))
        except Unavailable as error:
            return f"failed: {error.message}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "200 OK"),
        (b"HTTP/1.1 204 No Content\r\n", "204 No Content"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "302 Found"),
        (b"HTTP/1.1 503 Service Unavailable\r\n", "failed: it answers 503 Service Unavailable"),
        (b"SSH-2.0-OpenSSH\r\n", "failed: the answer is not HTTP"),
        (b"HTTP/1.1 \xb2 OK\r\n", "failed: the answer is not HTTP"),
        (b"HTTP/1.1 " + b"9" * 5_000 + b"\r\n", "failed: the answer is not HTTP"),
        (b"", "failed: it closed without an answer"),
        (b"HTTP/1.1 200 \x1b]52;c;bad\x07\r\n", "200 ␛]52;c;bad␇"),
    ],
)
async def test_an_address_is_judged_by_its_first_line(line: bytes, said: str) -> None:
    assert await answered(line) == said


async def test_an_endless_line_is_no_answer() -> None:
    assert (await answered(b"x" * 100_000)).startswith("failed: no answer: ")


@pytest.mark.parametrize(
    "text",
    [
        "", "127.0.0.1:80", "ftp://host/", "http:///path", "http://a b/", "http://host:99999/",
        "http://me:secret@host/", "http://host/\r\nX: 1", "http://" + "a" * 3000, "http://ho\u0455t/",
        "http://a..b/", "https://.host/", f"http://{'a' * 64}/", "http://host:0/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_address(text)


async def test_a_name_that_cannot_be_looked_up_does_not_end_the_rounds(ward: Any) -> None:
    """One that was stored by an engine that took it."""
    swarm = await ward.swarm()
    await ward.round()
    known = ward.health.recovery(swarm)
    ward.health.recoveries[swarm] = msgspec.structs.replace(known, address="http://a..b/")
    await ward.round()
    assert ward.finding(swarm, "http")[0] == "suspect"
    with pytest.raises(Unavailable):
        await ask(Address("https", "a..b", 443, "/", "a..b"))


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody but itself has signed, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(begin).not_valid_after(begin.replace(year=2200))
        .add_extension(alternative, critical=False).sign(key, SHA256())
    )  # fmt: skip
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return file


@pytest.mark.parametrize("trusted", [False, True])
async def test_an_https_address_counts_only_with_a_certificate_that_is_trusted(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(file)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side) as server:
        port = server.sockets[0].getsockname()[1]
        address = parse_address(f"https://127.0.0.1:{port}/")
        if trusted:
            assert await ask(address) == "200 OK"
            return
        with pytest.raises(Unavailable) as caught:
            await ask(address)
    assert caught.value.message == "its certificate is not trusted: self-signed certificate"


async def test_a_server_without_tls_is_no_https_address() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="no connection: "):
            await ask(parse_address(f"https://127.0.0.1:{port}/"))


# --- asking ---------------------------------------------------------------------------------


async def test_an_engine_for_one_command_looks_when_asked_and_recovers_nothing(
    ward: Any,
) -> None:
    swarm = await ward.swarm(1)
    await ward.kill(swarm)
    found = await ward.core.engine.run(act.HealthCheck(subject=swarm))
    assert [(each.probe, each.status) for each in found] == [("agents", "failed")]
    assert ward.pids(swarm) == []
    listed = await ward.core.engine.run(act.HealthList(environment=DEV))
    assert {each.subject for each in listed} == {swarm}
    with pytest.raises(NotFound):
        await ward.core.engine.run(act.HealthCheck(subject="dev_swarm_none"))
