"""The last addon: whatever carries no verdict leaves as 503, and nothing of it goes upstream.

mitmproxy logs an addon's exception and goes on as if the addon had agreed, so silence has to mean no.
The guard marks each flow with what was decided; the sentinel believes marks and nothing else.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from http import HTTPStatus

from mitmproxy import http, tcp
from mitmproxy.flow import Flow

from addons.wire import cut
from gateway.pages.calm import calm_body, calm_headers

_VERDICT = "ecluse"
_UPGRADE = "ecluse.upgrade"
_GONE = "ecluse.gone"


class Verdict(StrEnum):
    """DEFER: the body is needed first. FORWARD: may go upstream. ANSWER: ``flow.response`` is ours.
    RELEASE: the app's answer may leave."""

    DEFER = "defer"
    FORWARD = "forward"
    ANSWER = "answer"
    RELEASE = "release"


DEFER, FORWARD, ANSWER, RELEASE = Verdict.DEFER, Verdict.FORWARD, Verdict.ANSWER, Verdict.RELEASE


def mark(flow: http.HTTPFlow, verdict: Verdict) -> None:
    """Record *verdict* on *flow*; it replaces the one before."""
    flow.metadata[_VERDICT] = verdict


def verdict_of(flow: http.HTTPFlow) -> Verdict | None:
    """Return the mark on *flow*, None when there is none."""
    found = flow.metadata.get(_VERDICT)
    return found if isinstance(found, Verdict) else None


def was_sent(flow: http.HTTPFlow) -> bool:
    """Tell whether the request of *flow* was given to the app, in whole or in part."""
    return flow.metadata.get(_GONE) is True


def mark_upgrade(flow: http.HTTPFlow) -> None:
    """Let *flow* become a WebSocket, if the app agrees."""
    flow.metadata[_UPGRADE] = True


def answer(flow: http.HTTPFlow, status: int) -> None:
    """Answer *flow* with the calm page for *status*, and mark it so."""
    flow.response = http.Response.make(status, calm_body(status), dict(calm_headers()))
    flow.request.stream = False
    mark(flow, Verdict.ANSWER)


class Sentinel:
    """Stands behind every other addon. Its hooks do nothing that can fail."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Before the body is read."""
        verdict, answered = verdict_of(flow), flow.response is not None
        if (verdict is Verdict.ANSWER and answered) or (verdict is Verdict.DEFER and not answered):
            flow.request.stream = False
        elif verdict is not Verdict.FORWARD or answered:
            answer(flow, 503)
        elif flow.request.stream:
            flow.metadata[_GONE] = True

    def request(self, flow: http.HTTPFlow) -> None:
        """Before a connection to the app is opened. A body that was streamed has gone with its FORWARD."""
        verdict, answered = verdict_of(flow), flow.response is not None
        if verdict is Verdict.FORWARD and not answered:
            flow.metadata[_GONE] = True
        elif verdict is not Verdict.ANSWER or not answered:
            answer(flow, 503)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Nothing is streamed but what was released; a response set here would carry the app's body."""
        if flow.response is None:
            return
        verdict = verdict_of(flow)
        if verdict is Verdict.ANSWER and flow.metadata.get(_GONE) is True:
            mark(flow, Verdict.FORWARD)
        if verdict is not Verdict.RELEASE:
            flow.response.stream = False
        elif callable(flow.response.stream):
            flow.response.stream = _guarded(flow, flow.response.stream)

    def response(self, flow: http.HTTPFlow) -> None:
        """Before the first byte leaves, or after the last one where RELEASE let it stream."""
        response = flow.response
        if response is None:
            answer(flow, 503)
            return
        verdict = verdict_of(flow)
        if verdict is not Verdict.ANSWER and verdict is not Verdict.RELEASE:
            _replace(flow, 503)
        elif response.status_code < HTTPStatus.OK and not _may_upgrade(flow, verdict):
            _replace(flow, 502)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Cut a WebSocket nobody allowed, and forget messages that were relayed: mitmproxy keeps them all."""
        if flow.websocket is None:
            return
        if flow.metadata.get(_UPGRADE) is not True:
            flow.websocket.messages[-1].drop()  # type: ignore[no-untyped-call]
            cut(flow)
        del flow.websocket.messages[:-1]

    def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """No bytes travel outside HTTP."""
        kill(flow)


def kill(flow: Flow) -> None:
    """End *flow*, and the connections that it is on, if it can be ended."""
    if flow.killable:
        flow.kill()  # type: ignore[no-untyped-call]


Chunks = bytes | Iterable[bytes]


def _guarded(flow: http.HTTPFlow, stream: Callable[[bytes], Chunks]) -> Callable[[bytes], Chunks]:
    # An exception in a stream callable leaves the client waiting for ever: cut the connection instead,
    # so that the message is seen to be incomplete.
    def relay(chunk: bytes) -> Chunks:
        try:
            return stream(chunk)
        except Exception:  # noqa: BLE001 - whatever it is, the stream may neither go on nor hang
            cut(flow)
            return []

    return relay


def _may_upgrade(flow: http.HTTPFlow, verdict: Verdict) -> bool:
    # mitmproxy sets flow.websocket only for a 101 that completes a WebSocket handshake.
    return verdict is Verdict.RELEASE and flow.metadata.get(_UPGRADE) is True and flow.websocket is not None


def _replace(flow: http.HTTPFlow, status: int) -> None:
    # The page closes the client's connection, and with it the one to the app: after an unwanted 101 or
    # an unjudged answer neither may be used again.
    flow.websocket = None
    answer(flow, status)
