"""The watcher with a journal on disk and a store that may be down: what is done, recorded, remembered."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.accounts.store import Changed, ChangeRefused
from gateway.audit.encoding import encode
from gateway.audit.segments import Journal
from gateway.audit.tail import Tail
from gateway.audit.writer import AuditUnavailable
from gateway.clock import FixedClock
from gateway.valkey.client import StoreUnavailable
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.identity import AccountRef, Standing
from gateway.vocabulary.signals import Act, Rules, Signal, Verdict
from gateway.watching import Deeds, Memory, Snapshot, SnapshotInUse, Watcher
from gateway.watching.deeds import reason_of
from tests.people import INTRUDER
from tests.unit.audit.logs import RING, SALT, SITE

BEGIN_MS = 1_790_000_000_000
ID = "f" * 32


class Accounts:
    """Accounts that remember what was done to them; *down* for so many calls."""

    def __init__(self, down: int = 0, standing: Standing = Standing.ACTIVE) -> None:
        self.down, self.standing = down, standing
        self.done: list[tuple[str, str, str]] = []

    def _do(self, act: str, account_id: str, why: str) -> Changed | ChangeRefused:
        if self.down:
            self.down -= 1
            raise StoreUnavailable("no answer")
        self.done.append((act, account_id, why))
        if self.standing is not Standing.ACTIVE:
            return ChangeRefused(self.standing)
        return Changed(Standing.LOCKED if act == "lock" else Standing.ACTIVE)

    async def owe(self, account_id: str, why: str, for_s: int) -> Changed | ChangeRefused:
        assert for_s == 3_600
        return self._do("owe", account_id, why)

    async def lock(
        self, account_id: str, reason: str, *, ref: AccountRef | None = None
    ) -> Changed | ChangeRefused:
        assert ref is not None
        return self._do("lock", account_id, reason)


class Site:
    """One node: a journal that grows, a clock, and the watcher over both."""

    def __init__(self, folder: Path, accounts: Accounts | None = None) -> None:
        self.folder, self.accounts = folder, accounts or Accounts()
        self.clock = FixedClock(BEGIN_MS)
        self.recorded: list[AuditEvent] = []
        self.log_down = self.outbox_down = False
        self.log_takes = 1_000
        self.alerts: list[Alert] = []
        self.journal = Journal(folder / "audit" / "gateway", SITE, RING, segment_bytes=64_000_000)
        self.journal.open()
        self.begin()

    def begin(self) -> None:
        """Start the watcher, as a process that finds what the one before left."""
        snapshot = Snapshot(self.folder / "watch")
        memory = snapshot.load() if snapshot.directory.exists() else Memory()
        snapshot.directory.mkdir(exist_ok=True)
        deeds = Deeds(self.accounts, ref_of, operator="ecluse")
        tail = Tail([self.folder / "audit"], memory.places)
        self.memory = memory
        self.watcher = Watcher(tail, memory, snapshot, deeds, self.record, self.alarm, Rules(), self.clock)

    def record(self, events: Sequence[AuditEvent]) -> int:
        if self.log_down:
            raise AuditUnavailable("disk full")
        taken = events[: self.log_takes]
        self.recorded += taken
        return len(taken)

    def alarm(self, alert: Alert) -> bool:
        if not self.outbox_down:
            self.alerts.append(alert)
        return not self.outbox_down

    def open(self, numbers: range, *, each_ms: int = 2_000) -> None:
        """Have the intruder open records along their numbers."""
        lines = []
        for walked, number in enumerate(numbers, 1):
            self.clock.advance(each_ms)
            event = AuditEvent(
                EventKind.ACCESS,
                self.clock.now_ms(),
                realm="region",
                account=INTRUDER.login,
                account_class="standard",
                client="192.0.2.1",
                route_kind="record",
                opened=True,
                patients=(f"k1:{number:032x}",),
                detail=(("walk", "ascending"), ("walked", str(min(walked, 24)))),
            )
            lines.append(encode(event, seq=self.journal.size + len(lines), salt=SALT))
        self.journal.commit(lines)

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.recorded]


def ref_of(realm: str, login: str) -> AccountRef | None:
    return AccountRef(realm, login, ID) if realm == "region" else None


async def test_what_looks_wrong_is_acted_on_and_recorded(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    assert site.accounts.done == [("owe", ID, "enumeration")]
    assert site.kinds() == [EventKind.SIGNALLED, EventKind.CODE_DEMANDED]
    signalled, demanded = site.recorded
    assert (signalled.account, signalled.rule, signalled.operator) == (
        INTRUDER.login,
        "enumeration",
        "ecluse",
    )
    assert signalled.reason == "8 records that this account had never opened were opened along their numbers."
    assert dict(signalled.detail) == {"event": "gateway:7", "mode": "act", "patients": "8"}
    assert dict(demanded.detail)["outcome"] == "done"
    assert dict(demanded.detail)["score"] == "60"


async def test_a_store_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    site = Site(tmp_path, Accounts(down=2))
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    assert site.kinds() == [EventKind.SIGNALLED]
    await site.watcher.step()
    assert site.accounts.done == []
    await site.watcher.step()
    assert site.accounts.done == [("owe", ID, "enumeration")]
    assert site.kinds() == [EventKind.SIGNALLED, EventKind.CODE_DEMANDED]


async def test_what_could_not_be_done_is_done_after_a_restart(tmp_path: Path) -> None:
    site = Site(tmp_path, Accounts(down=1))
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    site.watcher.save()
    site.begin()
    await site.watcher.step()
    assert site.accounts.done == [("owe", ID, "enumeration")]


async def test_a_full_disk_keeps_nobody_from_being_asked(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.log_down = True
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    assert site.accounts.done == [("owe", ID, "enumeration")]
    assert site.recorded == []
    site.log_down = False
    await site.watcher.step()
    assert site.kinds() == [EventKind.SIGNALLED, EventKind.CODE_DEMANDED]


async def test_what_a_filling_disk_took_is_not_recorded_a_second_time(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.watcher.step()
    site.open(range(1, 13))
    site.log_takes = 1
    await site.watcher.step()
    assert site.kinds() == [EventKind.SIGNALLED]
    site.log_takes = 1_000
    await site.watcher.step()
    await site.watcher.step()
    assert site.kinds() == [EventKind.SIGNALLED, EventKind.CODE_DEMANDED]


async def test_what_is_done_late_is_told_as_of_now(tmp_path: Path) -> None:
    """An alert is given up when it is a day old: one that is born of an old entry must not be."""
    site = Site(tmp_path, Accounts(down=1))
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    site.clock.advance(3 * 86_400_000)
    await site.watcher.step()
    assert [alert.at_ms for alert in site.alerts] == [site.clock.now_ms()]


async def test_after_a_restart_baselines_are_there_and_nothing_is_judged_twice(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    site.watcher.save()
    site.begin()
    await site.watcher.step()
    assert len(site.memory.state.accounts["region/intrus"].opened.known) == 12 * 4
    assert site.accounts.done == [("owe", ID, "enumeration")]


async def test_what_happened_in_a_long_pause_is_learned_and_not_acted_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.watcher.step()
    site.watcher.save()
    site.open(range(1, 60))
    site.clock.advance(3_600_000)
    site.begin()
    await site.watcher.step()
    assert site.accounts.done == []
    assert site.recorded == []
    assert len(site.memory.state.accounts["region/intrus"].opened.known) == 59 * 4


async def test_it_is_kept_soon_after_an_act_and_else_once_a_minute(tmp_path: Path) -> None:
    site = Site(tmp_path)
    kept = tmp_path / "watch" / "state.msgpack"
    await site.watcher.step()
    site.open(range(1, 3))
    await site.watcher.step()
    assert not kept.exists()
    site.clock.advance(60_000)
    await site.watcher.step()
    first = kept.read_bytes()
    site.open(range(3, 12))
    await site.watcher.step()
    assert site.accounts.done
    assert kept.read_bytes() != first


async def test_somebody_is_told_at_once_and_again_when_it_could_not_be_kept(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.outbox_down = True
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    assert site.alerts == []
    site.outbox_down = False
    await site.watcher.step()
    await site.watcher.step()
    (alert,) = site.alerts
    assert (alert.rule, alert.done, alert.account) == ("enumeration", "ask", INTRUDER.login)
    assert alert.french == "8 dossiers nouveaux pour ce compte ont été ouverts en suivant leurs numéros."


async def test_an_account_that_cannot_pay_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path, Accounts(standing=Standing.INVITED))
    await site.watcher.step()
    site.open(range(1, 13))
    await site.watcher.step()
    assert dict(site.recorded[-1].detail)["outcome"] == "refused"


async def test_a_realm_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.memory.owed.append(Verdict(Act.LOCK, "gone", "somebody", BEGIN_MS, 150, (Signal.PACE,)))
    await site.watcher.step()
    assert site.accounts.done == []
    assert dict(site.recorded[-1].detail)["outcome"] == "unknown"
    assert site.memory.owed == []


async def test_a_journal_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.watcher.step()
    stray = tmp_path / "audit" / "gateway" / "notes.jsonl"
    stray.write_text("mine")
    site.open(range(1, 13))
    await site.watcher.step()
    assert site.accounts.done == []
    stray.unlink()
    await site.watcher.step()
    assert site.accounts.done == [("owe", ID, "enumeration")]


def test_one_watches_at_a_time(tmp_path: Path) -> None:
    first, second = Snapshot(tmp_path / "watch"), Snapshot(tmp_path / "watch")
    first.open()
    with pytest.raises(SnapshotInUse, match="another process watches"):
        second.open()
    first.close()
    second.open()
    second.close()


@pytest.mark.parametrize("damage", [b"", b"\xff\xff", b"\x81\xa5state\x01"])
def test_a_damaged_memory_is_set_aside_and_begun_anew(tmp_path: Path, damage: bytes) -> None:
    snapshot = Snapshot(tmp_path)
    (tmp_path / "state.msgpack").write_bytes(damage)
    assert snapshot.load() == Memory()
    assert (tmp_path / "state.unread").read_bytes() == damage


def test_the_memory_of_another_version_is_set_aside(tmp_path: Path) -> None:
    snapshot, memory = Snapshot(tmp_path), Memory(places={})
    memory.state.version = 99
    snapshot.save(memory)
    assert snapshot.load() == Memory()


def test_reasons_name_signals_and_nobody() -> None:
    verdict = Verdict(Act.LOCK, "region", INTRUDER.login, 1, 160, (Signal.ENUMERATION, Signal.PACE))
    assert reason_of(verdict) == "signals: enumeration, pace"


async def test_a_breaker_of_the_site_alarms_once_and_does_nothing_to_anybody(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.watcher.step()
    lines = [
        encode(
            AuditEvent(
                kind,
                site.clock.now_ms(),
                realm="region",
                account=INTRUDER.login,
                establishment="590000001",
                control=control,
            ),
            seq=site.journal.size + number,
            salt=SALT,
        )
        for number, (kind, control) in enumerate(
            [
                (EventKind.NEAR_LIMIT, "site-patients-24h"),
                (EventKind.WOULD, "establishment-patients-1h"),
                (EventKind.WITHHELD, "site-patients-24h"),
                (EventKind.WITHHELD, "site-patients-24h"),
                (EventKind.NEAR_LIMIT, "patients-24h"),
            ]
        )
    ]
    site.journal.commit(lines)
    await site.watcher.step()
    assert [(one.rule, one.establishment, one.account) for one in site.alerts] == [
        ("site-patients-24h-near", "", ""),
        ("establishment-patients-1h", "590000001", ""),
        ("site-patients-24h", "", ""),
    ]
    assert site.accounts.done == []
    assert site.recorded == []
