"""One exchange and one connection of mitmproxy's HTTP layers, as strict as the wire below them."""

from typing import Any

from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http import _events as http_events
from mitmproxy.proxy.layers.http import _hooks as http_hooks
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._http1 import Http1Client

from addons import heads
from addons.straight import Commands
from addons.wire import ANSWER_TOO_LARGE, REST, StrictHttp1Client, StrictHttp1Server, Wire

_NO: tuple[()] = ()
"""What a generator of commands is that has none and returns nothing true."""
_OF_THE_REQUEST = frozenset(
    {http_events.RequestHeaders, http_events.RequestData, http_events.RequestEndOfMessage}
)
_OF_THE_ANSWER = frozenset(
    {http_events.ResponseHeaders, http_events.ResponseData, http_events.ResponseEndOfMessage}
)


class StrictHttpStream(http_layers.HttpStream):
    """One exchange: a refusal leaves before the upload it refuses, and 100 Continue after the verdict."""

    def __init__(self, ctx: context.Context, stream_id: int, parent: "StrictHttpLayer") -> None:
        super().__init__(ctx, stream_id)
        self.parent = parent
        self.wire = parent.wire

    def handle_event(self, event: events.Event) -> Any:
        """Do what mitmproxy does, but go on at once after a hook in which nobody has to wait."""
        paused = self._paused
        if paused is None:
            return self._run(self._handle_event(event), None)
        if isinstance(event, events.CommandCompleted) and event.command is paused.command:
            self._paused = None
            return self._go_on(paused.generator, event.reply)
        self._paused_event_queue.append(event)
        return _NO

    def _go_on(self, generator: Commands, reply: Any) -> Commands:
        yield from self._run(generator, reply)
        while self._paused is None and self._paused_event_queue:
            yield from self._run(self._handle_event(self._paused_event_queue.popleft()), None)

    def _run(self, generator: Commands, reply: Any) -> Commands:
        try:
            command: Any = generator.send(reply)
            while True:
                if command.blocking is not True:
                    yield command
                elif not self._is_done(command):
                    command.blocking = self
                    self._paused = layer.Paused(command, generator)
                    yield command
                    return
                command = next(generator)
        except StopIteration:
            return

    def _is_done(self, command: commands.Command) -> bool:
        """Call the hook that *command* is, and tell whether that was all; what is left is worked off by the door."""
        begin = self.wire.begin
        if begin is None or not isinstance(command, commands.StartHook):
            return False
        rest = begin(command)
        if rest is None:
            return True
        vars(command)[REST] = rest
        return False

    def _handle_event(self, event: events.Event) -> Any:
        kind = type(event)
        if kind in _OF_THE_REQUEST:
            return self.client_state(event)
        if kind in _OF_THE_ANSWER:
            return self.server_state(event)
        return super()._handle_event(event)

    def state_wait_for_request_headers(self, event: http_events.RequestHeaders) -> Any:
        if event.end_stream and isinstance(event.request.headers, heads.WireHeaders):
            return self._begin(event.request)
        return self._begin_with_body(event)

    def _begin(self, request: http.Request) -> Commands:
        """Begin a usual request without body, as `heads` has read it."""
        server = self.context.server
        self.flow = flow = http.HTTPFlow(self.context.client, server)
        flow.request, flow.live = request, True
        request.data.scheme = b"https" if server.tls else b"http"
        request.data.host, request.data.port = server.address or ("", 0)
        yield http_hooks.HttpRequestHeadersHook(flow)
        if (yield from self.check_killed(True)):
            return
        self.client_state = self.state_consume_request_body
        self.server_state = self.state_wait_for_response_headers

    def _begin_with_body(self, event: http_events.RequestHeaders) -> Commands:
        headers = event.request.headers
        expects = headers.get("expect", "").lower() == "100-continue"
        if expects:
            del headers["expect"]
        yield from super().state_wait_for_request_headers(event)
        waiting = self.client_state in {self.state_consume_request_body, self.state_stream_request_body}
        if event.end_stream or not waiting:
            return
        if self.flow.response is not None:
            yield from self._answer_early(self.flow.response)
        elif self._held_bytes() > self.wire.bounds.max_request_bytes:
            yield from self._refuse_size()
        elif expects:
            go_on = http.Response.make(100)
            go_on.headers.clear()
            yield http_layers.SendHttp(
                http_events.ResponseHeaders(self.stream_id, go_on), self.context.client
            )

    def check_invalid(self, request: bool) -> Any:
        """Check the framing of a message once more, unless `heads` read it: it takes nothing else."""
        message = self.flow.request if request else self.flow.response
        if message is not None and isinstance(message.headers, heads.WireHeaders):
            return _NO
        return super().check_invalid(request)

    def check_killed(self, emit_error_hook: bool) -> Any:
        """Look whether the exchange was ended while it waited; most were not, and nothing came meanwhile."""
        if self.flow.error is None and not self._paused_event_queue:
            return _NO
        return super().check_killed(emit_error_hook)

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Take a connection of this client to the app that is open and free; else have one opened."""
        request, parent = self.flow.request, self.parent
        wanted = http_layers.GetHttpConnection(
            (request.data.host, request.data.port), request.data.scheme == b"https", None
        )
        connection: Any
        for connection in parent.connections:
            if (
                type(connection) is Server
                and wanted.connection_spec_matches(connection)
                and connection.connected
                and not connection.error
                and connection not in parent.waiting_for_establishment
            ):
                self.context.server = self.flow.server_conn = connection
                return True
        return (yield from super().make_server_connection())

    def _answer_early(self, response: http.Response) -> Commands:
        response.headers["connection"] = "close"
        self.client_state = self.state_done
        yield http_hooks.HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        yield from self.send_response()
        self.client_state = self.state_errored

    def _held_bytes(self) -> int:
        """Return how much of the request's body will be held, as far as its head tells."""
        if self.client_state != self.state_consume_request_body:
            return 0
        try:
            return int(self.flow.request.headers.get("content-length", "0"))
        except ValueError:
            return 0  # The wire refuses what is no number; what is held is counted all the same.

    def _refuse_size(self) -> Commands:
        fault = "request too large"
        self.flow.error = mitm_flow.Error(fault)
        yield http_hooks.HttpErrorHook(self.flow)
        code = http_events.ErrorCode.REQUEST_TOO_LARGE
        yield http_layers.SendHttp(
            http_events.ResponseProtocolError(self.stream_id, fault, code), self.context.client
        )
        self.client_state = self.state_errored
        self.request_body_buf.clear()  # type: ignore[no-untyped-call]
        self.flow.live = False

    def check_body_size(self, request: bool) -> Any:
        """Bound uploads as they come, and answers by what was buffered: not those that are streamed."""
        if request:
            # Before the verdict nobody knows which bound holds; what arrives meanwhile is bounded by the pump.
            held = self.client_state == self.state_consume_request_body
            if not held or len(self.request_body_buf) <= self.wire.bounds.max_request_bytes:
                return _NO
            return self._refuse_request()
        if len(self.response_body_buf) <= self.wire.bounds.max_response_bytes:
            return _NO
        return self._refuse_answer()

    def _refuse_request(self) -> layer.CommandGenerator[bool]:
        yield from self._refuse_size()
        return True

    def _refuse_answer(self) -> layer.CommandGenerator[bool]:
        fault = ANSWER_TOO_LARGE
        self.flow.error = mitm_flow.Error(fault)
        yield http_hooks.HttpErrorHook(self.flow)
        code = http_events.ErrorCode.RESPONSE_TOO_LARGE
        yield http_layers.SendHttp(
            http_events.ResponseProtocolError(self.stream_id, fault, code), self.context.client
        )
        yield http_layers.SendHttp(
            http_events.RequestProtocolError(self.stream_id, fault, code), self.context.server
        )
        self.client_state = self.server_state = self.state_errored
        self.response_body_buf.clear()  # type: ignore[no-untyped-call]
        self.flow.live = False
        return True


class StrictHttpLayer(http_layers.HttpLayer):
    """HTTP/1 on one client connection, and nothing else."""

    def __init__(self, ctx: context.Context, wire: Wire) -> None:
        super().__init__(ctx, http_layers.HTTPMode.transparent)
        self.wire = wire
        self.connections[ctx.client] = StrictHttp1Server(ctx.fork(), wire)

    def handle_event(self, event: events.Event) -> Any:
        """Do what mitmproxy does. What waits here are its children, each for itself."""
        return self._handle_event(event)

    def _handle_event(self, event: events.Event) -> Any:
        if type(event) is events.DataReceived:
            child = self.connections.get(event.connection)
            if child is not None:
                return self.event_to_child(child, event)
        elif type(event) is events.HookCompleted:
            return self.event_to_child(self.command_sources.pop(event.command), event)
        return super()._handle_event(event)

    def event_to_child(self, child: layer.Layer | http_layers.HttpStream, event: events.Event) -> Commands:
        """Do what mitmproxy does, the most frequent commands first: each costs one look at its class, not eight."""
        command: Any
        for command in child.handle_event(event):
            kind = type(command)
            if kind is commands.SendData:
                yield command
            elif kind is ReceiveHttp:
                told = command.event
                if type(told) is http_events.RequestHeaders:
                    yield from self.make_stream(told.stream_id)
                stream = self.streams.get(told.stream_id)
                if stream is not None:
                    yield from self.event_to_child(stream, told)
            elif kind is http_layers.SendHttp:
                yield from self.event_to_child(self.connections[command.connection], command.event)
            else:
                yield from self._unusual(child, command)

    def _unusual(self, child: layer.Layer | http_layers.HttpStream, command: commands.Command) -> Commands:
        if command.blocking or isinstance(command, commands.RequestWakeup):
            # What completes it has to find its way back.
            self.command_sources[command] = child
        if isinstance(command, http_layers.DropStream):
            self.streams.pop(command.stream_id, None)
        elif isinstance(command, http_layers.GetHttpConnection):
            yield from self.get_connection(command)
        elif isinstance(command, http_layers.RegisterHttpConnection):
            yield from self.register_connection(command)
        else:
            if isinstance(command, commands.OpenConnection):
                self.connections[command.connection] = child
            yield command

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        self.streams[stream_id] = StrictHttpStream(_fork(self.context), stream_id, self)
        yield from self.event_to_child(self.streams[stream_id], events.Start())


def _fork(ctx: context.Context) -> context.Context:
    """Return what ``ctx.fork()`` does, without the connection that it makes only to throw it away."""
    forked: context.Context = context.Context.__new__(context.Context)
    forked.client, forked.server, forked.options = ctx.client, ctx.server, ctx.options
    forked.layers = ctx.layers.copy()
    return forked


def _client(ctx: context.Context) -> Http1Client:
    for outer in ctx.layers:
        if isinstance(outer, StrictHttpLayer):
            return StrictHttp1Client(ctx, outer.wire)
    return Http1Client(ctx)


# mitmproxy names the class of its upstream connections in one module global and offers no other way in.
vars(http_layers)["Http1Client"] = _client
