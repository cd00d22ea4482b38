"""FHIR R4 AuditEvent: accesses as IHE BALP has them, everything else in DICOM's words. Pure.

IHE ITI Basic Audit Log Patterns (BALP) 1.1, profiles PatientRead, PatientQuery, Read and Query. A profile is
named only by an event that holds every element it asks for.
"""

import base64
import hashlib
import json
import re
from typing import Any, Final

from gateway.audit.export import dicom
from gateway.audit.export.dicom import Code
from gateway.audit.export.facts import PRODUCT, Facts, Observer
from gateway.audit.export.meanings import meaning_of
from gateway.vocabulary.events import EventKind

PROFILE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."

_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
_RESTFUL: Final = "http://hl7.org/fhir/restful-interaction"
_BALP_ENTITY: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_MACHINE, _ADDRESS = "1", "2"
_PERSON, _SYSTEM_OBJECT = "1", "2"
_ROLE_PATIENT, _ROLE_RESOURCE, _ROLE_USER, _ROLE_QUERY = "1", "4", "6", "24"
_WEB_SERVER: Final = "3"
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_ID_CHARS: Final = 64


def render(facts: Facts, observer: Observer) -> str:
    """Return *facts* as one AuditEvent, a line of ASCII JSON."""
    if facts.kind == EventKind.ACCESS:
        told = _access(facts, observer)
    else:
        told = _other(facts, observer)
    return json.dumps(told, separators=(",", ":"))


def _access(facts: Facts, observer: Observer) -> dict[str, Any]:
    queried = dicom.is_query(facts)
    failed = dicom.outcome_code(facts) != "0"
    pattern = ("Patient" if facts.patient else "") + ("Query" if queried else "Read")
    # A failure is no BALP Read or Query, and both ask for the client's place in the network.
    profiled = not failed and facts.client is not None
    # On a query the parameters flow from client to server, on a read the record flows back: the roles turn.
    client, server = Code.SOURCE_ROLE, Code.DESTINATION_ROLE
    if not queried:
        client, server = server, client
    interaction = "search" if queried else "read"
    return {
        **_head(facts, profile=PROFILE + pattern if profiled else None),
        "type": _coding(_TERMINOLOGY + "audit-event-type", "rest", "Restful Operation"),
        "subtype": [_coding(_RESTFUL, interaction, interaction)],
        "action": "E" if queried else "R",
        "recorded": facts.at,
        **_outcome(facts),
        "agent": [_server(facts, observer, server), _client(facts, client), *_user(facts)],
        "source": _source(facts, observer),
        "entity": [*_patient(facts), _query(facts) if queried else _data(facts), *_transaction(facts)],
    }


def _other(facts: Facts, observer: Observer) -> dict[str, Any]:
    coded = dicom.coded(facts)
    types = [_coding(dicom.SYSTEM, coded.type, dicom.MEANINGS[coded.type])] if coded.type else []
    entities = [*_patient(facts), *_acted_upon(facts), *_place(facts), *_transaction(facts)]
    return {
        **_head(facts),
        "type": _coding(dicom.SYSTEM, coded.event, dicom.MEANINGS[coded.event]),
        "subtype": [*types, {"code": facts.kind.replace(" ", "-"), "display": meaning_of(facts).title}],
        "action": coded.action,
        "recorded": facts.at,
        **_outcome(facts),
        "agent": [*_requestor(facts), _gateway(observer)],
        "source": _source(facts, observer),
        **({"entity": entities} if entities else {}),
    }


def resource_id(facts: Facts) -> str:
    """Return the id under which the event is the same resource each time it is sent (FHIR R4, ``id``)."""
    made = facts.message_id.replace(":", ".").replace("/", "-")
    return made if _ID.fullmatch(made) else hashlib.sha256(made.encode()).hexdigest()[:_ID_CHARS]


def _head(facts: Facts, profile: str | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"resourceType": "AuditEvent", "id": resource_id(facts)}
    return told | ({"meta": {"profile": [profile]}} if profile else {})


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": str(code), "display": display}


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [_coding(system, code, display)]}


def _role(code: Code) -> dict[str, Any]:
    return _concept(dicom.SYSTEM, code, dicom.MEANINGS[code])


def _outcome(facts: Facts) -> dict[str, Any]:
    told = {"outcome": dicom.outcome_code(facts)}
    return told | ({"outcomeDesc": facts.reason} if facts.reason else {})


def _server(facts: Facts, observer: Observer, role: Code) -> dict[str, Any]:
    address = observer.addresses.get(facts.app or "") or facts.app or observer.host
    return {
        "type": _role(role),
        "who": {"display": facts.app or address},
        "requestor": False,
        "network": {"address": address, "type": _MACHINE},
    }


def _client(facts: Facts, role: Code) -> dict[str, Any]:
    told = {
        "type": _role(role),
        "who": {"display": f"client at {facts.client}" if facts.client else "client"},
        "requestor": False,
    }
    return told | ({"network": {"address": facts.client, "type": _ADDRESS}} if facts.client else {})


def _user(facts: Facts) -> list[dict[str, Any]]:
    if facts.account is None:
        return []
    kind = _concept(_TERMINOLOGY + "v3-ParticipationType", "IRCP", "information recipient")
    told = {"type": kind, **_who(facts.account, facts.realm), "requestor": True}
    return [told | ({"role": [{"text": facts.account_class}]} if facts.account_class else {})]


def _who(name: str, realm: str | None) -> dict[str, Any]:
    identifier: dict[str, Any] = {"value": name}
    if realm:
        identifier["assigner"] = {"display": realm}
    return {"who": {"identifier": identifier}, "name": name}


def _requestor(facts: Facts) -> list[dict[str, Any]]:
    network = {"network": {"address": facts.client, "type": _ADDRESS}} if facts.client else {}
    if facts.operator:
        return [{**_who(facts.operator, None), "requestor": True, **network}]
    if facts.account:
        return [{**_who(facts.account, facts.realm), "requestor": True, **network}]
    return (
        [{"who": {"display": f"client at {facts.client}"}, "requestor": True, **network}] if network else []
    )


def _gateway(observer: Observer) -> dict[str, Any]:
    return {
        "type": _role(Code.APPLICATION),
        "who": {"display": PRODUCT},
        "requestor": False,
        "network": {"address": observer.host, "type": _MACHINE},
    }


def _source(facts: Facts, observer: Observer) -> dict[str, Any]:
    told: dict[str, Any] = {"site": observer.site} if observer.site else {}
    display = f"{PRODUCT} {facts.writer} on {observer.host}"
    kind = _coding(_TERMINOLOGY + "security-source-type", _WEB_SERVER, "Web Server")
    return told | {"observer": {"display": display}, "type": [kind]}


def _entity_type(code: str, display: str) -> dict[str, str]:
    return _coding(_TERMINOLOGY + "audit-entity-type", code, display)


def _object_role(code: str, display: str) -> dict[str, str]:
    return _coding(_TERMINOLOGY + "object-role", code, display)


def _patient(facts: Facts) -> list[dict[str, Any]]:
    if facts.patient is None:
        return []
    identifier = {"type": {"text": "keyed pseudonym, HMAC-SHA-256"}, "value": facts.patient}
    return [
        {
            "what": {"type": "Patient", "identifier": identifier},
            "type": _entity_type(_PERSON, "Person"),
            "role": _object_role(_ROLE_PATIENT, "Patient"),
        }
    ]


def _asked(facts: Facts) -> str:
    return f"{facts.method or 'GET'} {facts.app or '-'}/{facts.route or '-'}"


def _details(facts: Facts) -> list[dict[str, str]]:
    told = [
        ("status", facts.status),
        ("rows", facts.rows),
        ("bytes", facts.bytes),
        ("categories", ", ".join(facts.categories) or None),
        ("sensitivity", facts.sensitivity),
        ("control", facts.control),
        ("reference", facts.reference),
        ("policy", facts.policy_id),
        *(facts.detail if facts.kind != EventKind.ACCESS else ()),
    ]
    return [
        {"type": name, "valueString": str(value)} for name, value in told if name and value not in {None, ""}
    ]


def _data(facts: Facts) -> dict[str, Any]:
    told = {
        "what": {"display": _asked(facts)},
        "type": _entity_type(_SYSTEM_OBJECT, "System Object"),
        "role": _object_role(_ROLE_RESOURCE, "Domain Resource"),
    }
    return told | ({"detail": details} if (details := _details(facts)) else {})


def _query(facts: Facts) -> dict[str, Any]:
    # The journal keeps no query string, which could hold a name or a NIR: the door stands for it.
    asked = _asked(facts)
    return {
        "type": _entity_type(_SYSTEM_OBJECT, "System Object"),
        "role": _object_role(_ROLE_QUERY, "Query"),
        "description": asked,
        "query": base64.b64encode(asked.encode()).decode(),
    }


def _acted_upon(facts: Facts) -> list[dict[str, Any]]:
    if not (facts.operator and facts.account):
        return []
    return [
        {
            "what": _who(facts.account, facts.realm)["who"],
            "type": _entity_type(_PERSON, "Person"),
            "role": _object_role(_ROLE_USER, "User"),
        }
    ]


def _place(facts: Facts) -> list[dict[str, Any]]:
    details = _details(facts)
    if not (facts.app or details):
        return []
    what = _asked(facts) if facts.app else facts.event_id
    told = {"what": {"display": what}, "type": _entity_type(_SYSTEM_OBJECT, "System Object")}
    return [told | ({"detail": details} if details else {})]


def _transaction(facts: Facts) -> list[dict[str, Any]]:
    if facts.request_id is None:
        return []
    kind = {"system": _BALP_ENTITY, "code": "XrequestId"}
    return [{"what": {"identifier": {"value": facts.request_id}}, "type": kind}]
