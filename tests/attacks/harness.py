"""Real sockets on loopback: an app that records every byte, a client that sends any byte, and the doors between."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mitmproxy import http, master, options
from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig

from addons.master import DoorSettings, GateMaster
from addons.sentinel import FORWARD, RELEASE, answer, mark
from addons.upstreams import choose
from gateway.clock import spawn
from gateway.ingress import Admitted, RawHead, admit, upstream_fields
from gateway.policy.policy import App, Body, Flow, Policy, Upstream
from gateway.vocabulary.records import RouteKind

SECRET = b"SECRET-patient-Amelie-1850576123456"
HOST = "app.example"
PATIENCE_S = 5.0

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"})


def ok(body: bytes = SECRET, *lines: bytes) -> bytes:
    """Return a 200 answer with *body*."""
    head = [b"HTTP/1.1 200 OK", *lines, b"Content-Type: text/plain", b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


CHUNKED_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%s\r\n" % (len(SECRET), SECRET) for _ in range(4))
    + b"0\r\n\r\n"
)

_opened: list[asyncio.StreamWriter] = []


async def hang_up() -> None:
    """Close every socket this test opened."""
    while _opened:
        writer = _opened.pop()
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


CLOSE = "close"
Step = bytes | asyncio.Event | str
"""One thing a scripted app does: send bytes, wait for an event, close."""


class RecordingUpstream:
    """An app that answers every complete request with *script*, and keeps all it received, by connection."""

    def __init__(self, script: Sequence[Step] = (ok(),), tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.tls = tls
        self.connections: list[bytearray] = []
        self.closed = asyncio.Event()
        self.requested = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    @property
    def port(self) -> int:
        """Return the port in use."""
        if self._server is None:
            raise RuntimeError("not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def received(self) -> bytes:
        """Return every byte received, connection after connection."""
        return b"".join(bytes(connection) for connection in self.connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        record = bytearray()
        self.connections.append(record)
        _opened.append(writer)
        answered = 0
        try:
            while data := await reader.read(65_536):
                record += data
                while (end := request_end(bytes(record), answered)) is not None:
                    answered = end
                    self.requested.set()
                    for step in self.script:
                        if isinstance(step, bytes):
                            writer.write(step)
                            await writer.drain()
                        elif isinstance(step, asyncio.Event):
                            await step.wait()
                        else:
                            writer.close()
                            return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.closed.set()
            writer.close()


def request_end(raw: bytes, start: int) -> int | None:
    """Return where the request that starts at *start* ends, None while it is incomplete (a lenient reader)."""
    head_end = raw.find(b"\r\n\r\n", start)
    if head_end < 0:
        return None
    head = raw[start:head_end].lower()
    body = head_end + 4
    if b"transfer-encoding: chunked" in head:
        end = raw.find(b"0\r\n\r\n", body)
        return None if end < 0 else end + 5
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            end = body + int(line.partition(b":")[2])
            return end if len(raw) >= end else None
    return body


@dataclass
class Answered:
    """What a raw client saw: every byte, and whether the other side closed."""

    raw: bytes
    closed: bool

    @property
    def status(self) -> int:
        """Return the status of the first answer, 0 when there was none."""
        return int(self.raw[9:12]) if self.raw.startswith(b"HTTP/1.") else 0


class RawClient:
    """A client that sends any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.raw = bytearray()

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None, name: str | None = None) -> "RawClient":
        """Connect to loopback; *name* is the TLS server name asked for."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
        _opened.append(writer)
        return cls(reader, writer)

    async def send(self, *parts: bytes) -> None:
        """Send *parts* one after the other."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self, patience_s: float = PATIENCE_S) -> Answered:
        """Read one whole answer (by Content-Length or chunks), or until the other side closes or patience ends."""
        self.raw.clear()
        closed = False
        try:
            async with asyncio.timeout(patience_s):
                while not complete(bytes(self.raw)):
                    data = await self.reader.read(65_536)
                    if not data:
                        closed = True
                        break
                    self.raw += data
        except TimeoutError:
            pass
        except ConnectionError:
            closed = True
        return Answered(bytes(self.raw), closed)

    async def rest(self, patience_s: float = PATIENCE_S) -> Answered:
        """Read until the other side closes or patience ends."""
        self.raw.clear()
        closed = False
        try:
            async with asyncio.timeout(patience_s):
                while data := await self.reader.read(65_536):
                    self.raw += data
                closed = True
        except TimeoutError:
            pass
        except ConnectionError:
            closed = True
        return Answered(bytes(self.raw), closed)

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


def complete(raw: bytes) -> bool:
    """Tell whether *raw* holds one whole answer, by Content-Length or chunks."""
    head, found, body = raw.partition(b"\r\n\r\n")
    if not found:
        return False
    if head.split(b" ", 2)[1:2] == [b"100"]:
        return True
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        return body.endswith(b"0\r\n\r\n")
    for line in lowered.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return b" 204 " in head or b" 101 " in head


async def ask(port: int, *parts: bytes, patience_s: float = PATIENCE_S) -> Answered:
    """Send *parts* on a new connection and return the first answer."""
    client = await RawClient.open(port)
    try:
        await client.send(*parts)
        return await client.answer(patience_s)
    finally:
        client.close()


def get(path: bytes = b"/patient/1", *lines: bytes, host: bytes = HOST.encode()) -> bytes:
    """Return a GET request."""
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: " + host, *lines]) + b"\r\n\r\n"


def policy_for(upstream: Upstream, **changes: Any) -> Policy:
    """Return a policy with one app at HOST."""
    app = App(
        name="app", title="App", realm="region", hosts=(HOST,), upstream=upstream, flow=Flow.AFTER_LOGIN, routes=(),
        logins=(), otherwise=RouteKind.PAGE, methods=METHODS, login_page=None,
    )  # fmt: skip
    settings: dict[str, Any] = {
        "policy_id": "test", "apps": {"app": app}, "by_host": {HOST: app}, "realms": {}, "trusted_proxies": (),
        "prefix": "/.ecluse/", "issuer": "test", "body": Body(), "max_request_bytes": 1_000_000,
    }  # fmt: skip
    return Policy(**{**settings, **changes})


Judge = Callable[[http.HTTPFlow], Awaitable[None] | None]


@dataclass
class TinyGuard:
    """The smallest guard: admits, forwards, releases. Each hook can be replaced to make it fail or refuse."""

    policy: Policy
    on_request: Judge | None = None
    on_responseheaders: Judge | None = None
    on_response: Judge | None = None
    hooks: list[str] = field(default_factory=list)
    admitted: list[Admitted] = field(default_factory=list)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        self.hooks.append("requestheaders")
        if flow.error is not None:
            return
        data = flow.request.data
        peer = flow.client_conn.peername
        verdict = admit(
            RawHead(
                method=data.method,
                target=data.path,
                authority=data.authority,
                http_version=data.http_version,
                fields=data.headers.fields,
                scheme="https" if flow.client_conn.tls else "http",
                peer_address=peer[0],
                peer_port=peer[1],
            ),
            self.policy,
        )
        if not isinstance(verdict, Admitted):
            answer(flow, verdict.status)
            return
        self.admitted.append(verdict)
        app = self.policy.by_host.get(verdict.host)
        if app is None:
            answer(flow, 421)
            return
        if self.on_request is not None:
            await _maybe(self.on_request(flow))
            if flow.response is not None or "ecluse" in flow.metadata:
                return
        data.path = verdict.target
        flow.request.headers = http.Headers(upstream_fields(verdict))
        choose(flow, app.upstream)
        mark(flow, FORWARD)

    def request(self, flow: http.HTTPFlow) -> None:
        self.hooks.append("request")

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        self.hooks.append("responseheaders")
        if self.on_responseheaders is not None:
            await _maybe(self.on_responseheaders(flow))

    async def response(self, flow: http.HTTPFlow) -> None:
        self.hooks.append("response")
        if self.on_response is not None:
            await _maybe(self.on_response(flow))
        elif flow.metadata.get("ecluse") == FORWARD:
            mark(flow, RELEASE)

    def error(self, flow: http.HTTPFlow) -> None:
        self.hooks.append("error")


async def _maybe(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result


class Door:
    """A GateMaster for the length of a test. *port* is where it listens."""

    def __init__(self, addons: Sequence[object], upstreams: Iterable[Upstream], **settings: Any) -> None:
        self.master = GateMaster.build(DoorSettings(**{"listen_port": 0, **settings}), addons, upstreams)
        self.port = 0

    async def __aenter__(self) -> Self:
        _, self.port = await self.master.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.master.drain(0)


class NaiveDoor:
    """mitmproxy as one would first set it up: its own addons, the test's addon among them, and its defaults."""

    def __init__(self, addon: object, upstream_port: int, confdir: Path, **changes: Any) -> None:
        self.master = master.Master(
            options.Options(
                listen_host="127.0.0.1",
                listen_port=0,
                confdir=str(confdir),
                mode=[f"reverse:http://127.0.0.1:{upstream_port}"],
            )
        )
        self.proxyserver = proxyserver.Proxyserver()
        self.master.addons.add(
            core.Core(), self.proxyserver, next_layer.NextLayer(), tlsconfig.TlsConfig(), addon
        )
        self.master.options.update(keep_host_header=True, **changes)
        self.port = 0

    async def __aenter__(self) -> Self:
        up = asyncio.Event()
        self.master.addons.add(_Announce(up))
        self._running = spawn(self.master.run(), "naive door")
        async with asyncio.timeout(PATIENCE_S):
            await up.wait()
        self.port = self.proxyserver.listen_addrs()[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.proxyserver.servers.update([])
        for handler in list(self.proxyserver.connections.values()):
            if handler.client in handler.transports:
                handler.close_connection(handler.client)
        async with asyncio.timeout(PATIENCE_S):
            while self.proxyserver.connections:
                await asyncio.sleep(0.01)
        self.master.shutdown()
        await self._running


class _Announce:
    def __init__(self, up: asyncio.Event) -> None:
        self.up = up

    def running(self) -> None:
        self.up.set()


class Authority:
    """A certificate authority for one test. Writes PEM files into *folder*."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key.public_key(), authority=True, names=())
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def leaf(self, *names: str) -> tuple[Path, Path]:
        """Return certificate and key files of a server called *names* (host names or IP addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._build(subject, key.public_key(), authority=False, names=names)
        chain, private = self.folder / f"{names[0]}.crt", self.folder / f"{names[0]}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain, private

    def server(self, *names: str) -> ssl.SSLContext:
        """Return a TLS server context for *names*."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.leaf(*names))
        return context

    def client(self) -> ssl.SSLContext:
        """Return a TLS client context that trusts this authority only."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _build(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, *, authority: bool, names: Sequence[str]
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if authority:
            builder = builder.add_extension(_SIGNS, critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alt(name) for name in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


_SIGNS = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def _alt(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
