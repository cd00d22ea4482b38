"""``ecluse audit keep`` and ``ecluse audit purge`` as operators use them."""

import json
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import encode
from gateway.audit.escrow import day_name
from gateway.audit.keeper import archive_lock
from gateway.audit.manifest import read_manifest
from gateway.audit.segments import Journal
from gateway.cli import audit_purge
from gateway.cli.audit_keep import run as run_keeper
from gateway.clock import SystemClock
from gateway.configuration import init_keys, load_keys
from tests.unit.audit.archives import DAY_MS, event
from tests.unit.audit.logs import NOW_MS, SALT
from tests.unit.audit.test_command import Ran, consultations, run, verifier

SMALLEST = (Path(__file__).parents[2] / "configs" / "working_smallest.yml").read_text("utf-8")


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys") / "keys"
    init_keys(place)
    return place


@pytest.fixture
def site(tmp_path: Path, keys_dir: Path) -> Path:
    """A configuration of one node, `a`, whose log holds 500 to 496 days, and 3 days ago."""
    (tmp_path / "ecluse.yaml").write_text(
        SMALLEST.replace("gateway:", f"gateway:\n  state_dir: state\n  keys_dir: {keys_dir}", 1).replace(
            "realms:", "audit: {dir: audit, node: a, retention_days: 183}\nrealms:", 1
        )
    )
    log = Journal(
        tmp_path / "audit" / "gateway.a", LOG_NAME, load_keys(keys_dir).checkpoint, segment_bytes=64_000_000
    )
    log.open()
    today = (SystemClock().now_ms() - NOW_MS) // DAY_MS
    for day in (500, 498, 496, 3):
        for number in range(3):
            log.commit([encode(event(today - day, number), seq=log.size, salt=SALT)])
        if day != 3:
            log.rotate()
    log.close()
    return tmp_path


def command(site: Path, *arguments: str) -> Ran:
    return run(*arguments, "--config", site / "ecluse.yaml")


def test_keep_archives_once_and_tells_it(site: Path) -> None:
    found = command(site, "keep", "--once", "--json")
    assert found.exit_code == 0, found.stderr
    told = json.loads(found.stdout)
    assert (told["segments"], told["events"], told["faults"]) == (3, 9, [])
    assert command(site, "keep", "--once").stdout.startswith("0 segments of 0 events archived, 0 merges")
    assert read_manifest(site / "audit").archived == {"gateway.a": 9}


def test_keep_tells_which_log_it_left_out(site: Path) -> None:
    path = files.segment_path(site / "audit" / "gateway.a", 0)
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand"))
    found = command(site, "keep", "--once")
    assert found.exit_code == 1
    assert "NOT ARCHIVED  " in found.stdout
    assert "0000000000.jsonl does not hold entries 0 to 2" in found.stdout
    assert "dr.durand" not in found.stdout + found.stderr


def test_a_second_keeper_is_told(site: Path) -> None:
    with archive_lock(site / "audit"):
        found = command(site, "keep", "--once")
    assert found.exit_code == 2
    assert "another process changes the archive" in found.stderr


def test_the_keeper_goes_on_after_a_fault(
    site: Path, keys_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = list(files.verifier_keys(load_keys(keys_dir).checkpoint, LOG_NAME))
    passes = []

    def again() -> bool:
        passes.append(len(passes))
        if len(passes) == 1:
            # Somebody moves the stone out of the way.
            (site / "audit" / "archive" / "events").unlink()
        return len(passes) < 2

    (site / "audit" / "archive").mkdir()
    (site / "audit" / "archive" / "events").write_bytes(b"")
    run_keeper(site / "audit", keys, again)
    assert passes == [0, 1]
    assert read_manifest(site / "audit").archived == {"gateway.a": 9}
    shown = capfd.readouterr()
    assert "audit_keeper_failed" in shown.err + shown.out
    assert "audit_archived" in shown.err + shown.out


def test_purge_drops_on_record_and_verify_says_so(site: Path, keys_dir: Path) -> None:
    command(site, "keep", "--once")
    dry = command(site, "purge", "--dry-run")
    assert dry.exit_code == 0, dry.stderr
    assert "gateway.a: entries 0 to 8, 3 segments" in dry.stdout
    assert "Nothing was dropped" in dry.stdout
    assert not (site / "audit" / "operator.a").exists()
    assert files.segment_starts(site / "audit" / "gateway.a") == [0, 3, 6, 9]

    found = command(site, "purge", "--reason", "register 12", "--json")
    assert found.exit_code == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["dropped"]["entries"] == 9
    assert told["retention"].startswith("183 days: six months")
    assert files.segment_starts(site / "audit" / "gateway.a") == [9]

    (recorded,) = consultations_of(site, "operator.a")
    assert recorded["kind"] == "audit-purged"
    assert recorded["detail"]["reason"] == "register 12"  # type: ignore[index]

    verified = run("verify", site / "audit", "--key", verifier(keys_dir))
    assert verified.exit_code == 0, verified.stdout
    assert "entries 0 to 8 purged on record" in verified.stdout
    assert "nothing" in command(site, "purge", "--reason", "again").stdout
    assert len(consultations_of(site, "operator.a")) == 1


def test_a_purge_takes_the_escrow_of_those_days_along(site: Path) -> None:
    now_ms, escrow = SystemClock().now_ms(), site / "audit" / "escrow"
    escrow.mkdir()
    days = {days_ago: day_name(now_ms // DAY_MS - days_ago) for days_ago in (400, 184, 183, 0)}
    for day in days.values():
        (escrow / f"{day}.gateway.a.age").write_text("sealed")
    (escrow / "lock").write_text("")
    assert json.loads(command(site, "purge", "--dry-run", "--json").stdout)["escrow_files"] == 2
    assert len(list(escrow.iterdir())) == 5
    assert command(site, "purge", "--reason", "register 12").exit_code == 0
    left = sorted(path.name for path in escrow.iterdir())
    assert left == [f"{days[183]}.gateway.a.age", f"{days[0]}.gateway.a.age", "lock"]
    *_, recorded = consultations_of(site, "operator.a")
    assert recorded["detail"]["escrow_files"] == "2"  # type: ignore[index]


def consultations_of(site: Path, writer: str) -> list[dict[str, object]]:
    (site / "as").mkdir(exist_ok=True)
    link = site / "as" / "operator"
    link.unlink(missing_ok=True)
    link.symlink_to(site / "audit" / writer)
    return consultations(site / "as")


def test_purge_needs_a_reason(site: Path) -> None:
    found = command(site, "purge")
    assert found.exit_code == 2
    assert "--reason" in found.stderr
    assert files.segment_starts(site / "audit" / "gateway.a") == [0, 3, 6, 9]


def test_purge_refuses_a_log_that_is_not_what_was_signed(site: Path) -> None:
    path = files.segment_path(site / "audit" / "gateway.a", 3)
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand"))
    found = command(site, "purge", "--reason", "register 12")
    assert found.exit_code == 1
    assert "nothing was purged" in found.stderr
    assert not (site / "audit" / "operator.a").exists()
    assert files.segment_starts(site / "audit" / "gateway.a") == [0, 3, 6, 9]


def test_purge_does_nothing_that_cannot_be_recorded(site: Path) -> None:
    (site / "audit" / "operator.a").write_bytes(b"")
    found = command(site, "purge", "--reason", "register 12")
    assert found.exit_code == 2
    assert "not finished" in found.stderr
    assert files.segment_starts(site / "audit" / "gateway.a") == [0, 3, 6, 9]


def test_purge_waits_for_the_keeper_then_gives_up(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_purge, "_LOCK_WAIT_S", 0.1)
    with archive_lock(site / "audit"):
        found = command(site, "purge", "--reason", "register 12")
    assert found.exit_code == 2
    assert "another process changes the archive" in found.stderr
