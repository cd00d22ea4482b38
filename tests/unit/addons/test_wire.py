import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.wire import WireBounds, head_fault
from gateway.pages.calm import calm_answer, calm_body

BOUNDS = WireBounds(max_head_bytes=500, max_url_bytes=100)
GOOD = b"GET /patient/1 HTTP/1.1\r\nHost: app.example\r\nX-A: \t caf\xe9\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        # Right, and still possibly right.
        (GOOD, None),
        (GOOD + b"\x00body\n", None),
        (b"G", None),
        (b"GET /patient/1 HTTP/1.1\r", None),
        # Line ends and control characters.
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nA: 1\n", 400),
        (b"GET / HTTP/1.1\r\nA: 1\rB: 2\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: \x0b1\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: \x00\r\n", 400),
        # Request lines.
        (b"\x16\x03\x01", 400),
        (b" GET / HTTP/1.1\r\n", 400),
        (b"GET  / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 400),
        (b"GET /\r\n", 400),
        (b"GET /\xe9 HTTP/1.1\r\n", 400),
        # Bounds, before the head is complete.
        (b"GET /" + b"a" * 200, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 500, 431),
    ],
)
def test_heads(raw: bytes, status: int | None) -> None:
    assert head_fault(raw, BOUNDS) == status


@given(cut=st.integers(min_value=1, max_value=len(GOOD)))
def test_a_good_head_is_good_however_it_arrives(cut: int) -> None:
    assert head_fault(GOOD[:cut], BOUNDS) is None


@pytest.mark.parametrize("status", [400, 408, 413, 414, 431, 502, 503, 504, 418])
def test_pages_are_calm_and_whole(status: int) -> None:
    head, _, body = calm_answer(status).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert f"content-length: {len(body)}".encode() in head
    assert body == calm_body(status)
    assert b'<html lang="fr">' in body
