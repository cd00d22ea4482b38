"""What `heads` takes, mitmproxy reads in the very same way; what is unusual it leaves alone."""

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.net.http import http1, validate
from mitmproxy.proxy.layers.http._http1 import should_make_pipe

from addons.heads import WireHeaders, request_head, response_head, stays_open
from addons.wire import WireBounds, head_fault

_TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
_PRINT = st.text(" \t!~aZ09;=,/\xe9", max_size=24).map(lambda text: text.encode("latin-1"))
_USUAL = st.one_of(
    st.tuples(_TOKEN, _PRINT),
    st.tuples(st.sampled_from([b"Host", b"Cookie", b"accept"]), _PRINT),
    st.sampled_from(
        [(b"Connection", b" keep-alive"), (b"Content-Length", b" 12"), (b"content-length", b"0")]
    ),
)
_ODD = st.tuples(
    st.one_of(
        _TOKEN,
        st.sampled_from([
            *(b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Upgrade", b"Trailer"),
            *(b" Folded", b"Bad Name", b"", b"Proxy-Connection"),
        ]),
    ),
    st.one_of(st.binary(max_size=24), st.sampled_from([b" 0", b"12", b"chunked", b"close", b"100-continue"])),
)  # fmt: skip
_FIELDS = st.builds(
    lambda usual, odd, at: [*usual[:at], *odd, *usual[at:]],
    st.lists(_USUAL, max_size=6),
    st.lists(_ODD, max_size=1),
    st.integers(0, 6),
)
_BOUNDS = WireBounds()


def _head(line: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([line, *(name + b":" + value for name, value in fields)])


def _same(ours: http.Message, theirs: http.Message) -> None:
    assert isinstance(ours.headers, WireHeaders)
    told, expected = dict(vars(ours.data)), dict(vars(theirs.data))
    for values in (told, expected):
        values.pop("timestamp_start")
        values["headers"] = values["headers"].fields
    assert told == expected
    validate.validate_headers(ours)


@example(b"!GET", b"/", b"HTTP/1.1", [])
@given(
    st.sampled_from([b"GET", b"GET", b"POST", b"HEAD", b"CONNECT", b"get", b"G T", b"!GET", b"1", b""]),
    st.sampled_from([b"/", b"/a?b=c", b"/x/", b"*", b"http://x/", b"/a b", b"/\xc3\xa9", b"x"]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"http/1.1"]),
    _FIELDS,
)
def test_a_request_that_is_taken_is_read_as_mitmproxy_reads_it(
    method: bytes, target: bytes, version: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    head = _head(b" ".join((method, target, version)), fields)
    taken = request_head(head, 8_256)
    event(f"taken: {taken is not None}")
    if taken is None:
        return
    assert head_fault(head + b"\r\n\r\n", _BOUNDS) is None
    theirs = http1.read_request_head(head.split(b"\r\n"))
    _same(taken, theirs)
    assert http1.expected_http_body_size(theirs) == 0
    assert theirs.headers.get("expect") is None


@given(
    st.sampled_from([b"200 OK", b"204 No Content", b"304", b"101 x", b"404 Not Found", b"20 x", b"599"]),
    _FIELDS,
)
def test_an_answer_that_is_taken_is_read_as_mitmproxy_reads_it(
    status: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    head = _head(b"HTTP/1.1 " + status, fields)
    taken = response_head(head, b"GET")
    event(f"taken: {taken is not None}")
    if taken is None:
        return
    theirs = http1.read_response_head(head.split(b"\r\n"))
    _same(taken[0], theirs)
    asked = http.Request.make("GET", "http://x/")
    assert http1.expected_http_body_size(asked, theirs) == taken[1]


_GOOD = b"Host: parcours.example\r\nAccept: */*"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nContent-Length: 3",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nConnection: upgrade",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nExpect: 100-continue",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\n folded",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nX: a\nY: b",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nX: a\rb",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nX: \x00",
        b"GET / HTTP/1.1\r\n" + _GOOD + b"\r\nX : a",
        b"GET / HTTP/1.0\r\n" + _GOOD,
        b"GET  / HTTP/1.1\r\n" + _GOOD,
        b"GET http://x/ HTTP/1.1\r\n" + _GOOD,
        b"CONNECT /x HTTP/1.1\r\n" + _GOOD,
        b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n" + _GOOD,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 5_000,
        b"GET / HTTP/1.1",
    ],
)
def test_what_is_unusual_in_a_request_is_left_alone(head: bytes) -> None:
    assert request_head(head, 8_256) is None


@pytest.mark.parametrize(
    ("head", "method"),
    [
        (b"HTTP/1.1 200 OK\r\nX: a", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +1", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1", b"HEAD"),
        (b"HTTP/1.1 204 No\r\nContent-Length: 1", b"GET"),
        (b"HTTP/1.1 101 Switching\r\nContent-Length: 0", b"GET"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1", b"GET"),
    ],
)
def test_what_is_unusual_in_an_answer_is_left_alone(head: bytes, method: bytes) -> None:
    assert response_head(head, method) is None


def test_headers_are_looked_up_as_mitmproxy_does() -> None:
    fields = ((b"Set-Cookie", b"a=1"), (b"X", b"1"), (b"x", b"2"), (b"Y", b"\xff"))
    ours, theirs = WireHeaders(fields), http.Headers(fields)
    for name in ("x", "X", b"x", "set-cookie", "y", "absent"):
        assert ours.get(name, "none") == theirs.get(name, "none")
        assert (name in ours) == (name in theirs)


@given(
    st.sampled_from([b"GET", b"POST", b"HEAD", b"CONNECT"]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]),
    st.sampled_from([200, 200, 404, 101, 204, 304, 100]),
    _FIELDS,
    _FIELDS,
)
def test_a_connection_that_surely_goes_on_is_one_that_mitmproxy_keeps(
    method: bytes,
    version: bytes,
    status: int,
    asked: list[tuple[bytes, bytes]],
    told: list[tuple[bytes, bytes]],
) -> None:
    def stripped(fields: list[tuple[bytes, bytes]]) -> WireHeaders:
        return WireHeaders(tuple((name, value.strip()) for name, value in fields))

    request = http.Request("h", 80, method, b"http", b"", b"/", version, stripped(asked), b"", None, 0.0, 0.0)
    response = http.Response(version, status, b"", stripped(told), b"", None, 0.0, 0.0)
    surely = stays_open(request, response)
    event(f"surely: {surely}")
    if not surely:
        return
    assert not should_make_pipe(request, response)
    assert http1.expected_http_body_size(request, response) >= 0
    for message in (request, response):
        assert not http1.connection_close(message.http_version, message.headers)


def test_most_connections_surely_go_on() -> None:
    request = http.Request.make("GET", "http://app.example/")
    response = http.Response.make(200, b"body", {"Content-Length": "4", "Connection": "keep-alive"})
    assert stays_open(request, response)
    assert not stays_open(None, response)
    assert not stays_open(request, None)
