"""How a login of the unmodified application is recognised."""

from dataclasses import dataclass
from enum import StrEnum


class ParamPlace(StrEnum):
    """Where a request parameter stands."""

    QUERY = "query"
    FORM = "form"
    JSON = "json"
    HEADER = "header"


class Op(StrEnum):
    """How a value is compared. MATCHES searches an RE2 pattern."""

    EQUALS = "equals"
    PRESENT = "present"
    ABSENT = "absent"
    MATCHES = "matches"


@dataclass(frozen=True, slots=True)
class ParamTest:
    """One condition on a request parameter. *name* is a JSONPath for JSON, a lower-case name for headers."""

    place: ParamPlace
    name: str
    op: Op
    value: str | None = None


class AccountPlace(StrEnum):
    """Where the login name stands. The RESPONSE places serve doors that log in without typing a name."""

    FORM = "form"
    QUERY = "query"
    JSON = "json"
    HEADER = "header"
    BASIC = "basic"
    RESPONSE_JSON = "response-json"
    RESPONSE_HTML = "response-html"
    RESPONSE_HEADER = "response-header"


@dataclass(frozen=True, slots=True)
class AccountSource:
    """One place of the login name; *select* is a parameter name, JSONPath, CSS selector or header name."""

    place: AccountPlace
    select: str = ""
    pattern: str | None = None


class Sign(StrEnum):
    """What an answer shows."""

    STATUS = "status"
    LOCATION = "location"
    COOKIE_SET = "cookie-set"
    COOKIE_CHANGED = "cookie-changed"
    """Set to a value the request did not carry."""
    COOKIE_MATCHES = "cookie-matches"
    COOKIE_ABSENT = "cookie-absent"
    """Not set by this answer."""
    HEADER = "header"
    BODY = "body"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ResponseTest:
    """One sign in the app's answer.

    *name*: cookie name (shell pattern), header name or JSONPath. *statuses* for STATUS. *pattern* is
    an RE2 pattern searched in the location, cookie value, header, body or JSON value (as text; for
    JSON without pattern: the path exists and is neither null nor false). *negate* inverts the sign.
    """

    sign: Sign
    name: str = ""
    statuses: tuple[int, ...] = ()
    pattern: str | None = None
    negate: bool = False


@dataclass(frozen=True, slots=True)
class LoginRule:
    """One way into the app.

    A request is an attempt when method, *path_template* (None: any path) and every test of *params*
    fit. The answer is a success when any group of *success* holds entirely and no group of *failure*
    does. *bearer* is a JSONPath of a token in the answer that will come back as ``Authorization:
    Bearer``; it is bound like a cookie. *landing* is the path a browser goes to after the code when the
    app's answer was no redirect (None: the path of the login itself).
    """

    name: str
    methods: tuple[str, ...]
    path_template: str | None
    params: tuple[ParamTest, ...]
    account: tuple[AccountSource, ...]
    success: tuple[tuple[ResponseTest, ...], ...]
    failure: tuple[tuple[ResponseTest, ...], ...] = ()
    bearer: str | None = None
    landing: str | None = None
