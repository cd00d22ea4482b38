"""One question's head, read as strictly as it is framed: complete, alone, and of one meaning. Pure.

httptools reads it; what that would let pass and others might read otherwise is refused first.
"""

import re
from dataclasses import dataclass

import httptools

from gateway.ingress import Fields

END = b"\r\n\r\n"
MAX_FIELDS = 256
"""Lines of a question: what a request may have, and what front proxies add."""


_VISIBLE = re.compile(rb"[!-~]+")


@dataclass(frozen=True, slots=True)
class Head:
    """A question's head. *path* is as it stands on the request line, without query; names of *fields* are lower case.

    *without_body*: a HEAD. *last*: no other question may follow on the connection, since this one says so, brings a
    body that nobody reads, or asks for another protocol.
    """

    path: str
    fields: Fields
    without_body: bool
    last: bool


@dataclass(frozen=True, slots=True)
class HeadFault:
    """Why bytes are no question: a short stable word, nothing of the asker's."""

    fault: str


class _Gathered:
    """What httptools calls for each piece."""

    __slots__ = ("begun", "ended", "fields", "keeps", "method", "parser", "url", "version")

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url = self.method = b""
        self.version = ""
        self.keeps = False
        self.fields: list[tuple[bytes, bytes]] = []
        self.begun = 0
        self.ended = 0

    def on_message_begin(self) -> None:
        """Count a message that begins."""
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        """Keep the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a line."""
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Keep what the parser forgets when the message ends."""
        self.method, self.version = self.parser.get_method(), self.parser.get_http_version()
        self.keeps = self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Count a message that ends."""
        self.ended += 1


def read(raw: bytes) -> Head | HeadFault:
    """Return the head that *raw* is: all bytes up to and with the first END."""
    lines = raw.count(b"\r\n")
    if raw.count(b"\r") != lines or raw.count(b"\n") != lines:
        return HeadFault("bare-line-end")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        return HeadFault("folded-line")
    gathered = _Gathered()
    upgrade = False
    try:
        gathered.parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        upgrade = True
    except httptools.HttpParserError:
        return HeadFault("malformed")
    fields = tuple(gathered.fields)
    body = any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in fields
    )
    if gathered.begun != 1 or gathered.ended != (0 if body and not upgrade else 1):
        return HeadFault("not-one-message")
    if len(fields) > MAX_FIELDS:
        return HeadFault("too-many-lines")
    if gathered.version not in {"1.0", "1.1"}:
        return HeadFault("version")
    path = gathered.url.partition(b"?")[0].decode("latin-1")
    return Head(path, fields, gathered.method == b"HEAD", body or upgrade or not gathered.keeps)


def cut(raw: bytes, starts: tuple[bytes, ...]) -> tuple[bytes, bytes] | None:
    """Return *raw* without the value of its first line that starts with one of *starts*, and that value.

    A start is a line end, a name, a colon and a blank. None when there is no such line, or its value is not of visible
    ASCII alone. Two heads of which the rest is the same say the same but for that value.
    """
    for start in starts:
        at = raw.find(start)
        if at >= 0:
            begin = at + len(start)
            end = raw.find(b"\r\n", begin)
            value = raw[begin:end]
            return (raw[:begin] + raw[end:], value) if end >= 0 and _VISIBLE.fullmatch(value) else None
    return None
