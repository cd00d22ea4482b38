"""Which app a request reaches, whom the door believes there, and what its own TLS shows."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mitmproxy import http

from addons.listener import CertificateRefusedError
from addons.master import DoorSettings, GateMaster
from addons.sentinel import FORWARD, RELEASE, mark
from addons.upstreams import UpstreamConflictError, Upstreams
from addons.wire import WireBounds, cut
from gateway.policy.policy import Policy, Upstream
from tests.attacks.harness import (
    SECRET,
    Authority,
    Door,
    NaiveDoor,
    RawClient,
    RecordingUpstream,
    TinyGuard,
    ask,
    get,
    ok,
    policy_for,
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def secure_app(authority: Authority) -> AsyncIterator[RecordingUpstream]:
    async with RecordingUpstream([ok(b"secure")], tls=authority.server("localhost")) as upstream:
        yield upstream


def policy_of(**apps: Upstream) -> Policy:
    """Return a policy with one app a name, at ``NAME.example``."""
    by_host = {f"{name}.example": policy_for(upstream).apps["app"] for name, upstream in apps.items()}
    return policy_for(next(iter(apps.values())), by_host=by_host)


async def test_three_apps_over_one_connection(
    app: RecordingUpstream, secure_app: RecordingUpstream, authority: Authority
) -> None:
    async with RecordingUpstream([ok(b"other")]) as other:
        upstreams = {
            "first": Upstream("http", "127.0.0.1", app.port),
            "second": Upstream("http", "127.0.0.1", other.port),
            "third": Upstream("https", "localhost", secure_app.port, str(authority.ca_file)),
        }
        async with Door([TinyGuard(policy_of(**upstreams))], upstreams.values()) as door:
            client = await RawClient.open(door.port)
            for name, body in [("first", SECRET), ("second", b"other"), ("third", b"secure")] * 2:
                await client.send(get(host=f"{name}.example".encode()))
                assert (await client.answer()).raw.endswith(body)
            client.close()
    for upstream, name in [(app, b"first"), (other, b"second"), (secure_app, b"third")]:
        assert upstream.received.count(b"GET ") == 2
        assert upstream.received.count(b"\r\nHost: %s.example\r\n" % name) == 2
        assert len(upstream.connections) == 1


# Whom the door believes.


async def refused_by_tls(upstream: Upstream, app: RecordingUpstream) -> None:
    async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
        answered = await ask(door.port, get())
    assert answered.status == 502
    assert b"erti" not in answered.raw
    assert b"localhost" not in answered.raw
    assert app.received == b""


async def test_another_authority_is_not_believed(secure_app: RecordingUpstream, tmp_path: Path) -> None:
    """N05: a certificate of somebody else's."""
    stranger = Authority(tmp_path, "stranger")
    await refused_by_tls(Upstream("https", "localhost", secure_app.port, str(stranger.ca_file)), secure_app)


async def test_another_name_is_not_believed(secure_app: RecordingUpstream, authority: Authority) -> None:
    await refused_by_tls(Upstream("https", "127.0.0.1", secure_app.port, str(authority.ca_file)), secure_app)


async def test_the_system_does_not_know_the_authority(secure_app: RecordingUpstream) -> None:
    await refused_by_tls(Upstream("https", "localhost", secure_app.port), secure_app)


async def test_an_app_that_says_nothing_is_a_504(app: RecordingUpstream, authority: Authority) -> None:
    """It was promised to speak TLS and waits for plain text: nothing is told to it, and nobody waits for ever."""
    upstream = Upstream("https", "localhost", app.port, str(authority.ca_file))
    bounds = WireBounds(head_timeout_s=0.1, answer_timeout_s=0.3)
    async with Door([TinyGuard(policy_for(upstream))], [upstream], bounds=bounds) as door:
        answered = await ask(door.port, get())
    assert answered.status == 504
    assert b"patient" not in app.received


async def test_an_address_in_the_certificate_is_believed(authority: Authority) -> None:
    async with RecordingUpstream([ok(b"by address")], tls=authority.server("127.0.0.1")) as app:
        upstream = Upstream("https", "127.0.0.1", app.port, str(authority.ca_file))
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            assert (await ask(door.port, get())).raw.endswith(b"by address")


# Nothing goes where no app is.


async def test_a_forward_without_upstream_goes_nowhere(guard: TinyGuard, door: Door) -> None:
    guard.on_request = lambda flow: mark(flow, FORWARD)
    assert (await ask(door.port, get())).status == 502


async def test_an_address_that_is_no_app_is_refused(app: RecordingUpstream) -> None:
    unlisted = Upstream("http", "127.0.0.1", app.port)
    async with Door([TinyGuard(policy_for(unlisted))], [Upstream("http", "127.0.0.1", 9)]) as door:
        answered = await ask(door.port, get())
    assert answered.status == 502
    assert app.connections == []


async def test_a_reload_swaps_the_upstreams(app: RecordingUpstream) -> None:
    upstream = Upstream("http", "127.0.0.1", app.port)
    async with Door([TinyGuard(policy_for(upstream))], []) as door:
        assert (await ask(door.port, get())).status == 502
        door.master.upstreams.replace([upstream])
        assert (await ask(door.port, get())).status == 200


def test_contradictions_are_named(tmp_path: Path) -> None:
    with pytest.raises(UpstreamConflictError, match=r"app\.lan:443 is named twice"):
        Upstreams([Upstream("https", "app.lan", 443), Upstream("http", "app.lan", 443)])
    with pytest.raises(UpstreamConflictError, match=r"app\.lan:443: ca_file '.*missing\.pem'"):
        Upstreams([Upstream("https", "app.lan", 443, str(tmp_path / "missing.pem"))])


# The door's own TLS.


@pytest.fixture
async def tls_door(guard: TinyGuard, upstream: Upstream, authority: Authority) -> AsyncIterator[Door]:
    chain, key = authority.leaf("app.example")
    async with Door([guard], [upstream], certificate_file=str(chain), key_file=str(key)) as door:
        yield door


async def test_our_certificate_serves(tls_door: Door, guard: TinyGuard, authority: Authority) -> None:
    client = await RawClient.open(tls_door.port, authority.client(), "app.example")
    for _ in range(2):
        await client.send(get())
        assert (await client.answer()).raw.endswith(SECRET)
    client.close()
    assert {(seen.scheme, seen.port) for seen in guard.admitted} == {("https", 443)}


@pytest.mark.parametrize("name", ["unknown.example", "mitm.it", "127.0.0.1", None])
async def test_any_name_is_shown_our_certificate(
    name: str | None, tls_door: Door, authority: Authority
) -> None:
    context = authority.client()
    context.check_hostname = False
    client = await RawClient.open(tls_door.port, context, name)
    shown = client.writer.get_extra_info("ssl_object").getpeercert()
    client.close()
    assert shown["subjectAltName"] == (("DNS", "app.example"),)


async def test_naive_makes_certificates_up(app: RecordingUpstream, tmp_path: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with NaiveDoor(type("Nothing", (), {})(), app.port, tmp_path) as naive:
        client = await RawClient.open(naive.port, context, "bank.example")
        shown = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        client.close()
    assert b"bank.example" in shown
    assert (tmp_path / "mitmproxy-ca.pem").exists()


async def test_only_http_1_is_offered(tls_door: Door, authority: Authority) -> None:
    """B17 B18: HTTP/2 is never agreed upon, so none of its floods exists."""
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = await RawClient.open(tls_door.port, context, "app.example")
    chosen = client.writer.get_extra_info("ssl_object").selected_alpn_protocol()
    client.close()
    assert chosen == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(tls_door: Door, authority: Authority) -> None:
    """N05: TLS 1.2 at least."""
    context = authority.client()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await RawClient.open(tls_door.port, context, "app.example")


async def test_plain_http_on_the_tls_port_is_closed(tls_door: Door, app: RecordingUpstream) -> None:
    """E11: no guess, no byte to the app."""
    client = await RawClient.open(tls_door.port)
    await client.send(get())
    answered = await client.rest()
    assert answered.closed
    assert b"HTTP/1.1" not in answered.raw
    assert app.received == b""


async def test_a_slow_head_ends_under_tls_too(
    guard: TinyGuard, upstream: Upstream, authority: Authority
) -> None:
    chain, key = authority.leaf("app.example")
    settings = {"certificate_file": str(chain), "key_file": str(key)}
    async with Door([guard], [upstream], bounds=WireBounds(head_timeout_s=0.2), **settings) as door:
        client = await RawClient.open(door.port, authority.client(), "app.example")
        await client.send(b"GET / HT")
        answered = await client.rest(3)
    assert answered.status == 408
    assert answered.closed


@pytest.mark.parametrize("broken", ["certificate_file", "key_file"])
async def test_unusable_files_are_named(broken: str, authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.leaf("app.example")
    _, other_key = authority.leaf("other.example")
    settings = {"certificate_file": str(chain), "key_file": str(key)}
    settings[broken] = str(other_key if broken == "key_file" else tmp_path / "missing.pem")
    with pytest.raises(CertificateRefusedError, match=broken):
        GateMaster.build(DoorSettings(listen_port=0, **settings), [], [])


async def test_half_a_pair_of_files_is_refused() -> None:
    with pytest.raises(ValueError, match="certificate_file and key_file together"):
        GateMaster.build(DoorSettings(certificate_file="only.pem"), [], [])


async def test_nothing_is_written_to_disk(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    await ask(door.port, get())
    assert list(tmp_path.iterdir()) == []


async def test_a_cut_closes_a_silent_stream_at_once(upstream: Upstream) -> None:
    """``flow.kill()`` would wait for the next hook, which a silent stream never brings."""

    never = asyncio.Event()
    seen: list[http.HTTPFlow] = []

    def stream(flow: http.HTTPFlow) -> None:
        if flow.response is not None:
            flow.response.stream = True
        mark(flow, RELEASE)
        seen.append(flow)

    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    async with RecordingUpstream([head, never]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        guard = TinyGuard(policy_for(upstream), on_responseheaders=stream)
        async with Door([guard], [upstream]) as door:
            client = await RawClient.open(door.port)
            await client.send(get())
            while b"first" not in client.raw:
                client.raw += await client.reader.read(100)
            cut(seen[0])
            answered = await client.rest(2)
            async with asyncio.timeout(2):
                never.set()
                await app.closed.wait()
        assert answered.closed
        assert b"0\r\n\r\n" not in answered.raw
        assert guard.hooks[-1] == "error"
