"""Events of the journal, as the readers of it give them, for the tests of this folder."""

from typing import Any

from gateway.audit.export.facts import Observer
from tests.people import DR_MARTIN

OBSERVER = Observer(
    host="passerelle-01.chu.example",
    site="GRADeS d'exemple",
    version="0.1.0",
    enterprise_id=64_000,
    addresses={"parcours": "parcours.chu.example"},
)
AT_MS = 1_795_335_302_317
AT = "2026-11-22T08:15:02.317Z"
FIRST, SECOND = f"k1:{1:032x}", f"k1:{2:032x}"


def an_access(**values: Any) -> dict[str, Any]:
    """Dr Martin opens one record."""
    return {
        "writer": "gateway",
        "at": AT,
        "at_ms": AT_MS,
        "seq": 17,
        "kind": "access",
        "reason": "within-caps",
        "realm": "chu",
        "account": DR_MARTIN.login,
        "account_class": "ward",
        "establishment": "590000000",
        "app": "parcours",
        "route": "identity",
        "route_kind": "record",
        "method": "GET",
        "status": 200,
        "opened": True,
        "rows": 1,
        "bytes": 8_423,
        "patients": [FIRST],
        "categories": ["identite.nom", "contact.tel"],
        "sensitivity": "administrative",
        "client": "192.0.2.44",
        "client_port": 51_514,
        "session": "0123456789ab",
        "request_id": "76d148b6-586d-11ec-bf63-0242ac130002",
        "rule": "identity",
        "policy_id": "p1",
        **values,
    }


def a_list(**values: Any) -> dict[str, Any]:
    """Dr Martin lists two patients."""
    told = {
        "route": "search",
        "route_kind": "listing",
        "opened": False,
        "rows": 2,
        "patients": [FIRST, SECOND],
    }
    return an_access(**{**told, **values})


def a_refusal(**values: Any) -> dict[str, Any]:
    """A cap keeps an answer back."""
    return {
        "writer": "gateway",
        "at": AT,
        "at_ms": AT_MS,
        "seq": 18,
        "kind": "withheld",
        "reason": "cap",
        "control": "patients-1h",
        "realm": "chu",
        "account": "intrus",
        "app": "parcours",
        "route": "search",
        "route_kind": "listing",
        "method": "GET",
        "status": 429,
        "client": "2001:db8::7",
        "client_port": 40_000,
        "reference": "K7QW-2M4P",
        "detail": {"why": "would cross"},
        **values,
    }


def an_act(**values: Any) -> dict[str, Any]:
    """An operator locks an account."""
    return {
        "writer": "operator",
        "at": AT,
        "at_ms": AT_MS,
        "seq": 3,
        "kind": "account-locked",
        "operator": "root",
        "realm": "chu",
        "account": DR_MARTIN.login,
        "detail": {"act": "lock", "reason": "password stolen"},
        **values,
    }
