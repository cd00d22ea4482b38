"""Message heads read once: the usual ones straight from the bytes, everything else by mitmproxy's own reader.

A browser sends the same header block with nearly every request of a connection, and an app much the same with its
answers, so a block that was read is remembered by its bytes. What is unusual (a body without a plain length, an
expectation, an upgrade, folded lines) is never taken here.
"""

import re
import time
from functools import lru_cache
from typing import Any

from mitmproxy import http

Fields = tuple[tuple[bytes, bytes], ...]

_REQUEST_LINE = re.compile(rb"([A-Za-z][!#$%&'*+.^_`|~0-9A-Za-z-]*) (/[!-~]*) (HTTP/1\.1)")
_STATUS_LINE = re.compile(rb"(HTTP/1\.1) ([2-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"(?<!\r)\n|\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,15}")
_UNUSUAL = frozenset(
    {
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        b"trailer",
        b"connection",
        b"proxy-connection",
        b"content-length",
    }
)
_MOST_BYTES = 4_096
_BODILESS = frozenset({204, 304})
_SWITCHED_OFF = (b"HEAD", b"CONNECT")


class WireHeaders(http.Headers):
    """mitmproxy's headers, with the look-ups that each exchange repeats made direct."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def __contains__(self, key: object) -> bool:
        wanted = _folded(key)
        return any(name.lower() == wanted for name, _ in self.fields)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the values of *key* joined as mitmproxy does, *default* without any."""
        wanted = _folded(key)
        found = [value for name, value in self.fields if name.lower() == wanted]
        return ", ".join(value.decode("utf-8", "surrogateescape") for value in found) if found else default


@lru_cache(maxsize=256)
def _folded(key: object) -> bytes:
    if isinstance(key, str):
        return key.encode("utf-8", "surrogateescape").lower()
    return key.lower() if isinstance(key, bytes) else b""


def request_head(head: bytes, max_line_bytes: int) -> http.Request | None:
    """Return the request whose whole head is *head* (no blank line), when it is a usual one without body."""
    line, _, block = head.partition(b"\r\n")
    parts = _REQUEST_LINE.fullmatch(line)
    if parts is None or parts[1] == b"CONNECT" or len(line) > max_line_bytes:
        return None
    read = _request_block(block) if len(block) <= _MOST_BYTES else None
    if read is None or read[1] is not None or read[2]:
        return None
    request: http.Request = http.Request.__new__(http.Request)
    request.data = data = http.RequestData.__new__(http.RequestData)
    data.__dict__ = {
        "http_version": parts[3],
        "headers": WireHeaders(read[0]),
        "content": None,
        "trailers": None,
        "timestamp_start": time.time(),  # noqa: TID251 - the flow's own stamp, read by no decision
        "timestamp_end": None,
        "host": "",
        "port": 0,
        "method": parts[1],
        "scheme": b"",
        "authority": b"",
        "path": parts[2],
    }
    return request


def response_head(head: bytes, method: bytes) -> tuple[http.Response, int] | None:
    """Return the answer to a *method* request whose whole head is *head*, and the size of its body, when it is usual.

    Usual is a plain length, and no word about the connection.
    """
    line, _, block = head.partition(b"\r\n")
    parts = _STATUS_LINE.fullmatch(line)
    if parts is None or method in _SWITCHED_OFF:
        return None
    status = int(parts[2])
    read = _response_block(block) if len(block) <= _MOST_BYTES else None
    if read is None or read[1] is None or read[2] or status in _BODILESS:
        return None
    response: http.Response = http.Response.__new__(http.Response)
    response.data = data = http.ResponseData.__new__(http.ResponseData)
    data.__dict__ = {
        "http_version": parts[1],
        "headers": WireHeaders(read[0]),
        "content": None,
        "trailers": None,
        "timestamp_start": time.time(),  # noqa: TID251 - the flow's own stamp, read by no decision
        "timestamp_end": None,
        "status_code": status,
        "reason": parts[3] or b"",
    }
    return response, read[1]


def stays_open(request: http.Request | None, response: http.Response | None) -> bool:
    """Tell whether a connection surely goes on after this exchange. Where it may not, mitmproxy decides."""
    if request is None or response is None:
        return False
    asked, answered = request.data, response.data
    if asked.http_version != b"HTTP/1.1" or answered.http_version != b"HTTP/1.1":
        return False
    if asked.method in _SWITCHED_OFF or answered.status_code < 200 or answered.status_code in _BODILESS:
        return False
    return _is_plain(answered.headers.fields, sized=True) and _is_plain(asked.headers.fields, sized=False)


def _is_plain(fields: Fields, *, sized: bool) -> bool:
    """Tell whether nothing is said of the connection or a coding, and if *sized* one plain length."""
    lengths = 0
    for name, value in fields:
        folded = name.lower()
        if folded == b"content-length" and _LENGTH.fullmatch(value):
            lengths += 1
        elif folded in _UNUSUAL and not _keeps_alive(folded, value):
            return False
    return lengths == 1 if sized else lengths <= 1


def _block(block: bytes) -> tuple[Fields, int | None, bool] | None:
    """Return the fields of a header block, its length if it names one, and whether anything in it is unusual."""
    if _CONTROL.search(block) is not None:
        return None
    fields: list[tuple[bytes, bytes]] = []
    length, unusual = None, False
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            return None
        value = value.strip()
        folded = name.lower()
        if folded == b"content-length" and length is None and _LENGTH.fullmatch(value):
            length = int(value)
        elif folded in _UNUSUAL and not _keeps_alive(folded, value):
            unusual = True
        fields.append((name, value))
    return tuple(fields), length, unusual


def _keeps_alive(folded: bytes, value: bytes) -> bool:
    """Tell whether a line says of the connection what holds without it."""
    return folded == b"connection" and value.lower() == b"keep-alive"


# Answers carry their time and so pass by: they do not push out the requests that come again.
_request_block = lru_cache(maxsize=2_048)(_block)
_response_block = lru_cache(maxsize=512)(_block)
