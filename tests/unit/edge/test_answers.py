"""A reply within one header comes back as it was, and none that we did not make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.answers import LONGEST_BYTES, AnswerRefused, pack, unpack
from gateway.vocabulary.keys import KeyRing
from gateway.vocabulary.messages import Reply

RING = KeyRing("session", "b", {"a": b"a" * 32, "b": b"b" * 32})
OTHER = KeyRing("session", "c", {"c": b"c" * 32})
lines = st.lists(st.tuples(st.text(max_size=20), st.text(max_size=50)), max_size=5).map(tuple)


@given(st.integers(200, 599), lines, st.text(max_size=2_000))
def test_there_and_back(status: int, headers: tuple[tuple[str, str], ...], body: str) -> None:
    reply = Reply(status, headers, body.encode())
    packed = pack(RING, reply)
    assert unpack(RING, packed) == reply
    # Keys are replaced while answers are under way.
    assert unpack(KeyRing("session", "d", {**RING.keys, "d": b"d" * 32}), packed) == reply
    with pytest.raises(AnswerRefused):
        unpack(OTHER, packed)


@given(st.binary(max_size=200))
def test_what_is_not_ours_is_refused(value: bytes) -> None:
    with pytest.raises(AnswerRefused):
        unpack(RING, value)


@given(st.data())
def test_not_a_byte_of_it_may_change(data: st.DataObject) -> None:
    packed = pack(RING, Reply(403, (("content-type", "text/html"),), b"<p>non</p>"))
    at = data.draw(st.integers(0, len(packed) - 1))
    other = data.draw(st.sampled_from([byte for byte in b"ABCxyz019-_" if byte != packed[at]]))
    changed = packed[:at] + bytes([other]) + packed[at + 1 :]
    try:
        assert unpack(RING, changed) == unpack(
            RING, packed
        )  # The last digit may hold bits that mean nothing.
    except AnswerRefused:
        return
    assert at >= len(packed) - 4


def test_a_reply_too_long_for_a_header_is_a_fault() -> None:
    body = "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(20_000)).encode()
    with pytest.raises(ValueError, match="too long"):
        pack(RING, Reply(200, (), body))
    assert LONGEST_BYTES < 16 * 1_024
