"""Problem details, and who gets them."""

import json

import pytest

from gateway.pages.language import LANGUAGES, catalogue
from gateway.pages.problem import problem, text_key, wants_html
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.limits import Control


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_a_problem(reason: Reason) -> None:
    reply = problem(reason=reason, status=403, reference="7F3K-92QD")
    members = json.loads(reply.body)
    assert members["type"] == f"urn:ecluse:problem:{reason.value}"
    assert members["status"] == reply.status == 403
    assert members["reference"] == "7F3K-92QD"
    assert members["title"]
    assert members["detail"]
    assert set(members) == {"type", "title", "status", "detail", "reference"}
    headers = dict(reply.headers)
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "retry-after" not in headers


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("control", [None, *Control])
def test_every_reason_has_a_text_in_both_languages(reason: Reason, control: Control | None) -> None:
    for language in LANGUAGES:
        for part in ("title", "text"):
            assert catalogue(language).text(f"{text_key(reason, control)}.{part}")


# Reasons that let an exchange pass: should one reach a person, the text is the general one.
PASSING = {
    Reason.PUBLIC,
    Reason.OWN_PAGE,
    Reason.STRANGER_AT_LOGIN,
    Reason.STRANGER_SHOWN,
    Reason.SESSION_FULL,
    Reason.SERVICE_ACCOUNT,
    Reason.UNVERIFIED_ALLOWED,
    Reason.REVEALS_NOBODY,
    Reason.WITHIN_CAPS,
    Reason.PARKED,
}


@pytest.mark.parametrize("reason", Reason)
def test_only_passing_reasons_share_the_general_text(reason: Reason) -> None:
    assert (text_key(reason) == "refusal.other") == (reason in PASSING)


@pytest.mark.parametrize(
    ("control", "key"),
    [
        (Control.REQUESTS, "requests"),
        (Control.PATIENTS_24H, "patients"),
        (Control.ROWS_1H, "patients"),
        (Control.BYTES_1H, "volume"),
        (Control.EXPORTS_24H, "exports"),
        (Control.PROBES_1H, "probes"),
        (Control.SIGHTINGS_1H, "volume"),
    ],
)
def test_the_control_chooses_the_text_of_limits_only(control: Control, key: str) -> None:
    assert text_key(Reason.CAP, control) == text_key(Reason.LIMIT, control) == f"refusal.{key}"
    assert text_key(Reason.FAULT, control) == "refusal.unavailable"


def test_members_and_headers_when_known() -> None:
    reply = problem(
        reason=Reason.CODE_OWED, status=401, reference="r", retry_after_s=0, prompt_path="/.ecluse/code"
    )
    members, headers = json.loads(reply.body), dict(reply.headers)
    assert members["prompt"] == "/.ecluse/code"
    assert members["retry_after_s"] == 1
    assert headers["retry-after"] == "1"
    assert headers["www-authenticate"] == "Ecluse"


def test_reference_is_escaped() -> None:
    hostile = '"}\r\n<script>\x00é'
    reply = problem(reason=Reason.FAULT, status=503, reference=hostile)
    assert json.loads(reply.body)["reference"] == hostile
    assert b"\n" not in reply.body


CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "mode", "requested_with", "expected"),
    [
        # Browsers that say how they fetch.
        (CHROME, "navigate", None, True),
        (CHROME, "NAVIGATE ", None, True),
        ("*/*", "cors", None, False),
        ("text/html, */*", "cors", None, False),
        (CHROME, "no-cors", None, False),
        ("*/*", "same-origin", None, False),
        ("*/*", "navigate", None, True),
        (None, "navigate", None, True),
        ("application/json", "navigate", None, False),
        # Older browsers.
        (CHROME, None, None, True),
        ("text/html", None, None, True),
        ("TEXT/HTML;level=1;q=0.7, */*;q=0.1", None, None, True),
        # Scripts in pages.
        ("text/html, */*; q=0.01", None, "XMLHttpRequest", False),
        (CHROME, "navigate", "XMLHttpRequest", False),
        ("application/json, text/plain, */*", None, None, False),
        # Programs.
        (None, None, None, False),
        ("", None, None, False),
        ("*/*", None, None, False),
        ("application/json", None, None, False),
        ("application/fhir+json, text/html;q=0.5", None, None, False),
        ("text/html;q=0", None, None, False),
        ("text/html;q=abc", None, None, False),
        ("text/html;q=0.5, application/json", None, None, False),
        ("text/html, application/json;q=0.9", None, None, True),
        ("image/png", None, None, False),
        (",;;,=,q=", None, None, False),
    ],
)
def test_who_gets_a_page(
    accept: str | None, mode: str | None, requested_with: str | None, expected: bool
) -> None:
    assert wants_html(accept, mode, requested_with) is expected
