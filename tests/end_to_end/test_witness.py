"""A log, a neighbour that cosigns it, and places that keep its checkpoints: real processes, real sockets, real TLS."""

import asyncio
import hashlib
import json
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.audit.checkpoint import parse, sign, verifier_of, verify
from gateway.audit.cosignature import WitnessKey, cosignatures, parse_witness_key
from gateway.audit.encoding import encode
from gateway.audit.publish import Outcome, Publisher
from gateway.audit.targets import Directory, HttpsPut, Target, fetch, request_to
from gateway.audit.trust import trust_in
from gateway.audit.witness import AddCheckpoint
from gateway.audit.witness_client import Reply, Witness
from gateway.audit.witnessed import COSIGNED, Witnessed, witnessed
from tests.unit.audit.logs import KEY, PRIVATE, SALT, SITE, an_event, journal, write

ROOT = Path(__file__).parents[2]
DAY_MS = 1_790_000_000_000


@dataclass
class Neighbour:
    """A witness that runs, and its folder."""

    directory: Path
    key: WitnessKey
    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def witness(self) -> Witness:
        return Witness(self.url, self.key)


def ecluse(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gateway", *map(str, arguments)]


def start(directory: Path, *more: object) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        ecluse("witness", "serve", "--dir", directory, "--port", 0, *more),
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        told = json.loads(line)
        if told["event"] == "witness_ready":
            return process, told["port"]
    raise AssertionError("the witness did not start")


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    _, _ = process.communicate(timeout=20)
    return process.returncode


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[Neighbour]:
    directory = tmp_path / "witness"
    made = subprocess.run(
        ecluse("witness", "init", "--dir", directory, "--name", "chu.example/w1"),
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    with (directory / "logs").open("a") as known:
        known.write(f"{SITE}/gw {KEY.text()}\n")
    process, port = start(directory)
    running = Neighbour(directory, parse_witness_key(made.stdout.strip()), process, port)
    yield running
    if running.process.poll() is None:
        assert stop(running.process) == 0


@pytest.fixture
def alarms() -> list[Outcome]:
    return []


def publisher(
    audit_dir: Path, witnesses: list[Witness], targets: list[Target], alarms: list[Outcome]
) -> Publisher:
    async def alarm(outcome: Outcome) -> bool:
        alarms.append(outcome)
        return True

    return Publisher(audit_dir, [KEY], witnesses, targets, every_s=60.0, alarm=alarm)


def rewrite(log: Path, count: int) -> None:
    """Write the whole log anew with the right key, one account replaced: what an insider could do."""
    seen = (log / COSIGNED).read_bytes() if (log / COSIGNED).exists() else None
    shutil.rmtree(log)
    made = journal(log)
    made.open()
    for number in range(count):
        account = "somebody.else" if number == 3 else an_event(number).account
        made.commit([encode(an_event(number, account=account), seq=number, salt=SALT)])
    made.close()
    if seen is not None:
        (log / COSIGNED).write_bytes(seen)


async def post(neighbour: Neighbour, body: bytes) -> Reply:
    return await fetch(request_to(f"{neighbour.url}/add-checkpoint", None, method="POST", body=body))


async def test_a_log_that_grows_is_cosigned_and_a_rewritten_one_is_refused(
    neighbour: Neighbour, tmp_path: Path, alarms: list[Outcome]
) -> None:
    log = tmp_path / "audit" / "gw"
    write(log, 10)
    ours = publisher(tmp_path / "audit", [neighbour.witness()], [], alarms)
    assert [outcome.fault for outcome in await ours.round(0.0, DAY_MS)] == [None]
    write(log, 7, first=10)
    assert [outcome.fault for outcome in await ours.round(60.0, DAY_MS)] == [None]
    seen = witnessed(log, [KEY], trust_in([neighbour.key]))
    assert isinstance(seen, Witnessed)
    assert seen.checkpoint.size == 17
    assert verify((log / COSIGNED).read_bytes(), [KEY]) == seen.checkpoint

    rewrite(log, 20)
    (refused,) = await ours.round(120.0, DAY_MS)
    assert refused.is_alarm
    assert "history was rewritten" in str(refused.fault)
    assert alarms == [refused]
    assert not ours.is_well
    # Told once, tried again, and nothing new was cosigned.
    assert len(await ours.round(10_000.0, DAY_MS)) == 1
    assert alarms == [refused]
    assert parse((log / COSIGNED).read_bytes()).size == 17
    # The witness keeps what proves it: the signed checkpoint that does not continue the other.
    place = neighbour.directory / "state" / hashlib.sha256(f"{SITE}/gw".encode()).hexdigest()
    (evidence,) = (place / "refused").iterdir()
    assert verify(evidence.read_bytes(), [KEY]).size == 20
    # A log that was cut is refused as well, even by a publisher that remembers nothing.
    rewrite(log, 5)
    (log / COSIGNED).unlink()
    (cut,) = await publisher(tmp_path / "audit", [neighbour.witness()], [], alarms).round(0.0, DAY_MS)
    assert cut.is_alarm
    assert "saw 17 entries" in str(cut.fault)


async def test_a_witness_keeps_its_word_through_kill_9(
    neighbour: Neighbour, tmp_path: Path, alarms: list[Outcome]
) -> None:
    log = tmp_path / "audit" / "gw"
    write(log, 12)
    await publisher(tmp_path / "audit", [neighbour.witness()], [], alarms).round(0.0, DAY_MS)
    assert stop(neighbour.process, signal.SIGKILL) == -signal.SIGKILL
    (down,) = await publisher(tmp_path / "audit", [neighbour.witness()], [], alarms).round(0.0, DAY_MS)
    assert not down.is_alarm
    assert "does not answer" in str(down.fault)
    neighbour.process, neighbour.port = start(neighbour.directory)
    reply = await post(neighbour, AddCheckpoint(0, (), (log / "checkpoint").read_bytes()).dump())
    assert (reply.status, reply.kind, reply.body) == (409, "text/x.tlog.size", b"12\n")
    await publisher(tmp_path / "audit", [neighbour.witness()], [], alarms).round(0.0, DAY_MS)
    assert alarms == []


async def test_the_answers_of_the_protocol_over_http(neighbour: Neighbour, tmp_path: Path) -> None:
    log = tmp_path / "audit" / "gw"
    write(log, 3)
    note = (log / "checkpoint").read_bytes()
    stranger = sign(parse(note), "elsewhere", PRIVATE)
    unknown = sign(type(parse(note))("elsewhere/gw", 3, bytes(32)), SITE, PRIVATE)
    for body, status in (
        (b"junk", 400),
        (AddCheckpoint(4, (), note).dump(), 400),
        (AddCheckpoint(0, (), unknown).dump(), 404),
        (AddCheckpoint(0, (), stranger).dump(), 403),
        (AddCheckpoint(1, (), note).dump(), 409),
        (AddCheckpoint(0, (bytes(32),), note).dump(), 422),
    ):
        assert (await post(neighbour, body)).status == status, body
    at = f"{neighbour.url}/{hashlib.sha256(f'{SITE}/gw'.encode()).hexdigest()}/checkpoint"
    assert (await fetch(request_to(at, None))).status == 404
    reply = await post(neighbour, AddCheckpoint(0, (), note).dump())
    assert reply.status == 200
    kept = await fetch(request_to(at, None))
    assert kept.status == 200
    assert verify(kept.body, [KEY]) == parse(note)
    assert len(cosignatures(kept.body, [neighbour.key])) == 1
    assert (await fetch(request_to(neighbour.url + "/other", None))).status == 404
    assert (await fetch(request_to(neighbour.url + "/add-checkpoint", None))).status == 405
    # A log added to the file is known at once; a faulty file says so and signs nothing.
    with (neighbour.directory / "logs").open("a") as known:
        known.write(f"elsewhere/gw {verifier_of('elsewhere', PRIVATE).text()}\n")
    unknown = sign(type(parse(note))("elsewhere/gw", 3, bytes(32)), "elsewhere", PRIVATE)
    assert (await post(neighbour, AddCheckpoint(0, (), unknown).dump())).status == 200
    with (neighbour.directory / "logs").open("a") as known:
        known.write("nonsense\n")
    assert (await post(neighbour, AddCheckpoint(3, (), note).dump())).status == 503


async def test_many_at_once_never_put_a_state_back(neighbour: Neighbour, tmp_path: Path) -> None:
    log, notes = tmp_path / "audit" / "gw", []
    for number in range(12):
        write(log, 1, first=number)
        notes.append((log / "checkpoint").read_bytes())
    bodies = [AddCheckpoint(0, (), note).dump() for note in notes]
    replies = await asyncio.gather(*(post(neighbour, body) for body in bodies))
    # From nothing, one of them wins; every other meets its size.
    assert sorted(reply.status for reply in replies) == [200] + [409] * 11
    (won,) = [number for number, reply in enumerate(replies) if reply.status == 200]
    assert {reply.body for reply in replies if reply.status == 409} == {b"%d\n" % (won + 1)}


async def test_too_much_is_refused(neighbour: Neighbour) -> None:
    # Refused by its head alone: nobody waits for a body of that length.
    reader, writer = await asyncio.open_connection("127.0.0.1", neighbour.port)
    writer.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    head = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    for _ in range(70):
        reply = await post(neighbour, b"junk")
        if reply.status == 429:
            break
    assert reply.status == 429


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only who holds its file believes, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "archive.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "tls.pem", tmp_path / "tls.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private


@dataclass
class Archive:
    """A server that takes PUT and shows what it keeps to who bears the token."""

    kept: dict[str, bytes]
    port: int = 0
    token: str = "right"
    get_fails: int | None = None

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("Content-Length", "0")))
        status, answer = 404, b""
        if fields.get("Authorization") != f"Bearer {self.token}":
            status = 401
        elif method == "PUT" and fields.get("If-None-Match") == "*" and path in self.kept:
            status = 412
        elif method == "PUT":
            self.kept[path], status = body, 201
        elif self.get_fails is not None:
            status = self.get_fails
        elif path in self.kept:
            status, answer = 200, self.kept[path]
        writer.write(
            f"HTTP/1.1 {status} x\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode()
            + answer
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def archive(authority: tuple[Path, Path]) -> AsyncIterator[Archive]:
    made = Archive({})
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority)
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


async def test_checkpoints_are_put_to_an_archive_with_its_own_authority_and_a_token(
    archive: Archive, authority: tuple[Path, Path], tmp_path: Path, alarms: list[Outcome]
) -> None:
    log = tmp_path / "audit" / "gw"
    write(log, 4)
    url = f"https://127.0.0.1:{archive.port}/logs"
    target = HttpsPut(url, authority[0], "right")
    ours = publisher(tmp_path / "audit", [], [target], alarms)
    assert [outcome.fault for outcome in await ours.round(0.0, DAY_MS)] == [None]
    assert set(archive.kept) == {
        "/logs/site/gw/checkpoint",
        "/logs/site/gw/2026-09-21/00000000000000000004.checkpoint",
    }
    assert archive.kept["/logs/site/gw/checkpoint"] == (log / "checkpoint").read_bytes()
    # Again: the dated one is there already, and that is no fault.
    assert [outcome.fault for outcome in await ours.round(60.0, DAY_MS)] == [None]
    for bad, said in (
        (HttpsPut(url, None, "right"), "certificate is not trusted"),
        (HttpsPut(url, authority[0], "wrong"), "answers 401"),
        (HttpsPut("https://127.0.0.1:1/logs", authority[0], "right"), "does not answer"),
    ):
        (outcome,) = await publisher(tmp_path / "audit", [], [bad], alarms).round(0.0, DAY_MS)
        assert said in str(outcome.fault)
        assert "right" not in repr(outcome) + repr(bad)
        assert not outcome.is_alarm
    rewrite(log, 9)
    (refused,) = await ours.round(120.0, DAY_MS)
    assert refused.is_alarm
    assert verify(archive.kept["/logs/site/gw/checkpoint"], [KEY]).size == 4


@pytest.mark.parametrize(("status", "is_kept"), [
    (302, False), (429, False), (500, False), (503, False),
    (401, True), (403, True), (404, True), (405, True), (410, True),
])  # fmt: skip
async def test_what_an_archive_keeps_is_replaced_only_when_it_shows_nothing(
    archive: Archive, authority: tuple[Path, Path], tmp_path: Path, alarms: list[Outcome], status: int,
    is_kept: bool,
) -> None:  # fmt: skip
    log = tmp_path / "audit" / "gw"
    write(log, 4)
    target = HttpsPut(f"https://127.0.0.1:{archive.port}/logs", authority[0], "right")
    ours = publisher(tmp_path / "audit", [], [target], alarms)
    await ours.round(0.0, DAY_MS)
    before = dict(archive.kept)
    rewrite(log, 9)
    archive.get_fails = status
    (outcome,) = await ours.round(60.0, DAY_MS)
    assert (outcome.fault is None) is is_kept
    assert not outcome.is_alarm
    if is_kept:
        assert archive.kept["/logs/site/gw/checkpoint"] == (log / "checkpoint").read_bytes()
        return
    assert f"answers {status} to GET" in str(outcome.fault)
    assert archive.kept == before
    archive.get_fails = None
    (refused,) = await ours.round(120.0, DAY_MS)
    assert refused.is_alarm


async def test_a_directory_that_is_not_mounted_is_noticed_and_tried_again(
    tmp_path: Path, alarms: list[Outcome]
) -> None:
    log, share = tmp_path / "audit" / "gw", tmp_path / "share"
    write(log, 4)
    ours = publisher(tmp_path / "audit", [], [Directory(share)], alarms)
    (missing,) = await ours.round(0.0, DAY_MS)
    assert "mount it" in str(missing.fault)
    assert not share.exists()
    assert await ours.round(4.0, DAY_MS) == []
    share.mkdir()
    assert [outcome.fault for outcome in await ours.round(5.0, DAY_MS)] == [None]
    assert ours.is_well
    kept = share / "site" / "gw" / "checkpoint"
    assert kept.read_bytes() == (log / "checkpoint").read_bytes()
    rewrite(log, 3)
    (cut,) = await ours.round(100.0, DAY_MS)
    assert cut.is_alarm
    assert "keeps a state of 4 entries, the log holds 3" in str(cut.fault)
    kept.write_bytes(b"something else\n")
    (junk,) = await ours.round(10_000.0, DAY_MS)
    assert "no checkpoint of this site" in str(junk.fault)


async def test_an_alarm_that_cannot_be_recorded_is_told_again_until_it_is(tmp_path: Path) -> None:
    log, share = tmp_path / "audit" / "gw", tmp_path / "share"
    share.mkdir()
    write(log, 4)
    before = shutil.copytree(log, tmp_path / "before")
    told: list[Outcome] = []
    answers = iter([False, False, True])

    async def alarm(outcome: Outcome) -> bool:
        told.append(outcome)
        return next(answers)

    ours = Publisher(tmp_path / "audit", [KEY], [], [Directory(share)], every_s=60.0, alarm=alarm)
    await ours.round(0.0, DAY_MS)
    rewrite(log, 3)
    (cut,) = await ours.round(100.0, DAY_MS)
    assert told == [cut]
    # The log is put right before the alarm is on record: that it was wrong is recorded all the same.
    shutil.rmtree(log)
    shutil.copytree(before, log)
    assert [outcome.fault for outcome in await ours.round(1_000.0, DAY_MS)] == [None]
    assert ours.is_well
    assert await ours.round(1_001.0, DAY_MS) == []
    assert told == [cut] * 3
    await ours.round(2_000.0, DAY_MS)
    assert told == [cut] * 3


async def test_a_log_that_cannot_be_read_holds_up_no_other_and_lost_hashes_are_no_alarm(
    tmp_path: Path, alarms: list[Outcome]
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    for name in ("a", "b"):
        write(tmp_path / "audit" / name, 4)
    spoilt = tmp_path / "audit" / "a" / "checkpoint"
    note = spoilt.read_bytes()
    spoilt.write_bytes(b"junk\n")
    ours = publisher(tmp_path / "audit", [], [Directory(share)], alarms)
    broken, sound = await ours.round(0.0, DAY_MS)
    assert "no signature lines" in str(broken.fault)
    assert sound.fault is None
    assert not ours.is_well
    spoilt.write_bytes(note)
    assert [outcome.fault for outcome in await ours.round(60.0, DAY_MS)] == [None, None]
    assert ours.is_well
    for suffix in (".leaves", ".jsonl"):
        (tmp_path / "audit" / "b" / f"0000000000{suffix}").unlink()
    _, lost = await ours.round(120.0, DAY_MS)
    assert "are missing" in str(lost.fault)
    assert not lost.is_alarm
    assert alarms == []


async def test_a_failure_is_tried_again_less_and_less_often(tmp_path: Path, alarms: list[Outcome]) -> None:
    write(tmp_path / "audit" / "gw", 1)
    ours = publisher(tmp_path / "audit", [], [Directory(tmp_path / "share")], alarms)
    now_s, waits = 0.0, []
    for _ in range(14):
        await ours.round(now_s, DAY_MS)
        due_s = ours.next_due_s(now_s)
        waits.append(due_s - now_s)
        now_s = due_s
    assert waits[:4] == [5.0, 10.0, 20.0, 40.0]
    assert waits[-1] == 3_600.0


async def test_several_witnesses_cosign_one_state(
    neighbour: Neighbour, tmp_path: Path, alarms: list[Outcome]
) -> None:
    log = tmp_path / "audit" / "gw"
    write(log, 6)
    gone = Witness("http://127.0.0.1:1", WitnessKey("gone.example/w1", KEY.public))
    impostor = Witness(neighbour.url, WitnessKey(neighbour.key.name, KEY.public))
    outcomes = await publisher(tmp_path / "audit", [neighbour.witness(), gone, impostor], [], alarms).round(
        0.0, DAY_MS
    )
    assert [outcome.fault is None for outcome in outcomes] == [True, False, False]
    assert "check the key" in str(outcomes[2].fault)
    assert isinstance(witnessed(log, [KEY], trust_in([neighbour.key])), Witnessed)
    assert not isinstance(witnessed(log, [KEY], trust_in([neighbour.key, gone.key])), Witnessed)


def test_a_witness_speaks_tls_and_refuses_to_start_on_what_it_cannot_use(
    authority: tuple[Path, Path], tmp_path: Path
) -> None:
    directory = tmp_path / "witness"
    init = ecluse("witness", "init", "--dir", directory, "--name", "chu.example/w1")
    subprocess.run(init, cwd=ROOT, check=True, capture_output=True)
    again = subprocess.run(init, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (again.returncode, "never overwritten" in again.stderr) == (2, True)
    process, port = start(directory, "--certificate", authority[0], "--certificate-key", authority[1])
    try:
        reply = asyncio.run(fetch(request_to(f"https://127.0.0.1:{port}/x", authority[0])))
        assert reply.status == 404
    finally:
        assert stop(process) == 0
    (directory / "key").chmod(0o644)
    refused = subprocess.run(
        ecluse("witness", "serve", "--dir", directory), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "chmod 0600" in refused.stderr
