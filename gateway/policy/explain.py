"""The same rules, told one by one: which door a request stands at, why, and what it would cost. Pure."""

from dataclasses import dataclass, replace
from urllib.parse import urlencode, urlsplit

from gateway.policy import caps, routes
from gateway.policy import params as request_params
from gateway.policy.paths import PathRefused, canonical_path, compile_template
from gateway.policy.policy import App, Basic, Flow, Policy, Route
from gateway.policy.request import Situation, StoreState, decide_request
from gateway.vocabulary.decision import Challenge, Forward, RequestDecision
from gateway.vocabulary.identity import Stage, Standing
from gateway.vocabulary.limits import Limit, LimitSet
from gateway.vocabulary.logins import LoginRule
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import REVEALING, RouteKind

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was looked at. *fits* None: it was not reached."""

    what: str
    fits: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a request: the rule, the reason, the cost, and how that was found."""

    app: str | None
    path: str | None
    rule: str
    kind: str | None
    decision: str
    reason: str
    status: int | None
    cost: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the explanation as lines to read."""
        marks = {True: "=>", False: "  ", None: "  "}
        told = [f"{marks[step.fits]} {step.what}: {step.why}" for step in self.steps]
        status = f" ({self.status})" if self.status is not None else ""
        told.append(f"{self.decision}{status}, by rule {self.rule!r}: {self.reason}")
        told.extend(f"cost: {line}" for line in self.cost)
        return tuple(told)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and when: a stranger, or *login* with a full session. *at_ms* is Unix time in milliseconds.

    *account_class* None is the realm's default one.
    """

    login: str | None = None
    account_class: str | None = None
    establishment: str | None = None
    at_ms: int = 0


def explain(
    policy: Policy, *, method: str, url: str, asker: Asker, params: tuple[tuple[str, str], ...] = ()
) -> Explanation:
    """Explain the request *method* *url* of *asker*. *params* are the fields of a posted form.

    Raises:
        ValueError: *url* is no absolute http or https address, or the app's realm has no such class.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is no address: write it whole, as in https://app.example/path")
    app = policy.by_host.get(parts.hostname.rstrip(".").lower())
    if app is None:
        known = ", ".join(sorted(policy.by_host))
        step = Step(f"host {parts.hostname}", False, f"no app has this host; known: {known}")
        return _nowhere("unknown-host", 421, step)
    steps = [
        Step(f"host {parts.hostname}", True, f"app {app.name}, realm {app.realm}, flow {app.flow.value}")
    ]
    try:
        path = canonical_path(parts.path or "/", frozenset(app.path_allowances))
    except PathRefused as refused:
        steps.append(Step("path", False, f"not canonical: {refused.fault}"))
        return replace(_nowhere("malformed-request", 400, *steps), app=app.name)
    request = _request(method, parts.scheme, parts.port, app, path, parts.query, params)
    known_classes = policy.realms[app.realm].classes
    if asker.account_class is not None and asker.account_class not in known_classes:
        known = ", ".join(sorted(known_classes))
        raise ValueError(f"there is no class {asker.account_class!r} in realm {app.realm}: one of {known}")
    return _explain_request(policy, app, request, asker, steps)


def _request(
    method: str,
    scheme: str,
    port: int | None,
    app: App,
    path: str,
    query: str,
    fields: tuple[tuple[str, str], ...],
) -> RequestFacts:
    form = (("content-type", "application/x-www-form-urlencoded"),) if fields else ()
    return RequestFacts(
        request_id="explain",
        received_ms=0,
        scheme=scheme,
        method=method,
        host=app.hosts[0],
        port=port or _DEFAULT_PORTS[scheme],
        path=path,
        query=query,
        headers=form,
        client_address="127.0.0.1",
        client_port=0,
        body=urlencode(fields).encode(),
    )


def _explain_request(
    policy: Policy, app: App, request: RequestFacts, asker: Asker, steps: list[Step]
) -> Explanation:
    if request.path.startswith(policy.prefix):
        steps.append(Step(f"prefix {policy.prefix}", True, "one of the gateway's own pages"))
        return Explanation(
            app.name, request.path, "own-page", None, "answered here", "own-page", None, (), tuple(steps)
        )
    attempt = _attempt(app, request, steps)
    match = routes.match(app, request)
    for route in app.routes:
        if match.route is route:
            steps.append(Step(f"route {route.name}", True, f"{route.kind.value} {route.template.text}"))
            break
        steps.append(Step(f"route {route.name}", False, _why_not(app, route, request)))
    if match.route is None:
        steps.append(Step("otherwise", True, f"no declared route fits: {match.kind.value}"))
    decision = decide_request(_situation(app, match, request, asker.login, attempt))
    word, status = _word(decision)
    rule = attempt.name if attempt is not None else match.rule
    cost = _cost(policy, app, match.route, match.kind, asker)
    return Explanation(
        app.name,
        request.path,
        rule,
        match.kind.value,
        word,
        decision.reason.value,
        status,
        cost if isinstance(decision, Forward) else (),
        tuple(steps),
    )


def _attempt(app: App, request: RequestFacts, steps: list[Step]) -> LoginRule | None:
    for rule in app.logins:
        path_fits = rule.path_template is None or compile_template(rule.path_template).loose.match(
            request.path
        )
        fits = (
            bool(path_fits)
            and request.method in rule.methods
            and all(request_params.holds(test, request) for test in rule.params)
        )
        steps.append(
            Step(
                f"login {rule.name}", fits, "a login attempt" if fits else "method, path or parameters differ"
            )
        )
        if fits:
            return rule
    return None


def _why_not(app: App, route: Route, request: RequestFacts) -> str:
    pattern = route.template.exact if route.kind is RouteKind.PUBLIC else route.template.loose
    if pattern.match(request.path) is None:
        return f"path is not {route.template.text}"
    allowed = route.methods or app.methods
    if request.method not in allowed:
        return f"method is not one of {', '.join(sorted(allowed))}"
    for test in route.params:
        if not request_params.holds(test, request):
            value = f" {test.value!r}" if test.value is not None else ""
            return f"{test.place.value} {test.name!r} is not {test.op.value}{value}"
    return "an earlier route fits"


def _situation(
    app: App, match: routes.RouteMatch, request: RequestFacts, login: str | None, attempt: LoginRule | None
) -> Situation:
    session = login is not None
    return Situation(
        rule=attempt.name if attempt is not None else match.rule,
        kind=match.kind,
        flow=app.flow,
        strangers=app.strangers,
        method=request.method,
        door=attempt is not None or match.kind is RouteKind.LOGIN,
        attempt=attempt is not None,
        alias=match.alias,
        unknown_method=match.unknown_method,
        store=StoreState.UP if session else StoreState.UNASKED,
        claimed=session,
        standing=Standing.ACTIVE if session else Standing.ABSENT,
        stage=Stage.FULL if session else None,
        enrolled=session,
        credentials=1 if session else 0,
        known=1 if session else 0,
        needs_credential=app.basic is not Basic.LOGIN,
    )


def _word(decision: RequestDecision) -> tuple[str, int | None]:
    if isinstance(decision, Forward):
        return "forwarded", None
    if isinstance(decision, Challenge):
        return f"asked first ({decision.prompt.value})", 401
    return "refused", decision.status


def _cost(policy: Policy, app: App, route: Route | None, kind: RouteKind, asker: Asker) -> tuple[str, ...]:
    if kind is RouteKind.PUBLIC:
        return ("nothing: public",)
    realm = policy.realms[app.realm]
    name = asker.account_class or realm.default_class
    minute = caps.local_minute(asker.at_ms, realm.timezone)
    place = caps.Place(name, app.name, asker.establishment, minute)
    resolved = caps.resolve(realm.classes[name], realm.caps, place)
    told = ["1 of requests-10s"] if asker.login is not None else []
    if kind not in REVEALING:
        told.append("sightings-1h: each NIR, phone or e-mail that its answer shows")
        return tuple(told)
    told.append(_weight(kind, resolved.limits))
    if route is not None and route.categories:
        told.append(f"reveals {', '.join(route.categories)} ({route.sensitivity.value})")
    if app.flow is Flow.BEFORE_LOGIN:
        told.append("code asked before the app's own login")
    given = zip(resolved.limits.limits, resolved.sources, strict=True)
    told.append(f"class {name}: {', '.join(_bounds(limit, source) for limit, source in given)}")
    return tuple(told)


def _bounds(limit: Limit, source: str | None) -> str:
    rule = f", by rule {source}" if source is not None else ""
    soft = "" if limit.soft is None else f"{limit.soft}/"
    return f"{limit.control.value} {soft}{limit.hard} ({limit.mode.value}{rule})"


def _weight(kind: RouteKind, limits: LimitSet) -> str:
    if kind is RouteKind.LISTING:
        return (
            f"each patient not seen in the window weighs {limits.listed_weight_milli / 1000:g} of one; "
            "each row counts in rows-1h"
        )
    if kind is RouteKind.EXPORT:
        return "each patient not seen in the window weighs 1, each row counts in rows-1h; 1 of exports-24h"
    return "each patient not seen in the window weighs 1"


def _nowhere(reason: str, status: int, *steps: Step) -> Explanation:
    return Explanation(None, None, "ingress", None, "refused", reason, status, (), steps)
