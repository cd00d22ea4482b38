"""Bodies decoded within bounds: one layer of gzip or deflate, a few charsets, nothing lenient."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from gateway.vocabulary.messages import ResponseFacts
from gateway.vocabulary.records import Unreadable

CHARSETS: Mapping[str, str] = MappingProxyType(
    {
        "utf-8": "utf-8",
        "utf8": "utf-8",
        "us-ascii": "ascii",
        "ascii": "ascii",
        "iso-8859-1": "latin-1",
        "latin1": "latin-1",
        "latin-1": "latin-1",
        "iso-8859-15": "iso-8859-15",
        "windows-1252": "cp1252",
        "cp1252": "cp1252",
    }
)
MAX_GZIP_MEMBERS = 16
_NONE: Mapping[str, str] = MappingProxyType({})
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (the word of RFC 9110, no secret)
_MEDIA = re.compile(rf"\s*({_TOKEN}/{_TOKEN})\s*((?:;.*)?)\Z", re.DOTALL)
_PARAMETER = re.compile(rf";\s*(?:({_TOKEN})=(?:({_TOKEN})|\"((?:[^\"\\]|\\.)*)\")\s*)?", re.DOTALL)
_META = re.compile(rb"(?i)<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([a-z0-9_-]{1,40})")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A content type: *name* and parameter names in lower case, *charset* in lower case."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=lambda: _NONE)

    @property
    def charset(self) -> str | None:
        """Return the declared charset."""
        charset = self.parameters.get("charset")
        return charset.strip().lower() if charset else None

    @property
    def is_json(self) -> bool:
        """Tell whether it is JSON (RFC 6839 suffix included)."""
        return self.name in ("application/json", "text/json") or self.name.endswith("+json")

    @property
    def is_html(self) -> bool:
        """Tell whether it is HTML."""
        return self.name in ("text/html", "application/xhtml+xml")

    @property
    def is_script(self) -> bool:
        """Tell whether it is a script or a style sheet."""
        return self.name in (
            "text/css",
            "text/javascript",
            "application/javascript",
            "application/x-javascript",
        )

    @property
    def is_text(self) -> bool:
        """Tell whether people or parsers read it as text."""
        return (
            self.name.startswith("text/")
            or self.is_json
            or self.name.endswith("+xml")
            or self.name
            in ("application/xml", "application/csv", "application/x-ndjson", "application/javascript")
        )


@lru_cache(maxsize=256)
def media_type(value: str | None) -> MediaType | None:
    """Read a Content-Type value (RFC 9110, 8.3.1); None when it is missing, malformed or says a thing twice."""
    shape = _MEDIA.match(value) if value else None
    if shape is None:
        return None
    parameters: dict[str, str] = {}
    rest, position = shape.group(2), 0
    while position < len(rest):
        found = _PARAMETER.match(rest, position)
        if found is None:
            return None
        position = found.end()
        if found.group(1):
            name = found.group(1).lower()
            if name in parameters:
                return None
            quoted = found.group(3)
            parameters[name] = found.group(2) if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return MediaType(shape.group(1).lower(), MappingProxyType(parameters))


def answered_type(response: ResponseFacts) -> MediaType | None:
    """Return the answer's content type, None when it has none, several, or a malformed one."""
    types = response.header_values("content-type")
    return media_type(types[0]) if len(types) == 1 else None


def decoded(response: ResponseFacts, max_bytes: int) -> bytes | Unreadable:
    """Return the answer's body without its content encoding, at most *max_bytes* bytes.

    Inflating stops at the bound, so memory stays flat whatever the body claims. Brotli, zstd, nested
    encodings, cut or trailing data are BAD_ENCODING; a body that was streamed (None) is TOO_LARGE.
    """
    body = response.body
    if body is None:
        return Unreadable.TOO_LARGE
    encodings = [value.strip().lower() for value in response.header_values("content-encoding")]
    encodings = [value for value in encodings if value not in ("", "identity")]
    if not body or not encodings:
        return body if len(body) <= max_bytes else Unreadable.TOO_LARGE
    if len(encodings) > 1:
        return Unreadable.BAD_ENCODING
    try:
        if encodings[0] in ("gzip", "x-gzip"):
            return _gunzip(body, max_bytes)
        if encodings[0] == "deflate":
            return _undeflate(body, max_bytes)
    except zlib.error:
        return Unreadable.BAD_ENCODING
    return Unreadable.BAD_ENCODING


def text_of(data: bytes, media: MediaType | None) -> str | Unreadable:
    """Decode *data* strictly by the declared charset, the page's own ``<meta>`` for HTML, or UTF-8."""
    label = media.charset if media else None
    if label is None and media is not None and media.is_html:
        meta = _META.search(data[:1024])
        label = meta.group(1).decode("ascii").lower() if meta else None
    charset = CHARSETS.get(label or "utf-8")
    if charset is None:
        return Unreadable.BAD_ENCODING
    try:
        return data.decode(charset).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return Unreadable.BAD_ENCODING


def _gunzip(body: bytes, max_bytes: int) -> bytes | Unreadable:
    out = bytearray()
    for _ in range(MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(wbits=31)
        out += member.decompress(body, max_bytes - len(out) + 1)
        if len(out) > max_bytes:
            return Unreadable.TOO_LARGE
        if not member.eof:
            return Unreadable.BAD_ENCODING
        body = member.unused_data
        if not body:
            return bytes(out)
    return Unreadable.BAD_ENCODING


def _undeflate(body: bytes, max_bytes: int) -> bytes | Unreadable:
    # Servers send "deflate" with and without the zlib header; browsers read both.
    for wbits in (15, -15):
        stream = zlib.decompressobj(wbits=wbits)
        try:
            out = stream.decompress(body, max_bytes + 1)
        except zlib.error:
            continue
        if len(out) > max_bytes:
            return Unreadable.TOO_LARGE
        return out if stream.eof and not stream.unused_data else Unreadable.BAD_ENCODING
    return Unreadable.BAD_ENCODING


_CHEAP_TAGS = 4_000
_MAX_DEPTH = 2_000
_TAG = re.compile(
    r"<(/?)(?!(?:area|base|br|col|hr|img|input|link|meta|source|wbr|p|li|d[dt]|t[dhr]|option)\b)[a-zA-Z]"
)


def nested_deep(html: str) -> bool:
    """Tell whether *html* nests deeper than any page does: parsing costs the square of the depth."""
    if html.count("<") <= _CHEAP_TAGS:
        return False
    depth = 0
    for tag in _TAG.finditer(html):
        if tag.group(1):
            depth = max(depth - 1, 0)
        else:
            depth += 1
            if depth > _MAX_DEPTH:
                return True
    return False
