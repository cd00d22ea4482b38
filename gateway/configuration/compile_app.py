"""One app of the checked schema in, one App of the policy out. Pure."""

from collections.abc import Mapping
from pathlib import PurePath

from gateway.configuration.schema_app import (
    PLACES,
    AccountFrom,
    AppSpec,
    LoginSpec,
    PatientsFrom,
    PatientsValue,
    RequestTests,
    RouteSpec,
    SignGroup,
    Signs,
    TestValue,
)
from gateway.configuration.words import base_url, network
from gateway.policy.paths import compile_template
from gateway.policy.policy import App, Route, Service, Upstream
from gateway.vocabulary.logins import (
    AccountPlace,
    AccountSource,
    LoginRule,
    Op,
    ParamPlace,
    ParamTest,
    ResponseTest,
    Sign,
)
from gateway.vocabulary.records import Extraction, Source

_ACCOUNT_PLACES = {
    "form": AccountPlace.FORM,
    "query": AccountPlace.QUERY,
    "json_": AccountPlace.JSON,
    "header": AccountPlace.HEADER,
    "basic": AccountPlace.BASIC,
    "response_json": AccountPlace.RESPONSE_JSON,
    "response_html": AccountPlace.RESPONSE_HTML,
    "response_header": AccountPlace.RESPONSE_HEADER,
}
_STATUSES_OF_CLASS = 100


def compile_app(name: str, spec: AppSpec, folder: PurePath) -> App:
    """Return app *name*; *folder* is the absolute folder of its file."""
    scheme, host, port = base_url(spec.upstream.url)
    ca_file = str(folder / spec.upstream.ca_file) if spec.upstream.ca_file else None
    return App(
        name=name,
        title=spec.title or name,
        realm=spec.realm,
        hosts=tuple(spec.hosts),
        upstream=Upstream(scheme, host, port, ca_file),
        flow=spec.flow,
        routes=tuple(_route(route, name) for route in spec.routes),
        logins=tuple(_login(rule) for rule in spec.login),
        otherwise=spec.otherwise,
        methods=frozenset(spec.methods),
        login_page=spec.login_page,
        strangers=spec.strangers,
        basic=spec.basic,
        services=tuple(Service(s.account, tuple(map(network, s.networks)), s.class_) for s in spec.services),
        neutral_cookies=tuple(spec.cookies.neutral),
        path_allowances=frozenset(spec.paths.allow),
        public_origin=spec.public_origin.rstrip("/") if spec.public_origin else None,
        max_page_bytes=spec.max_page_bytes,
        max_login_body_bytes=spec.max_login_body_bytes,
        stranger_sightings=spec.stranger_sightings,
        check_path=spec.check_path,
    )


def _route(spec: RouteSpec, app_name: str) -> Route:
    return Route(
        name=spec.name,
        kind=spec.kind,
        template=compile_template(spec.path),
        methods=frozenset(spec.methods),
        params=_tests(spec.when),
        extraction=_extraction(spec.patients, app_name) if spec.patients else None,
        categories=tuple(spec.categories),
        sensitivity=spec.sensitivity,
        websocket=spec.websocket,
        stream=spec.stream,
        max_upload_bytes=spec.max_upload_bytes,
        step_up=spec.step_up,
        inspect=spec.inspect,
    )


def _extraction(spec: PatientsValue, app_name: str) -> Extraction:
    return Extraction(
        sources=tuple(_source(source) for source in spec.from_),
        system=spec.system or app_name,
        normalise=tuple(spec.normalise),
        strip_prefix=spec.strip_prefix,
        first_only=spec.first_only,
        may_be_empty=spec.may_be_empty,
        max_bytes=spec.max_bytes,
        max_ids=spec.max_ids,
    )


def _source(spec: PatientsFrom) -> Source:
    written = spec.model_dump(by_alias=True, exclude_none=True)
    place, select = next((PLACES[key], value) for key, value in written.items() if key in PLACES)
    return Source(place, select, spec.attribute, spec.pattern, spec.delimiter)


def _login(spec: LoginSpec) -> LoginRule:
    return LoginRule(
        name=spec.name,
        methods=tuple(spec.methods),
        path_template=spec.path,
        params=_tests(spec.when),
        account=tuple(_account(source) for source in spec.account),
        success=tuple(_group(group) for group in spec.success),
        failure=tuple(_group(group) for group in spec.failure),
        bearer=spec.bearer,
        landing=spec.landing,
    )


def _account(spec: AccountFrom) -> AccountSource:
    key = next(name for name in _ACCOUNT_PLACES if getattr(spec, name) is not None)
    select = "" if spec.basic else str(getattr(spec, key))
    return AccountSource(_ACCOUNT_PLACES[key], select, spec.pattern)


def _tests(spec: RequestTests) -> tuple[ParamTest, ...]:
    places: Mapping[ParamPlace, Mapping[str, TestValue]] = {
        ParamPlace.QUERY: spec.query,
        ParamPlace.FORM: spec.form,
        ParamPlace.JSON: spec.json_,
        ParamPlace.HEADER: spec.header,
    }
    return tuple(_test(place, name, test) for place, tests in places.items() for name, test in tests.items())


def _test(place: ParamPlace, name: str, spec: TestValue) -> ParamTest:
    if spec.equals is not None:
        return ParamTest(place, name, Op.EQUALS, spec.equals)
    if spec.matches is not None:
        return ParamTest(place, name, Op.MATCHES, spec.matches)
    return ParamTest(place, name, Op.PRESENT if spec.present else Op.ABSENT)


def _group(spec: SignGroup) -> tuple[ResponseTest, ...]:
    return _signs(spec, negate=False) + (_signs(spec.not_, negate=True) if spec.not_ else ())


def _signs(spec: Signs, *, negate: bool) -> tuple[ResponseTest, ...]:
    found: list[ResponseTest] = []
    if spec.status is not None:
        found.append(ResponseTest(Sign.STATUS, statuses=_statuses(spec.status), negate=negate))
    if spec.location is not None:
        found.append(ResponseTest(Sign.LOCATION, pattern=spec.location, negate=negate))
    for sign, names in (
        (Sign.COOKIE_SET, spec.cookie_set),
        (Sign.COOKIE_CHANGED, spec.cookie_changed),
        (Sign.COOKIE_ABSENT, spec.cookie_absent),
    ):
        found += [ResponseTest(sign, name, negate=negate) for name in names]
    found += [
        ResponseTest(Sign.COOKIE_MATCHES, name, pattern=p, negate=negate)
        for name, p in spec.cookie_matches.items()
    ]
    found += [ResponseTest(Sign.HEADER, name, pattern=p, negate=negate) for name, p in spec.header.items()]
    if spec.body is not None:
        found.append(ResponseTest(Sign.BODY, pattern=spec.body, negate=negate))
    found += [ResponseTest(Sign.JSON, path, pattern=p, negate=negate) for path, p in spec.json_.items()]
    return tuple(found)


def _statuses(words: list[str]) -> tuple[int, ...]:
    statuses: set[int] = set()
    for word in words:
        if word.endswith("xx"):
            first = int(word[0]) * _STATUSES_OF_CLASS
            statuses.update(range(first, first + _STATUSES_OF_CLASS))
        else:
            statuses.add(int(word))
    return tuple(sorted(statuses))
