"""Which request is a login, and under whose name."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logins import NameFault, account_name, attempt, disguised, needs_body
from gateway.vocabulary.logins import AccountPlace, AccountSource, LoginRule, Op, ParamPlace, ParamTest
from gateway.vocabulary.messages import RequestFacts, ResponseFacts
from tests.people import DR_MARTIN, INTRUDER

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def asked(
    method: str = "POST",
    path: str = "/login",
    query: str = "",
    body: bytes | None = b"",
    kind: str | None = FORM,
    *extra: tuple[str, str],
) -> RequestFacts:
    headers = extra if kind is None else (("content-type", kind), *extra)
    return RequestFacts(
        "r1",
        1_790_000_000_000,
        "https",
        method,
        "app.example",
        443,
        path,
        query,
        headers,
        "192.0.2.1",
        4,
        body,
    )


def way(
    *account: AccountSource,
    methods: tuple[str, ...] = ("POST",),
    path: str | None = "/login",
    params: tuple[ParamTest, ...] = (),
    name: str = "main",
) -> LoginRule:
    return LoginRule(name, methods, path, params, account, ())


BY_FORM = AccountSource(AccountPlace.FORM, "u")
BY_QUERY = AccountSource(AccountPlace.QUERY, "u")
BY_JSON = AccountSource(AccountPlace.JSON, "$.user.login")
BY_BASIC = AccountSource(AccountPlace.BASIC)
ACTION = ParamTest(ParamPlace.QUERY, "action", Op.EQUALS, "Login")
HAS_USER = ParamTest(ParamPlace.FORM, "u", Op.PRESENT)


@pytest.mark.parametrize(
    ("rule", "request_", "fits"),
    [
        (way(), asked(), True),
        (way(), asked(path="/Login/"), True),
        (way(), asked(path="/login2"), False),
        (way(), asked("GET"), False),
        (way(methods=("GET",)), asked("HEAD"), True),
        (way(methods=()), asked("PUT"), True),
        # On any path, by a parameter.
        (way(path=None, params=(ACTION,)), asked(path="/patients/4", query="x=1&action=Login"), True),
        (way(path=None, params=(ACTION,)), asked(path="/patients/4", query="x=1;ACTION=Login"), True),
        (way(path=None, params=(ACTION,)), asked(path="/patients/4"), False),
        (way(path=None, params=(HAS_USER,)), asked(body=b"u=x"), True),
        (way(path=None, params=(HAS_USER,)), asked(body=b"v=x"), False),
        (way(path=None, params=(HAS_USER, ACTION)), asked(body=b"u=x"), False),
        # What cannot be read may hide a login.
        (way(path=None, params=(HAS_USER,)), asked(body=b"u=x", kind="multipart/form-data"), True),
        (way(path=None, params=(HAS_USER,)), asked(body=b"%PDF", kind="application/pdf"), False),
    ],
)
def test_attempts(rule: LoginRule, request_: RequestFacts, fits: bool) -> None:
    assert (attempt((way(path="/never"), rule), request_) is rule) is fits


@pytest.mark.parametrize(
    ("rule", "request_", "needed"),
    [
        (way(BY_FORM), asked(body=None), True),
        (way(BY_FORM), asked(body=b""), False),
        (way(BY_FORM), asked("GET", body=None), False),
        (way(BY_FORM), asked(path="/x", body=None), False),
        (way(BY_QUERY), asked(body=None), True),
        (way(BY_QUERY, methods=("GET",)), asked("GET", body=None), False),
        (way(BY_QUERY, path=None, params=(HAS_USER,)), asked(body=None), True),
        (way(BY_QUERY, path=None, params=(HAS_USER, ACTION)), asked(body=None), False),
        (way(BY_BASIC), asked(body=None), False),
    ],
)
def test_when_the_body_is_needed(rule: LoginRule, request_: RequestFacts, needed: bool) -> None:
    assert needs_body((rule,), request_) is needed


def credentials(user: str) -> tuple[str, str]:
    return ("authorization", "Basic " + base64.b64encode(f"{user}:pw".encode()).decode())


ME = DR_MARTIN.login
FORM_BODY = f"u={ME}&p={DR_MARTIN.password}".encode()


@pytest.mark.parametrize(
    ("rule", "request_", "name"),
    [
        (way(BY_FORM), asked(body=FORM_BODY), ME),
        (way(BY_QUERY), asked("GET", query=f"u={ME}", kind=None), ME),
        (way(BY_JSON), asked(body=b'{"user":{"login":"dr.martin"}}', kind=JSON), ME),
        (way(BY_FORM, BY_JSON), asked(body=b'{"user":{"login":"dr.martin"}}', kind=JSON), ME),
        (way(BY_JSON, BY_FORM), asked(body=FORM_BODY), ME),
        (way(BY_BASIC), asked("POST", "/login", "", b"", None, credentials(ME)), ME),
        (
            way(AccountSource(AccountPlace.HEADER, "x-user")),
            asked("POST", "/login", "", b"", None, ("x-user", ME)),
            ME,
        ),
        (way(AccountSource(AccountPlace.FORM, "u", r"^CHU/(.+)$")), asked(body=b"u=CHU/dr.martin"), ME),
        (way(AccountSource(AccountPlace.JSON, "$.id")), asked(body=b'{"id":12}', kind=JSON), "12"),
        # Nobody.
        (way(BY_FORM), asked(body=b"p=x"), NameFault.MISSING),
        (way(BY_FORM), asked(body=b"u=+"), NameFault.MISSING),
        (way(BY_JSON), asked(body=b'{"user":{"login":null}}', kind=JSON), NameFault.MISSING),
        (way(BY_BASIC), asked(), NameFault.MISSING),
        # Which one does the application read?
        (way(BY_FORM), asked(body=b"u=dr.martin&u=intrus"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(body=b"u=dr.martin&u=dr.martin"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(body=b"u=dr.martin&U=intrus"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(body=b"u=dr.martin&+u=intrus"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(body=b"u=dr.martin&u[]=intrus"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(body=b"u=dr.martin&u%00=intrus"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(body=b"u=dr.martin;u=intrus"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(query="u=intrus", body=FORM_BODY), NameFault.AMBIGUOUS),
        # A form's field in the query beside a name in JSON.
        (
            way(BY_FORM, BY_JSON),
            asked(query="u=intrus", body=b'{"user": {"login": "dr.martin"}}', kind=JSON),
            NameFault.AMBIGUOUS,
        ),
        (way(BY_QUERY), asked(query="u=dr.martin", body=b"u=intrus"), NameFault.AMBIGUOUS),
        (way(BY_FORM), asked(query="u", body=FORM_BODY), ME),
        (
            way(BY_FORM, BY_BASIC),
            asked("POST", "/login", "", FORM_BODY, FORM, credentials(INTRUDER.login)),
            NameFault.AMBIGUOUS,
        ),
        (way(BY_FORM, BY_BASIC), asked("POST", "/login", "", FORM_BODY, FORM, credentials(ME)), ME),
        (
            way(AccountSource(AccountPlace.JSON, "$..login")),
            asked(body=b'{"login":"a","x":{"login":"b"}}', kind=JSON),
            NameFault.AMBIGUOUS,
        ),
        # Unreadable.
        (way(BY_JSON), asked(body=b'{"user":{"login":"a","login":"b"}}', kind=JSON), NameFault.UNREADABLE),
        (way(BY_JSON), asked(body=b'{"user":{"login":["a"]}}', kind=JSON), NameFault.UNREADABLE),
        (way(BY_FORM), asked(body=None), NameFault.UNREADABLE),
        (way(BY_FORM), asked(body=b"u=a%00b"), NameFault.UNREADABLE),
        (way(BY_FORM), asked(body=b"u=andr%E9"), NameFault.UNREADABLE),
        (way(BY_FORM), asked(body=b"u=" + b"x" * 257), NameFault.UNREADABLE),
        (
            way(BY_BASIC),
            asked("POST", "/login", "", b"", None, ("authorization", "Basic !!")),
            NameFault.UNREADABLE,
        ),
    ],
)
def test_account_names(rule: LoginRule, request_: RequestFacts, name: str | NameFault) -> None:
    assert account_name(rule, request_) == name


@pytest.mark.parametrize(
    ("source", "response", "name"),
    [
        (
            AccountSource(AccountPlace.RESPONSE_JSON, "$.me"),
            ResponseFacts(200, (("content-type", JSON),), b'{"me":"ben"}'),
            "ben",
        ),
        (
            AccountSource(AccountPlace.RESPONSE_JSON, "$.me"),
            ResponseFacts(200, (("content-type", JSON),), b"{"),
            NameFault.UNREADABLE,
        ),
        (
            AccountSource(AccountPlace.RESPONSE_JSON, "$.me"),
            ResponseFacts(200, (("content-type", "text/html"),), b"{}"),
            NameFault.MISSING,
        ),
        (
            AccountSource(AccountPlace.RESPONSE_HTML, "#me", r"(\w+)$"),
            ResponseFacts(200, (("content-type", "text/html"),), b"<b id=me>Bonjour ben</b>"),
            "ben",
        ),
        (
            AccountSource(AccountPlace.RESPONSE_HTML, "b"),
            ResponseFacts(200, (("content-type", "text/html"),), b"<b>a</b><b>b</b>"),
            NameFault.AMBIGUOUS,
        ),
        (
            AccountSource(AccountPlace.RESPONSE_HEADER, "x-me"),
            ResponseFacts(200, (("x-me", "ben"),), b""),
            "ben",
        ),
        (AccountSource(AccountPlace.RESPONSE_HEADER, "x-me"), None, NameFault.MISSING),
    ],
)
def test_names_in_the_answer(
    source: AccountSource, response: ResponseFacts | None, name: str | NameFault
) -> None:
    assert account_name(way(source), asked(), response) == name


def test_the_order_of_sources_decides_between_typed_and_told() -> None:
    told = AccountSource(AccountPlace.RESPONSE_HEADER, "x-me")
    response = ResponseFacts(200, (("x-me", "ben"),), b"")
    assert account_name(way(told, BY_FORM), asked(body=FORM_BODY), response) == "ben"
    assert account_name(way(told, BY_FORM), asked(body=FORM_BODY)) == ME


@given(
    st.binary(max_size=200),
    st.text(max_size=30),
    st.sampled_from([FORM, JSON, None, "multipart/form-data; boundary=B", "x"]),
)
def test_nothing_raises(body: bytes, query: str, kind: str | None) -> None:
    request = asked(query=query, body=body, kind=kind)
    rule = way(BY_FORM, BY_QUERY, BY_JSON, BY_BASIC, path=None, params=(HAS_USER,))
    attempt((rule,), request)
    assert account_name(rule, request) not in ("", None)


@pytest.mark.parametrize(
    ("rule", "request_", "names"),
    [
        # The page of the form, with and without a name filled in.
        (way(BY_FORM), asked("GET", body=None), None),
        (way(BY_FORM), asked("GET", query="u=dr.martin", body=None), ("dr.martin",)),
        (way(BY_FORM), asked("HEAD", query="a=b&u=dr.martin", body=None), ("dr.martin",)),
        (way(BY_FORM), asked("GET", query="u=dr.martin&u[]=intrus", body=None), ("dr.martin", "intrus")),
        # Any method that changes something.
        (way(BY_FORM), asked("PUT", body=None), ()),
        (way(BY_JSON), asked("PATCH", path="/LOGIN/", body=None), ()),
        # Elsewhere, or under other conditions, it is none.
        (way(BY_FORM), asked("PUT", path="/x", body=None), None),
        (way(BY_FORM, params=(ACTION,)), asked("GET", query="u=dr.martin", body=None), None),
        (
            way(BY_FORM, params=(ACTION,)),
            asked("GET", query="u=dr.martin&action=Login", body=None),
            ("dr.martin",),
        ),
        (way(BY_FORM, path=None, params=(HAS_USER,)), asked("PUT", body=None), None),
    ],
)
def test_logins_by_another_method(
    rule: LoginRule, request_: RequestFacts, names: tuple[str, ...] | None
) -> None:
    assert disguised((rule,), request_) == (None if names is None else (rule, names))
