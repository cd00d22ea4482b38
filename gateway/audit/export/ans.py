"""The trace of the ANS reference "proxy e-santé", one JSON object a line. Pure.

The shape is that of the records which the Agence du Numérique en Santé's reference implementation serves at
``/traces`` (ansforge/psc-edc-proxy-esante). What each field holds here is our reading: docs/exports.md.
"""

import json
from typing import Any, Final

from gateway.audit.export.facts import Facts, Observer
from gateway.audit.export.meanings import known_kind
from gateway.vocabulary.events import EventKind

_SEND: Final = "SEND"
TYPES: Final[dict[EventKind, str]] = {
    EventKind.SESSION_OPENED: "CONNECT_SUCCESS",
    EventKind.LOGIN_FAILED: "CONNECT_FAILURE",
    EventKind.CODE_REFUSED: "CONNECT_FAILURE",
    EventKind.ENROLMENT_DENIED: "CONNECT_FAILURE",
    EventKind.INVITATION_REFUSED: "CONNECT_FAILURE",
    EventKind.ACCESS: _SEND,
    EventKind.UNSAFE_SENT: _SEND,
    EventKind.LOGOUT: "DISCONNECT",
    EventKind.SESSION_CLOSED: "DISCONNECT",
}
"""Kinds that have a trace; CONNECT_REPLAY, a session taken up again, has no counterpart here."""


def render(facts: Facts, observer: Observer) -> str | None:  # noqa: ARG001 - the form of every renderer
    """Return *facts* as a trace, once an event: the form names no patient.

    None for kinds without a trace, and for events that lack one of the fields every trace must have: the
    person, the address, the port.
    """
    kind = known_kind(facts)
    trace = TYPES.get(kind) if kind is not None else None
    if trace is None or facts.place > 1 or not facts.account or not facts.client or facts.client_port is None:
        return None
    told: dict[str, Any] = {
        "type": trace,
        "clientId": facts.app,
        "IdRPPS": facts.account,
        "ipAddress": facts.client,
        "ports": [facts.client_port],
        "proxy_id_session": facts.session,
        "session_state": None,
        "dn": None,
        "timestamp": facts.at,
    }
    if trace == _SEND:
        told["apiRequest"] = {"nomApiPsc": facts.app, "methode": facts.method, "path": facts.route}
    return json.dumps(told, separators=(",", ":"))
