"""The shape of one app: its own file under config/apps, or an entry of ``apps`` in the main file."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gateway.configuration.spec import ONE_OR_MORE, Spec, whole_as
from gateway.configuration.words import (
    BaseUrl,
    Bytes,
    Category,
    CookiePattern,
    Css,
    FilePath,
    HeaderName,
    Host,
    JsonPath,
    LocalPath,
    Method,
    Name,
    NetworkText,
    Pattern,
    Scalar,
    Status,
    Template,
    Text,
)
from gateway.policy.policy import Basic, Flow, PathAllowance, StepUp, Strangers
from gateway.vocabulary.records import Normalisation, Place, RouteKind, Sensitivity

Delimiter = Annotated[str, Field(min_length=1, max_length=1)]
Column = Annotated[Scalar, Field(min_length=1, max_length=200)]


class TestValue(Spec):
    """What a parameter must be: a bare value for equality, or exactly one of these keys."""

    __test__ = False

    equals: Scalar | None = None
    """The parameter has this value."""
    matches: Pattern | None = None
    """An RE2 pattern is found in its value."""
    present: bool | None = None
    """`true`: it is there; `false`: it is not."""


def _bare_test(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    return value if isinstance(value, dict) else {"equals": value}


Test = Annotated[TestValue, BeforeValidator(_bare_test)]


class RequestTests(Spec):
    """Conditions on a request's parameters; all have to hold."""

    query: dict[Text, Test] = Field(default={})
    """Parameters of the query string, by name."""
    form: dict[Text, Test] = Field(default={})
    """Fields of a posted form, by name."""
    json_: dict[JsonPath, Test] = Field(default={}, alias="json")
    """Values in a posted JSON body, by JSONPath."""
    header: dict[HeaderName, Test] = Field(default={})
    """Request headers, by name."""


class AccountFrom(Spec):
    """Where the login stands: a bare word is a form field; otherwise one place, perhaps a pattern."""

    form: Text | None = None
    """Name of a form field."""
    query: Text | None = None
    """Name of a query parameter."""
    json_: JsonPath | None = Field(default=None, alias="json")
    """JSONPath in the posted body."""
    header: HeaderName | None = None
    """Request header."""
    basic: Literal[True] | None = None
    """The user name of HTTP Basic credentials."""
    response_json: JsonPath | None = None
    """JSONPath in the app's answer, for doors where nobody types a name."""
    response_html: Css | None = None
    """CSS selector in the app's answer."""
    response_header: HeaderName | None = None
    """Header of the app's answer."""
    pattern: Pattern | None = None
    """RE2 pattern found in the value: its group 1, or all of it, is the login."""


class Signs(Spec):
    """What an answer shows; all keys that are written have to hold."""

    status: Annotated[
        list[Status] | None, BeforeValidator(lambda v: v if v is None or isinstance(v, list) else [v])
    ] = None
    """Status or list of statuses: `302`, `3xx`."""
    location: Pattern | None = None
    """RE2 pattern found in the Location header."""
    cookie_set: Annotated[list[CookiePattern], ONE_OR_MORE] = Field(default=[])
    """Cookies the answer sets to a value; `*` and `?` stand for computed names."""
    cookie_changed: Annotated[list[CookiePattern], ONE_OR_MORE] = Field(default=[])
    """Cookies it sets to another value than the request carried."""
    cookie_absent: Annotated[list[CookiePattern], ONE_OR_MORE] = Field(default=[])
    """Cookies it does not set."""
    cookie_matches: dict[CookiePattern, Pattern] = Field(default={})
    """Cookies it sets to a value in which the RE2 pattern is found."""
    header: dict[HeaderName, Pattern] = Field(default={})
    """Headers in which the RE2 pattern is found."""
    body: Pattern | None = None
    """RE2 pattern found in the body."""
    json_: Annotated[
        dict[JsonPath, Pattern | None], BeforeValidator(lambda v: {v: None} if isinstance(v, str) else v)
    ] = Field(default={}, alias="json")
    """JSONPath that is there and neither null nor false, or JSONPaths with the RE2 pattern found in each."""


class SignGroup(Signs):
    """One group of signs."""

    not_: Signs | None = Field(default=None, alias="not")
    """Signs that must each not hold."""


class LoginSpec(Spec):
    """One way into the app."""

    name: Name
    """Name of the rule, as it stands in the audit log."""
    methods: Annotated[list[Method], Field(min_length=1)] = Field(default=["POST"])
    """Methods of an attempt."""
    path: Template | None = None
    """Path of an attempt; any path when left out, and then `when` is needed."""
    when: RequestTests = RequestTests()
    """Parameters that make a request an attempt."""
    account: Annotated[list[Annotated[AccountFrom, whole_as("form")]], ONE_OR_MORE, Field(min_length=1)]
    """Where the login stands, tried in this order."""
    success: Annotated[list[SignGroup], ONE_OR_MORE, Field(min_length=1)]
    """Signs of success: one group, or a list of groups of which any is enough."""
    failure: Annotated[list[SignGroup], ONE_OR_MORE] = Field(default=[])
    """Signs of failure, which win over those of success."""
    bearer: JsonPath | None = None
    """JSONPath of a token in the answer that comes back as `Authorization: Bearer`; bound like a cookie."""
    landing: LocalPath | None = None
    """Path to go to after the code when the app's answer was no redirect, else the login's own; the app's home."""


class PatientsFrom(Spec):
    """One place where patient ids stand: exactly one place, and how to read it."""

    path: Text | None = None
    """Name in the route's path, such as `id` for `{id}`."""
    query: Text | None = None
    """Name of a query parameter."""
    form: Text | None = None
    """Name of a posted form field."""
    request_json: JsonPath | None = None
    """JSONPath in the posted body."""
    request_text: Pattern | None = None
    """RE2 pattern in the posted body; group 1, or all of it, is the id."""
    json_: JsonPath | None = Field(default=None, alias="json")
    """JSONPath in the answer."""
    html: Css | None = None
    """CSS selector in the answer."""
    csv: Column | None = None
    """Column of a CSV answer, by its name or its number from 1."""
    text: Pattern | None = None
    """RE2 pattern in the answer's text; group 1, or all of it, is the id."""
    header: HeaderName | None = None
    """Header of the answer."""
    attribute: Text | None = None
    """HTML: attribute that holds the id, instead of the element's text."""
    pattern: Pattern | None = None
    """RE2 pattern searched in each value; group 1, or all of it, is the id."""
    delimiter: Delimiter | None = None
    """CSV: delimiter, found out when left out."""


PLACES: dict[str, Place] = {
    "path": Place.PATH,
    "query": Place.QUERY,
    "form": Place.REQUEST_FORM,
    "request_json": Place.REQUEST_JSON,
    "request_text": Place.REQUEST_TEXT,
    "json": Place.JSON,
    "html": Place.HTML,
    "csv": Place.CSV,
    "text": Place.TEXT,
    "header": Place.HEADER,
}


def _lift_sources(value: Any) -> Any:
    if not isinstance(value, dict) or "from" in value:
        return value
    source_keys = {*PLACES, "attribute", "pattern", "delimiter"} & value.keys()
    rest = {key: item for key, item in value.items() if key not in source_keys}
    return (
        {**rest, "from": [{key: value[key] for key in value if key in source_keys}]} if source_keys else value
    )


class PatientsValue(Spec):
    """How a route names its patients; a single place may be written without `from`."""

    from_: Annotated[list[PatientsFrom], ONE_OR_MORE, Field(min_length=1)] = Field(alias="from")
    """Places where ids stand: all of them count."""
    first_only: bool = False
    """Take the first place that yields an id instead of all: only where the app itself does so."""
    system: Text | None = None
    """Numbering of the ids; apps with the same numbering share patients. The app's name when left out."""
    normalise: list[Normalisation] = Field(
        default=[Normalisation.NFKC, Normalisation.DIGITS, Normalisation.TRIM]
    )
    """Steps that fold aliases into one id: `nfkc`, `digits`, `trim`, `casefold`, `unpad`, `squeeze`."""
    strip_prefix: Text | None = None
    """Prefix the app ignores."""
    may_be_empty: bool = False
    """An answer that names nobody is normal; otherwise it is withheld."""
    max_bytes: Bytes = 4_000_000
    """Longest decoded answer that is read; a longer one is withheld."""
    max_ids: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """Most ids that are read; an answer with more is withheld."""


Patients = Annotated[PatientsValue, BeforeValidator(_lift_sources)]


class RouteSpec(Spec):
    """One door of the app. The first route that fits is taken."""

    name: Name
    """Name of the route, as it stands in the audit log."""
    kind: RouteKind
    """`public`, `login`, `logout`, `page`, `record`, `listing`, `export` or `blocked`."""
    path: Template
    """Path, such as `/patients/{id}`, `{id:int}`, `{rest:path}`, `{code:[A-Z]+}`, or `/static/*`."""
    methods: list[Method] = Field(default=[])
    """Methods of the route; all of the app's when left out."""
    when: RequestTests = RequestTests()
    """Parameters that have to hold, for apps where one path has several meanings."""
    patients: Patients | None = None
    """How the route names its patients: needed for record, listing and export."""
    categories: list[Category] = Field(default=[])
    """Data the route reveals, such as `identite.nom`, `contact.tel`, `nir`."""
    sensitivity: Sensitivity = Sensitivity.ADMINISTRATIVE
    """`administrative` or `medical`."""
    websocket: bool = False
    """Let the route become a WebSocket."""
    stream: bool = False
    """Pass the answer on while it arrives, for long answers that name nobody. On a page, documents (PDF, archives)
    leave only so; their bytes count."""
    max_upload_bytes: Bytes | None = None
    """Longest request body here, in place of `gateway.max_request_bytes`, for files sent to the app: it is passed on
    while it arrives, and never held. A request that must be read before it is decided keeps the gateway's bound."""
    inspect: bool = False
    """Keep this page with the inspector where an edge check stands in front: its answers may hold personal data, a
    document, or a new cookie, which nobody sees behind the edge."""
    step_up: StepUp = StepUp.OWED
    """`always`: a fresh code is asked for, unless one was given within `step_up_s`; for changing a password or acting
    as somebody else. `owed`: only when the account owes one."""


class UpstreamSpec(Spec):
    """Where the app is."""

    url: BaseUrl
    """`http://host:port` or `https://host:port`."""
    ca_file: FilePath | None = None
    """PEM file of the authorities that signed the app's certificate, instead of the system's."""


class CookiesSpec(Spec):
    """Which of the app's cookies are no credentials."""

    neutral: list[CookiePattern] = Field(default=[])
    """Cookies that carry no identity, such as a language; `*` and `?` may be used."""


class PathsSpec(Spec):
    """Spellings of paths."""

    allow: list[PathAllowance] = Field(default=[])
    """Needed by few: `encoded-slash`, `encoded-percent`, `empty-segment`, `semicolon`, `backslash`."""


class ServiceSpec(Spec):
    """A machine that keeps no cookies and has no second factor."""

    account: Text
    """Login it uses in HTTP Basic."""
    networks: Annotated[list[NetworkText], Field(min_length=1)]
    """Networks it may come from."""
    class_: Name = Field(default="standard", alias="class")
    """Class whose limits hold it."""


class AppSpec(Spec):
    """One unmodified application."""

    title: Text | None = None
    """Name shown to professionals; the app's name when left out."""
    realm: Name
    """Directory of its logins."""
    hosts: Annotated[list[Host], Field(min_length=1)]
    """Host names by which browsers reach it."""
    upstream: Annotated[UpstreamSpec, whole_as("url")]
    """Where the app is: `http://host:port`, or an address and `ca_file`."""
    flow: Flow = Flow.AFTER_LOGIN
    """`after-login`: password, then code; `before-login`: code first, for single-page and Basic apps."""
    login_page: LocalPath | None = None
    """Path of the app's own login form."""
    strangers: Strangers = Strangers.REDIRECT
    """`redirect`: to the login page; `show`: ask the app, if it shows its form in place of the page."""
    basic: Basic = Basic.REFUSE
    """`refuse` HTTP Basic, take it as a `login`, or allow it to a `service`."""
    methods: Annotated[list[Method], Field(min_length=1)] = Field(default=["GET", "HEAD", "POST"])
    """Methods the app knows; any other is refused."""
    cookies: CookiesSpec = CookiesSpec()
    """Which cookies are no credentials."""
    paths: PathsSpec = PathsSpec()
    """Spellings of paths."""
    services: list[ServiceSpec] = Field(default=[])
    """Machines that keep no cookies."""
    login: list[LoginSpec] = Field(default=[])
    """Ways into the app."""
    routes: list[RouteSpec] = Field(default=[])
    """Doors of the app, the first that fits is taken."""
    otherwise: Literal[RouteKind.PAGE, RouteKind.BLOCKED] = RouteKind.BLOCKED
    """What a path without route is: `page` or `blocked`."""
    public_origin: BaseUrl | None = None
    """`scheme://host:port` as browsers see it, when it does not follow the request."""
    max_page_bytes: Bytes = 8_000_000
    """Longest answer on a page route that is searched for personal data; a longer one is withheld."""
    max_login_body_bytes: Bytes = 65_536
    """Longest body of a login attempt; a longer one is refused."""
    stranger_sightings: Annotated[int, Field(ge=0, le=1_000)] = 5
    """Pieces of personal data a stranger's page may hold, such as the contact address of the hospital."""
    check_path: LocalPath | None = None
    """A path that the app refuses (401, 403) without the gateway's assertion; `ecluse doctor` asks for it directly."""
