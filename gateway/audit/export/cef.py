"""ArcSight Common Event Format, version 0. Pure."""

import re
from ipaddress import IPv4Address, ip_address
from typing import Final

from gateway.audit.export.facts import Facts, Observer
from gateway.audit.export.meanings import meaning_of, outcome_of

_IN_HEADER = re.compile(r"[\\|]")
_IN_EXTENSION = re.compile(r"[\\=]")
_SEVERITY: Final = {3: 8, 4: 7, 5: 5, 6: 3}
"""From RFC 5424's to CEF's, where 0 to 3 is low, 4 to 6 medium, 7 and 8 high."""


def render(facts: Facts, observer: Observer) -> str:
    """Return *facts* as one CEF line.

    Backslash and pipe are escaped in the header, backslash and equals sign in the extension; line ends are
    none of these texts' (CEF, "Character encoding").
    """
    meaning = meaning_of(facts)
    header = "|".join(
        _IN_HEADER.sub(r"\\\g<0>", text)
        for text in ("Ecluse", "ecluse", observer.version or "0", facts.kind, meaning.title)
    )
    actor, target = facts.operator or facts.account, facts.account if facts.operator else None
    told: list[tuple[str, object]] = [
        ("rt", facts.at_ms),
        ("externalId", facts.message_id),
        ("cat", facts.route_kind),
        ("outcome", outcome_of(facts).value),
        ("reason", facts.reason),
        ("dvchost", observer.host),
        ("deviceProcessName", facts.writer),
        ("suser", actor),
        ("spriv", facts.account_class),
        ("sntdom", facts.realm),
        ("duser", target),
        *_address(facts.client),
        ("spt", facts.client_port),
        ("destinationServiceName", facts.app),
        ("dhost", observer.addresses.get(facts.app or "")),
        ("requestMethod", facts.method),
        ("out", facts.bytes),
        *_labelled("cs1", "patient", facts.patient),
        *_labelled("cs2", "route", facts.route),
        *_labelled("cs3", "categories", ",".join(facts.categories) or None),
        *_labelled("cs4", "control", facts.control),
        *_labelled("cs5", "establishment", facts.establishment),
        *_labelled("cs6", "reference", facts.reference),
        *_labelled("cn1", "rows", facts.rows),
        *_labelled("cn2", "status", facts.status),
        *_labelled("cn3", "patients", facts.patients or None),
        *_labelled("flexString1", "request", facts.request_id),
        *_labelled("flexString2", "session", facts.session),
        ("msg", "; ".join(f"{name}: {text}" for name, text in facts.detail) or None),
    ]
    extension = " ".join(
        f"{key}={_IN_EXTENSION.sub(r'\\\g<0>', str(value))}" for key, value in told if value is not None
    )
    return f"CEF:0|{header}|{_SEVERITY[meaning.severity]}|{extension}"


def _labelled(key: str, label: str, value: object) -> list[tuple[str, object]]:
    return [] if value is None else [(f"{key}Label", label), (key, value)]


def _address(client: str | None) -> list[tuple[str, object]]:
    if client is None:
        return []
    try:
        address = ip_address(client)
    except ValueError:
        return [("shost", client)]
    # CEF's src takes IPv4 only.
    if isinstance(address, IPv4Address):
        return [("src", str(address))]
    return _labelled("c6a2", "Source IPv6 Address", str(address))
