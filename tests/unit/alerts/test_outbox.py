"""Alerts on disk: told once, tried again, bounded, acknowledged."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gateway.alerts import Kept, Outbox, OutboxRefused, words
from gateway.alerts.channels import sign
from gateway.alerts.delivery import deliver
from gateway.alerts.outbox import GIVE_UP_MS, HELD, MOST
from gateway.clock import FixedClock
from gateway.vocabulary.alerts import Alert
from tests.people import DR_MARTIN

BEGIN_MS = 1_790_000_000_000
ALERT = Alert(
    "enumeration",
    "ask",
    "region",
    DR_MARTIN.login,
    BEGIN_MS,
    "8 dossiers en suivant leurs numéros.",
    "8 records.",
)


class Channel:
    """A channel that takes what it is given, after so many refusals."""

    def __init__(self, name: str = "mail", refusals: int = 0) -> None:
        self.name, self.refusals = name, refusals
        self.taken: list[str] = []

    def send(self, kept: Kept, now_ms: int) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionRefusedError("nobody there")
        self.taken.append(kept.id)


def outbox(folder: Path, **bounds: int) -> Outbox:
    numbers = count(1)
    return Outbox(folder / "alerts", lambda _: f"{next(numbers):08x}", **bounds)


def later(alert: Alert, by_ms: int) -> Alert:
    return replace(alert, at_ms=alert.at_ms + by_ms)


def test_an_alert_is_kept_and_sent_once_to_each_channel(tmp_path: Path) -> None:
    box, clock = outbox(tmp_path), FixedClock(BEGIN_MS)
    mail, hook = Channel(), Channel("webhook")
    box.raise_(ALERT, ["mail", "webhook"])
    assert deliver(box, [mail, hook], clock) == (2, 0)
    assert deliver(box, [mail, hook], clock) == (0, 0)
    assert (mail.taken, hook.taken) == (["00000001"], ["00000001"])
    assert not box.entries()[0].pending
    assert (tmp_path / "alerts").stat().st_mode & 0o077 == 0


def test_what_is_not_taken_is_tried_again_less_and_less_often_and_holds_nobody_else_up(
    tmp_path: Path,
) -> None:
    box, clock = outbox(tmp_path), FixedClock(BEGIN_MS)
    mail, hook = Channel(refusals=3), Channel("webhook")
    box.raise_(ALERT, ["mail", "webhook"])
    assert deliver(box, [mail, hook], clock) == (1, 1)
    for wait_ms in (5_000, 10_000):
        clock.advance(wait_ms - 1)
        assert deliver(box, [mail, hook], clock) == (0, 0)
        clock.advance(1)
        assert deliver(box, [mail, hook], clock) == (0, 1)
    assert box.entries()[0].tries["mail"].error == "ConnectionRefusedError: nobody there"
    clock.advance(20_000)
    # Another process finds it where the first one left it.
    assert deliver(outbox(tmp_path), [mail, hook], clock) == (1, 0)
    assert hook.taken == ["00000001"]


def test_after_a_day_it_is_given_up_and_stays_in_the_list(tmp_path: Path) -> None:
    box, clock = outbox(tmp_path), FixedClock(BEGIN_MS + GIVE_UP_MS)
    box.raise_(ALERT, ["mail"])
    assert deliver(box, [Channel()], clock) == (0, 0)
    assert box.entries()[0].pending


def test_the_same_within_the_window_is_counted_and_anything_harder_is_told(tmp_path: Path) -> None:
    box = outbox(tmp_path, again_after_s=600)
    box.raise_(ALERT, ["mail"])
    box.raise_(later(ALERT, 599_999), ["mail"])
    assert [(one.times, one.last_ms - BEGIN_MS) for one in box.entries()] == [(2, 599_999)]
    box.raise_(replace(ALERT, done="lock"), ["mail"])
    box.raise_(replace(ALERT, account="other"), ["mail"])
    box.raise_(later(ALERT, 600_000), ["mail"])
    assert [one.times for one in box.entries()] == [2, 1, 1, 1]


def test_the_same_after_somebody_looked_is_told_again(tmp_path: Path) -> None:
    box, mail = outbox(tmp_path), Channel()
    first = box.raise_(ALERT, ["mail"])
    box.acknowledge([first.id], BEGIN_MS + 1, by="operator", why="called the ward")
    again = box.raise_(later(ALERT, 60_000), ["mail"])
    assert again.id != first.id
    assert not again.acknowledged_ms
    deliver(box, [mail], FixedClock(BEGIN_MS + 60_000))
    assert mail.taken[-1] == again.id


def test_a_flood_is_kept_and_told_as_one(tmp_path: Path) -> None:
    box, mail = outbox(tmp_path, at_most_per_hour=3), Channel()
    for number in range(10):
        box.raise_(replace(ALERT, account=f"agent{number}"), ["mail"])
    deliver(box, [mail], FixedClock(BEGIN_MS))
    kept = box.entries()
    assert len(mail.taken) == 4
    assert [one.times for one in kept if one.alert.rule == HELD] == [7]
    assert sum(not one.tries for one in kept) == 7
    box.raise_(later(replace(ALERT, account="next"), 3_600_001), ["mail"])
    assert box.entries()[-1].tries


def test_the_file_is_bounded(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    first = box.raise_(ALERT, [])
    made = tuple(replace(ALERT, account=f"agent{number}") for number in range(3))
    import msgspec

    box.path.write_bytes(msgspec.json.encode([Kept(f"{n}", ALERT) for n in range(MOST)]))
    for alert in made:
        box.raise_(alert, [])
    assert len(box.entries()) == MOST
    assert first.id not in {one.id for one in box.entries()}


def test_who_looked_at_it_and_why_is_kept(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    made = box.raise_(ALERT, [])
    assert box.acknowledge([made.id, "ffffffff"], BEGIN_MS + 5, by="sysop", why="honest") == [made.id]
    (one,) = box.entries()
    assert (one.acknowledged_ms, one.acknowledged_by, one.why) == (BEGIN_MS + 5, "sysop", "honest")


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'[{"id": 1}]'])
def test_a_damaged_file_is_told_and_not_written_over(tmp_path: Path, damage: bytes) -> None:
    box = outbox(tmp_path)
    box.raise_(ALERT, [])
    box.path.write_bytes(damage)
    with pytest.raises(OutboxRefused, match="no list of alerts"):
        box.raise_(ALERT, [])
    assert box.path.read_bytes() == damage


@pytest.mark.parametrize("names", [False, True])
def test_professionals_are_named_only_where_it_is_configured(names: bool) -> None:
    kept = Kept("1f2e3d4c", ALERT)
    told = (
        words.subject(kept),
        words.body(kept, names=names),
        words.document(kept, names=names).decode(),
        words.syslog(kept, "gw", names=names),
    )
    assert DR_MARTIN.login not in told[0]
    assert {DR_MARTIN.login in text for text in told[1:]} == {names}
    assert all("1f2e3d4c" in text for text in told)
    command = words.next_command(kept, names=names)
    assert command in told[1]
    assert command.startswith(
        "ecluse account lock dr.martin --realm region" if names else "ecluse alerts list --id"
    )


def test_measures_of_two_establishments_are_two_alerts_and_say_what_shows_them(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    told = [
        Alert("plan-blanc", done, "", "", BEGIN_MS, "Plan.", "Plan.", establishment)
        for done, establishment in (("begin", "A"), ("begin", "B"), ("begin", "A"), ("end", "A"))
    ]
    kept = [box.raise_(alert, []) for alert in told]
    assert [one.times for one in box.entries()] == [2, 1, 1]
    assert {words.next_command(one, names=names) for one in kept for names in (True, False)} == {
        "ecluse plan-blanc"
    }
    assert words.next_command(Kept("1", replace(ALERT, rule="posture")), names=True) == "ecluse posture show"


def test_a_login_runs_no_command_of_its_own() -> None:
    kept = Kept("1f2e3d4c", replace(ALERT, account="a; rm -rf $HOME"))
    assert "'a; rm -rf $HOME'" in words.next_command(kept, names=True)


def test_signatures_are_those_of_the_specification() -> None:
    import hashlib
    import hmac

    expected = hmac.new(b"shared", b'1790000000.{"a":1}', hashlib.sha256).hexdigest()
    assert sign("shared", 1_790_000_000, b'{"a":1}') == f"t=1790000000,v1={expected}"
