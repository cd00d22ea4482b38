"""What mitmproxy does by itself, measured on 12.2.3, and what the door does instead.

Each fact is a pair: a naive addon on mitmproxy's own machinery leaks, hangs or forwards, which proves
that the attack is real and the test can fail; then the same attack at the door.
"""

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.tools.dump import DumpMaster

from addons.master import DoorSettings, GateMaster, PortRefusedError, hardened_options
from addons.sentinel import ANSWER, DEFER, FORWARD, RELEASE, Sentinel, mark, mark_upgrade
from addons.upstreams import choose
from addons.wire import WireBounds
from gateway.ingress import upstream_fields
from gateway.policy.policy import Upstream
from tests.attacks.harness import (
    CHUNKED_OK,
    CLOSE,
    HOST,
    SECRET,
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

QUIET_S = 0.5
"""How long silence is watched before it is called a hang."""


def addon(**hooks: Callable[[http.HTTPFlow], Any]) -> object:
    """Make an addon of functions."""
    return type("Naive", (), {name: staticmethod(hook) for name, hook in hooks.items()})()


def fail(_flow: http.HTTPFlow) -> None:
    raise KeyError("the store went away")


def refuse(flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(429, b"stop")


def post(body: bytes, *lines: bytes) -> bytes:
    head = [b"POST /patient/1 HTTP/1.1", f"Host: {HOST}".encode(), b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


# 1. An exception in a hook means yes.


@pytest.mark.parametrize("hook", ["requestheaders", "request", "responseheaders", "response"])
async def test_naive_exception_lets_the_patient_through(
    hook: str, app: RecordingUpstream, tmp_path: Path
) -> None:
    async with NaiveDoor(addon(**{hook: fail}), app.port, tmp_path) as naive:
        answered = await ask(naive.port, get())
    assert answered.status == 200
    assert SECRET in answered.raw


@pytest.mark.parametrize(
    ("hook", "reaches_app"),
    [("requestheaders", False), ("request", True), ("responseheaders", True), ("response", True)],
)
async def test_exception_is_a_503(
    hook: str, reaches_app: bool, app: RecordingUpstream, guard: TinyGuard, upstream: Upstream
) -> None:
    """A01: a fault of an addon is a refusal."""
    setattr(guard, hook, fail)
    async with Door([guard], [upstream]) as door:
        answered = await ask(door.port, get())
    if hook in {"requestheaders", "response"}:
        assert answered.status == 503
        assert SECRET not in answered.raw
    else:
        # The tiny guard decides nothing in these two hooks: its other verdicts stand.
        assert answered.status == 200
    assert bool(app.received) is reaches_app


async def test_exception_while_a_body_was_awaited_is_a_503(
    app: RecordingUpstream, guard: TinyGuard, upstream: Upstream
) -> None:
    guard.on_request = lambda flow: mark(flow, DEFER)
    guard.request = fail  # type: ignore[method-assign]
    async with Door([guard], [upstream]) as door:
        answered = await ask(door.port, post(b"a=1"))
    assert answered.status == 503
    assert app.received == b""


async def test_no_guard_at_all_is_a_503(app: RecordingUpstream, upstream: Upstream) -> None:
    """A01: without any guard nothing passes."""
    async with Door([], [upstream]) as door:
        answered = await ask(door.port, get())
    assert answered.status == 503
    assert app.received == b""


# 2. A verdict in ``request`` comes too late for a streamed body.


def stream_upload(flow: http.HTTPFlow) -> None:
    flow.request.stream = True


async def test_naive_verdict_after_a_streamed_upload(app: RecordingUpstream, tmp_path: Path) -> None:
    async with NaiveDoor(addon(request=refuse), app.port, tmp_path, stream_large_bodies="10") as naive:
        answered = await ask(naive.port, post(b"x" * 200))
    assert answered.status == 200
    assert b"x" * 200 in app.received


async def test_naive_verdict_on_an_answer_over_the_threshold(app: RecordingUpstream, tmp_path: Path) -> None:
    async with NaiveDoor(addon(response=refuse), app.port, tmp_path, stream_large_bodies="10") as naive:
        answered = await ask(naive.port, get())
    assert answered.status == 200
    assert SECRET in answered.raw


async def test_undecided_upload_is_never_streamed(
    app: RecordingUpstream, guard: TinyGuard, upstream: Upstream
) -> None:
    """A02 A04: no byte goes on before the verdict."""

    def defer_and_stream(flow: http.HTTPFlow) -> None:
        mark(flow, DEFER)
        flow.request.stream = True

    guard.on_request = defer_and_stream
    guard.request = refuse_as_ours  # type: ignore[method-assign]
    async with Door([guard], [upstream]) as door:
        answered = await ask(door.port, post(b"x" * 200_000))
    assert answered.status == 429
    assert app.received == b""


def refuse_as_ours(flow: http.HTTPFlow) -> None:
    refuse(flow)
    mark(flow, ANSWER)


async def test_unreleased_answer_is_never_streamed(guard: TinyGuard, upstream: Upstream) -> None:
    def stream(flow: http.HTTPFlow) -> None:
        if flow.response is not None:
            flow.response.stream = True

    guard.on_responseheaders = stream
    guard.on_response = refuse_as_ours
    async with Door([guard], [upstream]) as door:
        answered = await ask(door.port, get())
    assert answered.status == 429
    assert SECRET not in answered.raw


def test_no_option_streams_or_tunnels() -> None:
    hardened = hardened_options(DoorSettings())
    assert hardened["stream_large_bodies"] is None
    assert hardened["connection_strategy"] == "lazy"
    assert not any(
        hardened[name] for name in ("rawtcp", "http2", "http3", "ssl_insecure", "store_streamed_bodies")
    )


# 3. A response set in ``responseheaders`` carries the app's body.


@pytest.mark.parametrize("answer_of_app", [ok(), CHUNKED_OK], ids=["length", "chunked"])
async def test_naive_refusal_with_the_patient_inside(answer_of_app: bytes, tmp_path: Path) -> None:
    async with (
        RecordingUpstream([answer_of_app]) as app,
        NaiveDoor(addon(responseheaders=refuse), app.port, tmp_path) as naive,
    ):
        answered = await ask(naive.port, get())
    assert answered.status == 429
    assert SECRET in answered.raw


@pytest.mark.parametrize("answer_of_app", [ok(), CHUNKED_OK], ids=["length", "chunked"])
@pytest.mark.parametrize("hook", [refuse, refuse_as_ours])
async def test_refusal_at_response_headers_carries_nothing(
    hook: Callable[[http.HTTPFlow], None], answer_of_app: bytes
) -> None:
    """A05: our head, our body, none of theirs."""
    async with RecordingUpstream([answer_of_app]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        guard = TinyGuard(policy_for(upstream), on_responseheaders=hook, on_response=lambda _flow: None)
        async with Door([guard], [upstream]) as door:
            answered = await ask(door.port, get())
    assert answered.status == 503
    assert SECRET not in answered.raw


async def test_refusal_in_response_replaces_everything(guard: TinyGuard, door: Door) -> None:
    guard.on_response = refuse_as_ours
    answered = await ask(door.port, get())
    assert answered.status == 429
    assert answered.raw.endswith(b"stop")
    assert b"content-length: 4" in answered.raw.lower()


# 4. In a stream callable, b"" ends the message, and an exception hangs the client.


def release_with(stream: Callable[[bytes], Any]) -> Callable[[http.HTTPFlow], None]:
    def hook(flow: http.HTTPFlow) -> None:
        if flow.response is not None:
            flow.response.stream = stream
        mark(flow, RELEASE)

    return hook


def explode(_chunk: bytes) -> bytes:
    raise KeyError("meter")


async def test_naive_dropped_chunks_end_the_message(tmp_path: Path) -> None:
    def stream(flow: http.HTTPFlow) -> None:
        if flow.response is not None:
            flow.response.stream = lambda _chunk: b""

    async with (
        RecordingUpstream([CHUNKED_OK]) as app,
        NaiveDoor(addon(responseheaders=stream), app.port, tmp_path) as naive,
    ):
        answered = await ask(naive.port, get())
    assert answered.raw.count(b"0\r\n\r\n") >= 1
    assert answered.status == 200


async def test_dropped_chunks_then_a_cut_leave_the_message_incomplete() -> None:
    """A06: no last chunk: the message is seen to be cut."""
    async with RecordingUpstream([CHUNKED_OK]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        guard = TinyGuard(
            policy_for(upstream),
            on_responseheaders=release_with(lambda _chunk: b""),
            on_response=lambda flow: flow.kill(),  # type: ignore[no-untyped-call]
        )
        async with Door([guard], [upstream]) as door:
            client = await RawClient.open(door.port)
            await client.send(get())
            answered = await client.rest()
    assert answered.closed
    assert b"0\r\n\r\n" not in answered.raw
    assert SECRET not in answered.raw


async def test_naive_exception_in_a_stream_hangs_the_client(tmp_path: Path) -> None:
    def stream(flow: http.HTTPFlow) -> None:
        if flow.response is not None:
            flow.response.stream = explode

    async with (
        RecordingUpstream([CHUNKED_OK]) as app,
        NaiveDoor(addon(responseheaders=stream), app.port, tmp_path) as naive,
    ):
        client = await RawClient.open(naive.port)
        await client.send(get())
        answered = await client.rest(QUIET_S)
        client.close()
    assert not answered.closed


async def test_exception_in_a_stream_cuts_the_connection() -> None:
    """A07: the client does not wait."""
    async with RecordingUpstream([CHUNKED_OK]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        guard = TinyGuard(policy_for(upstream), on_responseheaders=release_with(explode))
        async with Door([guard], [upstream]) as door:
            client = await RawClient.open(door.port)
            await client.send(get())
            answered = await client.rest()
    assert answered.closed
    assert SECRET not in answered.raw
    assert b"0\r\n\r\n" not in answered.raw


# 5. 101 opens a tunnel that no hook sees.

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
SMUGGLED = b"GET /patient/2 HTTP/1.1\r\nHost: hidden\r\n\r\n"


@pytest.mark.parametrize("protocol", [b"foo", b"H2C"])
async def test_naive_upgrade_opens_a_tunnel(protocol: bytes, tmp_path: Path) -> None:
    async with RecordingUpstream([SWITCH]) as app, NaiveDoor(addon(), app.port, tmp_path) as naive:
        client = await RawClient.open(naive.port)
        await client.send(get(b"/", b"Connection: Upgrade", b"Upgrade: " + protocol))
        switched = await client.answer()
        app.requested.clear()
        await client.send(SMUGGLED)
        async with asyncio.timeout(2):
            await app.requested.wait()
        client.close()
    assert switched.status == 101
    assert b"hidden" in app.received


@pytest.mark.parametrize("protocol", [b"foo", b"h2c", b"H2C", b"h2c, websocket", b"websocket"])
async def test_upgrade_is_stripped_and_101_is_a_502(protocol: bytes) -> None:
    """E01 E02: no tunnel is asked for, and none is opened."""
    async with RecordingUpstream([SWITCH]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            client = await RawClient.open(door.port)
            await client.send(
                get(b"/", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + protocol), SMUGGLED
            )
            answered = await client.rest()
            async with asyncio.timeout(2):
                await app.closed.wait()
    assert answered.status == 502
    assert answered.closed
    assert b"pgrade" not in app.received
    assert b"hidden" not in app.received


async def test_allowed_upgrade_to_anything_but_websocket_is_a_502() -> None:
    async with RecordingUpstream([SWITCH]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)

        def release(flow: http.HTTPFlow) -> None:
            mark_upgrade(flow)
            mark(flow, RELEASE)

        guard = TinyGuard(policy_for(upstream), on_response=release)
        async with Door([guard], [upstream]) as door:
            client = await RawClient.open(door.port)
            await client.send(get(b"/", b"Connection: Upgrade", b"Upgrade: websocket"), SMUGGLED)
            answered = await client.rest()
    assert answered.status == 502
    assert b"hidden" not in app.received


HANDSHAKE = get(
    b"/socket", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip
ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_websocket_needs_leave_and_is_not_kept_in_memory(allowed: bool) -> None:
    flows: list[http.HTTPFlow] = []

    async with RecordingUpstream([ACCEPT, *[b"\x81\x05hello"] * 50]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        guard = TinyGuard(policy_for(upstream))

        def forward(flow: http.HTTPFlow) -> None:
            flow.request.headers = http.Headers(upstream_fields(guard.admitted[-1], upgrade=True))
            choose(flow, upstream)
            mark(flow, FORWARD)
            if allowed:
                mark_upgrade(flow)
            flows.append(flow)

        guard.on_request = forward
        async with Door([guard], [upstream]) as door:
            client = await RawClient.open(door.port)
            await client.send(HANDSHAKE)
            async with asyncio.timeout(5):
                while client.raw.count(b"hello") < 50 and (data := await client.reader.read(65_536)):
                    client.raw += data
            client.close()
    if allowed:
        assert client.raw.startswith(b"HTTP/1.1 101")
        assert client.raw.count(b"\x81\x05hello") == 50
        assert flows[0].websocket is not None
        assert len(flows[0].websocket.messages) <= 2
    else:
        assert client.raw.startswith(b"HTTP/1.1 502")
        assert b"hello" not in client.raw


# 6. The default addons answer for us, load scripts and save flows.


async def test_naive_default_chain_serves_its_own_pages(app: RecordingUpstream, tmp_path: Path) -> None:
    from mitmproxy import options

    opts = options.Options(
        listen_host="127.0.0.1",
        listen_port=0,
        confdir=str(tmp_path),
        mode=[f"reverse:http://127.0.0.1:{app.port}"],
    )
    stock = DumpMaster(opts, with_termlog=False, with_dumper=False)
    stock.options.update(keep_host_header=True)
    running = asyncio.ensure_future(stock.run())
    server = stock.addons.get("proxyserver")
    while not server.listen_addrs():
        await asyncio.sleep(0.01)
    answered = await ask(server.listen_addrs()[0][1], get(b"/", host=b"mitm.it"))
    await server.servers.update([])
    stock.shutdown()
    await running
    assert answered.status == 200
    assert b"mitmproxy" in answered.raw
    assert app.received == b""


async def test_no_page_but_ours(door: Door, app: RecordingUpstream) -> None:
    """D09: no certificate to download, no page of the proxy."""
    answered = await ask(door.port, get(b"/", host=b"mitm.it"))
    assert answered.status == 421
    assert b"mitmproxy" not in answered.raw
    assert app.received == b""


async def test_the_chain_is_minimal_and_the_sentinel_last(door: Door) -> None:
    chain = door.master.addons.chain
    assert [type(each).__name__ for each in chain] == [
        "Proxyserver", "Listener", "Upstreams", "TinyGuard", "Sentinel",
    ]  # fmt: skip
    assert isinstance(chain[-1], Sentinel)


async def test_naive_script_that_vanishes_leaves_the_door_open(
    app: RecordingUpstream, tmp_path: Path
) -> None:
    from mitmproxy.addons.script import ScriptLoader

    script = tmp_path / "guard.py"
    script.write_text(
        "from mitmproxy import http\ndef request(flow):\n    flow.response = http.Response.make(403, b'no')\n"
    )
    naive = NaiveDoor(addon(), app.port, tmp_path)
    naive.master.addons.add(ScriptLoader())
    naive.master.options.update(scripts=[str(script)])
    async with naive:
        first = await ask(naive.port, get())
        script.unlink()
        later = first
        async with asyncio.timeout(10):
            while later.status != 200:
                later = await ask(naive.port, get())
                await asyncio.sleep(0.1)
    assert first.status == 403
    assert SECRET in later.raw


# 7. What mitmproxy forwards verbatim.

AMBIGUOUS = [
    # Header bytes.
    pytest.param(get(b"/", b"X-A: 1\rX-Identity: admin"), b"X-Identity: admin", id="bare-cr"),
    pytest.param(get(b"/", b"X-A: 1\x00X"), b"\x00", id="nul"),
    pytest.param(get(b"/", b"X-A: 1", b"  X-Identity: admin"), b"X-Identity: admin", id="obs-fold"),
    # Host.
    pytest.param(get(b"/", b"Host: other.example"), b"other.example", id="two-hosts"),
    pytest.param(b"GET /nohost HTTP/1.1\r\nX-A: 1\r\n\r\n", b"/nohost", id="no-host"),
    pytest.param(get(b"/", host=b"app.example@evil"), b"@evil", id="userinfo"),
    pytest.param(get(b"/", host=b"app.example:99999"), b":99999", id="port"),
    pytest.param(get(b"/", host=b"app.example, evil"), b", evil", id="host-list"),
    # Request target.
    pytest.param(get(b"http://app.example/abs"), b"/abs", id="absolute-form"),
    pytest.param(get(b"/public/../patient/1"), b"/../", id="dot-segments"),
    pytest.param(get(b"/public/%2e%2e/patient/1"), b"%2e%2e", id="encoded-dots"),
    pytest.param(get(b"/public%2f..%2fpatient"), b"%2f", id="encoded-slash"),
    pytest.param(get(b"/public/%252e%252e/x"), b"%252e", id="double-encoding"),
    pytest.param(get(b"//patient/1"), b"//patient", id="double-slash"),
    pytest.param(get(b"/patient/1#/static/app.js"), b"#/static", id="fragment"),
    pytest.param(get(b"/patient/\xe9"), b"\xe9", id="raw-bytes"),
    pytest.param(get(b"/patient/1%00"), b"%00", id="encoded-nul"),
    # Methods.
    pytest.param(get().replace(b"GET", b"TRACE", 1), b"TRACE", id="trace"),
    pytest.param(get().replace(b"GET", b"get", 1), b"get ", id="lower-case-method"),
    # Hop-by-hop.
    pytest.param(get(b"/", b"Connection: close, x-identity"), b"x-identity", id="connection-option"),
]


@pytest.mark.parametrize(("request_bytes", "trace"), AMBIGUOUS)
async def test_naive_forwards_verbatim(
    request_bytes: bytes, trace: bytes, app: RecordingUpstream, tmp_path: Path
) -> None:
    async with NaiveDoor(addon(), app.port, tmp_path) as naive:
        answered = await ask(naive.port, request_bytes)
    assert answered.status == 200
    assert trace in app.received


@pytest.mark.parametrize(("request_bytes", "trace"), AMBIGUOUS)
async def test_ambiguous_is_refused(
    request_bytes: bytes, trace: bytes, door: Door, app: RecordingUpstream
) -> None:
    answered = await ask(door.port, request_bytes)
    assert answered.status in {400, 405}
    assert app.received == b""


STRIPPED = [
    b"X_Ecluse_Assertion: forged", b"x.ecluse.assertion: forged", b"X-Ecluse-Assertion: forged",
    b"X-Forwarded-User: forged", b"X_Forwarded_For: forged", b"X-Real-IP: forged", b"X-Original-URL: /forged",
    b"X-HTTP-Method-Override: FORGED", b"Forwarded: for=forged", b"TE: trailers", b"Proxy: forged",
]  # fmt: skip


@pytest.mark.parametrize("line", STRIPPED)
async def test_naive_forwards_claims(line: bytes, app: RecordingUpstream, tmp_path: Path) -> None:
    async with NaiveDoor(addon(), app.port, tmp_path) as naive:
        await ask(naive.port, get(b"/", line))
    assert line in app.received


@pytest.mark.parametrize("line", STRIPPED)
async def test_claims_are_stripped(line: bytes, door: Door, app: RecordingUpstream) -> None:
    """C01 C02 C08: identities and addresses that a client claims stay here."""
    answered = await ask(door.port, get(b"/", line))
    assert answered.status == 200
    assert b"orged" not in app.received
    assert b"ORGED" not in app.received
    assert b"trailers" not in app.received


# 8. No bounds on heads; mitmproxy's pages tell its version.

LARGE = [
    pytest.param(get(b"/", b"X-A: " + b"a" * 1_000_000), 431, id="one-header"),
    pytest.param(get(b"/", *[b"X-A: a"] * 5_000), 431, id="many-headers"),
    pytest.param(get(b"/" + b"a" * 1_000_000), 414, id="url"),
    pytest.param(get(b"/?" + b"a" * 9_000), 414, id="query"),
]


@pytest.mark.parametrize(("request_bytes", "status"), LARGE)
async def test_naive_takes_any_size(
    request_bytes: bytes, status: int, app: RecordingUpstream, tmp_path: Path
) -> None:
    async with NaiveDoor(addon(), app.port, tmp_path) as naive:
        answered = await ask(naive.port, request_bytes)
    assert answered.status == 200
    assert len(app.received) >= len(request_bytes)


@pytest.mark.parametrize(("request_bytes", "status"), LARGE)
async def test_sizes_are_bounded(
    request_bytes: bytes, status: int, door: Door, app: RecordingUpstream
) -> None:
    answered = await ask(door.port, request_bytes)
    assert answered.status == status
    assert app.received == b""


@pytest.mark.parametrize(
    "unfinished",
    [b"GET / HTTP/1.1\r\nHost: app.example\r\nX-A: ", b"G", post(b"a=1")[:-1]],
    ids=["head", "first-byte", "body"],
)
async def test_slow_requests_end(unfinished: bytes, app: RecordingUpstream, guard: TinyGuard) -> None:
    """B20: one byte now and then keeps no connection."""
    guard.on_request = lambda flow: mark(flow, DEFER)
    bounds = WireBounds(head_timeout_s=0.2, body_timeout_s=0.4)
    async with Door([guard], [Upstream("http", "127.0.0.1", app.port)], bounds=bounds) as door:
        client = await RawClient.open(door.port)
        await client.send(unfinished)
        answered = await client.rest(3)
    assert answered.status == 408
    assert answered.closed
    assert app.received == b""


async def test_naive_waits_for_a_slow_head(app: RecordingUpstream, tmp_path: Path) -> None:
    async with NaiveDoor(addon(), app.port, tmp_path) as naive:
        client = await RawClient.open(naive.port)
        await client.send(b"GET / HTTP/1.1\r\nHost: ")
        answered = await client.rest(QUIET_S)
        client.close()
    assert not answered.closed


async def test_naive_error_page_tells_the_version(tmp_path: Path) -> None:
    async with NaiveDoor(addon(), 9, tmp_path, connection_strategy="lazy") as naive:
        answered = await ask(naive.port, get())
        malformed = await ask(naive.port, b"GARBAGE\r\n\r\n")
    assert b"mitmproxy" in answered.raw
    assert b"127.0.0.1" in answered.raw
    assert b"GARBAGE" in malformed.raw


@pytest.mark.parametrize(
    ("script", "sent", "status"),
    [
        ([CLOSE], get(), 502),
        ([b"NONSENSE-FROM-APP\r\n\r\n"], get(), 502),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], get(), 502),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"], get(), 502),
        ([ok()], b"GARBAGE\r\n\r\n", 400),
        ([ok()], b"CONNECT app.example:443 HTTP/1.1\r\nHost: app.example:443\r\n\r\n", 400),
        ([ok()], post(b"")[:-4] + b"\r\nContent-Length: 9\r\n\r\n", 400),
    ],
)
async def test_error_pages_are_calm(script: list[bytes | str], sent: bytes, status: int) -> None:
    async with RecordingUpstream(script) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            answered = await ask(door.port, sent)
    assert answered.status == status
    lowered = answered.raw.lower()
    for word in (
        b"mitmproxy",
        b"127.0.0.1",
        b"garbage",
        b"nonsense",
        b"content-length header",
        b"\r\nserver:",
    ):
        assert word not in lowered
    assert b"cache-control: no-store" in lowered


async def test_an_app_that_is_down_is_a_calm_502() -> None:
    nowhere = Upstream("http", "127.0.0.1", 9)
    guard = TinyGuard(policy_for(nowhere))
    async with Door([guard], [nowhere]) as door:
        answered = await ask(door.port, get())
    assert answered.status == 502
    assert b"mitmproxy" not in answered.raw
    assert b"Connect" not in answered.raw
    assert guard.hooks[-1] == "error"


async def test_naive_decodes_without_bound(tmp_path: Path) -> None:
    sizes: list[int] = []
    bomb = gzip.compress(b"0" * 5_000_000, mtime=0)

    def decode(flow: http.HTTPFlow) -> None:
        if flow.response is not None and flow.response.content is not None:
            sizes.append(len(flow.response.content))

    async with (
        RecordingUpstream([ok(bomb, b"Content-Encoding: gzip")]) as app,
        NaiveDoor(addon(response=decode), app.port, tmp_path) as naive,
    ):
        await ask(naive.port, get())
    assert len(bomb) < 10_000
    assert sizes == [5_000_000]


async def test_large_answers_are_not_buffered() -> None:
    """B23: over the bound nothing is held in memory, and nothing leaves."""
    async with RecordingUpstream([ok(b"a" * 300_000)]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        guard = TinyGuard(policy_for(upstream))
        async with Door([guard], [upstream], bounds=WireBounds(max_response_bytes=100_000)) as door:
            answered = await ask(door.port, get())
            guard.on_responseheaders = release_with(lambda chunk: chunk)
            streamed = await ask(door.port, get())
    assert answered.status == 502
    assert b"aaaa" not in answered.raw
    assert streamed.raw.endswith(b"a" * 300_000)


# 9. ``shutdown()`` leaves the port accepting.


async def test_naive_shutdown_leaves_the_port_open(app: RecordingUpstream, tmp_path: Path) -> None:
    naive = NaiveDoor(addon(), app.port, tmp_path)
    async with naive:
        naive.master.shutdown()
        await naive._running
        answered = await ask(naive.port, get())
    assert answered.status == 200


async def test_drain_closes_the_port_ends_what_began_and_cuts_the_idle() -> None:
    go_on = asyncio.Event()
    async with RecordingUpstream([go_on, ok()]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        door = Door([TinyGuard(policy_for(upstream))], [upstream])
        _, door.port = await door.master.start()
        idle, busy = await RawClient.open(door.port), await RawClient.open(door.port)
        await busy.send(get())
        await app.requested.wait()
        draining = asyncio.ensure_future(door.master.drain(5))
        assert (await idle.rest()).closed
        with pytest.raises(ConnectionRefusedError):
            await RawClient.open(door.port)
        go_on.set()
        answered = await busy.rest()
        assert await draining == 0
    assert answered.status == 200
    assert SECRET in answered.raw
    assert b"connection: close" in answered.raw.lower()
    assert answered.closed


async def test_drain_cuts_what_does_not_end() -> None:
    never = asyncio.Event()
    async with RecordingUpstream([never]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        door = Door([TinyGuard(policy_for(upstream))], [upstream])
        _, door.port = await door.master.start()
        client = await RawClient.open(door.port)
        await client.send(get())
        await app.requested.wait()
        assert await door.master.drain(0.1) == 1
        assert (await client.rest()).closed
        never.set()


async def test_a_taken_port_is_told_and_nothing_runs(door: Door, upstream: Upstream) -> None:
    second = GateMaster.build(DoorSettings(listen_port=door.port), [], [upstream])
    with pytest.raises(PortRefusedError, match=rf"listener 127\.0\.0\.1:{door.port}: "):
        await second.start()


# 10. A silent client opens a connection to the app.


@pytest.mark.parametrize("first", [b"", b"GET /patient/1 HTTP/1.1\r\n"])
async def test_naive_connects_before_it_is_asked(
    first: bytes, app: RecordingUpstream, tmp_path: Path
) -> None:
    async with NaiveDoor(addon(), app.port, tmp_path) as naive:
        client = await RawClient.open(naive.port)
        await client.send(first)
        async with asyncio.timeout(2):
            while not app.connections:
                await asyncio.sleep(0.01)
        client.close()


@pytest.mark.parametrize("first", [b"", b"GET /patient/1 HTTP/1.1\r\n"])
async def test_a_silent_client_reaches_nobody(first: bytes, door: Door, app: RecordingUpstream) -> None:
    client = await RawClient.open(door.port)
    await client.send(first)
    assert not (await client.rest(0.2)).closed
    client.close()
    assert app.connections == []


async def test_a_refused_client_reaches_nobody(door: Door, guard: TinyGuard, app: RecordingUpstream) -> None:
    guard.on_request = refuse_as_ours
    assert (await ask(door.port, get())).status == 429
    assert app.connections == []


# A refusal and the upload it refuses.


async def test_naive_refusal_waits_for_the_whole_upload(app: RecordingUpstream, tmp_path: Path) -> None:
    async with NaiveDoor(addon(requestheaders=refuse), app.port, tmp_path) as naive:
        client = await RawClient.open(naive.port)
        await client.send(post(b"x" * 100_000)[:-1])
        early = await client.answer(QUIET_S)
        await client.send(b"x")
        late = await client.answer()
        client.close()
    assert early.raw == b""
    assert late.status == 429


async def test_refusal_leaves_before_the_upload(door: Door, guard: TinyGuard, app: RecordingUpstream) -> None:
    guard.on_request = refuse_as_ours
    client = await RawClient.open(door.port)
    await client.send(post(b"x" * 100_000)[:-50_000])
    answered = await client.answer()
    await client.send(b"x" * 50_000)
    assert (await client.rest()).closed
    assert answered.status == 429
    assert guard.hooks == ["requestheaders", "responseheaders", "response"]
    assert app.connections == []


async def test_refused_upload_is_not_read_for_ever(guard: TinyGuard, upstream: Upstream) -> None:
    guard.on_request = refuse_as_ours
    bounds = WireBounds(max_drain_bytes=50_000, head_timeout_s=0.2)
    async with Door([guard], [upstream], bounds=bounds) as door:
        stalled = await RawClient.open(door.port)
        await stalled.send(post(b"x" * 100_000)[:500])
        answered = await stalled.rest(3)
        assert answered.status == 429
        assert answered.closed


async def test_forwarded_without_verdict_mark_does_not_pass(
    guard: TinyGuard, door: Door, app: RecordingUpstream
) -> None:
    def forge(flow: http.HTTPFlow) -> None:
        flow.metadata["ecluse"] = "yes"

    guard.on_request = forge
    assert (await ask(door.port, get())).status == 503
    assert app.received == b""


async def test_forward_alone_releases_nothing(guard: TinyGuard, door: Door) -> None:
    guard.on_response = lambda flow: mark(flow, FORWARD)
    answered = await ask(door.port, get())
    assert answered.status == 503
    assert SECRET not in answered.raw
