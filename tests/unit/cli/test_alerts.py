"""``ecluse alerts ack``: what was looked at is recorded once."""

from pathlib import Path

from gateway.alerts import Outbox
from gateway.clock import SystemClock
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import EventKind
from tests.people import NURSE_BEN
from tests.unit.cli.site import site_in

ID = "1f2e3d4c"


def test_an_alert_that_is_named_twice_is_recorded_once(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    box = Outbox(tmp_path / "state" / "alerts", lambda _: ID)
    box.raise_(Alert("canary", "lock", "chu", NURSE_BEN.login, SystemClock().now_ms(), "fr", "en"), ())
    acknowledged = site.run("alerts", "ack", ID, ID, "--reason", "called the ward")
    assert acknowledged.exit_code == 0, acknowledged.stderr
    assert "1 acknowledged" in acknowledged.stdout
    (event,) = site.recorded(EventKind.ALERT_ACKNOWLEDGED)
    assert event["reference"] == ID
