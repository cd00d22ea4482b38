"""What may pass by the inspector: nothing that the gateway itself would judge otherwise."""

import re
from dataclasses import replace

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import logins
from gateway.edge.doors import Door, Rule, plan
from gateway.policy import routes
from gateway.policy.inspection import why_inspected
from gateway.policy.paths import canonical_path, compile_template
from gateway.policy.policy import App, Basic, Flow, Route, Strangers, Upstream
from gateway.vocabulary.logins import AccountPlace, AccountSource, LoginRule, Op, ParamPlace, ParamTest
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import RouteKind
from tests.thorough import EXAMPLES

APP = App(
    name="app", title="App", realm="region", hosts=("app.example",), upstream=Upstream("http", "app.lan", 80),
    flow=Flow.AFTER_LOGIN, routes=(), logins=(), otherwise=RouteKind.PAGE,
    methods=frozenset({"GET", "HEAD", "POST"}), login_page="/login",
)  # fmt: skip
LOGIN = LoginRule("form", ("POST",), "/login", (), (AccountSource(AccountPlace.FORM, "user"),), ((),))


def route(kind: str, path: str, **more: object) -> Route:
    return Route(f"{kind} {path}", RouteKind(kind), compile_template(path), **more)  # type: ignore[arg-type]


def facts(path: str, query: str = "", method: str = "GET") -> RequestFacts:
    return RequestFacts(
        "0" * 32,
        0,
        "https",
        method,
        "app.example",
        443,
        path,
        query,
        (("host", "app.example"),),
        "192.0.2.9",
        0,
        b"",
    )


def taken(rules: tuple[Rule, ...], path: str) -> Rule | None:
    """Return the rule a proxy would take, by Python's engine and by RE2, which must agree."""
    python = [
        rule for rule in rules if re.search(f"^{rule.pattern}$", path, re.IGNORECASE if rule.fold else 0)
    ]
    linear = [rule for rule in rules if re2.search(f"{'(?i)' if rule.fold else ''}^{rule.pattern}$", path)]
    assert python == linear
    return python[0] if python else None


def door(app: App, path: str) -> Door:
    rule = taken(plan(app, "/.ecluse/"), path)
    return rule.door if rule is not None else Door.INSPECTOR


USUAL = replace(
    APP,
    logins=(LOGIN,),
    routes=(
        route("public", "/static/*"),
        route("login", "/login"),
        route("page", "/"),
        route("page", "/annuaire"),
        route("page", "/aide/{topic}"),
        route("record", "/dossiers/{id}"),
        route("blocked", "/admin/*"),
        route("page", "/espace/{rest:path}"),
    ),
)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/static/app.css", Door.APP),
        ("/static/a/b-1.js", Door.APP),
        ("/", Door.CHECK),
        ("/annuaire", Door.CHECK),
        ("/Annuaire/", Door.CHECK),
        ("/aide/codes", Door.CHECK),
        ("/espace/a/b", Door.CHECK),
        # Whatever names patients, logs in, is refused, or was never declared.
        ("/dossiers/1001", Door.INSPECTOR),
        ("/dossiers/1001.json", Door.INSPECTOR),
        ("/login", Door.INSPECTOR),
        ("/LOGIN/", Door.INSPECTOR),
        ("/admin/x", Door.INSPECTOR),
        ("/.ecluse/code", Door.INSPECTOR),
        ("/nobody/knows", Door.INSPECTOR),
        # Whatever is spelt so that servers differ.
        ("/static/../dossiers/1001", Door.INSPECTOR),
        ("/static/%2e%2e/dossiers/1001", Door.INSPECTOR),
        ("/static//app.css", Door.INSPECTOR),
        ("/static/", Door.INSPECTOR),
        ("/static/.env", Door.INSPECTOR),
        ("/STATIC/app.css", Door.INSPECTOR),
        ("/annuaire;x", Door.INSPECTOR),
        ("/annuaire%2f", Door.INSPECTOR),
        ("/espace/a/../../dossiers/1001", Door.INSPECTOR),
        ("//annuaire", Door.INSPECTOR),
        ("/aide/a%2fb", Door.INSPECTOR),
        ("/aide/é", Door.INSPECTOR),
    ],
)
def test_where_a_path_goes(path: str, where: Door) -> None:
    assert door(USUAL, path) is where


@pytest.mark.parametrize(
    "change",
    [
        {"strangers": Strangers.SHOW},
        {"flow": Flow.BEFORE_LOGIN},
        {"basic": Basic.LOGIN},
        {"logins": (replace(LOGIN, path_template=None, methods=()),)},
        {"logins": (replace(LOGIN, path_template=None, methods=("GET", "POST")),)},
    ],
)
def test_apps_whose_pages_are_all_seen(change: dict[str, object]) -> None:
    app = replace(USUAL, **change)  # type: ignore[arg-type]
    assert all(rule.door is not Door.CHECK for rule in plan(app, "/.ecluse/"))


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({}, False),
        ({"methods": frozenset({"GET"})}, False),
        ({"inspect": True}, True),
        ({"stream": True}, True),
        ({"websocket": True}, True),
        ({"methods": frozenset({"POST"})}, True),
        ({"params": (ParamTest(ParamPlace.QUERY, "page", Op.EQUALS, "aide"),)}, True),
    ],
)
def test_pages_that_are_seen(more: dict[str, object], seen: bool) -> None:
    app = replace(APP, routes=(route("page", "/aide", **more),))
    assert (door(app, "/aide") is Door.INSPECTOR) == seen


def test_the_bare_path_of_a_catch_all_is_no_later_routes() -> None:
    """The page speaks for it, so that it is not public, however public the next route is."""
    app = replace(APP, routes=(route("page", "/*"), route("public", "/")))
    assert door(app, "/") is Door.INSPECTOR
    assert door(app, "/x") is Door.CHECK


def test_one_address_of_two_meanings_is_seen() -> None:
    """A record by its query, declared before or after a page of the same path."""
    record = route("record", "/index.php", params=(ParamTest(ParamPlace.QUERY, "dossier", Op.PRESENT),))
    page = route("page", "/index.php")
    assert door(replace(APP, routes=(record, page)), "/index.php") is Door.INSPECTOR
    # After it, it is never reached, and the page is what the gateway itself would take.
    assert door(replace(APP, routes=(page, record)), "/index.php") is Door.CHECK


# --- Any routes, any path: what the plan lets by, the gateway would let by unseen too. ---

_WORDS = ["a", "A", "1", "12", "a.b", "a-b", "~", ".", "..", "a.", ".a", "", "%61", "a;x", "a.json", "b"]
_SEGMENTS = [
    "a",
    "b",
    "1",
    "{x}",
    "{x:int}",
    "{x:path}",
    "{x:[a-z]+}",
    "{x:.*}",
    "a{x}",
    "{x}.json",
    "p-{x}b",
]
templates = st.builds(
    lambda parts, tail: "/" + "/".join(parts) + tail,
    st.lists(st.sampled_from(_SEGMENTS), max_size=3),
    st.sampled_from(["", "", "/", "/*", "*"]),
)
tails = st.sampled_from(["", "", "", "/", ".json", ".", ";x", "/..", "/a", "%2e"])


@st.composite
def apps(draw: st.DrawFn) -> App:
    found = []
    for index in range(draw(st.integers(1, 5))):
        try:
            template = compile_template(draw(templates))
        except ValueError:
            continue
        kind = draw(st.sampled_from([*RouteKind, RouteKind.PUBLIC, RouteKind.PAGE, RouteKind.RECORD]))
        methods = draw(
            st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"GET"}), frozenset({"POST"})])
        )
        tests = draw(st.sampled_from([(), (), (), (ParamTest(ParamPlace.QUERY, "q", Op.PRESENT),)]))
        found.append(Route(f"r{index}", kind, template, methods, tests))
    rules = (LOGIN,) if draw(st.booleans()) else (replace(LOGIN, methods=(), path_template="/a/{x}"),)
    return replace(
        APP, routes=tuple(found), logins=rules, otherwise=draw(st.sampled_from(["page", "blocked"]))
    )


@st.composite
def asked(draw: st.DrawFn) -> tuple[App, str]:
    """An app, and a path that one of its routes could mean."""
    app = draw(apps().filter(lambda app: bool(app.routes)))
    text = draw(st.sampled_from(app.routes)).template.text
    text = re.sub(r"\{[^{}]*\}", lambda _: draw(st.sampled_from(_WORDS)), text)
    rest = "/".join(draw(st.lists(st.sampled_from(_WORDS), max_size=2)))
    return app, text.replace("*", rest) + draw(tails)


@settings(max_examples=3 * EXAMPLES)
@given(asked(), st.sampled_from(["", "q=1", "user=x"]), st.sampled_from(["GET", "HEAD"]))
def test_what_passes_by_is_what_the_gateway_would_not_look_at(
    what: tuple[App, str], query: str, method: str
) -> None:
    app, path = what
    rule = taken(plan(app, "/.ecluse/"), path)
    if rule is None or rule.door is Door.INSPECTOR:
        return
    assert canonical_path(path) == path
    request = facts(path, query, method)
    match = routes.match(app, request)
    assert logins.attempt(app.logins, request) is None
    assert not match.alias
    assert not match.unknown_method
    assert match.rule == rule.name
    assert match.kind is (RouteKind.PUBLIC if rule.door is Door.APP else RouteKind.PAGE)
    assert why_inspected(app, match.route) is None
