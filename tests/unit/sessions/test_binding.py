"""Cookies: which ones are whose, and what an app server could read into them."""

import http.cookies

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.binding import (
    SetCookie,
    bearer_hash,
    credential_hash,
    own_cookie,
    parse_cookies,
    rebuild,
    set_cookies,
    sort_cookies,
)
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("binding", "b1", {"b1": b"B" * 32})
NEUTRAL = ("lang", "theme-*")
NOW_S = 1_790_000_000


def test_hashes_are_short_keyed_and_never_meet() -> None:
    base = credential_hash(RING, "parcours", "sid", "abc")
    assert len(base) == 22
    assert base == credential_hash(RING, "parcours", "sid", "abc")
    others = {
        credential_hash(KeyRing("binding", "b1", {"b1": b"C" * 32}), "parcours", "sid", "abc"),
        credential_hash(RING, "annuaire", "sid", "abc"),
        credential_hash(RING, "parcours", "sida", "bc"),
        credential_hash(RING, "parcours", "si", "dabc"),
        credential_hash(RING, "parcourss", "id", "abc"),
        credential_hash(RING, "parcours", "SID", "abc"),
        credential_hash(RING, "parcours", "sid", '"abc"'),
        credential_hash(RING, "parcours", "sid", ""),
        credential_hash(RING, "parcours", "authorization", "abc"),
        bearer_hash(RING, "parcours", "abc"),
    }
    assert len(others | {base}) == 11


def test_values_that_are_not_text_have_a_hash() -> None:
    assert credential_hash(RING, "parcours", "sid", "\udcff") != credential_hash(
        RING, "parcours", "sid", "\u00ff"
    )


@pytest.mark.parametrize(
    ("headers", "pairs"),
    [
        ([], ()),
        ([""], ()),
        ([";;  ; "], ()),
        (["a=1"], (("a", "1"),)),
        (["a=1; b=2;c=3 ;\td=4"], (("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"))),
        (["a=1", "b=2"], (("a", "1"), ("b", "2"))),
        # Values stay as they were sent: quotes, commas, blanks inside, equals signs.
        (['a="x y"; b=1,c=2; d==='], (("a", '"x y"'), ("b", "1,c=2"), ("d", "=="))),
        # Quotes do not hide a semicolon: a server that thinks they do sees less, not more.
        (['a="1; sid=2"'], (("a", '"1'), ("sid", '2"'))),
        (["lonely; =nameless; a="], (("", "lonely"), ("", "nameless"), ("a", ""))),
        (["a=1; a=2"], (("a", "1"), ("a", "2"))),
    ],
)
def test_parsing(headers: list[str], pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse_cookies(headers) == pairs


@given(st.lists(st.text(max_size=40), max_size=3))
def test_parsing_never_fails_and_rebuilding_says_the_same(headers: list[str]) -> None:
    pairs = parse_cookies(headers)
    assert parse_cookies([rebuild(pairs)]) == pairs


def test_sorting() -> None:
    pairs = parse_cookies(
        ["lang=fr; sid=1; theme-dark=1; __Host-ecluse=t; __Host-ecluse-door=d; csrftoken=x; y"]
    )
    assert sort_cookies(pairs, NEUTRAL) == (
        (("lang", "fr"), ("theme-dark", "1")),
        (("sid", "1"), ("csrftoken", "x"), ("", "y")),
    )
    assert sort_cookies(pairs, ())[0] == ()


@pytest.mark.parametrize(
    "header",
    [
        # Values in which some server finds a second cookie, or the end of a quoted one.
        "lang=fr,sid=stolen",
        'lang="fr',
        'lang="fr; sid=stolen"',
        "lang=a b",
        "lang=\\073sid=stolen",
        "lang=fr\tsid=stolen",
        "lang=fr\x00sid=stolen",
        "lang=\u00e9",
        "lang=fr\r\nCookie: sid=stolen",
        # Names that a server folds into another one.
        "theme-[sid]=x",
        "theme- sid=x",
        "theme-\u00e9=x",
    ],
)
def test_a_neutral_cookie_in_a_loose_spelling_goes_nowhere(header: str) -> None:
    neutral, credentials = sort_cookies(parse_cookies([header]), NEUTRAL)
    assert neutral == ()
    assert all(name not in NEUTRAL for name, _ in credentials)


@pytest.mark.parametrize("name", ["$Version", "$Path", ""])
def test_what_some_servers_read_as_syntax_is_never_neutral(name: str) -> None:
    assert sort_cookies(((name, "1"),), ("*",)) == ((), ())


@pytest.mark.parametrize(
    "name", ["__Host-ecluse", "__host-ECLUSE", " __Host-ecluse", "__Host-ecluse-door", "__Host-ecluse2"]
)
def test_our_own_cookies_never_go_upstream(name: str) -> None:
    assert sort_cookies(((name, "1"),), ("*",)) == ((), ())
    assert sort_cookies(((name, "1"),), ()) == ((), ())


@given(st.text(st.characters(max_codepoint=0x7F), max_size=60))
def test_python_reads_nothing_but_neutral_names_out_of_neutral_cookies(header: str) -> None:
    neutral, _ = sort_cookies(parse_cookies([f"lang=fr; {header}"]), NEUTRAL)
    read = http.cookies.SimpleCookie(rebuild(neutral))
    assert set(read) <= {name for name, _ in neutral}


def test_two_cookies_of_one_name_are_none() -> None:
    assert own_cookie(parse_cookies(["__Host-ecluse=a; x=1"]), "__Host-ecluse") == "a"
    assert own_cookie(parse_cookies(["__Host-ecluse=a", "__Host-ecluse=b"]), "__Host-ecluse") is None
    assert own_cookie(parse_cookies(["__Host-ecluse=a; __Host-ecluse=a"]), "__Host-ecluse") is None
    assert own_cookie((), "__Host-ecluse") is None


@pytest.mark.parametrize(
    ("line", "cookie"),
    [
        ("sid=abc; Path=/; HttpOnly", SetCookie("sid", "abc", expired=False)),
        ("sid=a=b,c; Secure", SetCookie("sid", "a=b,c", expired=False)),
        (' sid = "abc" ;Path=/', SetCookie("sid", '"abc"', expired=False)),
        ("sid=", SetCookie("sid", "", expired=False)),
        ("lonely; Path=/", SetCookie("", "lonely", expired=False)),
        ("=sid=abc", SetCookie("", "sid=abc", expired=False)),
        # Taken back.
        ("sid=x; Max-Age=0", SetCookie("sid", "x", expired=True)),
        ("sid=x; max-age=-1; Path=/", SetCookie("sid", "x", expired=True)),
        ("sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", SetCookie("sid", "", expired=True)),
        ("sid=; expires=Thu, 01-Jan-1970 00:00:01 GMT", SetCookie("sid", "", expired=True)),
        # Still good: Max-Age wins over Expires, and what cannot be read expires nothing.
        ("sid=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", SetCookie("sid", "x", expired=False)),
        ("sid=x; Expires=Fri, 01 Jan 2100 00:00:00 GMT", SetCookie("sid", "x", expired=False)),
        ("sid=x; Expires=soon", SetCookie("sid", "x", expired=False)),
        ("sid=x; Expires=Thu, 99 Foo 1970 99:99:99 GMT", SetCookie("sid", "x", expired=False)),
        ("sid=x; Max-Age=soon", SetCookie("sid", "x", expired=False)),
        ("sid=x; Max-Age=" + "9" * 5_000, SetCookie("sid", "x", expired=False)),
        ("sid=x; HttpOnly; ; =", SetCookie("sid", "x", expired=False)),
    ],
)
def test_reading_set_cookie(line: str, cookie: SetCookie) -> None:
    headers = (("content-type", "text/html"), ("set-cookie", line), ("set-cookie", "b=2"))
    assert set_cookies(headers, NOW_S) == (cookie, SetCookie("b", "2", expired=False))


@given(st.text(max_size=80))
def test_reading_set_cookie_never_fails(text: str) -> None:
    for line in (text, f"sid=x; Expires={text}", f"sid=x; Max-Age={text}"):
        assert len(set_cookies((("set-cookie", line),), NOW_S)) == 1


def test_what_the_app_set_has_the_hash_of_what_the_browser_sends_back() -> None:
    for line in ("sid=abc; Path=/", 'sid="a b"; Path=/', "lonely", "sid=a=b=="):
        (made,) = set_cookies((("set-cookie", line),), NOW_S)
        ((name, value),) = parse_cookies([rebuild([(made.name, made.value)])])
        assert credential_hash(RING, "p", name, value) == credential_hash(RING, "p", made.name, made.value)
    # A nameless cookie that spells a named one is not that cookie.
    (made,) = set_cookies((("set-cookie", "=sid=abc"),), NOW_S)
    assert credential_hash(RING, "p", made.name, made.value) != credential_hash(RING, "p", "sid", "abc")
