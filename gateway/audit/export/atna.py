"""The DICOM audit message that IHE ATNA sends (DICOM PS3.15, A.5.1; IHE ITI TF-2, 3.20). Pure."""

import base64
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from gateway.audit.export import dicom
from gateway.audit.export.dicom import Code
from gateway.audit.export.facts import PRODUCT, Facts, Observer
from gateway.audit.export.meanings import meaning_of
from gateway.vocabulary.events import EventKind

MESSAGE_TYPE: Final = "IHE+RFC-3881"
SEVERITY: Final = 5
"""Priority 85: security and authorisation, notice (IHE ITI TF-2, 3.20.4.1.2)."""

_MACHINE, _ADDRESS = "1", "2"
_WEB_SERVER: Final = "3"


def render(facts: Facts, observer: Observer) -> str:
    """Return *facts* as one AuditMessage on one line, without XML declaration."""
    message = Element("AuditMessage")
    _event(message, facts)
    _participants(message, facts, observer)
    source = SubElement(
        message,
        "AuditSourceIdentification",
        _present(
            AuditEnterpriseSiteID=observer.site or None, AuditSourceID=f"{observer.host}/{facts.writer}"
        ),
    )
    SubElement(source, "AuditSourceTypeCode", {"csd-code": _WEB_SERVER})
    _objects(message, facts)
    return tostring(message, encoding="unicode")


def _present(**attributes: str | None) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value is not None}


def _code(parent: Element, name: str, code: str, system: str, text: str) -> None:
    SubElement(parent, name, {"csd-code": code, "codeSystemName": system, "originalText": text})


def _dicom(parent: Element, name: str, code: Code) -> None:
    _code(parent, name, code.value, "DCM", dicom.MEANINGS[code])


def _event(message: Element, facts: Facts) -> None:
    coded = dicom.coded(facts)
    event = SubElement(
        message,
        "EventIdentification",
        {
            "EventActionCode": coded.action,
            "EventDateTime": facts.at,
            "EventOutcomeIndicator": dicom.outcome_code(facts),
        },
    )
    _dicom(event, "EventID", coded.event)
    if coded.type is not None:
        _dicom(event, "EventTypeCode", coded.type)
    _code(event, "EventTypeCode", facts.kind, PRODUCT, meaning_of(facts).title)
    if facts.reason:
        SubElement(event, "EventOutcomeDescription").text = facts.reason


def _participants(message: Element, facts: Facts, observer: Observer) -> None:
    actor = facts.operator or facts.account
    known = {
        "NetworkAccessPointID": facts.client,
        "NetworkAccessPointTypeCode": _ADDRESS if facts.client else None,
    }
    person = SubElement(
        message,
        "ActiveParticipant",
        _present(
            UserID=actor or (f"client at {facts.client}" if facts.client else "unknown"),
            AlternativeUserID=facts.session,
            UserIsRequestor="true",
            **known,
        ),
    )
    accessed, queried = facts.kind == EventKind.ACCESS, dicom.is_query(facts)
    if accessed:
        _dicom(person, "RoleIDCode", Code.SOURCE_ROLE if queried else Code.DESTINATION_ROLE)
    if facts.account_class and not facts.operator:
        _code(person, "RoleIDCode", facts.account_class, PRODUCT, "class of accounts")
    place = observer.addresses.get(facts.app or "") or facts.app or observer.host
    server = SubElement(
        message,
        "ActiveParticipant",
        {
            "UserID": facts.app or PRODUCT,
            "UserIsRequestor": "false",
            "NetworkAccessPointID": place,
            "NetworkAccessPointTypeCode": _MACHINE,
        },
    )
    if accessed:
        _dicom(server, "RoleIDCode", Code.DESTINATION_ROLE if queried else Code.SOURCE_ROLE)
    else:
        _dicom(server, "RoleIDCode", Code.APPLICATION)


def _object(message: Element, id_: str, kind: str, role: str | None, code: tuple[str, str]) -> Element:
    made = SubElement(
        message,
        "ParticipantObjectIdentification",
        _present(ParticipantObjectID=id_, ParticipantObjectTypeCode=kind, ParticipantObjectTypeCodeRole=role),
    )
    _code(made, "ParticipantObjectIDTypeCode", code[0], "RFC-3881", code[1])
    return made


def _objects(message: Element, facts: Facts) -> None:
    if facts.patient is not None:
        patient = _object(message, facts.patient, "1", "1", ("2", "Patient Number"))
        SubElement(patient, "ParticipantObjectName").text = facts.patient
    if facts.operator and facts.account:
        person = _object(message, facts.account, "1", "6", ("11", "User Identifier"))
        SubElement(person, "ParticipantObjectName").text = facts.account
    asked = f"{facts.method or 'GET'} {facts.app or '-'}/{facts.route or '-'}"
    if facts.kind == EventKind.ACCESS and dicom.is_query(facts):
        place = _object(message, facts.event_id, "2", "24", ("10", "Search Criteria"))
        # The journal keeps no query string, which could hold a name or a NIR: the door stands for it.
        SubElement(place, "ParticipantObjectQuery").text = _base64(asked)
    else:
        place = _object(message, facts.event_id, "2", "4" if facts.app else None, ("12", "URI"))
        SubElement(place, "ParticipantObjectName").text = asked if facts.app else facts.event_id
    for name, value in (
        ("id", facts.message_id),
        ("request", facts.request_id),
        ("status", facts.status),
        ("rows", facts.rows),
        ("bytes", facts.bytes),
        ("categories", ", ".join(facts.categories) or None),
        ("sensitivity", facts.sensitivity),
        ("control", facts.control),
        ("reference", facts.reference),
        ("policy", facts.policy_id),
        *facts.detail,
    ):
        if value is not None:
            SubElement(place, "ParticipantObjectDetail", {"type": name, "value": _base64(str(value))})


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
