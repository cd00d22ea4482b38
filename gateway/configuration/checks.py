"""What no single value shows: faults between the parts of a configuration. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from gateway.configuration.alerts import check_alerts
from gateway.configuration.caps import check_caps
from gateway.configuration.checks_audit import check_audit
from gateway.configuration.edge import check_edge
from gateway.configuration.faults import Location, Problem
from gateway.configuration.offsite import check_offsite
from gateway.configuration.pools import check_pools
from gateway.configuration.schema import GatewaySpec, MainFile
from gateway.configuration.schema_app import (
    PLACES,
    AccountFrom,
    AppSpec,
    LoginSpec,
    PatientsFrom,
    RequestTests,
    RouteSpec,
    SignGroup,
    Signs,
)
from gateway.configuration.schema_realm import ClassSpec, LimitValue, RealmSpec
from gateway.configuration.shadows import shadowed_by
from gateway.configuration.signals import check_signals
from gateway.configuration.store import check_store
from gateway.policy.paths import compile_template
from gateway.policy.policy import Basic, Flow, Strangers
from gateway.vocabulary.limits import ACCOUNT_CONTROLS
from gateway.vocabulary.records import REVEALING, RouteKind

BUILT_IN_CLASSES = frozenset({"standard", "heavy", "grace"})

_OPEN_KINDS = frozenset({RouteKind.LOGIN, RouteKind.PUBLIC})
_STREAMED_KINDS = frozenset({RouteKind.PUBLIC, RouteKind.PAGE})


def check_main(main: MainFile) -> Iterator[Problem]:
    """Yield the faults of the main file but for its realms and apps."""
    yield from check_store(main.store)
    yield from check_audit(main.audit)
    yield from check_offsite(main.audit.publish, main.audit.witnesses)
    yield from check_signals(main.signals)
    yield from check_pools(main.pools)
    yield from check_alerts(main.alerts)
    yield from check_edge(main.gateway)
    yield from _open_networks(("gateway", "trusted_proxies"), main.gateway.trusted_proxies)
    listen, metrics = main.gateway.listen, main.gateway.metrics
    if metrics is not None and metrics.port == listen.port:
        yield Problem(("gateway", "metrics", "port"), "this is the gateway's own port", "choose another")


def check_realm(name: str, realm: RealmSpec) -> Iterator[Problem]:
    """Yield the faults of one realm."""
    at: Location = ("realms", name)
    classes = BUILT_IN_CLASSES | realm.classes.keys()
    yield from _known_class((*at, "default_class"), realm.default_class, classes)
    if realm.grace is not None:
        yield from _known_class((*at, "grace", "class"), realm.grace.class_, classes)
    for class_name, spec in realm.classes.items():
        yield from _bounds((*at, "classes", class_name), spec)
    yield from check_caps(name, realm, classes)
    if realm.sessions.idle_s > realm.sessions.absolute_s:
        yield Problem((*at, "sessions", "idle_s"), "idle_s is longer than absolute_s", "make it shorter")
    failures = realm.failures
    if failures.first_delay_s > failures.longest_delay_s:
        yield Problem(
            (*at, "failures", "first_delay_s"),
            "the first delay is longer than the longest",
            "make it shorter",
        )
    if failures.free >= failures.lock_at:
        yield Problem(
            (*at, "failures", "free"),
            "the account is locked before the free tries end",
            "make it less than lock_at",
        )


def _bounds(at: Location, spec: ClassSpec) -> Iterator[Problem]:
    for control in ACCOUNT_CONTROLS:
        key = control.value.replace("-", "_")
        limit: LimitValue | None = getattr(spec, key)
        if limit is not None and limit.soft is not None and limit.soft > limit.hard:
            yield Problem(
                (*at, key, "soft"), "the soft bound lies above the hard one", f"write at most {limit.hard}"
            )


def check_hosts(apps: Mapping[str, AppSpec]) -> Iterator[Problem]:
    """Yield each host that more than one app claims, at its later place."""
    owners: dict[str, str] = {}
    for name, app in apps.items():
        for index, host in enumerate(app.hosts):
            owner = owners.setdefault(host, name)
            if owner != name or host in app.hosts[:index]:
                yield Problem(
                    ("apps", name, "hosts", index),
                    f"host {host} belongs to app {owner} already",
                    "give each host to one app",
                )


def check_app(
    name: str, app: AppSpec, gateway: GatewaySpec, realm_names: frozenset[str], classes: frozenset[str]
) -> Iterator[Problem]:
    """Yield the faults of one app; *classes* are those of its realm."""
    at: Location = ("apps", name)
    if realm_names and app.realm not in realm_names:
        yield Problem(
            (*at, "realm"),
            f"there is no realm {app.realm!r}",
            f"write one of {', '.join(sorted(realm_names))}, or add it under realms",
        )
    yield from _check_entry(at, app, classes)
    for index, rule in enumerate(app.login):
        yield from _check_login((*at, "login", index), rule, app, gateway.prefix)
    for index, route in enumerate(app.routes):
        yield from _check_route((*at, "routes", index), route, app, gateway.prefix)
        earlier = shadowed_by(route, app.routes[:index])
        if earlier is not None:
            yield Problem(
                (*at, "routes", index, "path"),
                f"this route is never reached: route {earlier.name} stands before it and takes all it would",
                "put the narrower route first",
            )
    for key, names in (("login", [r.name for r in app.login]), ("routes", [r.name for r in app.routes])):
        for repeated, count in Counter(names).items():
            if count > 1:
                index = len(names) - 1 - names[::-1].index(repeated)
                yield Problem(
                    (*at, key, index, "name"),
                    f"the name {repeated} stands here twice",
                    "give each its own name",
                )


def _check_entry(at: Location, app: AppSpec, classes: frozenset[str]) -> Iterator[Problem]:
    if not app.login and app.basic is not Basic.LOGIN:
        yield Problem(
            at, "no login rule: nobody could ever come in", "write under login how the app lets people in"
        )
    if app.basic is Basic.LOGIN and app.flow is not Flow.BEFORE_LOGIN:
        yield Problem(
            (*at, "basic"),
            "'basic: login' has no answer that could be held back for the code",
            "write 'flow: before-login' too",
        )
    if app.services and app.basic is not Basic.SERVICE:
        yield Problem(
            (*at, "services"), "services are refused by this app's 'basic'", "write 'basic: service'"
        )
    if app.basic is Basic.SERVICE and not app.services:
        yield Problem((*at, "basic"), "'basic: service' without services", "list them under services")
    for index, service in enumerate(app.services):
        yield from _known_class((*at, "services", index, "class"), service.class_, classes)
        yield from _open_networks((*at, "services", index, "networks"), service.networks)
    if app.flow is Flow.BEFORE_LOGIN and app.strangers is Strangers.SHOW:
        yield Problem(
            (*at, "strangers"),
            "'show' is for apps that ask for the password first",
            "take it out, or write 'flow: after-login'",
        )
    if app.flow is Flow.AFTER_LOGIN and app.strangers is Strangers.REDIRECT and app.login_page is None:
        yield Problem(
            at,
            "login_page is missing: strangers have nowhere to go",
            "write the path of the app's login form",
        )
    if app.login_page is not None:
        path = app.login_page.partition("?")[0]
        fitting = [route.kind for route in app.routes if compile_template(route.path).exact.match(path)]
        if not _OPEN_KINDS.intersection(fitting):
            yield Problem(
                (*at, "login_page"),
                "no route lets strangers see this page",
                f"add a route of kind login for {path}",
            )


def _check_login(at: Location, rule: LoginSpec, app: AppSpec, prefix: str) -> Iterator[Problem]:
    if rule.path is None and not _tests_written(rule.when):
        yield Problem(
            at,
            "neither path nor when: every request would be a login",
            "write path, or a parameter under when",
        )
    if rule.path is not None:
        yield from _collision((*at, "path"), rule.path, prefix)
    yield from _unknown_methods((*at, "methods"), rule.methods, app)
    yield from _check_tests((*at, "when"), rule.when)
    for index, source in enumerate(rule.account):
        yield from _one_place((*at, "account", index), source, ("pattern",))
    for key, groups in (("success", rule.success), ("failure", rule.failure)):
        for index, group in enumerate(groups):
            if not _has_sign(group) and (group.not_ is None or not _has_sign(group.not_)):
                yield Problem(
                    (*at, key, index), "this group has no sign", "write at least one, such as 'status: 302'"
                )


def _check_route(at: Location, route: RouteSpec, app: AppSpec, prefix: str) -> Iterator[Problem]:
    yield from _collision((*at, "path"), route.path, prefix)
    yield from _unknown_methods((*at, "methods"), route.methods, app)
    yield from _check_tests((*at, "when"), route.when)
    reveals = route.kind in REVEALING
    if reveals and route.patients is None:
        yield Problem(
            at,
            f"a {route.kind} route without patients: nobody could be counted",
            "write under patients where the ids stand",
        )
    if not reveals and route.patients is not None:
        yield Problem(
            (*at, "patients"), f"a {route.kind} route names no patients", "make it record, listing or export"
        )
    for key in ("stream", "websocket", "max_upload_bytes"):
        if getattr(route, key) and route.kind not in _STREAMED_KINDS:
            yield Problem(
                (*at, key), f"a {route.kind} route is inspected whole", f"take {key} out, or make it a page"
            )
    if route.inspect and route.kind is not RouteKind.PAGE:
        yield Problem((*at, "inspect"), f"a {route.kind} route is no page", "take inspect out")
    if route.patients is None:
        return
    names = compile_template(route.path).names
    for index, source in enumerate(route.patients.from_):
        place: Location = (*at, "patients", "from", index)
        yield from _one_place(place, source, ("attribute", "pattern", "delimiter"))
        if source.path is not None and source.path not in names:
            yield Problem(
                (*place, "path"),
                f"the path {route.path} has no {{{source.path}}}",
                "write the name that stands in the path",
            )
        if source.attribute is not None and source.html is None:
            yield Problem((*place, "attribute"), "an attribute belongs to html", "take it out")
        if source.delimiter is not None and source.csv is None:
            yield Problem((*place, "delimiter"), "a delimiter belongs to csv", "take it out")


def _one_place(
    at: Location, source: AccountFrom | PatientsFrom, extras: tuple[str, ...]
) -> Iterator[Problem]:
    places = [
        field.alias or name
        for name, field in type(source).model_fields.items()
        if name not in extras and getattr(source, name) is not None
    ]
    if len(places) != 1:
        known = (
            ", ".join(PLACES)
            if isinstance(source, PatientsFrom)
            else "form, query, json, header, basic, response_…"
        )
        found = f"{' and '.join(places)} in one entry" if places else "no place is named"
        yield Problem(at, found, f"write one entry each, with one of {known}")


def _check_tests(at: Location, tests: RequestTests) -> Iterator[Problem]:
    for key, conditions in (
        ("query", tests.query),
        ("form", tests.form),
        ("json", tests.json_),
        ("header", tests.header),
    ):
        for name, test in conditions.items():
            if len(test.model_fields_set) != 1 or all(
                getattr(test, k) is None for k in test.model_fields_set
            ):
                yield Problem(
                    (*at, key, name),
                    "this condition is not one of equals, matches, present",
                    "write exactly one of them",
                )


def _tests_written(tests: RequestTests) -> bool:
    return bool(tests.query or tests.form or tests.json_ or tests.header)


def _has_sign(signs: Signs | SignGroup) -> bool:
    return any(value for name, value in signs if name != "not_")


def _unknown_methods(at: Location, methods: list[str], app: AppSpec) -> Iterator[Problem]:
    for index, method in enumerate(methods):
        if method not in app.methods:
            yield Problem(
                (*at, index),
                f"the app refuses {method}, so this is never reached",
                f"add {method} to the app's methods",
            )


def _collision(at: Location, template: str, prefix: str) -> Iterator[Problem]:
    head = template.partition("{")[0].rstrip("*")
    if head.startswith(prefix) or template in {prefix, prefix.rstrip("/")}:
        yield Problem(
            at,
            f"this stands under {prefix}, where the gateway's own pages are",
            "choose another gateway.prefix",
        )


def _known_class(at: Location, name: str, classes: frozenset[str]) -> Iterator[Problem]:
    if name not in classes:
        yield Problem(
            at, f"there is no class {name!r} in this realm", f"write one of {', '.join(sorted(classes))}"
        )


def _open_networks(at: Location, networks: list[str]) -> Iterator[Problem]:
    for index, text in enumerate(networks):
        if ip_network(text).prefixlen == 0:
            yield Problem((*at, index), f"{text} is everybody", "name the networks that are really meant")
