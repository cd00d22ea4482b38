"""The demo app behaves like an app that knows nothing of a gateway: its doors are open to any password."""

import base64

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.demo.app import make_app
from gateway.demo.client import Answer
from gateway.demo.office import REMEMBER_COOKIE, SESSION_COOKIE
from gateway.demo.patients import make_patients
from gateway.demo.people import PROFESSIONALS, Professional
from gateway.demo.recognise import Recogniser
from gateway.demo.variants import make_basic_app, make_json_app

PATIENTS = make_patients(300)
KNOWS = Recogniser(PATIENTS)
SOMEBODY = PROFESSIONALS[0]


@pytest.fixture
def browser() -> FlaskClient:
    return make_app(PATIENTS).test_client()


def shown(answer: TestResponse) -> set[int]:
    return set(KNOWS.ids_in(answer.data))


def log_in(browser: FlaskClient, person: Professional = SOMEBODY, **more: str) -> TestResponse:
    form = Answer(200, body=browser.get("/connexion").data).form_with("mot_de_passe")
    assert form is not None
    typed = {"identifiant": person.login, "mot_de_passe": person.password} | more
    return browser.post(form.action, data=form.fields | typed)


def test_login_succeeds_with_302_and_changes_the_session_cookie(browser: FlaskClient) -> None:
    browser.get("/connexion")
    before = browser.get_cookie(SESSION_COOKIE)
    answer = log_in(browser)
    after = browser.get_cookie(SESSION_COOKIE)
    assert (answer.status_code, answer.location) == (302, "/")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert SOMEBODY.name in browser.get("/").text


@pytest.mark.parametrize(
    "more",
    [
        {"mot_de_passe": "faux"},
        {"identifiant": "personne"},
        # A form from nowhere: the hidden field is not this session's.
        {"jeton": "x"},
    ],
)
def test_login_fails_with_200_and_a_message(browser: FlaskClient, more: dict[str, str]) -> None:
    answer = log_in(browser, SOMEBODY, **more)
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert browser.get("/dossiers").location == "/connexion"


@pytest.mark.parametrize(
    "path", ["/", "/dossiers", "/usagers", "/recherche?q=m", "/export.csv", "/dossiers/1001"]
)
def test_strangers_are_sent_to_the_login(browser: FlaskClient, path: str) -> None:
    answer = browser.get(path)
    assert (answer.status_code, answer.location) == (302, "/connexion")
    assert not shown(answer)


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/dossiers", set(range(1001, 1021))),
        ("/dossiers?page=2", set(range(1021, 1041))),
        ("/api/dossiers?taille=30", set(range(1001, 1031))),
        ("/export.csv?lot=2", set(range(1101, 1201))),
        ("/dossiers/1007", {1007}),
        ("/dossiers/1007/imprimer", {1007}),
        ("/api/dossiers/1007", {1007}),
        # Aliases of an id, and a parameter that beats the path.
        ("/dossiers/01007", {1007}),
        ("/dossiers/1_007", {1007}),
        ("/dossiers/1001?dossier=1007", {1007}),
        ("/api/dossiers/1001?id=1007", {1007}),
        ("/dossiers/9999", set()),
        ("/recherche?q=zzzz", set()),
    ],
)
def test_each_page_shows_whom_it_should(browser: FlaskClient, path: str, ids: set[int]) -> None:
    log_in(browser)
    assert shown(browser.get(path)) == ids


def test_lists_have_20_and_50_rows(browser: FlaskClient) -> None:
    log_in(browser)
    assert browser.get("/dossiers").text.count("<tr data-dossier=") == 20
    assert browser.get("/usagers?taille=50").text.count("<tr data-dossier=") == 50


@pytest.mark.parametrize("door", ["basic", "token", "address", "json", "remember"])
def test_every_second_door_is_open_without_the_gateway(browser: FlaskClient, door: str) -> None:
    typed = {"identifiant": SOMEBODY.login, "mot_de_passe": SOMEBODY.password}
    headers = {}
    if door == "basic":
        pair = base64.b64encode(f"{SOMEBODY.login}:{SOMEBODY.password}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    elif door == "token":
        headers["Authorization"] = f"Bearer {browser.post('/api/jeton', json=typed).json['jeton']}"  # type: ignore[index]
    elif door == "address":
        browser.get("/connexion", query_string=typed)
    elif door == "json":
        browser.post("/connexion", json=typed)
    else:
        log_in(browser, souvenir="1")
        browser.delete_cookie(SESSION_COOKIE)
        assert browser.get_cookie(REMEMBER_COOKIE) is not None
    assert shown(browser.get("/dossiers/1003", headers=headers)) == {1003}


def test_logout_ends_the_session_on_the_server(browser: FlaskClient) -> None:
    log_in(browser)
    kept = browser.get_cookie(SESSION_COOKIE)
    assert kept is not None
    browser.get("/deconnexion")
    browser.set_cookie(SESSION_COOKIE, kept.value)
    assert browser.get("/dossiers").location == "/connexion"


@pytest.mark.parametrize(("login", "status"), [("d.rousseau", 200), ("e.marchand", 403)])
def test_the_list_of_accounts_is_for_administrators(browser: FlaskClient, login: str, status: int) -> None:
    log_in(browser, next(person for person in PROFESSIONALS if person.login == login))
    assert browser.get("/administration").status_code == status


def test_names_are_escaped(browser: FlaskClient) -> None:
    log_in(browser)
    assert "<script>" not in browser.get("/recherche?q=<script>").text


def test_the_basic_variant_knows_no_cookie() -> None:
    app = make_basic_app().test_client()
    assert app.get("/fiche/1001").status_code == 401
    answer = app.get("/fiche/1001", auth=(SOMEBODY.login, SOMEBODY.password))
    assert shown(answer) == {1001} or b"data-dossier" in answer.data
    assert "Set-Cookie" not in answer.headers


def test_the_json_variant_tells_failure_with_200() -> None:
    app = make_json_app().test_client()
    assert app.post("/api/session", json={"login": "x", "password": "y"}).json == {"ok": False}
    told = app.post("/api/session", json={"login": SOMEBODY.login, "password": SOMEBODY.password}).json
    assert told is not None
    assert app.get("/api/patients/1002").status_code == 401
    assert (
        app.get("/api/patients/1002", headers={"Authorization": f"Bearer {told['token']}"}).json["id"] == 1002
    )  # type: ignore[index]
