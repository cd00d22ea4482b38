"""The check over ASGI, without a framework: three addresses, heads in, heads out.

``/check`` answers 200 with the credentials that go on, or with the whole reply for the client; whatever follows it
is ignored, since Envoy appends the address asked for. ``/brief`` is for nginx, which lets nothing but a status
through: 200 as before, or 403 with the reply in a header. ``/answer`` gives that reply back.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway import telemetry
from gateway.edge import answers, claims
from gateway.edge.check import CREDENTIALS, Check, Passed
from gateway.ingress import Fields
from gateway.pages.calm import calm_body, calm_headers
from gateway.vocabulary.messages import Reply

CHECK = "/check"
BRIEF = "/brief"
ANSWER = "/answer"
ANSWER_HEADER = b"x-ecluse-answer"
DROP_HEADER = b"x-envoy-auth-headers-to-remove"
"""Envoy keeps the client's line of a name that a check does not answer with, unless it is told here."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_NOTHING = {"type": "http.response.body", "body": b""}
_NO_LENGTH = (b"content-length", b"0")


class Service:
    """An ASGI application. *secret* None: whoever can open the socket is believed."""

    def __init__(self, check: Check, secret: bytes | None) -> None:
        self._check = check
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Answer one request; no body is read."""
        if scope["type"] != "http":
            return
        fields: Fields = tuple(scope["headers"])
        path: str = scope["path"]
        if not claims.is_front(fields, self._secret):
            self._strange(scope)
            await _send_reply(send, 403, (), b"")
        elif path == BRIEF:
            await self._brief(fields, send)
        elif path == CHECK or path.startswith(CHECK + "/"):
            await self._whole(fields, send)
        elif path == ANSWER:
            await self._answer(fields, send)
        else:
            await _send_reply(send, 404, (), b"")

    async def _whole(self, fields: Fields, send: Send) -> None:
        decided = await self._check.decide(fields)
        if isinstance(decided, Passed):
            await _pass(send, decided)
        else:
            await _send(send, decided)

    async def _brief(self, fields: Fields, send: Send) -> None:
        decided = await self._check.decide(fields)
        if isinstance(decided, Passed):
            await _pass(send, decided)
            return
        packed = answers.pack(self._check.engine.services.keys.session, decided)
        await _send_reply(send, 403, ((ANSWER_HEADER, packed),), b"")

    async def _answer(self, fields: Fields, send: Send) -> None:
        shown = [value for name, value in fields if name == ANSWER_HEADER]
        try:
            # Several are joined into what nobody has signed.
            reply = answers.unpack(self._check.engine.services.keys.session, b",".join(shown))
        except answers.AnswerRefused:
            reply = Reply(503, calm_headers(), calm_body(503))
        await _send(send, reply)

    def _strange(self, scope: Scope) -> None:
        """Tell the log that somebody asked who is not the front proxy."""
        client = scope.get("client") or ("", 0)
        telemetry.log().error("not_the_front_proxy")
        self._check.engine.refused_on_the_wire(403, client[0], client[1] or 0)


async def _pass(send: Send, passed: Passed) -> None:
    lines = [(name.encode("ascii"), value.encode("latin-1")) for name, value in passed.headers]
    dropped = [name for name in CREDENTIALS if all(name != line[0] for line in passed.headers)]
    if dropped:
        lines.append((DROP_HEADER, ",".join(dropped).encode("ascii")))
    await send({"type": "http.response.start", "status": 200, "headers": [*lines, _NO_LENGTH]})
    await send(_NOTHING)


async def _send(send: Send, reply: Reply) -> None:
    lines = tuple(
        (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in reply.headers
    )
    await _send_reply(send, reply.status, lines, reply.body)


async def _send_reply(send: Send, status: int, lines: Fields, body: bytes) -> None:
    kept = [line for line in lines if line[0] not in {b"content-length", b"connection"}]
    kept.append((b"content-length", str(len(body)).encode("ascii")))
    await send({"type": "http.response.start", "status": status, "headers": kept})
    await send({"type": "http.response.body", "body": body})
