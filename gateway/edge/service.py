"""The check over HTTP, without a framework: three addresses, heads in, heads out.

``/check`` answers 200 with the credentials that go on, or with the whole reply for the client; whatever follows it
is ignored, since Envoy appends the address asked for. ``/brief`` is for nginx, which lets nothing but a status
through: 200 as before, or 403 with the reply in a header. ``/answer`` gives that reply back.
"""

from dataclasses import dataclass
from http import HTTPStatus

from gateway import telemetry
from gateway.edge import answers, claims, heads
from gateway.edge.check import CREDENTIALS, Asker, Check, Passed, Put, Question
from gateway.edge.wire import Answer, Done, Peer
from gateway.ingress import Fields, RawHead
from gateway.pages.calm import calm_body, calm_headers
from gateway.vocabulary.messages import Reply

CHECK = "/check"
BRIEF = "/brief"
ANSWER = "/answer"
ANSWER_HEADER = b"x-ecluse-answer"
DROP_HEADER = b"x-envoy-auth-headers-to-remove"
"""Envoy keeps the client's line of a name that a check does not answer with, unless it is told here."""

_PHRASES = {one.value: one.phrase for one in HTTPStatus}
_THE_WIRES = frozenset({b"content-length", b"connection"})
_URI_STARTS = (b"\r\nX-Forwarded-Uri: ", b"\r\nx-forwarded-uri: ")
_MOST_KNOWN = 2_048
_MOST_ASKERS = 8_192
_KNOWN_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class _Known:
    """A head that was read, and its question."""

    head: heads.Head
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class _Lines:
    """What a head says whatever address it asks for."""

    head: heads.Head
    asked: RawHead
    asker: Asker


class Service:
    """Answers heads. *secret* None: whoever can open the socket is believed."""

    def __init__(self, check: Check, secret: bytes | None) -> None:
        self._check = check
        self._secret = secret
        self._known: dict[bytes, _Known] = {}
        self._askers: dict[bytes, _Lines] = {}
        self._policy = check.engine.policy

    async def respond(self, raw: bytes, peer: Peer) -> Answer:
        """Answer one head as `Wire` frames it; no body is read.

        Heads of the front proxy that were well formed are remembered, bounded: the same bytes are read once.
        """
        if self._policy is not self._check.engine.policy:
            self._known.clear()
            self._askers.clear()
            self._policy = self._check.engine.policy
        known = self._known.get(raw)
        if known is None:
            read = self._read(raw, peer)
            if not isinstance(read, _Known):
                return read
            known = read
        return await self._respond(known)

    async def _respond(self, known: _Known, put: Put | None = None) -> Answer:
        answer = await self._answered(known, put)
        if known.head.without_body:
            answer = answer[: answer.index(heads.END) + len(heads.END)]
        return answer, known.head.last

    def hasten(self, raw: bytes, done: Done) -> bool:
        """Answer a head that was answered before as soon as the store says so again, without a task of its own.

        False: nothing was begun.
        """
        known = self._known.get(raw)
        if known is None or known.question is None or known.head.without_body:
            return False
        return self._check.put(known.question, lambda put: self._heard(known, put, done))

    def _heard(self, known: _Known, put: Put, done: Done) -> None:
        passed = put.passed()
        if passed is not None and passed.written:
            done((passed.written, known.head.last))
        else:
            done(self._respond(known, put))

    def _read(self, raw: bytes, peer: Peer) -> _Known | Answer:
        """Read a head that is new, or return what answers bytes that are no question of the front proxy's."""
        cut = heads.cut(raw, _URI_STARTS) if len(raw) <= _KNOWN_BYTES else None
        lines = self._askers.get(cut[0]) if cut is not None else None
        if cut is not None and lines is not None:
            known = _Known(lines.head, Question(claims.elsewhere(lines.asked, cut[1]), lines.asker))
            _bounded(self._known, _MOST_KNOWN)[raw] = known
            return known
        head = heads.read(raw)
        if isinstance(head, heads.HeadFault):
            self._refuse(400, peer)
            return _written(400, (), b""), True
        if not claims.is_front(head.fields, self._secret):
            telemetry.log().error("not_the_front_proxy")
            self._refuse(403, peer)
            return _written(403, (), b""), head.last
        if head.path != BRIEF and not _is_check(head.path):
            return _Known(head)
        asked, asker = claims.read(head.fields), Asker()
        known = _Known(head, Question(asked, asker))
        if cut is not None and not head.last:
            _bounded(self._known, _MOST_KNOWN)[raw] = known
            if isinstance(asked, RawHead):
                _bounded(self._askers, _MOST_ASKERS)[cut[0]] = _Lines(head, asked, asker)
        return known

    def too_large(self, peer: Peer) -> None:
        """Record that a head was longer than any may be."""
        self._refuse(431, peer)

    async def _answered(self, known: _Known, put: Put | None) -> bytes:
        if known.question is None:
            return (
                _reply(self._kept(known.head.fields)) if known.head.path == ANSWER else _written(404, (), b"")
            )
        decided = await self._check.decide(known.question, put)
        if isinstance(decided, Passed):
            return _passed(decided)
        if known.head.path != BRIEF:
            return _reply(decided)
        packed = answers.pack(self._check.engine.services.keys.session, decided)
        return _written(403, ((ANSWER_HEADER, packed),), b"")

    def _kept(self, fields: Fields) -> Reply:
        shown = [value for name, value in fields if name == ANSWER_HEADER]
        try:
            # Several are joined into what nobody has signed.
            return answers.unpack(self._check.engine.services.keys.session, b",".join(shown))
        except answers.AnswerRefused:
            return Reply(503, calm_headers(), calm_body(503))

    def _refuse(self, status: int, peer: Peer) -> None:
        """Tell the log that bytes were refused which are no question of the front proxy's."""
        self._check.engine.refused_on_the_wire(status, *peer)


def _is_check(path: str) -> bool:
    return path == CHECK or path.startswith(CHECK + "/")


def _bounded[Value](kept: dict[bytes, Value], most: int) -> dict[bytes, Value]:
    """Make room for one more: the oldest goes."""
    if len(kept) >= most:
        del kept[next(iter(kept))]
    return kept


def _passed(passed: Passed) -> bytes:
    """Return the answer that *passed* is; it is written once."""
    if passed.written:
        return passed.written
    lines = [(name.encode("ascii"), value.encode("latin-1")) for name, value in passed.headers]
    dropped = [name for name in CREDENTIALS if all(name != line[0] for line in passed.headers)]
    if dropped:
        lines.append((DROP_HEADER, ",".join(dropped).encode("ascii")))
    passed.written = _written(200, tuple(lines), b"")
    return passed.written


def _reply(reply: Reply) -> bytes:
    lines = tuple(
        (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in reply.headers
    )
    return _written(reply.status, lines, reply.body)


def _written(status: int, lines: Fields, body: bytes) -> bytes:
    """Return an answer as it stands on the wire.

    Raises:
        ValueError: a line would become two.
    """
    told = b"".join([b"%b: %b\r\n" % line for line in lines if line[0] not in _THE_WIRES])
    if told.count(b"\n") > len(lines) or told.count(b"\r") > len(lines):
        raise ValueError("a header line with a line end in it")
    phrase = _PHRASES.get(status, "").encode("ascii")
    return b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, phrase, told, len(body), body)
