"""Framing and smuggling at the door: one reading of every message, or none."""

import asyncio

import pytest

from addons.sentinel import ANSWER, DEFER, answer, mark
from gateway.policy.policy import Upstream
from tests.attacks.harness import (
    CLOSE,
    HOST,
    SECRET,
    Door,
    RawClient,
    RecordingUpstream,
    TinyGuard,
    ask,
    get,
    ok,
    policy_for,
)


def post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    head = [b"POST /patient/1 " + version, f"Host: {HOST}".encode(), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"

REFUSED = [
    # Two lengths, or a length and a coding: CVE-2022-24766, CVE-2023-38697.
    pytest.param(post(b"Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"), id="length-and-coding"),
    pytest.param(post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), id="two-equal-lengths"),
    pytest.param(post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), id="two-lengths"),
    pytest.param(post(b"Content-Length: +3", body=b"abc"), id="plus"),
    pytest.param(post(b"Content-Length: 0x3", body=b"abc"), id="hexadecimal"),
    pytest.param(post(b"Content-Length: 3,3", body=b"abc"), id="list"),
    pytest.param(post(b"Content-Length: 03", body=b"abc"), id="leading-zero"),
    pytest.param(post(b"Content-Length: -1", body=b""), id="negative"),
    pytest.param(post(b"Content-Length: ", body=b""), id="empty-length"),
    pytest.param(post(b"Content-Length: 99999999999999999999", body=b""), id="beyond-64-bits"),
    # Codings that other servers read differently: CVE-2021-39214.
    pytest.param(post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), id="space-before-colon"),
    pytest.param(post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), id="vertical-tab"),
    pytest.param(post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), id="xchunked"),
    pytest.param(post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), id="chunked-identity"),
    pytest.param(post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), id="gzip-chunked"),
    pytest.param(post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), id="coding-twice"),
    pytest.param(post(CHUNKED, version=b"HTTP/1.0", body=b"0\r\n\r\n"), id="coding-in-1.0"),
    pytest.param(post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), id="folded-coding"),
    # Chunks: CVE-2025-43859 and kin.
    pytest.param(post(CHUNKED, body=b"3\r\nabcXX0\r\n\r\n"), id="chunk-without-crlf"),
    pytest.param(post(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"), id="hexadecimal-prefix"),
    pytest.param(post(CHUNKED, body=b"-3\r\nabc\r\n0\r\n\r\n"), id="negative-chunk"),
    pytest.param(post(CHUNKED, body=b"f" * 40 + b"\r\nabc\r\n0\r\n\r\n"), id="huge-chunk-size"),
    pytest.param(post(CHUNKED, body=b"3;" + b"a" * 70_000), id="endless-extension"),
    pytest.param(post(CHUNKED, body=b"3;a\nb\r\nabc\r\n0\r\n\r\n"), id="line-feed-in-extension"),
    # Trailers.
    pytest.param(post(CHUNKED, body=b"3\r\nabc\r\n0\r\nX-Identity: admin\r\n\r\n"), id="trailers"),
    pytest.param(post(CHUNKED, b"Trailer: X-Identity", body=b"0\r\n\r\n"), id="announced-trailer"),
    # Lines.
    pytest.param(get().replace(b"\r\n", b"\n"), id="bare-line-feeds"),
    pytest.param(get(b"/", b"X-A: 1\nX-Identity: admin"), id="one-bare-line-feed"),
    pytest.param(get(b"/", b"X-A : 1"), id="space-before-colon-anywhere"),
    pytest.param(get(b"/", b": 1"), id="empty-name"),
    pytest.param(get(b"/", b"X\xc3\xa9: 1"), id="non-ascii-name"),
    pytest.param(get(b"/", b"no colon here"), id="no-colon"),
    pytest.param(b"GET  / HTTP/1.1\r\nHost: app.example\r\n\r\n", id="two-spaces"),
    pytest.param(b"GET\t/ HTTP/1.1\r\nHost: app.example\r\n\r\n", id="tab"),
    pytest.param(b"GET /a b HTTP/1.1\r\nHost: app.example\r\n\r\n", id="space-in-target"),
    # Versions: HTTP/0.9, others, the HTTP/2 preface.
    pytest.param(b"GET /\r\n\r\n", id="http-0.9"),
    pytest.param(get().replace(b"HTTP/1.1", b"HTTP/1.2"), id="http-1.2"),
    pytest.param(get().replace(b"HTTP/1.1", b"HTTP/2.0"), id="http-2.0"),
    pytest.param(get().replace(b"HTTP/1.1", b"http/1.1"), id="lower-case-version"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http-2-preface"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls-on-the-plain-port"),
    pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="ssh"),
    # Bodies where none belongs (TE.0, CL.0).
    pytest.param(get(b"/", b"Content-Length: 5") + b"GET /", id="get-with-body"),
    pytest.param(get(b"/", CHUNKED) + b"0\r\n\r\n", id="get-with-chunks"),
    # Methods.
    pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: app.example\r\n\r\n", id="asterisk-form"),
    pytest.param(get().replace(b"GET", b"Get", 1), id="mixed-case-method"),
    pytest.param(get().replace(b"GET", b"TRACK", 1), id="track"),
    pytest.param(get().replace(b"GET", b"BREW", 1), id="unknown-method"),
    pytest.param(b"CONNECT app.example:80 HTTP/1.1\r\nHost: app.example\r\n\r\n", id="connect"),
]


@pytest.mark.parametrize("request_bytes", REFUSED)
async def test_refused_and_nothing_upstream(request_bytes: bytes, door: Door, app: RecordingUpstream) -> None:
    answered = await ask(door.port, request_bytes)
    assert answered.status in {400, 405, 413}
    assert answered.raw.count(b"HTTP/1.1 ") == 1
    assert app.received == b""


@pytest.mark.parametrize("request_bytes", REFUSED)
async def test_a_refused_connection_says_nothing_more(
    request_bytes: bytes, door: Door, app: RecordingUpstream
) -> None:
    """What follows a malformed request is never read as a request."""
    client = await RawClient.open(door.port)
    await client.send(request_bytes, get(b"/patient/2"))
    answered = await client.rest(2)
    client.close()
    assert SECRET not in answered.raw
    assert b"/patient/2" not in app.received


TAKEN = [
    pytest.param(get(), b"GET /patient/1 HTTP/1.1\r\n", id="plain"),
    pytest.param(b"\r\n" + get(), b"GET /patient/1 HTTP/1.1\r\n", id="one-empty-line-before"),
    pytest.param(get().replace(b"HTTP/1.1", b"HTTP/1.0"), b"GET /patient/1 HTTP/1.0\r\n", id="http-1.0"),
    pytest.param(get(b"/p%61tient/%c3%a9?q=%2F&x"), b"GET /patient/%C3%A9?q=%2F&x HTTP/1.1\r\n", id="canonical"),
    pytest.param(get(b"/a?"), b"GET /a? HTTP/1.1\r\n", id="empty-query"),
    pytest.param(post(b"Content-Length: 3", body=b"abc"), b"\r\n\r\nabc", id="length"),
    pytest.param(post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), b"3\r\nabc\r\n0\r\n\r\n", id="chunks"),
    pytest.param(post(CHUNKED, body=b"3;a=b\r\nabc\r\n0\r\n\r\n"), b"3\r\nabc\r\n", id="extension-dropped"),
    pytest.param(get(b"/", b"Content-Length: 0"), b"Content-Length: 0", id="get-with-empty-body"),
    pytest.param(
        post(b"Content-Length: 3", body=b"abc").replace(b"POST", b"DELETE", 1), b"\r\n\r\nabc", id="delete-with-body"
    ),
    pytest.param(get(b"/", b"Cookie: a=1", b"Cookie: b=2"), b"Cookie: a=1; b=2\r\n", id="cookies-joined"),
    pytest.param(get(b"/", host=b"APP.example.:80"), b"Host: app.example:80\r\n", id="canonical-host"),
]  # fmt: skip


@pytest.mark.parametrize(("request_bytes", "upstream_sees"), TAKEN)
async def test_taken_in_one_form(
    request_bytes: bytes, upstream_sees: bytes, door: Door, app: RecordingUpstream
) -> None:
    answered = await ask(door.port, request_bytes)
    assert answered.status == 200
    assert upstream_sees in app.received


async def test_requests_byte_by_byte_are_taken(door: Door, app: RecordingUpstream) -> None:
    request = post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n")
    answered = await ask(door.port, *(request[index : index + 1] for index in range(len(request))))
    assert answered.status == 200
    assert app.received.endswith(b"3\r\nabc\r\n0\r\n\r\n")


async def test_pipelined_requests_are_judged_one_by_one(
    door: Door, guard: TinyGuard, app: RecordingUpstream
) -> None:
    """B15: three requests in one piece, each judged by itself."""
    guard.on_request = lambda flow: answer(flow, 403) if "patient" in flow.request.path else None
    client = await RawClient.open(door.port)
    await client.send(get(b"/login") + get(b"/patient/1") + get(b"/login"))
    answered = await client.rest(2)
    assert answered.raw.count(b"HTTP/1.1 200 OK") == 1
    assert answered.raw.count(b"HTTP/1.1 403") == 1
    assert b"/patient/1" not in app.received
    assert [admitted.path for admitted in guard.admitted] == ["/login", "/patient/1"]


async def test_endless_pipelining_is_cut(door: Door) -> None:
    never = asyncio.Event()
    async with RecordingUpstream([never]) as slow:
        upstream = Upstream("http", "127.0.0.1", slow.port)
        guard = TinyGuard(policy_for(upstream))
        async with Door([guard], [upstream]) as busy:
            client = await RawClient.open(busy.port)
            with pytest.raises(ConnectionError):
                for _ in range(2_000):
                    await client.send(get(b"/login", b"X-A: " + b"a" * 4_000))
        never.set()
    assert len(guard.admitted) == 1


# Expect: 100-continue gets its 100 from the verdict, not before it.


async def test_expectation_of_a_refused_upload_is_answered_at_once(
    door: Door, guard: TinyGuard, app: RecordingUpstream
) -> None:
    """B21: 401 without 100, and without reading on."""
    guard.on_request = lambda flow: answer(flow, 401)
    answered = await ask(door.port, post(b"Content-Length: 900000", b"Expect: 100-continue"))
    assert answered.status == 401
    assert app.connections == []


async def test_expectation_of_a_wanted_upload_is_met(
    door: Door, guard: TinyGuard, app: RecordingUpstream
) -> None:
    client = await RawClient.open(door.port)
    await client.send(post(b"Content-Length: 3", b"Expect: 100-continue"))
    assert (await client.answer()).raw == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"abc")
    assert (await client.answer()).status == 200
    client.close()
    assert b"xpect" not in app.received


async def test_a_fault_after_100_still_gets_its_page(door: Door) -> None:
    client = await RawClient.open(door.port)
    await client.send(post(CHUNKED, b"Expect: 100-continue"))
    assert (await client.answer()).status == 100
    await client.send(b"zz\r\n")
    assert (await client.answer()).status == 400
    client.close()


async def test_other_expectations_are_refused(door: Door, app: RecordingUpstream) -> None:
    answered = await ask(door.port, post(b"Content-Length: 3", b"Expect: 200-maybe", body=b"abc"))
    assert answered.status == 417
    assert app.received == b""


@pytest.mark.parametrize("declared", [True, False], ids=["length", "chunks"])
async def test_uploads_are_bounded(declared: bool, upstream: Upstream, app: RecordingUpstream) -> None:
    from addons.wire import WireBounds

    guard = TinyGuard(policy_for(upstream), on_request=lambda flow: mark(flow, DEFER))
    async with Door([guard], [upstream], bounds=WireBounds(max_request_bytes=1_000)) as door:
        if declared:
            answered = await ask(door.port, post(b"Content-Length: 1001", body=b"a" * 10))
        else:
            answered = await ask(door.port, post(CHUNKED, body=b"3e9\r\n" + b"a" * 1_001 + b"\r\n"))
    assert answered.status == 413
    assert b"mitmproxy" not in answered.raw
    assert app.received == b""


# The app's answers.

MALFORMED_ANSWERS = [
    pytest.param([b"HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 1\r\n\r\na"], id="bare-cr"),
    pytest.param([b"HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 1\r\n\r\na"], id="nul"),
    pytest.param([b"HTTP/1.1 200 OK\r\nX-A: 1\r\n X-B: 2\r\nContent-Length: 1\r\n\r\na"], id="obs-fold"),
    pytest.param([b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 1\r\n\r\na"], id="name"),
    pytest.param([b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"], id="204-with-coding"),
    pytest.param([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], id="chunk-size"),
    pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nSECRET", CLOSE], id="cut-short"),
    pytest.param([b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300_000 + b"\r\n\r\n"], id="large-head"),
    pytest.param([b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300_000], id="endless-head"),
    pytest.param([b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50 + ok()], id="interim-flood"),
    pytest.param([b"SSH-2.0-OpenSSH\r\n\r\n"], id="ssh"),
]


@pytest.mark.parametrize("script", MALFORMED_ANSWERS)
async def test_malformed_answers_are_a_calm_502(script: list[bytes | str]) -> None:
    """B22: what two readers could read differently is nobody's."""
    async with RecordingUpstream(script) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            answered = await ask(door.port, get())
    assert answered.status == 502
    assert b"SECRET" not in answered.raw
    assert b"mitmproxy" not in answered.raw


async def test_interim_answers_are_not_the_answer() -> None:
    """B22: 103 is no answer, and mixes up no two exchanges."""
    async with RecordingUpstream([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", ok()]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            client = await RawClient.open(door.port)
            for _ in range(12):
                await client.send(get())
                answered = await client.answer()
                assert answered.status == 200
                assert answered.raw.endswith(SECRET)
            client.close()


async def test_trailers_of_an_answer_are_dropped() -> None:
    answer_of_app = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSet-Cookie: a=b\r\n\r\n"
    )
    async with RecordingUpstream([answer_of_app]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            answered = await ask(door.port, get())
    assert answered.status == 200
    assert answered.raw.endswith(b"2\r\nhi\r\n0\r\n\r\n")


async def test_a_second_answer_to_one_request_is_never_delivered() -> None:
    """B22: an answer that nobody asked for waits for no next request."""
    async with RecordingUpstream([ok(b"first") + ok(b"planted")]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            client = await RawClient.open(door.port)
            for _ in range(2):
                await client.send(get())
                assert (await client.answer()).raw.endswith(b"first")
            client.close()


async def test_head_answers_carry_no_body() -> None:
    async with RecordingUpstream([b"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n"]) as app:
        upstream = Upstream("http", "127.0.0.1", app.port)
        async with Door([TinyGuard(policy_for(upstream))], [upstream]) as door:
            client = await RawClient.open(door.port)
            await client.send(get().replace(b"GET", b"HEAD", 1))
            answered = await client.rest(0.3)
            client.close()
    assert answered.status == 200
    assert answered.raw.endswith(b"\r\n\r\n")


async def test_two_masks_over_one_mark(door: Door, guard: TinyGuard, app: RecordingUpstream) -> None:
    """An ANSWER without an answer is no answer."""
    guard.on_request = lambda flow: mark(flow, ANSWER)
    assert (await ask(door.port, get())).status == 503
    assert app.connections == []
