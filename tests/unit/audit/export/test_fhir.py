"""FHIR AuditEvents against IHE BALP's profiles, element by element, and read by somebody else's models."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from gateway.audit.export.formats import FORMATS, texts
from gateway.vocabulary.events import EventKind
from tests.people import DR_MARTIN
from tests.unit.audit.export.events import AT, FIRST, OBSERVER, SECOND, a_list, a_refusal, an_access, an_act

Resource = dict[str, Any]
DCM = "http://dicom.nema.org/resources/ontology/DCM"
TERMS = "http://terminology.hl7.org/CodeSystem/"
BALP = "https://profiles.ihe.net/ITI/BALP/"


def told(event: dict[str, Any]) -> list[Resource]:
    """Return the resources of *event*, each accepted by the R4B models, whose AuditEvent is R4's."""
    lines = list(texts(event, FORMATS["fhir"], OBSERVER))
    for line in lines:
        AuditEvent.model_validate_json(line)
    return [json.loads(line) for line in lines]


def one(event: dict[str, Any]) -> Resource:
    (resource,) = told(event)
    return resource


def agent(resource: Resource, system: str, code: str) -> Resource:
    (found,) = [
        each
        for each in resource["agent"]
        if {"system": system, "code": code}.items() <= each["type"]["coding"][0].items()
    ]
    return found


def entity(resource: Resource, code: str, system: str = TERMS + "audit-entity-type") -> Resource:
    (found,) = [
        each
        for each in resource["entity"]
        if (each["type"]["system"], each["type"]["code"]) == (system, code)
    ]
    return found


def client(resource: Resource) -> Resource:
    return agent(resource, DCM, "110152" if resource["action"] == "R" else "110153")


def server(resource: Resource) -> Resource:
    return agent(resource, DCM, "110153" if resource["action"] == "R" else "110152")


def user(resource: Resource) -> Resource:
    return agent(resource, TERMS + "v3-ParticipationType", "IRCP")


def coding(found: Resource) -> tuple[str, str]:
    return found["system"], found["code"]


# Every element that BALP 1.1 makes mandatory, fixed or forbidden (PatientRead.fsh, PatientQuery.fsh).
BOTH: list[tuple[str, Callable[[Resource], Any], Any]] = [
    ("type = audit-event-type#rest", lambda r: coding(r["type"]), (TERMS + "audit-event-type", "rest")),
    ("recorded 1..1", lambda r: r["recorded"], AT),
    ("outcome = 0", lambda r: r["outcome"], "0"),
    ("agent 2..", lambda r: len(r["agent"]) >= 2, True),
    ("agent[client].who 1..1", lambda r: client(r)["who"], {"display": "client at 192.0.2.44"}),
    ("agent[client].network 1..1", lambda r: client(r)["network"], {"address": "192.0.2.44", "type": "2"}),
    ("agent[client].media 0..0", lambda r: "media" in client(r), False),
    ("agent[server].who 1..1", lambda r: server(r)["who"], {"display": "parcours"}),
    ("agent[server].network 1..1", lambda r: server(r)["network"], {"address": "parcours.chu.example", "type": "1"}),
    ("agent[server].media 0..0", lambda r: "media" in server(r), False),
    ("agent[user].who 1..1", lambda r: user(r)["who"]["identifier"]["value"], DR_MARTIN.login),
    ("agent[user].requestor = true", lambda r: user(r)["requestor"], True),
    ("agent[user].role MS", lambda r: user(r)["role"], [{"text": "ward"}]),
    ("agent[user].name MS", lambda r: user(r)["name"], DR_MARTIN.login),
    ("agent[user].media 0..0", lambda r: "media" in user(r), False),
    ("agent[user].network 0..0", lambda r: "network" in user(r), False),
    ("agent.requestor 1..1 (R4)", lambda r: [type(each["requestor"]) for each in r["agent"]], [bool] * 3),
    ("only the user asked", lambda r: [client(r)["requestor"], server(r)["requestor"]], [False, False]),
    ("source MS, observer 1..1 (R4)", lambda r: r["source"]["observer"]["display"],
     "ecluse gateway on passerelle-01.chu.example"),
    ("source.site", lambda r: r["source"]["site"], "GRADeS d'exemple"),
    ("entity 2..", lambda r: len(r["entity"]) >= 2, True),
    ("entity[patient].role = object-role#1", lambda r: coding(entity(r, "1")["role"]), (TERMS + "object-role", "1")),
    ("entity[patient].what 1..1, a Patient", lambda r: entity(r, "1")["what"]["type"], "Patient"),
    ("entity[patient].what names the pseudonym", lambda r: entity(r, "1")["what"]["identifier"]["value"], FIRST),
    ("entity[transaction].what.identifier.value 1..1",
     lambda r: entity(r, "XrequestId", BALP + "CodeSystem/BasicAuditEntityType")["what"]["identifier"]["value"],
     "76d148b6-586d-11ec-bf63-0242ac130002"),
]  # fmt: skip
READ: list[tuple[str, Callable[[Resource], Any], Any]] = [
    ("profile", lambda r: r["meta"]["profile"], [BALP + "StructureDefinition/IHE.BasicAudit.PatientRead"]),
    ("subtype 1.. of restful-interaction#read", lambda r: [coding(each) for each in r["subtype"]],
     [("http://hl7.org/fhir/restful-interaction", "read")]),
    ("action = R", lambda r: r["action"], "R"),
    ("agent[client].type = Destination Role ID", lambda r: agent(r, DCM, "110152")["network"]["address"],
     "192.0.2.44"),
    ("agent[server].type = Source Role ID", lambda r: agent(r, DCM, "110153")["network"]["address"],
     "parcours.chu.example"),
    ("entity[data].role in 3, 4, 20", lambda r: coding(entity(r, "2")["role"]), (TERMS + "object-role", "4")),
    ("entity[data].what 1..1", lambda r: entity(r, "2")["what"], {"display": "GET parcours/identity"}),
]  # fmt: skip
QUERY: list[tuple[str, Callable[[Resource], Any], Any]] = [
    ("profile", lambda r: r["meta"]["profile"], [BALP + "StructureDefinition/IHE.BasicAudit.PatientQuery"]),
    ("subtype 1.. of restful-interaction#search", lambda r: [coding(each) for each in r["subtype"]],
     [("http://hl7.org/fhir/restful-interaction", "search")]),
    ("action = E", lambda r: r["action"], "E"),
    ("agent[client].type = Source Role ID", lambda r: agent(r, DCM, "110153")["network"]["address"], "192.0.2.44"),
    ("agent[server].type = Destination Role ID", lambda r: agent(r, DCM, "110152")["network"]["address"],
     "parcours.chu.example"),
    ("entity[query].role = object-role#24", lambda r: coding(entity(r, "2")["role"]), (TERMS + "object-role", "24")),
    ("entity[query].what 0..0", lambda r: "what" in entity(r, "2"), False),
    ("entity[query].lifecycle 0..0", lambda r: "lifecycle" in entity(r, "2"), False),
    ("entity[query].detail 0..0", lambda r: "detail" in entity(r, "2"), False),
    ("entity[query].description 0..1", lambda r: entity(r, "2")["description"], "GET parcours/search"),
    ("entity[query].query 1..1, base64", lambda r: base64.b64decode(entity(r, "2")["query"], validate=True),
     b"GET parcours/search"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("element", "look", "expected"), [*BOTH, *READ], ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_opened_record_is_a_patient_read(
    element: str, look: Callable[[Resource], Any], expected: Any
) -> None:
    assert look(one(an_access())) == expected


@pytest.mark.parametrize(
    ("element", "look", "expected"),
    [*BOTH, *QUERY],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_is_a_patient_query_for_each_patient(
    element: str, look: Callable[[Resource], Any], expected: Any
) -> None:
    first, second = told(a_list())
    assert look(first) == expected
    if "names the pseudonym" in element:
        expected = SECOND
    assert look(second) == expected


def test_each_patient_of_a_list_has_an_event_and_an_id_of_their_own() -> None:
    resources = told(a_list())
    assert [entity(each, "1")["what"]["identifier"]["value"] for each in resources] == [FIRST, SECOND]
    assert [each["id"] for each in resources] == ["gateway.17-1", "gateway.17-2"]


def test_an_empty_list_is_a_query_and_a_failed_access_follows_no_profile() -> None:
    assert one(a_list(patients=[], rows=0))["meta"]["profile"] == [
        BALP + "StructureDefinition/IHE.BasicAudit.Query"
    ]
    failed = one(an_access(patients=[], status=404, opened=None))
    assert (failed["outcome"], "meta" in failed) == ("4", False)
    nowhere = one(an_access(client=None))
    assert "meta" not in nowhere


@pytest.mark.parametrize(
    ("event", "code", "subtype", "outcome"),
    [
        (a_refusal(), "110113", "110132", "4"),
        (a_refusal(kind="refused", reason="limit"), "110113", "110132", "4"),
        (a_refusal(kind="challenged", reason="code-owed"), "110113", "110132", "4"),
        (a_refusal(kind="login-seen", reason=None), "110114", "110122", "0"),
        (a_refusal(kind="login-failed"), "110114", "110122", "4"),
        (a_refusal(kind="code-accepted"), "110114", "110122", "0"),
        (a_refusal(kind="code-refused"), "110114", "110122", "4"),
        (a_refusal(kind="logout"), "110114", "110123", "0"),
        (an_act(), "110113", "110137", "0"),
        (an_act(kind="audit-queried"), "110101", "audit-queried", "0"),
        (an_act(kind="started"), "110100", "110120", "0"),
        (an_act(kind="of-the-future"), "110113", "110132", "0"),
    ],
)
def test_everything_else_is_told_in_dicoms_words(
    event: dict[str, Any], code: str, subtype: str, outcome: str
) -> None:
    resource = one(event)
    assert coding(resource["type"]) == (DCM, code)
    assert resource["subtype"][0]["code"] == subtype
    assert resource["subtype"][-1]["code"] == event["kind"]
    assert resource["outcome"] == outcome
    assert "meta" not in resource


def test_every_kind_is_a_valid_resource() -> None:
    for kind in EventKind:
        assert one(an_access(kind=kind.value))["resourceType"] == "AuditEvent"
        assert one({"writer": "gateway", "seq": 0, "at_ms": 0, "kind": kind.value})


def test_an_operator_asked_and_the_account_is_acted_upon() -> None:
    resource = one(an_act())
    assert [
        (each["who"].get("identifier", {}).get("value"), each["requestor"]) for each in resource["agent"]
    ] == [
        ("root", True),
        (None, False),
    ]
    assert entity(resource, "1")["what"]["identifier"]["value"] == DR_MARTIN.login


def test_long_and_strange_writer_names_still_make_an_id() -> None:
    for writer in ("gateway." + "x" * 80, "gateway_1"):
        assert len(one(an_access(writer=writer))["id"]) == 64
