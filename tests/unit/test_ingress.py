from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingress import MAX_FIELDS, Admitted, Fields, RawHead, Turned, admit, upstream_fields
from gateway.policy.paths import canonical_path
from gateway.policy.policy import App, Body, Flow, PathAllowance, Policy, Upstream
from gateway.vocabulary.records import RouteKind

HOST = (b"Host", b"app.example")
LOAD_BALANCER = "192.0.2.1"


def policy(allowances: frozenset[PathAllowance] = frozenset()) -> Policy:
    app = App(
        name="app", title="App", realm="region", hosts=("app.example",), upstream=Upstream("http", "app.lan", 80),
        flow=Flow.AFTER_LOGIN, routes=(), logins=(), otherwise=RouteKind.PAGE,
        methods=frozenset({"GET", "HEAD", "POST", "DELETE", "PROPFIND", "OPTIONS"}), login_page=None,
        path_allowances=allowances,
    )  # fmt: skip
    return Policy(
        policy_id="test", apps={"app": app}, by_host={"app.example": app}, realms={},
        trusted_proxies=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/64")), prefix="/.ecluse/",
        issuer="test", body=Body(), max_request_bytes=1_000_000,
    )  # fmt: skip


POLICY = policy()


def head(*fields: tuple[bytes, bytes], **changes: Any) -> RawHead:
    """Return a plain GET; *fields* follow the Host header unless they hold one."""
    given_host = any(name.lower() == b"host" for name, _ in fields)
    settings: dict[str, Any] = {
        "method": b"GET", "target": b"/patient/1", "authority": b"", "http_version": b"HTTP/1.1",
        "fields": fields if given_host else (HOST, *fields), "scheme": "https",
        "peer_address": "203.0.113.9", "peer_port": 40_000,
    }  # fmt: skip
    return RawHead(**{**settings, **changes})


def admitted(raw: RawHead) -> Admitted:
    verdict = admit(raw, POLICY)
    assert isinstance(verdict, Admitted), verdict
    return verdict


@pytest.mark.parametrize(
    ("raw", "status", "fault"),
    [
        # Versions and targets.
        (head(http_version=b"HTTP/2.0"), 400, "http-version"),
        (head(http_version=b"HTTP/0.9"), 400, "http-version"),
        (head(authority=b"app.example"), 400, "absolute-form"),
        (head(target=b"*", method=b"OPTIONS"), 400, "path-not-origin-form"),
        (head(target=b"/a/../b"), 400, "path-dot-segment"),
        (head(target=b"/a%2fb"), 400, "path-encoded-slash"),
        (head(target=b"/a\\b"), 400, "path-bad-character"),
        (head(target=b"/\xe9"), 400, "path-raw-non-ascii"),
        (head(target=b"/a#b"), 400, "fragment"),
        (head(target=b"/a?b#c"), 400, "fragment"),
        (head(target=b"/a?b c"), 400, "query"),
        (head(target=b"/a?\xc3\xa9"), 400, "query"),
        (head(target=b"/a?b\x00"), 400, "query"),
        (head(target=b"/a?b\n"), 400, "query"),
        (head(target=b"/" + b"a" * 8_192), 414, "url-too-long"),
        # Methods, by the wire's spelling.
        (head(method=b"get"), 400, "method"),
        (head(method=b"G@T"), 400, "method"),
        (head(method=b""), 400, "method"),
        (head(method=b"TRACE"), 405, "refused-method"),
        (head(method=b"trace"), 405, "refused-method"),
        (head(method=b"TRACK"), 405, "refused-method"),
        (head(method=b"CONNECT"), 405, "refused-method"),
        (head(method=b"BREW"), 405, "unknown-method"),
        # Header bytes.
        (head((b"X-A", b"1\rX-B: 2")), 400, "header-value"),
        (head((b"X-A", b"1\r\n X-B: 2")), 400, "header-value"),
        (head((b"X-A", b"\x00")), 400, "header-value"),
        (head((b"X-A", b"\x7f")), 400, "header-value"),
        (head((b"", b"1")), 400, "header-name"),
        (head((b"X A", b"1")), 400, "header-name"),
        (head((b"X-A ", b"1")), 400, "header-name"),
        (head((b"X-\xc3\xa9", b"1")), 400, "header-name"),
        (head((b"X-A\n", b"1")), 400, "header-name"),
        # Sizes.
        (head(*[(b"X-A", b"1")] * MAX_FIELDS), 431, "too-many-headers"),
        (head((b"X-A", b"a" * 32_768)), 431, "headers-too-large"),
        # Host.
        (head(fields=()), 400, "no-host"),
        (head(HOST, HOST), 400, "repeated-header"),
        *[
            (head((b"Host", value)), 400, "host")
            for value in (
                b"", b"app.example, evil", b"app@evil", b"app.example:", b"app.example:0", b"app.example:99999",
                b"app.example:080", b"app.example:80x", b"app example", b"app.example/", b".example", b"a..b",
                b"[::1", b"[::1]x", b"[fe80::1%eth0]", b"::1", b"app\xe9.example", b"-a.example",
                b"app.example..", b"%61pp.example", b"a" * 64 + b".example", b"a." * 127 + b"aa",
            )
        ],
        # Framing.
        (head((b"Content-Length", b"1"), (b"Content-Length", b"1"), method=b"POST"), 400, "repeated-header"),
        (head((b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked"), method=b"POST"), 400, "length-and-coding"),
        *[
            (head((b"Content-Length", value), method=b"POST"), 400, "content-length")
            for value in (b"+1", b"-1", b"0x1", b"1,1", b"01", b"", b"1 1", b"\xb2", b"9" * 19)
        ],
        *[
            (head((b"Transfer-Encoding", value), method=b"POST"), 400, "transfer-coding")
            for value in (b"xchunked", b"gzip, chunked", b"chunked, identity", b"", b"chunked,", b"chunked;q=1")
        ],
        (
            head((b"Transfer-Encoding", b"chunked"), method=b"POST", http_version=b"HTTP/1.0"),
            400, "transfer-coding",
        ),
        (head((b"Content-Length", b"1")), 400, "unexpected-body"),
        (head((b"Content-Length", b"1"), method=b"HEAD"), 400, "unexpected-body"),
        (head((b"Transfer-Encoding", b"chunked")), 400, "unexpected-body"),
        (head((b"Trailer", b"X-A")), 400, "trailer"),
        (head((b"Expect", b"200-maybe")), 417, "expectation"),
        # Connection may name the hop's own fields only.
        (head((b"Connection", b"close, X-Ecluse-Assertion")), 400, "connection-option"),
        (head((b"Connection", b"cookie")), 400, "connection-option"),
        (head((b"Proxy-Connection", b"authorization")), 400, "connection-option"),
        # One value only.
        (head((b"Authorization", b"Basic a"), (b"authorization", b"Bearer b")), 400, "repeated-header"),
        (head((b"Content-Type", b"text/plain"), (b"Content-Type", b"text/html")), 400, "repeated-header"),
    ],
)  # fmt: skip
def test_turned_away(raw: RawHead, status: int, fault: str) -> None:
    assert admit(raw, POLICY) == Turned(status, fault)


@pytest.mark.parametrize(
    ("host", "name", "port", "authority"),
    [
        (b"app.example", "app.example", 443, "app.example"),
        (b"APP.Example.", "app.example", 443, "app.example"),
        (b"app.example:8443", "app.example", 8443, "app.example:8443"),
        (b"unknown.example", "unknown.example", 443, "unknown.example"),
        (b"xn--hpital-mxa.example", "xn--hpital-mxa.example", 443, "xn--hpital-mxa.example"),
        (b"192.0.2.7:80", "192.0.2.7", 80, "192.0.2.7:80"),
        (b"[::0001]:80", "[::1]", 80, "[::1]:80"),
    ],
)
def test_host_has_one_form(host: bytes, name: str, port: int, authority: str) -> None:
    verdict = admitted(head((b"Host", host)))
    assert (verdict.host, verdict.port, verdict.authority) == (name, port, authority)
    assert verdict.headers[0] == ("host", authority)


@pytest.mark.parametrize(
    ("target", "path", "query", "upstream"),
    [
        (b"/p%61tient/%c3%a9", "/patient/%C3%A9", "", b"/patient/%C3%A9"),
        (b"/a?b=%2F..%00&c", "/a", "b=%2F..%00&c", b"/a?b=%2F..%00&c"),
        (b"/a?", "/a", "", b"/a?"),
        (b"/a??x", "/a", "?x", b"/a??x"),
    ],
)
def test_target_has_one_form(target: bytes, path: str, query: str, upstream: bytes) -> None:
    verdict = admitted(head(target=target))
    assert (verdict.path, verdict.query, verdict.target) == (path, query, upstream)


def test_an_app_may_need_a_spelling() -> None:
    raw = head(target=b"/a%2Fb;v=1")
    assert isinstance(admit(raw, POLICY), Turned)
    allowed = policy(frozenset({PathAllowance.ENCODED_SLASH, PathAllowance.SEMICOLON}))
    verdict = admit(raw, allowed)
    assert isinstance(verdict, Admitted)
    assert verdict.path == "/a%2Fb;v=1"
    elsewhere = admit(head((b"Host", b"other.example"), target=b"/a%2Fb"), allowed)
    assert elsewhere == Turned(400, "path-encoded-slash")


@pytest.mark.parametrize(
    "name",
    [
        # Hop by hop.
        b"Connection", b"Keep-Alive", b"Proxy-Authorization", b"TE", b"Upgrade", b"HTTP2-Settings", b"Expect",
        # Who the client is said to be, and what it is said to have asked.
        b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Uri", b"X-Forwarded-User",
        b"Forwarded", b"X-Real-IP", b"True-Client-IP", b"X-Client-IP", b"CF-Connecting-IP", b"X-Original-URL",
        b"X-Rewrite-URL", b"X-HTTP-Method", b"X-HTTP-Method-Override", b"X-Method-Override", b"Remote-User", b"Proxy",
        # Names that CGI and WSGI cannot tell from another.
        b"X_Forwarded_For", b"X-Forwarded_For", b"Remote_User", b"x.real.ip", b"Some_Header",
    ],
)  # fmt: skip
def test_stripped_silently(name: bytes) -> None:
    value = b"100-continue" if name == b"Expect" else b"close"
    verdict = admitted(head((name, value), (b"X-Kept", b"yes")))
    assert dict(verdict.headers) == {"host": "app.example", "x-kept": "yes"}
    assert not verdict.spoofed


@pytest.mark.parametrize(
    "name",
    [b"X-Ecluse-Assertion", b"x_ecluse_assertion", b"X.Ecluse-User", b"X-Ecluse_Assertion", b"X-ECLUSE"],
)
def test_our_own_names_are_stripped_and_told(name: bytes) -> None:
    verdict = admitted(head((name, b"forged")))
    assert verdict.headers == (("host", "app.example"),)
    assert verdict.spoofed


@pytest.mark.parametrize(
    ("method", "fields", "upgrade"),
    [
        (b"GET", [(b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"WebSocket")], True),
        (b"GET", [(b"Upgrade", b"websocket")], False),
        (b"GET", [(b"Connection", b"Upgrade"), (b"Upgrade", b"h2c")], False),
        (b"GET", [(b"Connection", b"Upgrade"), (b"Upgrade", b"h2c, websocket")], False),
        (b"POST", [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")], False),
    ],
)
def test_only_a_websocket_is_an_upgrade(
    method: bytes, fields: list[tuple[bytes, bytes]], upgrade: bool
) -> None:
    verdict = admitted(head(*fields, method=method))
    assert verdict.upgrade is upgrade
    assert "upgrade" not in dict(verdict.headers)
    sent = dict(upstream_fields(verdict, upgrade=True))
    assert (sent.get(b"Upgrade") == b"websocket") is upgrade
    assert b"Upgrade" not in dict(upstream_fields(verdict))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # A stranger says what he likes.
        ("203.0.113.9", [b"10.0.0.1"], ("203.0.113.9", 40_000)),
        # A proxy of ours is believed about the address it saw.
        (LOAD_BALANCER, [b"198.51.100.7"], ("198.51.100.7", 0)),
        (LOAD_BALANCER, [b"1.1.1.1, 198.51.100.7"], ("198.51.100.7", 0)),
        (LOAD_BALANCER, [b"1.1.1.1", b"198.51.100.7"], ("198.51.100.7", 0)),
        (LOAD_BALANCER, [b"198.51.100.7, 192.0.2.5"], ("198.51.100.7", 0)),
        (LOAD_BALANCER, [b"2001:db8:1::7"], ("2001:db8:1::7", 0)),
        (LOAD_BALANCER, [b"::ffff:198.51.100.7"], ("198.51.100.7", 0)),
        ("::ffff:192.0.2.1", [b"198.51.100.7"], ("198.51.100.7", 0)),
        # What cannot be read ends the walk: the client is the last address known, never somebody else's choice.
        (LOAD_BALANCER, [], (LOAD_BALANCER, 40_000)),
        (LOAD_BALANCER, [b""], (LOAD_BALANCER, 40_000)),
        (LOAD_BALANCER, [b"1.1.1.1, unknown"], (LOAD_BALANCER, 40_000)),
        (LOAD_BALANCER, [b"1.1.1.1, 198.51.100.7:4711"], (LOAD_BALANCER, 40_000)),
        (LOAD_BALANCER, [b"1.1.1.1, fe80::1%eth0"], (LOAD_BALANCER, 40_000)),
        (LOAD_BALANCER, [b"1.1.1.1, unknown, 192.0.2.5"], ("192.0.2.5", 0)),
        (LOAD_BALANCER, [b"1.1.1.1, " + b"192.0.2.5, " * 200 + b"192.0.2.6"], ("192.0.2.5", 0)),
    ],
)  # fmt: skip
def test_who_the_client_is(peer: str, forwarded: list[bytes], client: tuple[str, int]) -> None:
    verdict = admitted(head(*[(b"X-Forwarded-For", value) for value in forwarded], peer_address=peer))
    assert (verdict.client_address, verdict.client_port) == client
    assert dict(upstream_fields(verdict))[b"X-Forwarded-For"] == client[0].encode()


@pytest.mark.parametrize(
    ("peer", "values", "scheme"),
    [
        (LOAD_BALANCER, [b"https"], "https"),
        (LOAD_BALANCER, [b"HTTPS"], "https"),
        (LOAD_BALANCER, [b"https", b"http"], "http"),
        (LOAD_BALANCER, [b"https, http"], "http"),
        (LOAD_BALANCER, [b"wss"], "http"),
        ("203.0.113.9", [b"https"], "http"),
    ],
)
def test_which_scheme_the_client_used(peer: str, values: list[bytes], scheme: str) -> None:
    fields = [(b"X-Forwarded-Proto", value) for value in values]
    verdict = admitted(head(*fields, peer_address=peer, scheme="http"))
    assert verdict.scheme == scheme
    assert verdict.port == {"https": 443, "http": 80}[scheme]


def test_cookie_lines_are_joined() -> None:
    verdict = admitted(head((b"Cookie", b"a=1"), (b"X-A", b"x"), (b"cookie", b"b=2")))
    assert [value for name, value in verdict.headers if name == "cookie"] == ["a=1; b=2"]


@pytest.mark.parametrize(
    ("method", "fields", "length"),
    [
        (b"GET", [], 0),
        (b"GET", [(b"Content-Length", b"0")], 0),
        (b"POST", [(b"Content-Length", b"12")], 12),
        (b"POST", [(b"Transfer-Encoding", b"Chunked")], None),
        (b"DELETE", [(b"Content-Length", b"3")], 3),
        (b"PROPFIND", [(b"Content-Length", b"3")], 3),
    ],
)
def test_declared_length(method: bytes, fields: list[tuple[bytes, bytes]], length: int | None) -> None:
    assert admitted(head(*fields, method=method)).length_bytes == length


def test_bytes_survive_the_door() -> None:
    value = bytes(byte for byte in range(0x80, 0x100))
    verdict = admitted(head((b"X-Name", value)))
    assert dict(upstream_fields(verdict))[b"X-Name"] == value


def test_edited_headers_replace_the_admitted_ones() -> None:
    verdict = admitted(head((b"Cookie", b"secret=1")))
    sent = upstream_fields(verdict, headers=(("host", "app.example"), ("cookie", "kept=1")))
    assert dict(sent) == {
        b"Host": b"app.example",
        b"Cookie": b"kept=1",
        b"X-Forwarded-For": b"203.0.113.9",
        b"X-Forwarded-Proto": b"https",
        b"X-Forwarded-Host": b"app.example",
    }


names = st.sampled_from([b"Host", b"X-A", b"Cookie", b"Connection", b"Content-Length", b"Transfer-Encoding"])
wild = st.binary(max_size=12)


@given(
    fields=st.lists(st.tuples(names | wild, wild | st.sampled_from([b"app.example", b"1", b"chunked"])), max_size=6),
    method=st.sampled_from([b"GET", b"POST"]) | wild,
    target=wild.map(lambda tail: b"/" + tail),
    peer=st.sampled_from(["203.0.113.9", LOAD_BALANCER, "nonsense", "fe80::1%eth0"]),
)  # fmt: skip
def test_never_raises_and_never_lets_ambiguity_by(
    fields: list[tuple[bytes, bytes]], method: bytes, target: bytes, peer: str
) -> None:
    raw: Fields = (HOST, *fields)
    verdict = admit(head(fields=raw, method=method, target=target, peer_address=peer), POLICY)
    if isinstance(verdict, Turned):
        assert 400 <= verdict.status <= 431
        return
    assert canonical_path(verdict.path) == verdict.path
    sent = b"".join(name + b": " + value + b"\r\n" for name, value in upstream_fields(verdict))
    assert sent.count(b"\n") == sent.count(b"\r") == len(upstream_fields(verdict))
    assert sent.lower().count(b"\r\nhost:") + sent.lower().startswith(b"host:") == 1
    assert not (b"\r\ncontent-length:" in sent.lower() and b"\r\ntransfer-encoding:" in sent.lower())
