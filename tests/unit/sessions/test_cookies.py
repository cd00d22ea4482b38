"""Sorting a Cookie header once gives what sorting it each time gives."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions import binding, ticket
from gateway.sessions.cookies import NO_COOKIES, CookieReader
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("binding", "k1", {"k1": bytes(range(32))})
NEUTRAL = ("lang", "csrf*")

headers = st.lists(st.text('abclng_=;," sid-csrf', max_size=40), min_size=0, max_size=3).map(tuple)


@given(headers)
def test_remembered_is_what_is_read_anew(values: tuple[str, ...]) -> None:
    reader = CookieReader(RING, ticket.COOKIE)
    first, again = (reader.read("parcours", NEUTRAL, values) for _ in range(2))
    pairs = binding.parse_cookies(values)
    neutral, credentials = binding.sort_cookies(pairs, NEUTRAL)
    assert first == again
    assert (first.neutral, first.credentials) == (neutral, credentials)
    assert first.hashes == tuple(
        binding.credential_hash(RING, "parcours", name, value) for name, value in credentials
    )


def test_apps_and_patterns_are_kept_apart() -> None:
    reader = CookieReader(RING, ticket.COOKIE)
    one = reader.read("parcours", NEUTRAL, ("sid=1; lang=fr",))
    other_app = reader.read("agenda", NEUTRAL, ("sid=1; lang=fr",))
    other_patterns = reader.read("parcours", (), ("sid=1; lang=fr",))
    assert one.hashes != other_app.hashes
    assert len(other_patterns.credentials) == 2


def test_own_cookies_count_once_or_not_at_all() -> None:
    reader = CookieReader(RING, ticket.COOKIE)
    once = reader.read("parcours", (), ("__Host-ecluse=token; __Host-ecluse-door=t; sid=1",))
    assert (once.session, once.ticket) == ("token", "t")
    assert once.credentials == (("sid", "1"),)
    assert reader.read("parcours", (), ("__Host-ecluse=a; __Host-ecluse=b",)).session is None
    assert reader.read("parcours", (), ()) is NO_COOKIES


def test_memory_is_bounded() -> None:
    reader = CookieReader(RING, ticket.COOKIE)
    for number in range(5_000):
        reader.read("parcours", (), (f"sid={number}",))
    assert len(reader._read) == 4_096
    reader.read("parcours", (), ("sid=" + "x" * 9_000,))
    assert len(reader._read) == 4_096
