"""The one place where mitmproxy's own wire code is overridden.

mitmproxy 12 reads heads of any size for any time, takes bare line feeds, stops dead at trailers, reads
a refused upload to its end before it answers, and tells its version and its reasons in error pages.
The classes below bound, refuse and hush. They apply to connections that ``listener`` opened and to
nothing else in the process.
"""

import re
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import h11
from h11._readers import ChunkedReader
from mitmproxy import ctx as mitm_ctx
from mitmproxy import http
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import _events as http_events
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server, make_body_reader

from addons import heads
from addons.straight import Commands, Straight
from gateway.pages.calm import calm_answer

_REQUEST_LINE = re.compile(rb"[!-~]+ [!-~]+ HTTP/1\.[01]")
# mitmproxy strips vertical tabs and form feeds around values before any addon sees them.
_UNREADABLE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL_IN_HEAD = re.compile(rb"\x00|\r(?!\n)|\n[ \t]")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9][0-9][ \r]")
_MAX_INTERIM = 8
_MAX_PENDING_BYTES = 262_144
_MAX_CHUNK_LINE_BYTES = 16_384

ANSWER_TOO_LARGE = "answer too large to be inspected"
"""The error of a flow whose answer was given up while it was buffered."""
APP_SILENT = "no answer in time"
"""The error of a flow whose app took too long to begin its answer."""
REST = "ecluse_rest"
"""What a hook that was begun keeps of itself to be worked off, where it had to wait."""


@dataclass(frozen=True, slots=True)
class WireBounds:
    """What one connection may cost. Sizes in bytes, times in seconds.

    *head_timeout_s* runs from a head's first byte to its last, *body_timeout_s* over a whole body; one that may be
    longer than *max_request_bytes* has a second more for each *least_upload_bytes_s* that came beyond them.
    *answer_timeout_s* is how long the app may take to begin its answer; it is told in steps of the first.
    *max_drain_bytes* is what is still read of an upload that was already answered.
    """

    max_head_bytes: int = 40_960
    max_url_bytes: int = 8_192
    head_timeout_s: float = 10.0
    body_timeout_s: float = 300.0
    answer_timeout_s: float = 50.0
    max_request_bytes: int = 64_000_000
    least_upload_bytes_s: int = 50_000
    max_response_bytes: int = 64_000_000
    max_upstream_head_bytes: int = 131_072
    max_drain_bytes: int = 1_000_000


@dataclass(slots=True)
class Wire:
    """Bounds, and the client connections now open under them. *stopping*: answer, then close.

    *refused* is told status, address and port of each client refused here, where no hook sees it. *begin* calls
    whoever wants a hook, and returns what is left to be done where somebody has to wait.
    """

    bounds: WireBounds
    stopping: bool = False
    begin: Callable[[commands.StartHook], Coroutine[Any, Any, None] | None] | None = None
    refused: Callable[[int, str, int], None] | None = None
    servers: "weakref.WeakSet[StrictHttp1Server]" = field(default_factory=weakref.WeakSet)


def head_fault(raw: bytes, bounds: WireBounds) -> int | None:
    """Return the status that refuses the request head at the start of *raw*, None while it may be right.

    RFC 9112: CRLF line ends and no other control characters (2.2), one space around the target (3), a
    version of HTTP/1, and the bounds.
    """
    end = raw.find(b"\r\n\r\n")
    head = raw if end < 0 else raw[:end]
    line_end = head.find(b"\r\n")
    line = head if line_end < 0 else head[:line_end]
    if raw[:1] and not raw[:1].isalpha():
        return 400
    if _UNREADABLE.search(head):
        return 400
    if len(line) > bounds.max_url_bytes + 64:
        return 414
    if (end >= 0 or line_end >= 0) and _REQUEST_LINE.fullmatch(line) is None:
        return 400
    return 431 if len(head) > bounds.max_head_bytes else None


class _WithoutTrailers:
    """A chunked body reader that refuses trailers (requests) or drops them (RFC 9110, 6.5.1; answers)."""

    def __init__(self, reader: ChunkedReader, *, refuse: bool) -> None:
        self._reader = reader
        self._refuse = refuse

    def __call__(self, buffer: Any) -> Any:
        event = self._reader(buffer)
        if isinstance(event, h11.EndOfMessage) and list(event.headers):
            if self._refuse:
                raise h11.RemoteProtocolError("trailers")
            return h11.EndOfMessage()
        return event

    def read_eof(self) -> None:
        self._reader.read_eof()


class StrictHttp1Server(Straight, Http1Server):
    """The client's side of a connection."""

    def __init__(self, ctx: context.Context, wire: Wire) -> None:
        super().__init__(ctx)
        self.wire = wire
        self._refused = False
        self._ticking = False
        self._watched: tuple[str, int] | None = None
        self._ticks = 0
        self._drained_bytes = 0
        self._body_bytes = 0
        wire.servers.add(self)

    @property
    def idle(self) -> bool:
        """Tell whether no request has begun."""
        return self.state == self.read_headers and not self.buf

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup):
            yield from self._tick()
        else:
            yield from super()._handle_event(event)
        if len(self.buf) > _MAX_PENDING_BYTES and self.state == self.wait:
            yield from self._give_up(None)
        phase = None if self._ticking else self._phase()
        if phase is not None:
            if self._watched != phase:
                self._watched, self._ticks = phase, 0
                self._body_bytes = 0
            self._ticking = True
            yield commands.RequestWakeup(self.wire.bounds.head_timeout_s)

    def _phase(self) -> tuple[str, int] | None:
        if self.state == self.read_headers and self.buf:
            return "head", self.stream_id
        if self.state == self.read_body:
            return ("drain" if self.response_done else "body"), self.stream_id
        if self.state == self.wait and not self.response:
            return "answer", self.stream_id
        return None

    def _tick(self) -> Commands:
        self._ticking = False
        phase = self._phase()
        if phase is None or phase != self._watched:
            return
        self._ticks += 1
        bounds = self.wire.bounds
        beyond = max(0, self._body_bytes - bounds.max_request_bytes)
        body_s = bounds.body_timeout_s + beyond / bounds.least_upload_bytes_s
        longest_s = {"body": body_s, "answer": bounds.answer_timeout_s}.get(phase[0], 0.0)
        if self._ticks * bounds.head_timeout_s >= longest_s:
            yield from self._give_up(504 if phase[0] == "answer" else 408)

    def _give_up(self, status: int | None) -> Commands:
        in_head = self.state == self.read_headers
        if status is not None and not self.response:
            yield from self._answer(status)
        self.state = self.done
        yield commands.CloseConnection(self.conn)
        if not in_head:
            yield ReceiveHttp(
                http_events.RequestProtocolError(
                    self.stream_id,
                    APP_SILENT if status == HTTPStatus.GATEWAY_TIMEOUT else "timeout",
                    http_events.ErrorCode.CLIENT_DISCONNECTED,
                )
            )

    def _answer(self, status: int) -> Commands:
        self._refused = True
        self._tell(status)
        yield commands.SendData(self.conn, calm_answer(status))

    def _tell(self, status: int) -> None:
        # Faults of the app are told by the error hook, which knows whose request it was.
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and self.wire.refused is not None and self.conn.peername:
            self.wire.refused(status, *self.conn.peername[:2])

    def send(self, event: http_events.HttpEvent) -> Commands:
        if isinstance(event, http_events.ResponseData) and not event.data:
            return  # An empty chunk would be read as the end of a chunked message.
        if (
            isinstance(event, http_events.ResponseHeaders)
            and self.wire.stopping
            and event.response.status_code >= HTTPStatus.OK
        ):
            event.response.headers["connection"] = "close"
        for command in super().send(event):
            if isinstance(event, http_events.ResponseProtocolError) and isinstance(
                command, commands.SendData
            ):
                self._refused = True
                status = event.code.http_status_code() or 502
                self._tell(status)
                yield commands.SendData(self.conn, calm_answer(status))
            else:
                yield command
        if (
            isinstance(event, http_events.ResponseHeaders)
            and event.response.status_code == HTTPStatus.CONTINUE
        ):
            self.response = None

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        if isinstance(event, events.DataReceived):
            raw = bytes(self.buf)
            if raw[:2] == b"\r\n":  # One empty line may stand before a request (RFC 9112, 2.2).
                self.buf.maybe_extract_at_most(2)
                raw = raw[2:]
            end = raw.find(b"\r\n\r\n")
            bounds = self.wire.bounds
            request = heads.request_head(raw[:end], bounds.max_url_bytes + 64) if end > 0 else None
            if request is not None and end <= bounds.max_head_bytes:
                self.buf.maybe_extract_at_most(end + 4)
                self.request = request
                yield ReceiveHttp(http_events.RequestHeaders(self.stream_id, request, True))
                self.body_reader = make_body_reader(0)
                self.state = self.read_body
                yield ReceiveHttp(http_events.RequestEndOfMessage(self.stream_id))
                yield from self.mark_done(request=True)
                return
            status = head_fault(raw, bounds) if raw else None
            if status is not None:
                yield from self._answer(status)
                yield commands.CloseConnection(self.conn)
                self.state = self.done
                return
        for command in super().read_headers(event):
            if isinstance(command, commands.SendData):
                yield from self._answer(400)
            elif not isinstance(command, commands.Log):  # mitmproxy's would quote the client's bytes.
                yield command

    def read_body(self, event: events.Event) -> Commands:
        if isinstance(self.body_reader, ChunkedReader):
            self.body_reader = cast("Any", _WithoutTrailers(self.body_reader, refuse=True))
        if isinstance(event, events.DataReceived):
            self._body_bytes += len(event.data)
        if self.response_done and isinstance(event, events.DataReceived):
            self._drained_bytes += len(event.data)
            if self._drained_bytes > self.wire.bounds.max_drain_bytes:
                self.state = self.done
                yield commands.CloseConnection(self.conn)
                return
        for command in super().read_body(event):
            if isinstance(command, commands.CloseConnection) and not self.response and not self._refused:
                yield from self._answer(400)
            yield command
        if self.state == self.read_body and _chunk_line_too_long(self):
            yield from self._give_up(400)


class StrictHttp1Client(Straight, Http1Client):
    """The app's side of a connection."""

    def __init__(self, ctx: context.Context, wire: Wire) -> None:
        super().__init__(ctx)
        self.wire = wire
        self._interim = 0

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        if isinstance(event, events.DataReceived) and self.request:
            while True:
                raw = bytes(self.buf)
                end = raw.find(b"\r\n\r\n")
                if end < 0 or _INTERIM.match(raw) is None or self._interim >= _MAX_INTERIM:
                    break
                self.buf.maybe_extract_at_most(end + 4)
                self._interim += 1
            head = raw if end < 0 else raw[:end]
            too_long = len(head) > self.wire.bounds.max_upstream_head_bytes
            if too_long or (end >= 0 and (_CONTROL_IN_HEAD.search(head) or _INTERIM.match(head))):
                yield from self._malformed()
                return
            usual = heads.response_head(head, self.request.data.method) if end >= 0 else None
            if usual is not None and self.stream_id is not None:
                self.response, size = usual
                self._interim = 0
                self.buf.maybe_extract_at_most(end + 4)
                yield ReceiveHttp(http_events.ResponseHeaders(self.stream_id, self.response, size == 0))
                self.state = self.read_body
                if 0 < size <= len(self.buf):
                    body = bytes(self.buf.maybe_extract_at_most(size) or b"")
                    yield ReceiveHttp(http_events.ResponseData(self.stream_id, body))
                    size = 0
                self.body_reader = make_body_reader(size)
                yield from self.state(event)
                return
        for command in super().read_headers(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, http_events.ResponseHeaders):
                self._interim = 0
            if not isinstance(command, commands.Log):  # mitmproxy's would quote the app's bytes.
                yield command

    def read_body(self, event: events.Event) -> Commands:
        if isinstance(self.body_reader, ChunkedReader):
            self.body_reader = cast("Any", _WithoutTrailers(self.body_reader, refuse=False))
        yield from super().read_body(event)
        if self.state == self.read_body and _chunk_line_too_long(self):
            yield from self._malformed()

    def _malformed(self) -> Commands:
        self.state = self.done
        yield commands.CloseConnection(self.conn)
        if self.stream_id is not None:
            yield ReceiveHttp(
                http_events.ResponseProtocolError(
                    self.stream_id, "malformed answer", http_events.ErrorCode.GENERIC_SERVER_ERROR
                )
            )


def _chunk_line_too_long(connection: Http1Server | Http1Client) -> bool:
    # Body data is taken out as it comes, so what a chunked reader leaves is an unfinished chunk line.
    return (
        isinstance(connection.body_reader, _WithoutTrailers) and len(connection.buf) > _MAX_CHUNK_LINE_BYTES
    )


def cut(flow: http.HTTPFlow) -> None:
    """Close the client connection of *flow* now, and with it the one to the app.

    ``flow.kill()`` is only looked at when the next hook ends: a silent stream or socket would stay open.
    """
    proxyserver = mitm_ctx.master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
    handler = proxyserver.connections.get(flow.client_conn.id)
    if handler is not None and handler.client in handler.transports:
        # Aborting first keeps whatever mitmproxy still wants to write, a final chunk above all, from leaving.
        handler.transports[handler.client].writer.transport.abort()
        handler.close_connection(handler.client)
