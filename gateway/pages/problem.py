"""Refusals as texts: which text a reason has, and the answer for API clients (RFC 9457).

Nothing internal is told: neither counts, nor bounds, nor which rule. The reference leads an operator
to the audit entry that holds them.
"""

import json
from http import HTTPStatus

from gateway.pages.language import catalogue, weighted
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.limits import PATIENT_CONTROLS, POOLED_CONTROLS, Control
from gateway.vocabulary.messages import Headers, Reply

_HTML = frozenset({"text/html", "application/xhtml+xml"})

# Reasons that share a text, because telling them apart would help only an attacker.
_TEXTS: dict[Reason, str] = {
    Reason.NO_SESSION: "no-session",
    Reason.SESSION_EXPIRED: "session-expired",
    Reason.CODE_OWED: "code-owed",
    Reason.ENROLMENT_OWED: "enrolment-owed",
    Reason.LOGIN_OWED: "no-session",
    Reason.BINDING_BROKEN: "session-expired",
    Reason.STEP_UP_OWED: "step-up-owed",
    Reason.MALFORMED_REQUEST: "malformed",
    Reason.UNKNOWN_HOST: "malformed",
    Reason.UNKNOWN_METHOD: "malformed",
    Reason.UPGRADE_REFUSED: "malformed",
    Reason.ROUTE_BLOCKED: "not-allowed",
    Reason.ALIAS_OF_PROTECTED: "not-allowed",
    Reason.NETWORK_REFUSED: "not-allowed",
    Reason.BASIC_REFUSED: "other-way-in",
    Reason.FOREIGN_CREDENTIAL: "other-way-in",
    Reason.NAME_REFUSED: "name-refused",
    Reason.NAMES_DISAGREE: "names-disagree",
    Reason.FORM_REFUSED: "form-refused",
    Reason.ACCOUNT_LOCKED: "account-closed",
    Reason.ACCOUNT_RETIRED: "account-closed",
    Reason.NOT_INVITED: "not-invited",
    Reason.LOGIN_IN_FLIGHT: "login-in-flight",
    Reason.LIMIT: "requests",
    Reason.CAP: "volume",
    Reason.BREAK_GLASS_SPENT: "break-glass-spent",
    Reason.UNINSPECTABLE: "uninspectable",
    Reason.STORE_DOWN: "unavailable",
    Reason.STORE_EMPTIED: "unavailable",
    Reason.AUDIT_DOWN: "unavailable",
    Reason.STOPPING: "unavailable",
    Reason.FAULT: "unavailable",
    Reason.MISROUTED: "unavailable",
    Reason.UPSTREAM_DOWN: "upstream-down",
    Reason.UPSTREAM_UPGRADE: "not-allowed",
    Reason.LOGIN_FAILED: "no-session",
}

_CONTROL_TEXTS: dict[Control, str] = {
    Control.REQUESTS: "requests",
    **dict.fromkeys((*PATIENT_CONTROLS, *POOLED_CONTROLS), "patients"),
    Control.ROWS_1H: "patients",
    Control.BYTES_1H: "volume",
    Control.EXPORTS_24H: "exports",
    Control.PROBES_1H: "probes",
    Control.SIGHTINGS_1H: "volume",
}


def text_key(reason: Reason, control: Control | None = None) -> str:
    """Return the start of the catalogue keys (``refusal.<name>``) that tell *reason* to a person.

    *control* chooses the text of a limit or cap; with STEP_UP_OWED it tells that the application was asked
    already, unless it is the limit of requests. Reasons that reach nobody have the general text.
    """
    if reason is Reason.STEP_UP_OWED and control not in {None, Control.REQUESTS}:
        return "refusal.step-up-withheld"
    if control is not None and reason in {Reason.LIMIT, Reason.CAP}:
        return f"refusal.{_CONTROL_TEXTS[control]}"
    return f"refusal.{_TEXTS.get(reason, 'other')}"


def answer_headers(reason: Reason, status: int, retry_after_s: int | None) -> Headers:
    """Return the headers that a refusal carries in both forms, page and problem.

    401 names our scheme (RFC 9110, 15.5.2, wants one; browsers ignore a scheme they do not know). A closed
    account clears what the browser keeps of the app's pages, service workers among it; cookies are left,
    since Clear-Site-Data would take those of every neighbouring host.
    """
    extra: list[tuple[str, str]] = []
    if status == HTTPStatus.UNAUTHORIZED:
        extra.append(("www-authenticate", "Ecluse"))
    if retry_after_s is not None:
        extra.append(("retry-after", str(max(retry_after_s, 1))))
    if reason in {Reason.ACCOUNT_LOCKED, Reason.ACCOUNT_RETIRED}:
        extra.append(("clear-site-data", '"cache", "storage"'))
    return tuple(extra)


def problem(
    *,
    reason: Reason,
    status: int,
    reference: str,
    retry_after_s: int | None = None,
    prompt_path: str | None = None,
    control: Control | None = None,
) -> Reply:
    """Return problem details for a client that is no browser, in English.

    Members: ``type`` (``urn:ecluse:problem:<reason>``), ``title``, ``status``, ``detail``, ``reference``,
    and when known ``retry_after_s`` and ``prompt``, the path where a person can go on.
    """
    key = text_key(reason, control)
    texts = catalogue("en")
    members: dict[str, object] = {
        "type": f"urn:ecluse:problem:{reason}",
        "title": texts.text(f"{key}.title"),
        "status": status,
        "detail": texts.text(f"{key}.text"),
        "reference": reference,
    }
    if retry_after_s is not None:
        members["retry_after_s"] = max(retry_after_s, 1)
    if prompt_path is not None:
        members["prompt"] = prompt_path
    headers: Headers = (
        ("content-type", "application/problem+json"),
        ("content-language", "en"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        *answer_headers(reason, status, retry_after_s),
    )
    return Reply(status, headers, json.dumps(members).encode())


def wants_html(accept: str | None, sec_fetch_mode: str | None, x_requested_with: str | None) -> bool:
    """Return whether a person is looking: a page then, a redirect may follow; else problem details.

    Fetch metadata decides when the browser sends it (only ``navigate`` is a person). Otherwise a script's
    X-Requested-With says no, and Accept says yes only when it names HTML and weighs it no less than JSON.
    """
    if x_requested_with:
        return False
    weights = weighted(accept)
    html = max((weight for name, weight in weights if name in _HTML), default=None)
    json_ = max((weight for name, weight in weights if name.endswith(("/json", "+json"))), default=0.0)
    if sec_fetch_mode is not None:
        return sec_fetch_mode.strip().lower() == "navigate" and (html is not None or json_ == 0)
    return html is not None and html > 0 and html >= json_
