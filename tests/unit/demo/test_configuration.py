"""The demo's configuration is one that the gateway accepts, with the caps that the product promises."""

from pathlib import Path

from gateway.configuration.load import load
from gateway.demo.app import make_app
from gateway.demo.configuration import REALM, write_configuration
from gateway.demo.patients import make_patients
from gateway.demo.people import PROFESSIONALS, STOLEN
from gateway.demo.recognise import Recogniser
from gateway.demo.thieves import PLACES
from gateway.policy.routes import match
from gateway.vocabulary.limits import ACCOUNT_CONTROLS, Control
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import REVEALING


def test_it_loads_with_the_promised_cap(tmp_path: Path) -> None:
    policy = load(write_configuration(tmp_path, 8443, 9000)).policy
    limits = {limit.control: limit.hard for limit in policy.realms[REALM].classes["standard"].limits}
    assert limits[Control.PATIENTS_10MIN] == 80


def test_every_class_of_the_people_exists(tmp_path: Path) -> None:
    policy = load(write_configuration(tmp_path, 8443, 9000)).policy
    assert {person.account_class for person in PROFESSIONALS} <= policy.realms[REALM].classes.keys()


def test_ten_passwords_are_stolen() -> None:
    assert len(STOLEN) == 10
    assert len({person.login for person in PROFESSIONALS}) == len(PROFESSIONALS)


def test_unbounded_limits_are_enforced_but_never_met(tmp_path: Path) -> None:
    policy = load(write_configuration(tmp_path, 8443, 9000, unbounded=True)).policy
    for name in {person.account_class for person in PROFESSIONALS}:
        limits = policy.realms[REALM].classes[name].limits
        assert len(limits) == len(ACCOUNT_CONTROLS)
        assert all(limit.hard >= 1_000_000 for limit in limits)


def test_every_place_that_shows_patients_is_declared_as_such(tmp_path: Path) -> None:
    app = load(write_configuration(tmp_path, 8443, 9000)).policy.apps["parcours"]
    patients = make_patients(60)
    knows, browser = Recogniser(patients), make_app(patients).test_client()
    person = PROFESSIONALS[0]
    revealing = 0
    for place in PLACES:
        path, _, query = place.partition("?")
        facts = RequestFacts("r", 0, "http", "GET", "localhost", 80, path, query, (), "127.0.0.1", 1)
        if knows.ids_in(browser.get(place, auth=(person.login, person.password)).data):
            assert match(app, facts).kind in REVEALING
            revealing += 1
    assert revealing == len(PLACES) - 1
