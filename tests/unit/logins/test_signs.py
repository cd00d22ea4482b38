"""Whether the application said yes, as told by what real applications do."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logins import Outcome, bearer, outcome
from gateway.vocabulary.logins import LoginRule, ResponseTest, Sign
from gateway.vocabulary.messages import RequestFacts, ResponseFacts

NOW_MS = 1_790_000_000_000
JSON = ("content-type", "application/json")
HTML = ("content-type", "text/html; charset=utf-8")


def asked(cookie: str | None = None) -> RequestFacts:
    headers = () if cookie is None else (("cookie", cookie),)
    return RequestFacts(
        "r1", NOW_MS, "https", "POST", "app.example", 443, "/login", "", headers, "192.0.2.1", 4, b""
    )


def rule(
    *success: tuple[ResponseTest, ...],
    failure: tuple[tuple[ResponseTest, ...], ...] = (),
    token: str | None = None,
) -> LoginRule:
    return LoginRule("main", ("POST",), "/login", (), (), success, failure, token)


def said(
    test: ResponseTest,
    *headers: tuple[str, str],
    status: int = 200,
    body: bytes | None = b"",
    cookie: str | None = None,
) -> bool:
    return outcome(rule((test,)), asked(cookie), ResponseFacts(status, headers, body)) is Outcome.SUCCESS


REDIRECT = ResponseTest(Sign.STATUS, statuses=(302, 303))
HOME = ResponseTest(Sign.LOCATION, pattern="^/home")
SET = ResponseTest(Sign.COOKIE_SET, "sid")
CHANGED = ResponseTest(Sign.COOKIE_CHANGED, "SESS*")
MATCHES = ResponseTest(Sign.COOKIE_MATCHES, "wikiUser*", pattern="^[0-9]+$")
ABSENT = ResponseTest(Sign.COOKIE_ABSENT, "flash")
WELCOME = ResponseTest(Sign.BODY, pattern="Déconnexion")
WRONG = ResponseTest(Sign.BODY, pattern="(?i)mot de passe")
TOKEN = ResponseTest(Sign.JSON, "$.token")


def test_signs_of_status_location_and_header() -> None:
    assert said(REDIRECT, status=302)
    assert not said(REDIRECT, status=200)
    assert said(HOME, ("location", "/home?x"))
    assert not said(HOME, ("location", "/login?err"))
    assert not said(HOME)
    assert said(ResponseTest(Sign.HEADER, "X-Ok"), ("x-ok", ""))
    assert not said(ResponseTest(Sign.HEADER, "X-Ok", pattern="1"), ("x-ok", "0"))
    assert said(ResponseTest(Sign.LOCATION, pattern="err", negate=True), ("location", "/home"))


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("sid=abc; Path=/; HttpOnly", True),
        (" sid = abc", True),
        ("sid=abc; Max-Age=3600; Expires=Thu, 01 Jan 1970 00:00:00 GMT", True),
        ("sid=abc; Expires=Wed, 21 Oct 2099 07:28:00 GMT", True),
        ("sid=abc; Expires=nonsense", True),
        ("sid=abc; Max-Age=nonsense", True),
        ("SID=abc", False),
        ("sidx=abc", False),
        # Deletions.
        ("sid=", False),
        ('sid=""; Path=/', False),
        ("sid=deleted; Max-Age=0", False),
        ("sid=deleted; max-age=-1", False),
        ("sid=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/", False),
        ("sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", False),
    ],
)
def test_a_cookie_is_set_unless_it_is_deleted(line: str, counts: bool) -> None:
    assert said(SET, ("set-cookie", "other=1"), ("set-cookie", line)) is counts


def test_other_signs_of_cookies() -> None:
    assert said(CHANGED, ("set-cookie", "SESSx=new"), cookie="a=1; SESSx=old")
    assert not said(CHANGED, ("set-cookie", "SESSx=old"), cookie="a=1; SESSx=old")
    assert not said(CHANGED, cookie="SESSx=old")
    assert said(MATCHES, ("set-cookie", "wikiUserID=12"))
    assert not said(MATCHES, ("set-cookie", "wikiUserID=guest"))
    assert said(ABSENT)
    assert said(ABSENT, ("set-cookie", "flash=; Max-Age=0"))
    assert not said(ABSENT, ("set-cookie", "flash=erreur"))


@pytest.mark.parametrize(
    ("test", "headers", "body", "expected"),
    [
        (WELCOME, (HTML,), "<a>Déconnexion".encode(), True),
        (
            WELCOME,
            (HTML, ("content-encoding", "gzip")),
            gzip.compress("<a>Déconnexion".encode(), mtime=0),
            True,
        ),
        (
            WELCOME,
            (("content-type", "text/html; charset=iso-8859-1"),),
            "Déconnexion".encode("latin-1"),
            True,
        ),
        (WELCOME, (HTML,), b"Erreur", False),
        (TOKEN, (JSON,), b'{"token":"t"}', True),
        (TOKEN, (JSON,), b'{"token":0}', True),
        (TOKEN, (JSON,), b'{"token":null}', False),
        (TOKEN, (JSON,), b'{"token":false}', False),
        (TOKEN, (JSON,), b'{"ok":false}', False),
        (TOKEN, (HTML,), b"<p>Erreur", False),
        (ResponseTest(Sign.JSON, "$.ok", pattern="^true$"), (JSON,), b'{"ok":true}', True),
        (ResponseTest(Sign.JSON, "$.ok", pattern="^true$"), (JSON,), b'{"ok":false}', False),
        (ResponseTest(Sign.JSON, "$.code", pattern="^0$"), (JSON,), b'{"code":0}', True),
        # What cannot be read is taken for a yes, and a code is asked.
        (WELCOME, (HTML, ("content-encoding", "br")), b"\x0b\x02", True),
        (WELCOME, (HTML,), b"\xff\xfe", True),
        (WELCOME, (HTML,), None, True),
        (TOKEN, (JSON,), b'{"token":', True),
        (TOKEN, (JSON,), b'{"token":null,"token":"t"}', True),
        (TOKEN, (JSON, ("content-encoding", "gzip")), b"cut", True),
        (TOKEN, (HTML, ("content-encoding", "gzip")), b"cut", True),
    ],
)
def test_signs_in_the_body(
    test: ResponseTest, headers: tuple[tuple[str, str], ...], body: bytes | None, expected: bool
) -> None:
    assert said(test, *headers, body=body) is expected


def test_groups() -> None:
    strict = rule((REDIRECT, SET), (TOKEN,), failure=((WRONG,),))
    cookie = ("set-cookie", "sid=1")

    def answer(status: int, body: bytes, *headers: tuple[str, str]) -> Outcome:
        return outcome(strict, asked(), ResponseFacts(status, headers, body))

    assert answer(302, b"", cookie) is Outcome.SUCCESS
    assert answer(302, b"") is Outcome.FAILURE
    assert answer(200, b'{"token":"t"}', JSON) is Outcome.SUCCESS
    # A sign of failure wins over signs of success; one that cannot be read does not.
    assert answer(302, b"Mot de passe faux", HTML, cookie) is Outcome.FAILURE
    assert answer(302, b"\xff", HTML, cookie) is Outcome.SUCCESS
    # An unreadable body changes nothing where the other signs of its group are missing.
    both = rule((REDIRECT, WELCOME))
    assert outcome(both, asked(), ResponseFacts(200, (HTML,), b"\xff")) is Outcome.FAILURE


def test_without_signs_every_answer_is_a_yes() -> None:
    assert outcome(rule(), asked(), ResponseFacts(200, (), b"")) is Outcome.SUCCESS
    assert outcome(rule(failure=((),)), asked(), ResponseFacts(200, (), b"")) is Outcome.SUCCESS


def test_bearer_tokens() -> None:
    handed = ResponseFacts(200, (JSON,), b'{"token":{"access":"abc"}}')
    assert bearer(rule(token="$.token.access"), handed) == "abc"
    assert bearer(rule(token="$.token.other"), handed) is None
    assert bearer(rule(token="$.token"), handed) is None
    assert bearer(rule(), handed) is None
    assert bearer(rule(token="$.token.access"), ResponseFacts(200, (JSON,), b"{")) is None


@given(
    st.binary(max_size=100), st.text(max_size=60), st.sampled_from([JSON, HTML, ("content-encoding", "gzip")])
)
def test_nothing_raises(body: bytes, line: str, header: tuple[str, str]) -> None:
    groups = tuple((test,) for test in (SET, CHANGED, MATCHES, ABSENT, WELCOME, TOKEN, HOME))
    response = ResponseFacts(
        200, (header, ("set-cookie", line), ("set-cookie", "sid=1;expires=" + line)), body
    )
    assert outcome(rule(*groups, failure=groups), asked(line), response) in tuple(Outcome)
    bearer(rule(token="$.a"), response)
