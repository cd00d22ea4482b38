"""Each format on ordinary events, against what its specification asks for."""

import base64
import json
import re
from typing import Any

import pytest

from gateway.audit.export import ans, dicom, ecs, meanings
from gateway.audit.export.formats import FORMATS, messages, texts
from gateway.vocabulary.events import EventKind
from tests.people import DR_MARTIN
from tests.unit.audit.export.events import (
    AT,
    AT_MS,
    FIRST,
    OBSERVER,
    SECOND,
    a_list,
    a_refusal,
    an_access,
    an_act,
)
from tests.unit.audit.export.readers import read_cef, read_syslog, read_xml

# ECS 8.17, "Categorization fields": the types expected of each category.
EXPECTED_TYPES = {
    "authentication": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "database": {"access", "change", "info", "error"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "intrusion_detection": {"allowed", "denied", "info"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "process": {"access", "change", "end", "info", "start"},
    "session": {"start", "end", "info"},
    "web": {"access", "error", "info"},
}


def line(event: dict[str, Any], name: str) -> str:
    (text,) = texts(event, FORMATS[name], OBSERVER)
    return text


@pytest.mark.parametrize("table", [meanings.MEANINGS, ecs.CATEGORIES, dicom.CODES])
def test_every_kind_of_event_has_its_place_in_every_table(table: dict[EventKind, object]) -> None:
    assert set(table) == set(EventKind)


def test_ecs_categories_and_types_are_allowed_values() -> None:
    for kind, category, types in ecs.CATEGORIES.values():
        assert kind in {"alert", "event"}
        assert set(types) <= EXPECTED_TYPES[category]


def test_ecs_tells_who_saw_whom() -> None:
    told = json.loads(line(an_access(), "ecs"))
    assert (told["@timestamp"], told["ecs"]["version"]) == (AT, "8.17.0")
    assert told["event"]["action"] == "access"
    assert told["user"] == {"name": DR_MARTIN.login, "domain": "chu", "roles": ["ward"]}
    assert told["source"] == {"address": "192.0.2.44", "ip": "192.0.2.44", "port": 51_514}
    assert told["ecluse"]["patient"] == FIRST
    assert json.loads(line(an_access(client="gibberish"), "ecs"))["source"].get("ip") is None
    act = json.loads(line(an_act(), "ecs"))
    assert act["user"] == {"name": "root", "target": {"name": DR_MARTIN.login, "domain": "chu"}}


def test_syslog_is_rfc_5424() -> None:
    told = read_syslog(line(an_access(), "syslog"))
    assert (told["priority"], told["at"], told["kind"], told["process"]) == ("86", AT, "access", "gateway")
    data = dict(told["data"]["ecluse@64000"])
    assert (data["patient"], data["account"], data["seq"]) == (FIRST, DR_MARTIN.login, "17")
    assert told["text"] == "Patient data shown"
    assert read_syslog(line(a_refusal(), "syslog"))["data"]["detail@64000"] == [("why", "would cross")]


def test_each_form_travels_inside_rfc_5424_under_the_events_name() -> None:
    for name, form in FORMATS.items():
        for place, message in enumerate(messages(a_list(), form, OBSERVER), 1):
            told = read_syslog(message)
            assert dict(told["data"]["ecluse@64000"])["id"] == f"gateway:17/{place}"
            if name == "atna":
                # IHE ITI TF-2, 3.20.4.1.2.
                assert (told["priority"], told["kind"]) == ("85", "IHE+RFC-3881")
                assert told["text"].startswith("\ufeff<AuditMessage>")
            elif name == "cef":
                assert told["text"].startswith("CEF:0|Ecluse|ecluse|")


def test_cef_names_what_it_has_no_field_for() -> None:
    told = read_cef(line(an_access(), "cef"))
    assert told["header"] == ["Ecluse", "ecluse", "0.1.0", "access", "Patient data shown", "3"]
    assert told["told"]["rt"] == str(AT_MS)
    assert (told["told"]["cs1Label"], told["told"]["cs1"]) == ("patient", FIRST)
    assert (told["told"]["src"], told["told"]["spt"]) == ("192.0.2.44", "51514")
    six = read_cef(line(a_refusal(), "cef"))["told"]
    assert "src" not in six
    assert (six["c6a2"], six["msg"]) == ("2001:db8::7", "why: would cross")


@pytest.mark.parametrize("word", ["x|9|a=b", "\\|", "|||||||", "x\\"])
def test_cef_keeps_a_word_of_another_version_in_its_field(word: str) -> None:
    told = read_cef(line(an_access(kind=word), "cef"))
    assert told["header"] == ["Ecluse", "ecluse", "0.1.0", word, "Event of another version", "5"]
    assert told["told"]["suser"] == DR_MARTIN.login


CODED = {"csd-code", "codeSystemName", "originalText"}
# PS3.15, A.5.1.1: element -> attributes it must have, attributes it may have, children in order.
SCHEMA: dict[str, tuple[set[str], set[str], str]] = {
    "AuditMessage": (
        set(), set(),
        "EventIdentification (ActiveParticipant )+AuditSourceIdentification (ParticipantObjectIdentification )*",
    ),
    "EventIdentification": ({"EventDateTime", "EventOutcomeIndicator"}, {"EventActionCode"},
                            "EventID (EventTypeCode )*(EventOutcomeDescription )?"),
    "EventID": (CODED, set(), ""),
    "EventTypeCode": (CODED, set(), ""),
    "EventOutcomeDescription": (set(), set(), ""),
    "ActiveParticipant": ({"UserID", "UserIsRequestor"},
                          {"AlternativeUserID", "UserName", "NetworkAccessPointID", "NetworkAccessPointTypeCode"},
                          "(RoleIDCode )*"),
    "RoleIDCode": (CODED, set(), ""),
    "AuditSourceIdentification": ({"AuditSourceID"}, {"AuditEnterpriseSiteID"}, "(AuditSourceTypeCode )*"),
    "AuditSourceTypeCode": ({"csd-code"}, set(), ""),
    "ParticipantObjectIdentification": (
        {"ParticipantObjectID"}, {"ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole"},
        "ParticipantObjectIDTypeCode (ParticipantObjectName |ParticipantObjectQuery )(ParticipantObjectDetail )*",
    ),
    "ParticipantObjectIDTypeCode": (CODED, set(), ""),
    "ParticipantObjectName": (set(), set(), ""),
    "ParticipantObjectQuery": (set(), set(), ""),
    "ParticipantObjectDetail": ({"type", "value"}, set(), ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", EventKind)
def test_atna_keeps_to_the_schema(kind: EventKind) -> None:
    bare = {"writer": "gateway", "seq": 1, "at_ms": AT_MS, "kind": kind.value}
    for event in (an_access(kind=kind.value), a_list(kind=kind.value), an_act(kind=kind.value), bare):
        for text in texts(event, FORMATS["atna"], OBSERVER):
            for element in read_xml(text).iter():
                needed, allowed, children = SCHEMA[element.tag]
                assert needed <= set(element.attrib) <= needed | allowed, element.tag
                assert re.fullmatch(children, "".join(f"{child.tag} " for child in element)), element.tag
            for detail in read_xml(text).iter("ParticipantObjectDetail"):
                base64.b64decode(detail.attrib["value"], validate=True)


@pytest.mark.parametrize(
    ("event", "event_id", "roles"),
    [
        (an_access(), "110110", ["110152", "110153"]),
        (a_list(patients=[SECOND]), "110112", ["110153", "110152"]),
    ],
)
def test_atna_turns_the_roles_between_read_and_query(
    event: dict[str, Any], event_id: str, roles: list[str]
) -> None:
    message = read_xml(line(event, "atna"))
    (found,) = message.iter("EventID")
    assert found.attrib["csd-code"] == event_id
    people = list(message.iter("ActiveParticipant"))
    assert [next(each.iter("RoleIDCode")).attrib["csd-code"] for each in people] == roles
    assert people[0].attrib["UserID"] == DR_MARTIN.login


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (an_access(), "SEND"),
        (a_list(), "SEND"),
        (an_access(kind="session-opened"), "CONNECT_SUCCESS"),
        (an_access(kind="login-failed"), "CONNECT_FAILURE"),
        (an_access(kind="logout"), "DISCONNECT"),
        (an_access(kind="near-limit"), None),
        (an_access(account=None), None),
        (an_access(client=None), None),
        (an_access(client_port=None), None),
        (an_access(kind="of-the-future"), None),
    ],
)
def test_ans_has_every_field_a_trace_must_have_or_is_silent(event: dict[str, Any], kind: str | None) -> None:
    traces = [json.loads(text) for text in texts(event, FORMATS["ans"], OBSERVER)]
    assert [trace["type"] for trace in traces] == ([kind] if kind else [])
    for trace in traces:
        assert (trace["IdRPPS"], trace["ipAddress"], trace["ports"]) == (
            DR_MARTIN.login,
            "192.0.2.44",
            [51_514],
        )
        assert trace["timestamp"] == AT
        assert ("apiRequest" in trace) == (kind == "SEND")
    assert set(ans.TYPES.values()) < {
        "CONNECT_SUCCESS",
        "CONNECT_REPLAY",
        "CONNECT_FAILURE",
        "SEND",
        "DISCONNECT",
    }
