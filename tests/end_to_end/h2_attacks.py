"""What HTTP/2 lets a client say that HTTP/1 could not hold, and floods of it; frames are written by hand."""

from collections.abc import Iterator

from hpack import Encoder

from tests.stand import HOST

Lines = list[tuple[str, str]]
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def lines(method: str, path: str, *more: tuple[str, str]) -> Lines:
    """Return the lines of a request."""
    return [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path), *more]


def block(method: str, path: str, *more: tuple[str, str]) -> bytes:
    """Return the same, compressed."""
    return bytes(Encoder().encode(lines(method, path, *more)))


_WITHIN = "GET /smuggled HTTP/1.1\r\nHost: a"


def oddities(path: str) -> Iterator[tuple[Lines, bytes]]:
    """Yield requests for *path* that are none in HTTP/1, and bodies where none belongs."""
    for name, value in (
        ("x-a", "1\r\nx-ecluse-assertion: forged"), ("x-a", "1\nx-ecluse-assertion: forged"), ("x-a", "1\r"),
        ("x-a", "1\x00forged"), ("x-a: 1\r\nx-ecluse-assertion", "forged"), ("x-a\nx-forwarded-user", "forged"),
        ("x-a: forged", "1"), ("x a", "forged"), ("X-Ecluse-Assertion", "forged"), ("", "forged"),
        ("x_ecluse_assertion", "forged"), ("x.ecluse.assertion", "forged"), (":evil", "forged"),
        ("transfer-encoding", "chunked"), ("connection", "x-ecluse-assertion"), ("connection", "close, cookie"),
        ("upgrade", "websocket"), ("keep-alive", "forged"), ("proxy-connection", "forged"), ("te", "gzip"),
        ("te", "trailers"), ("trailer", "x-ecluse-assertion"), ("content-length", "5"), ("content-length", "+5"),
        ("expect", "100-continue"), ("http2-settings", "AAMAAABk"), (":path", "/smuggled"), (":method", "POST"),
        (":authority", "autre.example"), ("host", "autre.example"), ("x-forwarded-for", "203.0.113.66"),
    ):  # fmt: skip
        yield lines("GET", path, (name, value)), b""
        yield lines("GET", path, (name, value)), (_WITHIN + "\r\n\r\n").encode()
    for wrong in (
        f"{path} HTTP/1.1\r\nHost: a\r\n\r\n{_WITHIN}", f"{path}\r\nx-a: forged", f"{path} forged", f"{path}#forged",
        "*", "", path[1:], f"https://{HOST}{path}", f"https://autre.example{path}", f"{path}\x00",
        f"{path}?\x7f", f"{path}é",
    ):  # fmt: skip
        yield lines("GET", wrong), b""
    for method in (f"{_WITHIN}\r\n\r\nGET", "get", "GET ", "G\r\nET", "", "TRACE", "CONNECT", "BREW"):
        yield lines(method, path), b""
    for authority in (
        f"{HOST}@autre.example", f"forged@{HOST}", f"{HOST}\r\nx-a: forged", f"{HOST}/forged", "", f"{HOST} ",
        f"{HOST}, autre.example", f"{HOST}:0", "autre.example",
    ):  # fmt: skip
        yield [(key, authority if key == ":authority" else value) for key, value in lines("GET", path)], b""
    for left_out in (":method", ":path", ":authority", ":scheme"):
        yield [line for line in lines("GET", path) if line[0] != left_out], b""
    for scheme in ("http", "ftp", "https://autre.example/?", "https\r\nx-a: forged"):
        yield [(key, scheme if key == ":scheme" else value) for key, value in lines("GET", path)], b""
    yield lines("GET", path)[::-1], b""
    yield [("x-a", "1"), *lines("GET", path)], b""
    yield lines("GET", path, ("content-length", "0")), (_WITHIN + "\r\n\r\n").encode()
    yield lines("GET", path, ("content-length", "5")), (_WITHIN + "\r\n\r\n").encode()


def floods() -> dict[str, bytes]:
    """Return what one client sends to keep a server busy with nothing, as a stranger."""
    asked = block("GET", "/annuaire?flood", ("accept", "text/html"))
    opened = frame(HEADERS, END_HEADERS, 1, block("POST", "/annuaire?flood", ("content-length", "100000")))
    cancelled = b"".join(
        frame(HEADERS, END_HEADERS | END_STREAM, stream, asked) + frame(RESET, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 2_001, 2)
    )
    line = b"\x00\x03x-a\x7f\xc1\x07" + b"a" * 1_088
    return {
        "streams opened and cancelled": cancelled,
        "a head that never ends": frame(HEADERS, END_STREAM, 1, asked)
        + frame(CONTINUATION, 0, 1, line) * 3_000,
        "empty pieces of a head": frame(HEADERS, END_STREAM, 1, asked) + frame(CONTINUATION, 0, 1) * 20_000,
        "pings": frame(PING, 0, 0, b"a" * 8) * 20_000,
        "settings": frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64") * 20_000,
        "empty pieces of a body": opened + frame(DATA, 0, 1) * 20_000,
        "priorities": frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 20_000,
        "window updates": opened + frame(WINDOW, 0, 1, b"\0\0\0\x01") * 20_000,
    }
