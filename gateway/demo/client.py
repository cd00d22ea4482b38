"""A small HTTP/1.1 client that keeps connections and cookies, and every byte it received.

Unlike kept clients it sends whatever it is told to, well-formed or not: it plays attackers.
"""

import asyncio
import html
import re
import ssl
import zlib
from dataclasses import dataclass, field
from urllib.parse import urlencode

Fields = tuple[tuple[str, str], ...]

_FORM = re.compile(r"<form\b[^>]*>.*?</form>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<(form|input)\b([^>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([a-z-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))", re.IGNORECASE)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_NO_CONTENT, _NOT_MODIFIED, _INFORMATIONAL_END = 204, 304, 200
_LIMIT_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. *status* is 0 when the connection ended before an answer; *raw* is every byte of it."""

    status: int
    headers: Fields = ()
    body: bytes = b""
    raw: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the first value of header *name* (lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def text(self) -> str:
        """Return the decoded body, empty when it cannot be decoded."""
        try:
            body = zlib.decompress(self.body, 47) if self.header("content-encoding") else self.body
        except zlib.error:
            return ""
        return body.decode("utf-8", "replace")

    def form_with(self, name: str) -> "Form | None":
        """Return the first form of the page that has a field *name*."""
        for block in _FORM.findall(self.text):
            form = _read_form(block)
            if name in form.fields:
                return form
        return None


@dataclass(frozen=True, slots=True)
class Form:
    """A form as a browser would send it."""

    action: str
    fields: dict[str, str]


def _read_form(block: str) -> Form:
    action, fields = "", {}
    for kind, attributes in _TAG.findall(block):
        read = {
            found[0].lower(): html.unescape(found[1] or found[2] or found[3])
            for found in _ATTRIBUTE.findall(attributes)
        }
        if kind.lower() == "form":
            action = read.get("action", "")
        elif "name" in read and read.get("type") != "checkbox":
            fields[read["name"]] = read.get("value", "")
    return Form(action, fields)


@dataclass
class Client:
    """One browser, or one script: a connection to loopback *port*, and a cookie jar.

    Secure cookies are sent too, as browsers do to localhost. *seen* collects every answer. With *tls* it speaks
    HTTPS.
    """

    port: int
    host: str = "localhost"
    within_s: float = 20.0
    tls: ssl.SSLContext | None = None
    cookies: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str, Answer]] = field(default_factory=list)
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def request(
        self, method: str, target: str, headers: Fields = (), body: bytes | None = None, *, jar: bool = True
    ) -> Answer:
        """Send one request and return its answer. *jar* False sends no cookie of the jar."""
        head = [f"{method} {target} HTTP/1.1"]
        named = {name.lower() for name, _ in headers}
        if "host" not in named:
            head.append(f"Host: {self.host}:{self.port}")
        if "accept" not in named:
            head.append("Accept: text/html,application/xhtml+xml,*/*;q=0.8")
        if jar and self.cookies and "cookie" not in named:
            head.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if body is not None and "content-length" not in named and "transfer-encoding" not in named:
            head.append(f"Content-Length: {len(body)}")
        head += [f"{name}: {value}" for name, value in headers]
        wire = "\r\n".join(head).encode() + b"\r\n\r\n" + (body or b"")
        answer = await self.send(wire, bodiless=method == "HEAD")
        self.seen.append((method, target, answer))
        self._keep_cookies(answer)
        return answer

    async def send(self, wire: bytes, *, bodiless: bool = False) -> Answer:
        """Send *wire* as it is, once more over a new connection when a kept one turns out to be closed."""
        for fresh in (False, True):
            if self._writer is None or fresh:
                await self.close()
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1",
                    self.port,
                    limit=_LIMIT_BYTES,
                    ssl=self.tls,
                    server_hostname=self.host if self.tls is not None else None,
                )
            try:
                async with asyncio.timeout(self.within_s):
                    answer = await self._exchange(wire, bodiless=bodiless)
            except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                answer = Answer(0)
            if answer.status or fresh:
                return answer
        return Answer(0)

    async def _exchange(self, wire: bytes, *, bodiless: bool) -> Answer:
        if self._reader is None or self._writer is None:
            return Answer(0)
        self._writer.write(wire)
        await self._writer.drain()
        raw = b""
        while True:
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as ended:
                await self.close()
                return Answer(0, raw=raw + ended.partial)
            raw += head
            status, headers = _read_head(head)
            if status >= _INFORMATIONAL_END or status == 101:
                break
        body, framed = await self._read_body(status, headers, bodiless=bodiless)
        if not framed or ("connection", "close") in {(k, v.lower()) for k, v in headers}:
            await self.close()
        return Answer(status, headers, body, raw + body)

    async def _read_body(self, status: int, headers: Fields, *, bodiless: bool) -> tuple[bytes, bool]:
        reader = self._reader
        if reader is None or bodiless or status in {_NO_CONTENT, _NOT_MODIFIED}:
            return b"", True
        told = dict(headers)
        if "chunked" in told.get("transfer-encoding", ""):
            parts = []
            while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
                parts.append((await reader.readexactly(size + 2))[:-2])
            while (await reader.readline()).strip():
                pass
            return b"".join(parts), True
        if "content-length" in told:
            return await reader.readexactly(int(told["content-length"])), True
        return await reader.read(), False

    def _keep_cookies(self, answer: Answer) -> None:
        for name, value in answer.headers:
            if name != "set-cookie":
                continue
            pair, _, attributes = value.partition(";")
            cookie, _, content = pair.strip().partition("=")
            lowered = attributes.lower().replace(" ", "")
            if not content or content == '""' or "max-age=0" in lowered or "01jan1970" in lowered:
                self.cookies.pop(cookie, None)
            else:
                self.cookies[cookie] = content

    async def browse(
        self, method: str, target: str, headers: Fields = (), body: bytes | None = None
    ) -> Answer:
        """Send, then follow redirects of this site as a browser does."""
        answer = await self.request(method, target, headers, body)
        for _ in range(_MOST_REDIRECTS):
            location = answer.header("location")
            if answer.status not in _REDIRECTS or location is None:
                break
            answer = await self.request("GET", re.sub(r"\Ahttps?://[^/]+", "", location) or "/")
        return answer

    async def post_form(self, target: str, fields: dict[str, str], headers: Fields = ()) -> Answer:
        """Post *fields* as a browser does, and follow where it leads."""
        content = ("Content-Type", "application/x-www-form-urlencoded")
        scheme = "http" if self.tls is None else "https"
        origin = ("Origin", f"{scheme}://{self.host}:{self.port}")
        return await self.browse("POST", target, (content, origin, *headers), urlencode(fields).encode())

    async def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _read_head(head: bytes) -> tuple[int, Fields]:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    pairs = (line.partition(":") for line in lines[1:] if line)
    return status, tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)


async def log_in(client: Client, login: str, password: str, code: str | None) -> Answer:
    """Log in as a person does: the app's form, then, when it is asked for and known, the *code*."""
    page = await client.browse("GET", "/")
    form = page.form_with("mot_de_passe")
    if form is None:
        return page
    fields = form.fields | {"identifiant": login, "mot_de_passe": password}
    page = await client.post_form(form.action, fields)
    asked = page.form_with("code")
    if asked is None or code is None:
        return page
    return await client.post_form(asked.action, asked.fields | {"code": code})
