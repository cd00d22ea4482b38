"""The compiler: each line of behaviour, part 11, as a value; shorthands mean what they stand for; stable ids."""

from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gateway.configuration import load
from gateway.configuration.checks import check_realm
from gateway.configuration.classes import compile_classes
from gateway.configuration.schema_realm import ClassSpec, RealmSpec
from gateway.policy.caps import CapBound, CapRule
from gateway.policy.plain import identify
from gateway.policy.policy import App, Basic, Flow, PathAllowance, Policy, Strangers
from gateway.vocabulary.identity import NameMapping
from gateway.vocabulary.limits import ACCOUNT_CONTROLS, Control, Limit, LimitSet, Mode
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
from gateway.vocabulary.measures import MeasureRules, PlanBlancRule, StrictRule
from gateway.vocabulary.records import Extraction, Normalisation, Place, RouteKind, Source

CONFIGS = Path(__file__).parents[2] / "configs"


def policy(name: str) -> Policy:
    """Return the policy of the working file *name*."""
    return load(CONFIGS / f"working_{name}.yml").policy


def demo(name: str) -> App:
    """Return its app."""
    return policy(name).apps["demo"]


def rule(app: App, name: str) -> LoginRule:
    """Return the login rule *name* of *app*."""
    return next(one for one in app.logins if one.name == name)


def extraction(app: App, name: str) -> Extraction:
    """Return how route *name* of *app* names its patients."""
    found = next(route for route in app.routes if route.name == name).extraction
    assert found is not None
    return found


def test_login_told_by_cookie_location_body_or_json() -> None:
    app = demo("login_told_by_cookie_or_message")
    same = rule(app, "same-redirect-other-cookie")
    assert same.success == (
        (
            ResponseTest(Sign.STATUS, statuses=(302,)),
            ResponseTest(Sign.LOCATION, pattern="^/home$"),
            ResponseTest(Sign.COOKIE_CHANGED, "sid"),
        ),
    )
    assert same.failure == ((ResponseTest(Sign.COOKIE_SET, "login_error"),),)
    message = rule(app, "same-redirect-with-message").success[0]
    assert message[1] == ResponseTest(Sign.LOCATION, pattern="[?&]error=", negate=True)
    assert rule(app, "success-is-a-record").success[0][1].negate
    api = rule(app, "failure-is-200-json")
    assert api.success[0][1] == ResponseTest(Sign.JSON, "$.ok", pattern="^true$")
    assert api.success[1][1] == ResponseTest(Sign.JSON, "$.session.id")
    assert len(api.failure) == 2
    assert api.account == (AccountSource(AccountPlace.JSON, "$.user"),)


def test_login_on_any_address_by_parameter() -> None:
    app = demo("login_by_parameter_anywhere")
    assert app.basic is Basic.REFUSE
    assert rule(app, "action").path_template is None
    assert rule(app, "action").params == (ParamTest(ParamPlace.FORM, "@action", Op.EQUALS, "Login"),)
    assert rule(app, "address").methods == ("GET",)
    assert {test.op for test in rule(app, "address").params} == {Op.PRESENT}
    assert [source.place for source in rule(app, "both-kinds").account] == [
        AccountPlace.FORM,
        AccountPlace.JSON,
    ]


def test_strangers_are_shown_the_page_with_its_form() -> None:
    app = demo("strangers_see_200")
    assert (app.strangers, app.login_page) == (Strangers.SHOW, None)
    assert app.logins[0].path_template == app.routes[0].template.text == "/patients/{id}"


def test_proofs_computed_names_bearers_and_neutral_cookies() -> None:
    app = demo("proofs_of_every_kind")
    assert rule(app, "computed-name").success == ((ResponseTest(Sign.COOKIE_SET, "wordpress_logged_in_*"),),)
    assert rule(app, "remembered").success[0][0].sign is Sign.COOKIE_MATCHES
    assert [test.sign for test in rule(app, "remembered").failure[0]] == [Sign.COOKIE_ABSENT] * 2
    token = rule(app, "token")
    assert (token.bearer, token.success[0][0].statuses) == ("$.access_token", tuple(range(200, 300)))
    assert app.neutral_cookies == ("lang", "consent_*")


def test_ids_aliases_parameters_revisions_and_differences() -> None:
    app = demo("ids_with_aliases")
    by_parameter = extraction(app, "patient-by-parameter")
    assert by_parameter.sources == (Source(Place.QUERY, "patient"),)
    assert by_parameter.normalise[-1] is Normalisation.UNPAD
    assert (by_parameter.system, by_parameter.strip_prefix) == ("ipp", "p")
    assert extraction(app, "one").first_only
    assert extraction(app, "several").sources == (
        Source(Place.HTML, "a[href^='/view?id=']", attribute="href", pattern="id=([0-9]+)"),
    )
    assert extraction(app, "revision").sources == (Source(Place.HEADER, "x-patient-id"),)
    assert extraction(app, "difference").sources[0].place is Place.HTML


def test_one_answer_reveals_many() -> None:
    app = demo("many_in_one_answer")
    places = {
        route.name: [s.place for s in route.extraction.sources] for route in app.routes if route.extraction
    }
    assert places == {
        "sheet-with-others-inside": [Place.PATH, Place.HTML],
        "feed": [Place.TEXT],
        "search": [Place.JSON],
        "export": [Place.CSV],
        "collection": [Place.REQUEST_TEXT, Place.TEXT],
        "batch": [Place.REQUEST_JSON, Place.JSON],
    }
    assert extraction(app, "export").sources == (Source(Place.CSV, "1", delimiter=";"),)
    assert extraction(app, "export").system == "demo"


def test_names_collapse_as_the_apps_collapse_them() -> None:
    assert policy("names_collapse").realms["chu"].mapping == NameMapping(
        strip_domains=("CHU",),
        email_domains=("chu.example", "sante.example"),
        strip_prefixes=("ext-",),
        drop="_",
        replace=(("é", "e"), ("ß", "ss")),
        scripts=("LATIN", "GREEK"),
        max_length=64,
    )


def test_reset_links_and_acting_as_somebody_else() -> None:
    app = demo("reset_links_and_acting_as")
    assert rule(app, "reset-link").account[0].place is AccountPlace.RESPONSE_HTML
    assert [source.place for source in rule(app, "magic-link").account] == [
        AccountPlace.RESPONSE_JSON,
        AccountPlace.RESPONSE_HEADER,
    ]
    assert rule(app, "magic-link").landing == "/home"
    assert {route.name for route in app.routes if route.kind is RouteKind.BLOCKED} == {
        "password-by-link",
        "act-as",
    }


def test_services_have_networks_and_a_class_of_their_own() -> None:
    loaded = policy("clients_without_cookies")
    service = loaded.apps["demo"].services[0]
    assert [str(network) for network in service.networks] == ["10.20.0.0/16", "2001:db8::/32"]
    limits = {limit.control: limit for limit in loaded.realms["chu"].classes[service.account_class].limits}
    assert limits[Control.PATIENTS_10MIN] == Limit(Control.PATIENTS_10MIN, 80, soft=40)
    assert limits[Control.PATIENTS_1H] == Limit(Control.PATIENTS_1H, 160, Mode.OBSERVE, 80)
    assert limits[Control.PATIENTS_24H].hard == 200


def test_hosts_and_origin_as_browsers_see_them() -> None:
    loaded = policy("hosts_unchanged")
    assert set(loaded.by_host) == {"demo.chu.example", "demo.intranet", "127.0.0.1", "[::1]"}
    app = loaded.by_host["demo.intranet"]
    assert app.public_origin == "https://demo.chu.example:8443"
    assert app.path_allowances == {PathAllowance.SEMICOLON, PathAllowance.ENCODED_SLASH}


def test_basic_on_every_page() -> None:
    app = demo("basic_on_every_page")
    assert (app.flow, app.basic, app.logins) == (Flow.BEFORE_LOGIN, Basic.LOGIN, ())


# docs/limits.md says where each comes from.
HARD = (60, 80, 120, 200, 400, 2_000, 100_000_000, 20, 60, 200)
SOFT = (30, 40, 60, 100, 200, 600, 30_000_000, 5, 20, 100)


def test_built_in_classes_have_the_numbers_that_are_explained() -> None:
    classes = policy("smallest").realms["chu"].classes
    assert classes["standard"] == LimitSet(
        "standard",
        tuple(
            Limit(control, hard, soft=soft)
            for control, hard, soft in zip(ACCOUNT_CONTROLS, HARD, SOFT, strict=True)
        ),
    )
    heavy = {limit.control: limit.hard for limit in classes["heavy"].limits}
    assert (heavy[Control.PATIENTS_24H], heavy[Control.PATIENTS_7D]) == (450, 1_000)
    assert all(limit.soft == limit.hard for limit in classes["grace"].limits)
    assert {limit.hard for limit in classes["grace"].limits} == {
        60,
        20,
        30,
        50,
        100,
        500,
        25_000_000,
        5,
        15,
    }
    ward = {limit.control: limit.hard for limit in classes["ward"].limits}
    assert (ward[Control.PATIENTS_24H], ward[Control.PATIENTS_1H]) == (200, 120)


def test_observe_for_one_control_or_a_whole_class() -> None:
    realm = policy("observe").realms["chu"]
    trial = {limit.control: limit.mode for limit in realm.classes["trial"].limits}
    assert trial.pop(Control.REQUESTS) is Mode.ENFORCE
    assert set(trial.values()) == {Mode.OBSERVE}
    ward = {limit.control: limit.mode for limit in realm.classes["ward"].limits}
    assert [control for control, mode in ward.items() if mode is Mode.OBSERVE] == [Control.BYTES_1H]
    assert realm.classes["ward"].listed_weight_milli == 125
    assert (realm.grace_until_ms, realm.grace_class) == (1_801_350_000_000, "grace")


def test_caps_by_class_app_establishment_and_hour() -> None:
    realm = policy("caps").realms["chu"]
    assert realm.timezone == "Indian/Reunion"
    nights, closed, register, lille = realm.caps
    assert nights == CapRule(
        "nights", (CapBound(Control.PATIENTS_1H, 30),), frozenset({"ward"}), hours=(1_260, 420)
    )
    assert (closed.hours, closed.days) == ((1_170, 1_440), frozenset({5, 6}))
    assert closed.bounds == (CapBound(Control.PATIENTS_10MIN, 5, 1),)
    assert register.bounds == (CapBound(Control.EXPORTS_24H, 2, mode=Mode.OBSERVE),)
    assert (register.classes, register.apps) == ({"ward", "offices"}, {"demo"})
    assert lille.establishments == {"590000001", "010000024"}
    assert (policy("smallest").realms["chu"].caps, policy("smallest").realms["chu"].timezone) == (
        (),
        "Europe/Paris",
    )


def test_measures_are_compiled_and_stand_in_the_policy_id() -> None:
    measures = policy("caps").measures
    assert measures.strict == StrictRule(250, 300, 14_400)
    plan = measures.plan_blanc
    assert (plan.times_milli, plan.raises) == (2_500, {Control.PATIENTS_1H, Control.ROWS_1H})
    assert dict(plan.ceilings) | {Control.PATIENTS_1H: 360} == dict(PlanBlancRule().ceilings)
    assert dict(plan.ceilings)[Control.PATIENTS_1H] == 200
    found = policy("smallest")
    assert found.measures == MeasureRules()
    assert identify(replace(found, measures=measures)) != found.policy_id


def test_every_class_has_every_control_once() -> None:
    for file in CONFIGS.glob("working_*.yml"):
        for realm in load(file).policy.realms.values():
            for limits in realm.classes.values():
                assert [limit.control for limit in limits.limits] == list(ACCOUNT_CONTROLS)


def test_policy_id_follows_what_decides_and_nothing_else(tmp_path: Path) -> None:
    text = (CONFIGS / "working_smallest.yml").read_text()

    def written(changed: str) -> str:
        file = tmp_path / "changed.yml"
        file.write_text(changed)
        return load(file).policy.policy_id

    first = policy("smallest").policy_id
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert written(text) == first
    # Comments, places of files and ports decide nothing.
    assert written("# a comment\n" + text.replace("8443", "9443")) == first
    # A shorthand is what it stands for.
    assert written(text.replace("{path: id}", "{from: [{path: id}]}")) == first
    assert written(text.replace("account: username", "account: [{form: username}]")) == first
    assert written(text.replace("patients_24h: 200", "patients_24h: {hard: 200, mode: enforce}")) == first
    # Any change of a rule shows.
    assert written(text.replace("patients_24h: 200", "patients_24h: 201")) != first
    assert written(text.replace("path: /patients/{id}", "path: /patients/{id:int}")) != first
    assert written(text.replace("status: 302", "status: 303")) != first


@pytest.mark.parametrize("name", ["smallest", "many_in_one_answer", "observe"])
def test_identify_ignores_the_id_itself(name: str) -> None:
    found = policy(name)
    assert identify(replace(found, policy_id="other")) == found.policy_id


@pytest.mark.parametrize(
    ("written", "soft"),
    [
        ("patients_24h: 200", 100),
        ("patients_24h: {hard: 200, soft: 30}", 30),
        ("patients_24h: {hard: 200, soft: 200}", 200),
        ("patients_24h: {hard: 200}, soft_share: 0.25", 50),
        ("patients_24h: {hard: 200, soft: 30}, soft_share: 1", 30),
        ("soft_share: 1", 200),
        ("soft_share: 0.1", 20),
        ("mode: soft", 100),
    ],
)
def test_the_soft_bound_is_written_or_a_share(written: str, soft: int) -> None:
    spec = ClassSpec.model_validate(YAML(typ="safe").load("{" + written + "}"), strict=False)
    found = compile_classes({"ward": spec})["ward"]
    assert next(limit.soft for limit in found.limits if limit.control is Control.PATIENTS_24H) == soft


def test_a_soft_bound_above_the_hard_one_is_a_fault() -> None:
    spec = RealmSpec.model_validate({"classes": {"ward": {"rows_1h": {"hard": 10, "soft": 11}}}})
    [fault] = check_realm("chu", spec)
    assert fault.at == ("realms", "chu", "classes", "ward", "rows_1h", "soft")
    assert fault.mend == "write at most 10"
