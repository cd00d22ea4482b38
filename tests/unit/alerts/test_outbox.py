"""Alerts on disk: told once, tried again, bounded, acknowledged."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

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
    """A channel that takes what it is given, after so many refusals; those of *never* it never takes."""

    def __init__(self, name: str = "mail", refusals: int = 0, never: Sequence[str] = ()) -> None:
        self.name, self.refusals, self.never = name, refusals, never
        self.asked: list[str] = []
        self.taken: list[str] = []

    def send(self, kept: Kept, now_ms: int) -> None:
        self.asked.append(kept.id)
        if kept.id in self.never:
            raise KeyError(kept.alert.account)
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


def raise_several(box: Outbox, count_: int, at_ms: int = BEGIN_MS) -> list[str]:
    made = [replace(ALERT, account=f"agent{number}", at_ms=at_ms) for number in range(count_)]
    return [box.raise_(alert, ["mail"]).id for alert in made]


def pass_time(box: Outbox, channel: Channel, clock: FixedClock, seconds: int) -> None:
    for _ in range(seconds // 5):
        deliver(box, [channel], clock)
        clock.advance(5_000)


def test_a_channel_that_is_down_is_asked_once_for_all_that_waits(tmp_path: Path) -> None:
    box, clock, mail = outbox(tmp_path), FixedClock(BEGIN_MS), Channel(refusals=14)
    raised = raise_several(box, 20)
    # After 0, 5, 15, 35 and 75 s, then once a minute.
    pass_time(box, mail, clock, 600)
    assert (len(mail.asked), mail.taken) == (13, [])
    pass_time(box, mail, clock, 120)
    assert (len(mail.asked), sorted(mail.taken)) == (14 + 20, raised)
    # It has taken something: what comes next begins anew.
    mail.refusals = 1
    box.raise_(replace(ALERT, account="next", at_ms=clock.now_ms()), ["mail"])
    deliver(box, [mail], clock)
    clock.advance(5_000)
    assert deliver(box, [mail], clock) == (1, 0)


def test_what_is_raised_while_a_channel_is_down_is_tried_at_once(tmp_path: Path) -> None:
    box, clock, mail = outbox(tmp_path), FixedClock(BEGIN_MS), Channel(refusals=5)
    raise_several(box, 3)
    pass_time(box, mail, clock, 100)
    assert (len(mail.asked), mail.taken) == (5, [])
    new = box.raise_(replace(ALERT, account="new", at_ms=clock.now_ms()), ["mail"])
    assert deliver(box, [mail], clock) == (1, 0)
    assert mail.taken == [new.id]


@pytest.mark.parametrize(
    ("never", "refusals"), [({0}, 0), ({0, 2, 4, 6}, 3), ({0, 1, 2, 3, 4}, 6), (set(range(7)), 5), (set(), 6)]
)
def test_alerts_that_a_channel_never_takes_hold_up_none_of_the_others(
    tmp_path: Path, never: set[int], refusals: int
) -> None:
    box, clock = outbox(tmp_path), FixedClock(BEGIN_MS)
    raised = raise_several(box, 8)
    refused = [raised[number] for number in never]
    mail = Channel(refusals=refusals, never=refused)
    pass_time(box, mail, clock, 3_600)
    assert sorted(mail.taken) == [id_ for id_ in raised if id_ not in refused]
    # Each of those is tried at most as often as if it were alone, and once a minute in all.
    assert len(mail.asked) - len(mail.taken) <= 64 + refusals


def test_a_fault_of_our_own_is_told_by_its_type_and_stops_no_other_channel(tmp_path: Path) -> None:
    box, clock, hook = outbox(tmp_path), FixedClock(BEGIN_MS), Channel("webhook")
    made = box.raise_(ALERT, ["mail", "webhook"])
    mail = Channel(never=[made.id])
    with capture_logs() as told:
        assert deliver(box, [mail, hook], clock) == (1, 1)
    assert hook.taken == [made.id]
    assert box.entries()[0].tries["mail"].error == "KeyError"
    assert [(line["event"], line["fault"]) for line in told] == [("alert_not_sent", "KeyError")]
    assert DR_MARTIN.login not in str(told)


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
