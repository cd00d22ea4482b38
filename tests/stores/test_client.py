"""The store's client: coalescing, deadlines, outages, error replies, lost functions, on every store."""

import asyncio
import datetime
import ipaddress
import itertools
import shutil
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.valkey.client import Store, StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import find_server
from gateway.valkey.lane import ErrorReply
from gateway.valkey.library import compose
from gateway.valkey.prepared import ONCE, Prepared
from tests.stores.servers import Server, eventually

ECHO = """
redis.register_function('echo', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  return args[2]
end)
redis.register_function('count', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  return redis.call('INCR', keys[2])
end)
"""


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.redis_server)])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    binary = find_server() if request.param == "valkey" else shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    own = Server(binary)
    yield own
    own.remove()


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(server.url, libraries=[ECHO], state_dir=tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def patient_client(server: Server, tmp_path: Path) -> AsyncIterator[Store]:
    """A client for tests in which the deadline is not the point."""
    opened = await Store.open(server.url, libraries=[ECHO], state_dir=tmp_path, timeout_ms=8_000)
    yield opened
    await opened.close()


class Forgetful:
    """A network between client and store that loses the connections it knew, by a reset or in silence."""

    def __init__(self, path: str, manner: str) -> None:
        self._path, self._manner = path, manner
        self._generation = 0
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def forget(self) -> None:
        self._generation += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = self._generation
        beyond, onward = await asyncio.open_unix_connection(self._path)
        self._writers += [writer, onward]
        back = asyncio.ensure_future(self._bring_back(beyond, writer))
        while data := await reader.read(65_536):
            if mine == self._generation:
                onward.write(data)
            elif self._manner == "reset":
                # With no time to linger, the close is an RST.
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                writer.transport.abort()
                break
        back.cancel()

    @staticmethod
    async def _bring_back(beyond: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await beyond.read(65_536):
            writer.write(data)


async def echo(store: Store, text: str = "x") -> bytes:
    answer: bytes = await store.call("echo", [], [text])
    return answer


async def test_every_caller_gets_its_own_answer(patient_client: Store) -> None:
    answers = await asyncio.gather(*(echo(patient_client, str(number)) for number in range(1_000)))
    assert answers == [str(number).encode() for number in range(1_000)]


async def test_callers_that_give_up_disturb_nobody(client: Store) -> None:
    calls = [asyncio.ensure_future(echo(client, str(number))) for number in range(300)]
    await asyncio.sleep(0)
    for call in calls[::3]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for number, answer in enumerate(answers):
        if number % 3 == 0:
            assert isinstance(answer, asyncio.CancelledError)
        else:
            assert answer == str(number).encode()
    assert await echo(client, "after") == b"after"


async def test_a_call_given_up_before_it_travels_is_not_sent(client: Store) -> None:
    call = asyncio.ensure_future(client.call("count", ["counter"], []))
    await asyncio.sleep(0)
    call.cancel()
    assert await client.call("count", ["counter"], []) == 1


async def test_one_error_reply_in_a_batch_is_its_caller_s_alone(client: Store) -> None:
    await client.execute("SET", "counter", "no number")
    wrong, right, emptied = await asyncio.gather(
        client.call("count", ["counter"], ["SECRET-ARGUMENT"]),
        echo(client, "right"),
        client.execute("HGET", "counter", "SECRET-FIELD"),
        return_exceptions=True,
    )
    assert right == b"right"
    for failed in (wrong, emptied):
        assert isinstance(failed, StoreUnavailable)
        assert "SECRET" not in str(failed)


@pytest.mark.parametrize("outage", ["killed", "frozen"])
async def test_outage_fails_within_the_deadline_then_at_once_then_recovers(
    client: Store, server: Server, outage: str
) -> None:
    assert await echo(client) == b"x"
    if outage == "killed":
        server.kill()
    else:
        server.send(signal.SIGSTOP)
    started_s = time.monotonic()
    answers = await asyncio.gather(*(echo(client) for _ in range(50)), return_exceptions=True)
    assert time.monotonic() - started_s < 0.95
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    await asyncio.sleep(0.05)
    started_s = time.monotonic()
    for _ in range(200):
        with pytest.raises(StoreUnavailable):
            await echo(client)
    assert time.monotonic() - started_s < 0.2
    assert client.down
    if outage == "killed":
        server.start()
    else:
        server.send(signal.SIGCONT)
    await eventually(lambda: echo(client), within_s=3)
    assert not client.down


async def test_a_restart_between_two_calls_costs_at_most_the_calls_under_way(
    client: Store, server: Server
) -> None:
    assert await client.call("count", ["counter"], []) == 1
    server.send(signal.SIGTERM)
    server.process.wait() if server.process else None
    server.start()
    await eventually(lambda: echo(client))
    assert await client.call("count", ["counter"], []) == 2


async def test_a_connection_closed_while_idle_is_noticed_before_it_is_used(
    client: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.valkey.link._IDLE_S", 0.0)
    await echo(client)
    other = await Store.open(
        f"unix://{client.address.removeprefix('unix://')}", libraries=[ECHO], state_dir=None
    )
    await other.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await other.close()
    assert await echo(client) == b"x"


@pytest.mark.parametrize("manner", ["reset", "swallow"])
async def test_a_connection_that_a_firewall_forgot_costs_no_call(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str
) -> None:
    monkeypatch.setattr("gateway.valkey.link._IDLE_S", 0.0)
    async with Forgetful(server.url.removeprefix("unix://").partition("?")[0], manner) as middle:
        store = await Store.open(middle.url, libraries=[ECHO], state_dir=tmp_path)
        assert await echo(store) == b"x"
        for _ in range(3):
            middle.forget()
            answers = await asyncio.gather(*(echo(store, str(number)) for number in range(20)))
            assert answers == [str(number).encode() for number in range(20)]
        assert not store.down
        await store.close()


async def test_lost_functions_are_loaded_again_for_all_callers(client: Store) -> None:
    await client.execute("FUNCTION", "FLUSH")
    assert await asyncio.gather(*(echo(client, str(number)) for number in range(100))) == [
        str(number).encode() for number in range(100)
    ]


async def test_a_prepared_call_is_answered_like_any_other(client: Store) -> None:
    prepared = Prepared("echo", [], ["one"])
    assert not prepared.same(Prepared("echo", [], ["two"]))
    for _ in range(2):
        assert [await client.ask(prepared) for _ in range(2)] == [b"one", b"one"]
        await client.execute("FUNCTION", "FLUSH")
    client.store_id = "0" * 32
    with pytest.raises(StoreEmptied):
        await client.ask(prepared)
    await client.execute("FLUSHALL")
    with pytest.raises(StoreEmptied):
        await client.ask(prepared)


def join(client: Store, prepared: Prepared, later_s: float = 0.0) -> "asyncio.Future[Any]":
    """Return what becomes of *prepared*, put by one more."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    client.join(prepared, loop.time() + later_s, outcome.set_result)
    return outcome


async def test_calls_of_one_moment_are_made_at_once_by_so_many(client: Store) -> None:
    prepared = Prepared("echo", [], [ONCE])
    for _ in range(2):
        together = [join(client, prepared) for _ in range(11)]
        alone = asyncio.ensure_future(client.ask(prepared))
        assert await asyncio.gather(*together, alone) == [b"11"] * 11 + [b"1"]
    # What has left is not joined: what was told to the store since, it would not know.
    first = join(client, prepared)
    await asyncio.sleep(0)
    second = join(client, prepared)
    assert await asyncio.gather(first, second) == [b"1", b"1"]
    # Nor does anybody take over a deadline that comes much sooner than his own.
    told = join(client, prepared, -0.1), join(client, prepared)
    assert await asyncio.gather(*told) == [b"1", b"1"]


async def test_the_store_begins_with_some_of_many_while_others_are_still_asked(
    client: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = client._link._lane
    assert lane is not None
    written: list[bytes] = []
    write = lane._transport.write
    monkeypatch.setattr(
        lane, "_transport", SimpleNamespace(write=lambda words: (written.append(words), write(words)))
    )
    told = [join(client, Prepared("echo", [], [ONCE, number])) for number in range(20)]
    assert [words.count(b"FCALL") for words in written] == [8, 8]
    assert await asyncio.gather(*told) == [b"1"] * 20
    assert [words.count(b"FCALL") for words in written] == [8, 8, 4]
    written.clear()
    asked = [asyncio.ensure_future(echo(client, str(number))) for number in range(20)]
    await asyncio.gather(*asked)
    assert [words.count(b"FCALL") for words in written] == [20]


async def test_what_listens_to_a_call_of_several_does_not_fail_the_others(client: Store) -> None:
    loop, prepared = asyncio.get_running_loop(), Prepared("echo", [], [ONCE])

    def fail(_: object) -> None:
        raise ValueError("DR_MARTIN")

    client.join(prepared, loop.time(), fail)
    with structlog.testing.capture_logs() as logged:
        assert await join(client, prepared) == b"2"
    assert [line["event"] for line in logged] == ["store_listener_failed"]
    assert await echo(client) == b"x"


async def test_calls_made_at_once_by_a_server_without_functions_are_made_again_one_by_one(
    patient_client: Store,
) -> None:
    began_s, prepared = asyncio.get_running_loop().time(), Prepared("echo", [], [ONCE])
    await patient_client.execute("FUNCTION", "FLUSH")
    outcomes = await asyncio.gather(*(join(patient_client, prepared) for _ in range(3)))
    assert {type(outcome) for outcome in outcomes} == {ErrorReply}
    told = [patient_client.settle(prepared, outcome, began_s) for outcome in outcomes]
    assert await asyncio.gather(*told) == [b"1"] * 3


async def test_calls_made_at_once_of_a_store_that_ends_all_hear_of_it(client: Store, server: Server) -> None:
    prepared = Prepared("echo", [], [ONCE])
    server.send(signal.SIGSTOP)
    together = [join(client, prepared) for _ in range(3)]
    outcomes = await asyncio.gather(*together)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert "did not answer within" in str(outcomes[0])
    with pytest.raises(StoreUnavailable):
        join(client, prepared)


async def test_an_emptied_store_refuses(client: Store) -> None:
    await client.execute("FLUSHALL")
    with pytest.raises(StoreEmptied):
        await echo(client)


async def test_a_store_that_lost_its_disk_refuses(client: Store, server: Server) -> None:
    server.forget()
    server.start()
    with pytest.raises(StoreEmptied):
        await eventually(lambda: echo(client))


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        # Full memory, a replica, a store that may not write.
        (("CONFIG", "SET", "maxmemory", "1"), "OOM"),
        (("REPLICAOF", "127.0.0.1", "1"), "READONLY"),
    ],
)
async def test_a_store_that_refuses_to_write_is_unavailable(
    client: Store, harm: tuple[str, ...], word: str
) -> None:
    await client.execute(*harm)
    with pytest.raises(StoreUnavailable, match=word):
        await client.call("count", ["counter"], [])


async def test_rights_and_passwords(client: Store, server: Server, tmp_path: Path) -> None:
    await client.execute("ACL", "SETUSER", "gate", "on", ">Tr0ubador", "+@all", "~*")
    url = server.url.replace("unix://", "unix://gate:Tr0ubador@")
    named = await Store.open(url, libraries=[ECHO], state_dir=tmp_path)
    assert await echo(named) == b"x"
    await client.execute("ACL", "SETUSER", "gate", "-fcall")
    with pytest.raises(StoreUnavailable, match="NOPERM") as refused:
        await echo(named)
    assert "Tr0ubador" not in str(refused.value) + repr(named) + named.address
    await named.close()
    with pytest.raises(StoreUnavailable) as refused:
        await Store.open(url.replace("Tr0ubador", "Wr0ng"), libraries=[ECHO], state_dir=tmp_path)
    assert "Wr0ng" not in str(refused.value)


async def test_a_closed_client_refuses(server: Server, tmp_path: Path) -> None:
    opened = await Store.open(server.url, libraries=[ECHO], state_dir=tmp_path)
    call = asyncio.ensure_future(echo(opened))
    await asyncio.sleep(0)
    await opened.close()
    with pytest.raises(StoreUnavailable):
        await call
    with pytest.raises(StoreUnavailable):
        await echo(opened)


async def test_a_port_that_never_answers() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailable, match="800 ms"):
        await Store.open(f"redis://:pass-word@127.0.0.1:{port}/0", libraries=[ECHO], state_dir=None)
    assert time.monotonic() - started_s < 0.95
    silent.close()
    await silent.wait_closed()


async def test_one_probe_at_a_time_however_many_call(unused_tcp_port: int) -> None:
    accepted = itertools.count()
    total = 0

    async def slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal total
        total = next(accepted) + 1
        writer.close()

    slammer = await asyncio.start_server(slam, "127.0.0.1", unused_tcp_port)
    store = Store(f"redis://127.0.0.1:{unused_tcp_port}", compose([ECHO]), 800)
    until_s = time.monotonic() + 1.0
    calls = 0
    while time.monotonic() < until_s:
        results = await asyncio.gather(*(echo(store) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        calls += 20
        await asyncio.sleep(0)
    assert calls > 1_000
    assert total < 12
    await store.close()
    slammer.close()
    await slammer.wait_closed()


@pytest.mark.parametrize("url", ["http://x", "localhost:6379", "", "redis+sentinel://x"])
async def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="redis://"):
        await Store.open(url, libraries=[], state_dir=None)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "store.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.redis_server
async def test_tls(certificate: Path, unused_tcp_port: int, tmp_path: Path) -> None:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    own = Server(
        binary,
        *(
            "--tls-port",
            str(unused_tcp_port),
            "--tls-cert-file",
            str(certificate),
            "--tls-auth-clients",
            "no",
        ),
        *("--tls-key-file", str(certificate), "--tls-ca-cert-file", str(certificate)),
    )
    try:
        url = f"rediss://127.0.0.1:{unused_tcp_port}"
        trusting = await Store.open(
            f"{url}?ssl_ca_certs={certificate}", libraries=[ECHO], state_dir=tmp_path, timeout_ms=8_000
        )
        assert await echo(trusting) == b"x"
        await trusting.close()
        # A certificate that nobody we trust has signed.
        with pytest.raises(StoreUnavailable):
            await Store.open(url, libraries=[ECHO], state_dir=tmp_path, timeout_ms=8_000)
        # No TLS where TLS is spoken.
        with pytest.raises(StoreUnavailable):
            await Store.open(
                url.replace("rediss", "redis"), libraries=[ECHO], state_dir=tmp_path, timeout_ms=8_000
            )
    finally:
        own.remove()
