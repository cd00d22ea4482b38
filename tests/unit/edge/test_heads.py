"""What the edge takes for the head of a question, and when two heads differ by their address alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge import claims, heads
from gateway.ingress import RawHead

STARTS = (b"\r\nX-Forwarded-Uri: ", b"\r\nx-forwarded-uri: ")
TOLD = (
    b"X-Forwarded-Method: GET", b"X-Forwarded-Host: app.example", b"X-Forwarded-Proto: https",
    b"X-Forwarded-For: 192.0.2.9", b"Cookie: sid=1",
)  # fmt: skip
ADDRESS = st.one_of(
    st.sampled_from(
        [b"/annuaire", b"/", b"//", b"/a?b=c", b"/\xe9", b"/a b", b"", b" /", b"/\t", b"/a ", b"http://x/"]
    ),
    st.binary(max_size=12),
)
NAME = st.sampled_from(
    [b"X-Forwarded-Uri", b"x-forwarded-uri", b"X-FORWARDED-URI", b"X-Forwarded-Uri ", b"Accept"]
)
LINES = st.lists(
    st.one_of(
        st.sampled_from(TOLD),
        st.builds(lambda name, value: name + b": " + value, NAME, ADDRESS),
        st.binary(max_size=8),
    ),
    max_size=8,
)


def head_of(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /check HTTP/1.1", *lines, b"", b""])


def described(raw: bytes) -> RawHead | claims.Fault | None:
    head = heads.read(raw)
    return claims.read(head.fields) if isinstance(head, heads.Head) and not head.last else None


@given(before=LINES, after=LINES, whole=st.booleans(), addresses=st.tuples(ADDRESS, ADDRESS))
def test_heads_that_differ_by_the_address_alone_are_read_alike(
    before: list[bytes], after: list[bytes], whole: bool, addresses: tuple[bytes, bytes]
) -> None:
    """What is known of one head is said of another only where reading that one anew says it, too."""
    if whole:
        before = [*TOLD, *before]
    one, other = (head_of(*before, b"X-Forwarded-Uri: " + address, *after) for address in addresses)
    cuts = heads.cut(one, STARTS), heads.cut(other, STARTS)
    known = described(one)
    if cuts[0] is None or cuts[1] is None or cuts[0][0] != cuts[1][0] or not isinstance(known, RawHead):
        return
    assert described(other) == claims.elsewhere(known, cuts[1][1])


def test_the_address_is_cut_out_of_its_line_alone() -> None:
    raw = head_of(*TOLD, b"X-Forwarded-Uri: /one?x=1", b"Accept: */*")
    assert heads.cut(raw, STARTS) == (head_of(*TOLD, b"X-Forwarded-Uri: ", b"Accept: */*"), b"/one?x=1")
    small = raw.replace(b"X-Forwarded-Uri", b"x-forwarded-uri")
    assert heads.cut(small, STARTS) == (head_of(*TOLD, b"x-forwarded-uri: ", b"Accept: */*"), b"/one?x=1")
    other = described(head_of(*TOLD, b"X-Forwarded-Uri: /two", b"Accept: */*"))
    known = described(raw)
    assert isinstance(known, RawHead)
    assert claims.elsewhere(known, b"/two") == other


@pytest.mark.parametrize(
    "line", [b"X-Forwarded-Uri:/one", b"X-Forwarded-Uri: ", b"X-Forwarded-Uri: /a b", b"Accept: /"]
)
def test_what_is_not_plainly_an_address_is_not_cut_out(line: bytes) -> None:
    assert heads.cut(head_of(*TOLD, line), STARTS) is None


def test_a_head_says_how_it_is_to_be_answered() -> None:
    assert heads.read(head_of(b"Host: x")) == heads.Head("/check", ((b"host", b"x"),), False, False)
    for line, method, without_body, last in (
        (b"Connection: close", b"GET", False, True),
        (b"Content-Length: 0", b"HEAD", True, False),
        (b"Content-Length: 5", b"POST", False, True),
        (b"Transfer-Encoding: chunked", b"GET", False, True),
        (b"Connection: keep-alive", b"GET", False, False),
    ):
        read = heads.read(head_of(line).replace(b"GET", method, 1))
        assert isinstance(read, heads.Head)
        assert (read.without_body, read.last) == (without_body, last), line
