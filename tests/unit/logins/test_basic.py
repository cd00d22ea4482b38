"""HTTP Basic, with the vectors of RFC 7617."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logins.basic import BasicMalformed, user
from gateway.vocabulary.messages import RequestFacts


def asked(*values: str) -> RequestFacts:
    headers = tuple(("authorization", value) for value in values)
    return RequestFacts("r1", 0, "https", "GET", "app.example", 443, "/", "", headers, "192.0.2.1", 4)


def basic(pair: bytes) -> str:
    return "Basic " + base64.b64encode(pair).decode()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        # RFC 7617, 2 and 2.1.
        (["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], "Aladdin"),
        (["Basic dGVzdDoxMjPCow=="], "test"),
        (["basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], "Aladdin"),
        ([basic("andré:x".encode())], "andré"),
        ([basic("andré:x".encode("latin-1"))], "andré"),
        ([basic(b"a:b:c")], "a"),
        ([], None),
        (["Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], None),
        (["Digest username=x"], None),
    ],
)
def test_users(values: list[str], name: str | None) -> None:
    assert user(asked(*values)) == name


@pytest.mark.parametrize(
    "values",
    [
        [basic(b"a:b"), basic(b"a:b")],
        ["Bearer x", basic(b"a:b")],
        ["Basic"],
        ["Basic !!!!"],
        ["Basic YTpi=x"],
        ["BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ=="],
        [basic(b"nocolon")],
        [basic(b":pw")],
        [basic(b"a\x00b:pw")],
        [basic(b"x" * 257 + b":pw")],
    ],
)
def test_malformed(values: list[str]) -> None:
    assert user(asked(*values)) == BasicMalformed()


@given(st.lists(st.text(max_size=40), max_size=2))
def test_nothing_raises(values: list[str]) -> None:
    assert user(asked(*values, *(f"Basic {value}" for value in values))) in (None, BasicMalformed()) or values
