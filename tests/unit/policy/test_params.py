"""Request parameters: one reading for the gate, and every reading that a server might have."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.params import (
    BodyKind,
    BodyUnreadable,
    body_kind,
    form_values,
    holds,
    json_value,
    query_values,
)
from gateway.vocabulary.logins import Op, ParamPlace, ParamTest
from gateway.vocabulary.messages import RequestFacts

URLENCODED = "application/x-www-form-urlencoded"


def asked(
    query: str = "",
    body: bytes | None = b"",
    kind: str | None = URLENCODED,
    method: str = "POST",
    extra: tuple[tuple[str, str], ...] = (),
) -> RequestFacts:
    headers = extra if kind is None else (("content-type", kind), *extra)
    return RequestFacts(
        "r1",
        1_790_000_000_000,
        "https",
        method,
        "app.example",
        443,
        "/login",
        query,
        headers,
        "192.0.2.1",
        4,
        body,
    )


@pytest.mark.parametrize(
    ("query", "name", "values"),
    [
        ("id=1&id=2", "id", ("1", "2")),
        ("id=1+2&x=%2B", "id", ("1 2",)),
        ("i%64=7", "id", ("7",)),
        ("id", "id", ("",)),
        ("", "id", ()),
        ("&&id=1&", "id", ("1",)),
        # A raw semicolon is a separator for some servers.
        ("id=1;id=2", "id", ("1;id=2", "1", "2")),
        ("x=1;id=2", "id", ("2",)),
        # Names that some servers file under the same key.
        ("ID=1&id=2", "id", ("1", "2")),
        ("id[]=1&id[0]=2", "id", ("1", "2")),
        ("+id=1&id%00x=2", "id", ("1", "2")),
        ("pat.id=1&pat+id=2&pat[id=3", "pat_id", ("1", "2", "3")),
        # Names with brackets are literal when they are what is asked for.
        ("user[login]=a&user[password]=b", "user[login]", ("a",)),
        ("id%5B%5D=4", "id[]", ("4",)),
        # Values keep what they hold.
        ("id=a%00b", "id", ("a\0b",)),
        ("id=%E9", "id", ("\ufffd",)),
        ("id=%zz", "id", ("%zz",)),
        # Not the same name.
        ("idx=1&xid=2", "id", ()),
    ],
)
def test_query_values_are_read_as_any_server_might(query: str, name: str, values: tuple[str, ...]) -> None:
    assert query_values(query, name) == values


def test_a_form_is_read_by_its_own_charset() -> None:
    assert form_values(asked(body=b"u=andr%E9", kind=URLENCODED + "; charset=iso-8859-1"), "u") == ("andré",)


@pytest.mark.parametrize(
    ("body", "kind", "extra"),
    [
        (None, URLENCODED, ()),
        (b"u=1", URLENCODED + "; charset=ibm037", ()),
        (b"u=1", URLENCODED + "; charset=utf-16", ()),
        (b"u=1", URLENCODED, (("content-type", "application/json"),)),
        (b"u=1", "nonsense", ()),
        (b"u=1", URLENCODED + "; charset=utf-8; charset=ibm037", ()),
        (gzip.compress(b"u=1", mtime=0), URLENCODED, (("content-encoding", "gzip"),)),
        (b"u=1&" * 10_001, URLENCODED, ()),
    ],
)
def test_forms_with_two_meanings_are_unreadable(
    body: bytes | None, kind: str, extra: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(BodyUnreadable):
        form_values(asked(body=body, kind=kind, extra=extra), "u")


def multi(*parts: str, end: str = "--B--\r\n") -> bytes:
    return ("".join(f"--B\r\n{part}\r\n" for part in parts) + end).encode()


FIELD = 'Content-Disposition: form-data; name="u"\r\n\r\nbob'


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (multi(FIELD), ("bob",)),
        (multi(FIELD, FIELD.replace("bob", "eve")), ("bob", "eve")),
        (multi(FIELD.replace('"u"', "u")), ("bob",)),
        (multi(FIELD.replace('"u"', '"other"')), ()),
        (multi(FIELD, 'Content-Disposition: form-data; name="f"; filename="a.pdf"\r\n\r\n%PDF'), ("bob",)),
    ],
)
def test_multipart_fields(body: bytes, values: tuple[str, ...]) -> None:
    assert form_values(asked(body=body, kind="multipart/form-data; boundary=B"), "u") == values


@pytest.mark.parametrize(
    "body",
    [
        multi(FIELD, end=""),
        b"",
        b"u=bob",
        multi(FIELD.replace('name="u"', 'name="u"; filename=""')),
        multi(FIELD.replace('name="u"', 'name="x"; name="u"')),
        multi(FIELD.replace('name="u"', "name*=utf-8''u")),
        multi(FIELD.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n")),
        multi(FIELD.replace("\r\n\r\n", "\r\nContent-Type: text/plain; charset=ibm037\r\n\r\n")),
        multi(FIELD.replace("\r\n\r\n", '\r\nContent-Disposition: form-data; name="v"\r\n\r\n')),
        multi(FIELD.replace("form-data", "attachment")),
        multi(*[FIELD] * 1_001),
    ],
)
def test_multipart_that_servers_read_differently_is_unreadable(body: bytes) -> None:
    with pytest.raises(BodyUnreadable):
        form_values(asked(body=body, kind="multipart/form-data; boundary=B"), "u")


@pytest.mark.parametrize("boundary", ["", "; boundary=", '; boundary="é"', "; boundary=" + "x" * 71])
def test_a_multipart_needs_a_boundary(boundary: str) -> None:
    with pytest.raises(BodyUnreadable):
        form_values(asked(body=multi(FIELD), kind="multipart/form-data" + boundary), "u")


@pytest.mark.parametrize(
    ("body", "kind", "values"),
    [
        (b'{"u":"bob"}', "application/json", ("bob",)),
        (b'{"u":"bob"}', "application/vnd.api+json; charset=utf-8", ("bob",)),
        (b'{"v":1}', "application/json", ()),
        # Some servers read JSON whatever it claims to be.
        (b' {"u":"bob"}', "text/plain", ("bob",)),
        (b'{"u":"bob"}', None, ("bob",)),
        (b'{"u":"bob"}', URLENCODED, ("bob",)),
        (b"u=bob", URLENCODED, ()),
    ],
)
def test_json_values(body: bytes, kind: str | None, values: tuple[str, ...]) -> None:
    assert json_value(asked(body=body, kind=kind), "$.u") == values


@pytest.mark.parametrize(
    "body",
    [
        b'{"u":"alice","u":"bob"}',
        b'{"u":"alice", "\\u0075" : "bob"}',
        b'{"x":{"u":1,"u":1}}',
        b"",
        b"{",
        b'{"u":NaN}',
        '{"u":"é"}'.encode("latin-1"),
        b"[" * 100_000,
    ],
)
def test_json_with_two_meanings_is_unreadable(body: bytes) -> None:
    with pytest.raises(BodyUnreadable) as error:
        json_value(asked(body=body, kind="application/json"), "$.u")
    assert "alice" not in str(error.value)


@pytest.mark.parametrize(
    ("test", "request_", "expected"),
    [
        (ParamTest(ParamPlace.QUERY, "action", Op.EQUALS, "Login"), asked("action=x&action=Login"), True),
        (ParamTest(ParamPlace.QUERY, "action", Op.EQUALS, "Login"), asked("a=1;action=Login"), True),
        (ParamTest(ParamPlace.QUERY, "action", Op.EQUALS, "Login"), asked("action=login"), False),
        (ParamTest(ParamPlace.QUERY, "q", Op.PRESENT), asked("q"), True),
        (ParamTest(ParamPlace.QUERY, "q", Op.ABSENT), asked("q"), False),
        (ParamTest(ParamPlace.QUERY, "q", Op.ABSENT), asked("p"), True),
        (ParamTest(ParamPlace.FORM, "u", Op.MATCHES, "^[a-z]+$"), asked(body=b"u=bob"), True),
        (ParamTest(ParamPlace.FORM, "u", Op.MATCHES, "^[a-z]+$"), asked(body=b"u=b0b"), False),
        (ParamTest(ParamPlace.JSON, "$.ok", Op.EQUALS, "true"), asked(body=b'{"ok":true}', kind=None), True),
        (ParamTest(ParamPlace.JSON, "$.ok", Op.PRESENT), asked(body=b'{"ok":null}', kind=None), True),
        (ParamTest(ParamPlace.JSON, "$.n", Op.EQUALS, "3"), asked(body=b'{"n":3}', kind=None), True),
        (ParamTest(ParamPlace.HEADER, "x-a", Op.EQUALS, "1"), asked(extra=(("x-a", "1"),)), True),
    ],
)
def test_conditions(test: ParamTest, request_: RequestFacts, expected: bool) -> None:
    assert holds(test, request_) is expected


def test_a_test_on_an_unread_body_says_so() -> None:
    with pytest.raises(BodyUnreadable):
        holds(ParamTest(ParamPlace.FORM, "u", Op.ABSENT), asked(body=None))


def test_what_begins_as_json_has_to_be_json() -> None:
    for body in (b"{not json", b'[{"u":1,"u":2}]', b'\xef\xbb\xbf{"u":1,"u":2}'):
        with pytest.raises(BodyUnreadable):
            json_value(asked(body=body, kind="text/plain"), "$.u")


def test_kinds_of_body() -> None:
    assert body_kind(asked(kind=None)) is BodyKind.UNTYPED
    assert body_kind(asked(kind="Application/X-WWW-Form-Urlencoded")) is BodyKind.FORM
    assert body_kind(asked(kind="application/pdf")) is BodyKind.OTHER


@given(
    st.binary(max_size=300),
    st.sampled_from([URLENCODED, "multipart/form-data; boundary=B", "application/json"]),
)
def test_random_bodies_are_values_or_unreadable(body: bytes, kind: str) -> None:
    request = asked(body=body, kind=kind)
    for reading in (form_values, json_value):
        try:
            reading(request, "$")
        except BodyUnreadable as error:
            assert str(error)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_browser_s_form_is_read_back(first: str, second: str) -> None:
    from urllib.parse import urlencode

    encodable = [value.encode("utf-8", "replace").decode() for value in (first, second)]
    body = urlencode([("u", encodable[0]), ("p", encodable[1])]).encode()
    assert form_values(asked(body=body), "u") == (encodable[0],)
