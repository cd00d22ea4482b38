"""``ecluse limits reviews``: each emergency is judged once, whether or not the store answers."""

from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import NURSE_BEN
from tests.unit.cli.site import Site, site_in

REFERENCE = "7f3k92qd"
CLOSE = ("limits", "reviews", "--close", REFERENCE, "--reason", "called the ward", "--verdict")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = site_in(tmp_path)
    made.log(
        AuditEvent(
            EventKind.BREAK_GLASS, SystemClock().now_ms() - 60_000, realm="chu", account=NURSE_BEN.login,
            account_class="ward", establishment="590000001", reference=REFERENCE,
        )
    )  # fmt: skip
    return made


def test_a_verdict_needs_no_store(site: Site) -> None:
    judged = site.run(*CLOSE, "justified")
    assert judged.exit_code == 0, judged.stderr
    assert f"{REFERENCE}: justified" in judged.stderr
    (review,) = site.recorded(EventKind.BREAK_GLASS_REVIEWED)
    assert (review["reference"], review["detail"]) == (REFERENCE, {"verdict": "justified"})
    assert (review["account"], review["account_class"]) == (NURSE_BEN.login, "ward")
    assert (review["realm"], review["establishment"]) == ("chu", "590000001")
    assert review["reason"] == "called the ward"
    assert review["operator"]
    assert review["policy_id"]


def test_a_second_verdict_is_refused(site: Site) -> None:
    assert site.run(*CLOSE, "justified").exit_code == 0
    again = site.run(*CLOSE, "unjustified")
    assert again.exit_code == 1
    assert f"{REFERENCE} was judged already: justified" in again.stderr
    (review,) = site.recorded(EventKind.BREAK_GLASS_REVIEWED)
    assert review["detail"] == {"verdict": "justified"}
    shown = site.run("limits", "reviews", "--reason", "weekly", "--all")
    assert "justified" in shown.stdout
