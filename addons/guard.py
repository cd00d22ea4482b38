"""The one addon with an opinion: hooks to engine to flow. It holds no policy of its own.

mitmproxy logs an addon's exception and forwards the flow as if the addon had agreed, so no exception may
leave a hook: fail_closed turns each into a refusal, and the sentinel behind us stops whatever carries no
verdict.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import wraps

from mitmproxy import http

from addons import flows
from addons.heads import WireHeaders
from addons.sentinel import ANSWER, DEFER, FORWARD, RELEASE, kill, mark, mark_upgrade, verdict_of
from addons.upstreams import choose
from addons.visits import Visit, app_failed, begin_visit, time_app, visit_of
from addons.wire import ANSWER_TOO_LARGE, cut
from gateway import telemetry
from gateway.clock import spawn
from gateway.engine import Answer, AwaitBody, BodyPlan, Engine, Exchange, Pass
from gateway.engine.replies import own_origin
from gateway.engine.services import Services
from gateway.pages.calm import calm_body, calm_headers
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.messages import Reply

_HELD = "ecluse.held"
_SWITCHING = 101
_WATCH_EVERY_S = 0.4
_MAX_MESSAGE_BYTES = 1_000_000


Hook = Callable[["Guard", http.HTTPFlow], Awaitable[None]]


def fail_closed(hook: Hook) -> Hook:
    """Turn any error of *hook* into a refusal; a cancellation that nobody asked of this task is an error too."""

    name = hook.__name__.strip("_")

    @wraps(hook)
    async def wrapped(self: "Guard", flow: http.HTTPFlow) -> None:
        try:
            await hook(self, flow)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            self.shut(flow, name, "cancelled")
            if task is not None and task.cancelling():
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may pass because of it
            self.shut(flow, name, type(error).__name__)
            telemetry.log().error("hook_failed", hook=name, error=type(error).__name__, exc_info=True)

    return wrapped


class Guard:
    """Asks the engine about every request and every answer, and writes what it says onto the flow."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._long_lived: dict[str, tuple[http.HTTPFlow, Exchange]] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def services(self) -> Services:
        """Return what the engine works with."""
        return self.engine.services

    @fail_closed
    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Admit, and decide at once every request that needs no body."""
        if flow.error is not None:
            # mitmproxy is refusing this request itself and only tells us.
            return
        visit = begin_visit(flow)
        visit.admitted, begun = self.engine.arrive(flows.raw_head(flow))
        if isinstance(begun, Answer):
            self._answer(flow, begun)
            return
        visit.exchange = begun
        await self._decide(flow, visit, begun, body_read=False)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Decide the requests whose body had to be read first; there is nothing to wait for with any other."""
        visit = visit_of(flow)
        return None if visit is not None and visit.finished else self._request(flow)

    @fail_closed
    async def _request(self, flow: http.HTTPFlow) -> None:
        visit = visit_of(flow)
        if visit is None or visit.exchange is None or flow.response is not None or visit.finished:
            return
        flows.read_body(visit.exchange, flow)
        await self._decide(flow, visit, visit.exchange, body_read=True)

    async def _decide(
        self, flow: http.HTTPFlow, visit: Visit, exchange: Exchange, *, body_read: bool
    ) -> None:
        action = await self.engine.on_request(exchange, body_read=body_read)
        if isinstance(action, AwaitBody):
            mark(flow, DEFER)
            return
        visit.finished = True
        if isinstance(action, Answer):
            self._answer(flow, action)
            return
        if visit.admitted is None:
            raise ValueError("a request goes on that was never admitted")
        if visit.admitted.upgrade:
            refused = self._judge_upgrade(visit, exchange)
            if refused is not None:
                self._answer(flow, refused)
                return
        longest = _upload_bytes(exchange)
        if longest is not None and not body_read:
            if _declared_bytes(exchange) > longest:
                self._answer(flow, self.engine.refuse(exchange, Reason.MALFORMED_REQUEST, 413))
                return
            # The verdict is there before the body is, and nothing of it is read: it goes on as it comes.
            flow.request.stream = self._bounded(flow, exchange, longest)
        flows.send_on(flow, visit.admitted, action, upgrade=visit.upgrade)
        choose(flow, exchange.app.upstream)
        if visit.upgrade:
            mark_upgrade(flow)
        mark(flow, FORWARD)

    def _bounded(
        self, flow: http.HTTPFlow, exchange: Exchange, longest: int
    ) -> Callable[[bytes], bytes | list[bytes]]:
        """Count an upload that declared no length; one that grows too long is broken off, for both sides to see."""
        left = longest

        def count(chunk: bytes) -> bytes | list[bytes]:
            nonlocal left
            left -= len(chunk)
            if left >= 0:
                return chunk
            if not exchange.cut:
                exchange.cut = True
                self.engine.refuse(exchange, Reason.MALFORMED_REQUEST, 413)
                cut(flow)
            return []

        return count

    def _judge_upgrade(self, visit: Visit, exchange: Exchange) -> Answer | None:
        """Allow a WebSocket only on a route that says so, for a full session, from a page of the same origin."""
        facts, route = exchange.facts, exchange.match.route if exchange.match is not None else None
        if route is None or not route.websocket or not exchange.full:
            return self.engine.refuse(exchange, Reason.UPGRADE_REFUSED, 403)
        if facts.header("origin") != own_origin(exchange):
            return self.engine.refuse(exchange, Reason.UPGRADE_REFUSED, 403)
        visit.upgrade = True
        return None

    def responseheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Choose to hold the answer back or to stream it. Never replaces it: that would leak the body."""
        visit = visit_of(flow)
        if visit is None or visit.exchange is None or flow.response is None or _is_answered(flow):
            return None
        if visit.exchange.held_whole and flow.response.status_code != _SWITCHING:
            visit.plan = BodyPlan.BUFFER
            return None
        return self._responseheaders(flow)

    @fail_closed
    async def _responseheaders(self, flow: http.HTTPFlow) -> None:
        visit = visit_of(flow)
        if visit is None or visit.exchange is None or flow.response is None:
            return
        exchange = visit.exchange
        head = flows.response_facts(flow, with_body=False)
        if head.status == _SWITCHING and not visit.upgrade:
            visit.plan = BodyPlan.BUFFER
            self.engine.app_failed(exchange, Reason.UPSTREAM_UPGRADE)
            flow.metadata[_HELD] = _calm(502)
            return
        if head.status != _SWITCHING:
            visit.plan = self.engine.body_plan(exchange, head)
            if visit.plan is BodyPlan.BUFFER:
                return
        action = await self.engine.on_response(exchange, head)
        if not isinstance(action, Pass):
            visit.plan = BodyPlan.BUFFER
            flow.metadata[_HELD] = action
            return
        flow.response.headers = WireHeaders(flows.fields_of(action.headers))
        if head.status == _SWITCHING:
            mark(flow, RELEASE)
            return
        if visit.plan is BodyPlan.METER:
            flow.response.stream = _meter(self.engine, exchange)
            self._watch(flow, exchange)
        else:
            flow.response.stream = True
        exchange.released = True
        mark(flow, RELEASE)

    @fail_closed
    async def response(self, flow: http.HTTPFlow) -> None:
        """Release the answer or put ours in its place; nothing of it has left unless it was streamed."""
        visit = visit_of(flow)
        if visit is None or visit.exchange is None or flow.response is None or _is_answered(flow):
            return
        exchange = visit.exchange
        time_app(flow, exchange)
        self._long_lived.pop(flow.id, None)
        held = flow.metadata.pop(_HELD, None)
        if isinstance(held, Answer):
            await self.engine.on_abort(exchange)
            self._answer(flow, held)
            return
        if flow.response.status_code == _SWITCHING:
            exchange.settled = True
            if flow.websocket is None:
                self.engine.app_failed(exchange, Reason.UPSTREAM_UPGRADE)
            else:
                exchange.released = True
                self._watch(flow, exchange)
            return
        if visit.plan in {BodyPlan.STREAM, BodyPlan.METER}:
            exchange.settled = True
            if exchange.cut:
                kill(flow)
            elif visit.plan is BodyPlan.METER:
                await self.engine.still_welcome(exchange)
            return
        action = await self.engine.on_response(exchange, flows.response_facts(flow, with_body=True))
        exchange.settled = True
        if isinstance(action, Pass):
            flow.response.headers = WireHeaders(flows.fields_of(action.headers))
            mark(flow, RELEASE)
        else:
            self._answer(flow, action)

    @fail_closed
    async def error(self, flow: http.HTTPFlow) -> None:
        """Settle an exchange that ended early."""
        visit = visit_of(flow)
        self._long_lived.pop(flow.id, None)
        if visit is None or visit.exchange is None:
            return
        if app_failed(flow) and not visit.exchange.settled:
            too_large = flow.error is not None and flow.error.msg == ANSWER_TOO_LARGE
            reason = Reason.UNINSPECTABLE if too_large else Reason.UPSTREAM_DOWN
            self.engine.app_failed(visit.exchange, reason)
        await self.engine.on_abort(visit.exchange)

    @fail_closed
    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Meter what the app sends over a socket; the kept copies are dropped so that memory stays flat."""
        visit = visit_of(flow)
        if flow.websocket is None or visit is None or visit.exchange is None:
            cut(flow)
            return
        message = flow.websocket.messages[-1]
        del flow.websocket.messages[:-1]
        exchange = visit.exchange
        if exchange.cut:
            message.drop()  # type: ignore[no-untyped-call]
            return
        if len(message.content) <= _MAX_MESSAGE_BYTES and (
            message.from_client or await self.engine.message_may_leave(exchange, message.content)
        ):
            return
        message.drop()  # type: ignore[no-untyped-call]
        self._cut(flow, exchange)

    @fail_closed
    async def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Forget a socket that closed."""
        self._long_lived.pop(flow.id, None)

    def wire_refused(self, status: int, client: str, port: int) -> None:
        """Tell the log of bytes that became no request, or of one too large or too slow. Never raises."""
        try:
            self.engine.refused_on_the_wire(status, client, port)
        except Exception as error:  # noqa: BLE001 - the refusal has to leave whatever becomes of its record
            telemetry.log().error("refusal_not_recorded", error=type(error).__name__)

    def _answer(self, flow: http.HTTPFlow, action: Answer) -> None:
        method = flow.request.data.method
        flow.response = flows.response_of(action.reply, head_only=method == b"HEAD")
        flow.response.timestamp_start = flow.response.timestamp_end = self.services.clock.now_ms() / 1000
        mark(flow, ANSWER)

    def shut(self, flow: http.HTTPFlow, where: str, fault: str) -> None:
        """Answer a fault of ours: 503 while that is possible, else cut the connection. Never raises."""
        visit = visit_of(flow)
        action: Answer | None = None
        with contextlib.suppress(Exception):
            action = self.engine.faulted(visit.exchange if visit is not None else None, f"{where}:{fault}")
        if action is None:
            action = _calm(503)
        streaming = visit is not None and visit.plan in {BodyPlan.STREAM, BodyPlan.METER}
        if streaming or flow.websocket is not None or where == "error":
            cut(flow)
        elif where == "responseheaders":
            # Replacing an answer here would send our head with the app's body: hold it, then replace.
            if visit is not None:
                visit.plan = BodyPlan.BUFFER
            flow.metadata[_HELD] = action
        else:
            self._answer(flow, action)

    def _cut(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """End what is open between the two sides now, and tell the log."""
        exchange.cut = True
        self._long_lived.pop(flow.id, None)
        self.engine.note_cut(exchange)
        cut(flow)

    def _watch(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Keep an eye on what stays open: a lock of the account cuts it within a second."""
        self._long_lived[flow.id] = (flow, exchange)
        if self._watching is None or self._watching.done():
            self._watching = spawn(self._watch_all(), "ecluse-watch")

    async def _watch_all(self) -> None:
        while self._long_lived:
            await asyncio.sleep(_WATCH_EVERY_S)
            for flow_id, (flow, exchange) in list(self._long_lived.items()):
                welcome = False
                with contextlib.suppress(Exception):
                    welcome = await self.engine.still_welcome(exchange)
                # What ended meanwhile is left alone: its connection may carry another request by now.
                if (exchange.cut or not welcome) and flow_id in self._long_lived:
                    self._cut(flow, exchange)


def _upload_bytes(exchange: Exchange) -> int | None:
    route = exchange.match.route if exchange.match is not None else None
    return route.max_upload_bytes if route is not None else None


def _declared_bytes(exchange: Exchange) -> int:
    return int(exchange.facts.header("content-length") or 0)


def _calm(status: int) -> Answer:
    return Answer(Reply(status, calm_headers(), calm_body(status)))


def _is_answered(flow: http.HTTPFlow) -> bool:
    return verdict_of(flow) is ANSWER


def _meter(engine: Engine, exchange: Exchange) -> Callable[[bytes], bytes | list[bytes]]:
    """Count what streams by. An empty list drops a chunk; b"" would end the message for the client."""

    def count(chunk: bytes) -> bytes | list[bytes]:
        if exchange.cut:
            return []
        try:
            may_leave = not chunk or engine.piece_may_leave(exchange, chunk)
        except Exception as error:
            # The sentinel cuts the connection; only here is it known whose answer it was.
            exchange.cut = True
            engine.faulted(exchange, f"stream:{type(error).__name__}")
            raise
        if not may_leave:
            exchange.cut = True
            return []
        return chunk

    return count
