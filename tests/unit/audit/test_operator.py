"""The journal of commands."""

import threading
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.encoding import decode
from gateway.audit.operator import local_user, operator_log
from gateway.audit.verify import Verified, verify_log
from gateway.audit.writer import AuditUnavailable
from gateway.clock import FixedClock
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.unit.audit.logs import KEY, NOW_MS, OTHER_RING, RING, SITE

EVENT = AuditEvent(EventKind.INVITED, NOW_MS, account="dr.martin", operator="sysop")


def kinds(audit_dir: Path) -> list[str]:
    return [decode(line)["kind"] for line in files.read_lines(files.segment_path(audit_dir / "operator", 0))]


def test_commands_are_recorded_one_after_the_other(tmp_path: Path) -> None:
    for expected in range(3):
        with operator_log(tmp_path, SITE, RING) as log:
            assert log.record(EVENT) == expected
            # Durable before the command goes on.
            assert len(kinds(tmp_path)) == expected + 1
    found = verify_log(tmp_path / "operator", [KEY])
    assert isinstance(found, Verified)
    assert (found.size, found.signed) == (3, 3)


def test_a_command_that_fails_keeps_its_record(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="later"), operator_log(tmp_path, SITE, RING) as log:
        log.record(EVENT)
        raise RuntimeError("later")
    with operator_log(tmp_path, SITE, RING, clock=FixedClock(NOW_MS)):
        assert kinds(tmp_path) == ["invited", "gap"]


def test_a_second_command_waits_for_the_first(tmp_path: Path) -> None:
    inside, done = threading.Event(), threading.Event()

    def first() -> None:
        with operator_log(tmp_path, SITE, RING) as log:
            inside.set()
            done.wait(10)
            log.record(EVENT)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    with (
        pytest.raises(AuditUnavailable, match="another command"),
        operator_log(tmp_path, SITE, RING, wait_s=0.1),
    ):
        pass
    done.set()
    with operator_log(tmp_path, SITE, RING) as log:
        assert log.record(EVENT) == 1
    thread.join()


def test_each_node_and_each_day_have_files_of_their_own(tmp_path: Path) -> None:
    for day in range(3):
        event = AuditEvent(
            EventKind.INVITED, NOW_MS + day * 86_400_000, account="dr.martin", operator="sysop"
        )
        with operator_log(tmp_path, SITE, RING, node="a") as log:
            log.record(event)
            log.record(event)
    assert [path.name for path in files.log_directories(tmp_path)] == ["operator.a"]
    assert files.segment_starts(tmp_path / "operator.a") == [0, 2, 4]
    found = verify_log(tmp_path / "operator.a", [KEY])
    assert isinstance(found, Verified)
    assert (found.origin, found.size) == ("site/operator.a", 6)


def test_without_a_record_there_is_no_command(tmp_path: Path) -> None:
    with operator_log(tmp_path, SITE, RING) as log:
        log.record(EVENT)
    with pytest.raises(AuditUnavailable, match="not signed"), operator_log(tmp_path, SITE, OTHER_RING):
        pass
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AuditUnavailable, match="file"), operator_log(tmp_path / "file", SITE, RING):
        pass


def test_the_local_user_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_user()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "4294000000")
    assert local_user() == "uid 4294000000"
    monkeypatch.setenv("SUDO_UID", "0; rm")
    assert local_user() == "root"
