"""Strict ingress: what proxies forward verbatim is admitted in one unambiguous form, or turned away.

Pure: bytes and a policy in, a value out; it never raises. What is refused here is refused because two
servers could read it in two ways (RFC 9110, RFC 9112 section 11) or because it would let a client
speak in the gateway's name.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address

import msgspec

from gateway.policy.forwarded import Peer, client_of
from gateway.policy.paths import PathRefused, canonical_path
from gateway.policy.policy import Policy
from gateway.vocabulary.messages import Headers

Fields = tuple[tuple[bytes, bytes], ...]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,23}")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LAST_PORT = 65_535
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_QUERY = re.compile(rb"[!-~]*")

MAX_FIELDS = 200
"""Header fields in one request; browsers send about 20."""

_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
_SINGLE = frozenset({
    "host", "authorization", "content-type", "content-length", "transfer-encoding", "expect", "upgrade",
    "origin", "referer", "user-agent", "content-encoding", "content-location", "content-range", "range",
    "if-range", "sec-websocket-key", "sec-websocket-version", "date", "from", "max-forwards",
})  # fmt: skip
_CONNECTION_OPTIONS = frozenset({"keep-alive", "close", "upgrade", "te", "http2-settings"})
_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te",
    "upgrade", "http2-settings", "expect", "max-forwards", "alt-used",
})  # fmt: skip
CLAIMS = frozenset({
    "forwarded", "x-real-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip", "cf-connecting-ip",
    "fastly-client-ip", "x-original-url", "x-rewrite-url", "x-original-host", "x-original-uri",
    "x-original-method", "x-http-method", "x-http-method-override", "x-method-override", "x-host",
    "x-proxyuser-ip", "x-remote-user", "x-remote-addr", "remote-user", "remote-addr", "via", "proxy",
    "front-end-https", "x-url-scheme", "x-scheme",
})  # fmt: skip
"""Headers that say who asks, for what, or from where; a client's are dropped."""
CLAIM_PREFIXES = ("x-forwarded", "x-ecluse", "x-envoy-", "x-auth-request-", "x-authentik-")
_OWN_PREFIX = "x-ecluse"


class RawHead(msgspec.Struct, frozen=True):
    """A request head as it stood on the wire, before anything was changed.

    *method* is the wire's spelling. *target* is
    path and query, *authority* that of an absolute-form target, empty otherwise. *scheme* is the one of
    the connection the client, or the proxy before us, made.
    """

    method: bytes
    target: bytes
    authority: bytes
    http_version: bytes
    fields: Fields
    scheme: str
    peer_address: str
    peer_port: int


class Admitted(msgspec.Struct, frozen=True):
    """A request with one meaning.

    *host* is lower case, without port or trailing dot; *authority* is host and port as the client sent it,
    the Host header that goes upstream. Cookie lines are joined into one (RFC 9113, 8.2.3).
    *query* is verbatim. *headers* are lower case, without hop-by-hop fields and without claims that only
    the gateway may make. *client_port* is 0 when a trusted proxy named the client. *spoofed*: the client
    sent a header of the gateway's own. *upgrade*: it asked for exactly ``websocket``. *length_bytes* is
    the declared body length, None when chunked.
    """

    method: str
    scheme: str
    host: str
    port: int
    authority: str
    path: str
    query: str
    headers: Headers
    client_address: str
    client_port: int
    spoofed: bool
    upgrade: bool
    length_bytes: int | None
    has_query: bool = False

    @property
    def target(self) -> bytes:
        """Return path and query as they go upstream."""
        return f"{self.path}?{self.query}".encode("ascii") if self.has_query else self.path.encode("ascii")


class Turned(msgspec.Struct, frozen=True):
    """Refused at the door with *status*. *fault* is a stable short word and holds nothing of the client's."""

    status: int
    fault: str


class _FaultError(Exception):
    def __init__(self, fault: str, status: int = 400) -> None:
        super().__init__(fault)
        self.turned = Turned(status, fault)


def admit(head: RawHead, policy: Policy) -> Admitted | Turned:
    """Judge *head* under *policy* (its bounds, trusted proxies, and the app the Host names).

    An unknown host is admitted: which page strangers get there is the policy's to say.
    """
    try:
        return _admit(head, policy)
    except _FaultError as fault:
        return fault.turned


class _Block(msgspec.Struct, frozen=True):
    """What a header block says, whatever it asks for."""

    lines: Headers
    upgrade: bool
    host: str
    port: int | None
    authority: str
    kept: Headers
    spoofed: bool


def _read_block(fields: Fields, max_header_bytes: int) -> _Block | _FaultError:
    try:
        lines = _lines(fields, max_header_bytes)
        upgrade = _connection(lines)
        host, port, authority = _host(lines)
    except _FaultError as fault:
        return fault
    kept, spoofed = _strip(lines, authority)
    return _Block(lines, upgrade, host, port, authority, kept, spoofed)


# A browser sends the same block again and again on one connection; long ones are not worth the memory.
_read_small_block = lru_cache(maxsize=1_024)(_read_block)
_SMALL_FIELDS = 40
_SMALL_BYTES = 4_096


def _block(fields: Fields, max_header_bytes: int) -> _Block:
    small = len(fields) <= _SMALL_FIELDS and sum(len(value) for _, value in fields) <= _SMALL_BYTES
    read = (_read_small_block if small else _read_block)(fields, max_header_bytes)
    if isinstance(read, _FaultError):
        raise _FaultError(read.turned.fault, read.turned.status)
    return read


def _admit(head: RawHead, policy: Policy) -> Admitted:
    if head.http_version not in {b"HTTP/1.0", b"HTTP/1.1"}:
        raise _FaultError("http-version")
    if len(head.target) > policy.max_url_bytes:
        raise _FaultError("url-too-long", 414)
    if head.authority:
        raise _FaultError("absolute-form")
    block = _block(head.fields, policy.max_header_bytes)
    lines, port = block.lines, block.port
    length = _framing(head, lines)
    app = policy.by_host.get(block.host)
    method = _method(head.method, None if app is None else app.methods)
    allowances: frozenset[str] = frozenset() if app is None else app.path_allowances
    path, query, has_query = _target(head.target, allowances)
    peer = Peer(head.peer_address, head.peer_port, head.scheme)
    address, client_port, scheme = client_of(peer, lines, policy.trusted_proxies)
    return Admitted(
        method=method,
        scheme=scheme,
        host=block.host,
        port=port or (443 if scheme == "https" else 80),
        authority=block.authority,
        path=path,
        query=query,
        headers=block.kept,
        client_address=address,
        client_port=client_port,
        spoofed=block.spoofed,
        upgrade=block.upgrade and method == "GET",
        length_bytes=length,
        has_query=has_query,
    )


def is_claim(name: str) -> bool:
    """Tell whether header *name* (lower case), however it is spelt, says what only a proxy of ours may say."""
    folded = name.replace("_", "-").replace(".", "-")
    return folded in CLAIMS or folded.startswith(CLAIM_PREFIXES)


def upstream_fields(admitted: Admitted, *, headers: Headers | None = None, upgrade: bool = False) -> Fields:
    """Return the header fields that go upstream for *admitted*.

    *headers* replaces the admitted ones (the guard may have taken cookies away). Forwarding headers are
    made fresh; *upgrade* puts the WebSocket handshake's hop-by-hop fields back.
    """
    lines = [*(admitted.headers if headers is None else headers)]
    if upgrade and admitted.upgrade:
        lines += [("connection", "Upgrade"), ("upgrade", "websocket")]
    lines += [
        ("x-forwarded-for", admitted.client_address),
        ("x-forwarded-proto", admitted.scheme),
        ("x-forwarded-host", admitted.authority),
    ]
    return tuple((_wire_name(name), value.encode("latin-1")) for name, value in lines)


@lru_cache(maxsize=1_024)
def _wire_name(name: str) -> bytes:
    return name.title().encode("latin-1")


def _lines(fields: Fields, max_header_bytes: int) -> Headers:
    if len(fields) > MAX_FIELDS:
        raise _FaultError("too-many-headers", 431)
    if sum(len(name) + len(value) + 4 for name, value in fields) > max_header_bytes:
        raise _FaultError("headers-too-large", 431)
    seen: set[str] = set()
    lines: list[tuple[str, str]] = []
    for raw_name, raw_value in fields:
        if _TOKEN.fullmatch(raw_name) is None:
            raise _FaultError("header-name")
        if _CONTROL.search(raw_value) is not None:
            raise _FaultError("header-value")
        name = raw_name.decode("ascii").lower()
        if name in _SINGLE:
            if name in seen:
                raise _FaultError("repeated-header")
            seen.add(name)
        lines.append((name, raw_value.decode("latin-1").strip(" \t")))
    return tuple(lines)


def _value(lines: Headers, name: str) -> str | None:
    return next((value for key, value in lines if key == name), None)


def _framing(head: RawHead, lines: Headers) -> int | None:
    coding, length = _value(lines, "transfer-encoding"), _value(lines, "content-length")
    if _value(lines, "trailer") is not None:
        raise _FaultError("trailer")
    expectation = _value(lines, "expect")
    if expectation is not None and expectation.lower() != "100-continue":
        raise _FaultError("expectation", 417)
    bodiless = head.method in {b"GET", b"HEAD"}
    if coding is not None:
        if length is not None:
            raise _FaultError("length-and-coding")
        if coding.lower() != "chunked" or head.http_version == b"HTTP/1.0":
            raise _FaultError("transfer-coding")
        if bodiless:
            raise _FaultError("unexpected-body")
        return None
    if length is None:
        return 0
    if _LENGTH.fullmatch(length.encode("latin-1")) is None:
        raise _FaultError("content-length")
    if bodiless and length != "0":
        raise _FaultError("unexpected-body")
    return int(length)


def _connection(lines: Headers) -> bool:
    options = {
        option.strip().lower()
        for name, value in lines
        if name in {"connection", "proxy-connection"}
        for option in value.split(",")
    } - {""}
    if not options <= _CONNECTION_OPTIONS:
        raise _FaultError("connection-option")
    wanted = _value(lines, "upgrade")
    return "upgrade" in options and wanted is not None and wanted.lower() == "websocket"


def _host(lines: Headers) -> tuple[str, int | None, str]:
    raw = _value(lines, "host")
    if raw is None:
        raise _FaultError("no-host")
    text = raw.lower()
    port: int | None = None
    if text.startswith("["):
        inside, closing, rest = text[1:].partition("]")
        try:
            name = f"[{IPv6Address(inside)}]" if closing and "%" not in inside else ""
        except ValueError:
            name = ""
    else:
        name, colon, tail = text.partition(":")
        rest = colon + tail
        if _HOST_NAME.fullmatch(name.removesuffix(".")) is None:
            name = ""
    if not name:
        raise _FaultError("host")
    if rest:
        if not rest.startswith(":") or _PORT.fullmatch(rest[1:]) is None or int(rest[1:]) > _LAST_PORT:
            raise _FaultError("host")
        port = int(rest[1:])
    name = name.removesuffix(".")
    return name, port, name if port is None else f"{name}:{port}"


def _method(method: bytes, allowed: frozenset[str] | None) -> str:
    if method.upper() in _REFUSED_METHODS:
        raise _FaultError("refused-method", 405)
    if _METHOD.fullmatch(method) is None:
        raise _FaultError("method")
    text = method.decode("ascii")
    if allowed is not None and text not in allowed:
        raise _FaultError("unknown-method", 405)
    return text


def _target(target: bytes, allowances: frozenset[str]) -> tuple[str, str, bool]:
    raw_path, mark, query = target.partition(b"?")
    if _QUERY.fullmatch(query) is None:
        raise _FaultError("query")
    if b"#" in query:
        raise _FaultError("fragment")
    try:
        path = canonical_path(raw_path.decode("latin-1"), allowances)
    except PathRefused as refused:
        raise _FaultError("fragment" if b"#" in raw_path else f"path-{refused.fault}") from None
    return path, query.decode("ascii"), bool(mark)


def _strip(lines: Headers, authority: str) -> tuple[Headers, bool]:
    kept: list[tuple[str, str]] = [("host", authority)]
    cookies: list[str] = []
    spoofed = False
    for name, value in lines:
        folded = name.replace("_", "-").replace(".", "-")
        if folded.startswith(_OWN_PREFIX):
            spoofed = True
            continue
        if folded != name or name in _HOP_BY_HOP or name in CLAIMS or name.startswith(CLAIM_PREFIXES):
            continue
        if name == "cookie":
            cookies.append(value)
        elif name != "host":
            kept.append((name, value))
    if cookies:
        kept.append(("cookie", "; ".join(cookies)))
    return tuple(kept), spoofed
