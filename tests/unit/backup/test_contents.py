"""What goes into a backup: each log as it was signed, the archive whole, the configuration with all its files."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.encoding import encode
from gateway.audit.files import verifier_keys
from gateway.audit.verify import Broken, Verified, verify_log
from gateway.backup.container import PRIVATE_MODE, BackupRefused, Member
from gateway.backup.contents import audit_members, config_members, key_members
from gateway.configuration.sources import source_files
from tests.unit.audit.logs import KEY, OTHER_RING, SALT, SITE, an_event, journal, write
from tests.unit.configuration.test_load import CONFIGS


def put(members: list[Member], place: Path) -> None:
    for member in members:
        path = place / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"".join(member.pieces)
        assert len(content) == member.size_bytes, member.name
        path.write_bytes(content)


def backed_up(audit_dir: Path, place: Path) -> None:
    put(list(audit_members(audit_dir, [KEY])), place)


@pytest.mark.parametrize(("count", "per_segment"), [(0, 10), (1, 10), (10, 10), (25, 10), (30, 7)])
def test_a_log_at_rest_comes_back_whole_and_goes_on(tmp_path: Path, count: int, per_segment: int) -> None:
    write(tmp_path / "live" / "gateway", count, per_segment=per_segment)
    backed_up(tmp_path / "live", tmp_path / "copy")
    restored = tmp_path / "copy" / "audit" / "gateway"
    result = verify_log(restored, [KEY])
    assert isinstance(result, Verified)
    assert (result.size, result.signed, result.damaged_leaves) == (count, count, False)
    write(restored, 3, first=count)
    result = verify_log(restored, [KEY])
    assert isinstance(result, Verified)
    assert result.size == count + 3


@pytest.mark.parametrize("per_segment", [1_000, 4])
def test_a_log_that_is_written_meanwhile_comes_back_as_it_was_signed(
    tmp_path: Path, per_segment: int
) -> None:
    log = journal(tmp_path / "live" / "gateway")
    log.open()
    for number in range(10):
        if number and number % per_segment == 0:
            log.rotate()
        log.commit([encode(an_event(number), seq=log.size, salt=SALT)])
    log.checkpoint()
    signed = log.size
    log.commit([encode(an_event(99), seq=log.size, salt=SALT)])
    members = audit_members(tmp_path / "live", [KEY])
    first = next(members)
    # From here on the backup stands on a checkpoint; what comes now is not of it.
    for number in range(100, 120):
        log.commit([encode(an_event(number), seq=log.size, salt=SALT)])
        log.rotate()
    put([first, *members], tmp_path / "copy")
    log.close()
    result = verify_log(tmp_path / "copy" / "audit" / "gateway", [KEY])
    assert isinstance(result, Verified)
    assert (result.size, result.signed, result.damaged_leaves) == (signed, signed, False)
    write(tmp_path / "copy" / "audit" / "gateway", 1, first=200)


def test_leaf_hashes_of_segments_whose_entries_were_dropped_come_along(tmp_path: Path) -> None:
    log = journal(tmp_path / "live" / "gateway")
    log.open()
    for number in range(6):
        log.commit([encode(an_event(number), seq=log.size, salt=SALT)])
        if number in {2, 5}:
            log.rotate()
    log.close()
    for start in (0, 3):
        files.segment_path(tmp_path / "live" / "gateway", start).unlink()
    backed_up(tmp_path / "live", tmp_path / "copy")
    found = {path.name: path.read_bytes() for path in (tmp_path / "copy" / "audit" / "gateway").iterdir()}
    live = {path.name: path.read_bytes() for path in (tmp_path / "live" / "gateway").iterdir()}
    # The lock, and the segment that was begun and holds nothing, are made anew.
    assert found == {
        name: data for name, data in live.items() if name != "lock" and not name.startswith("0000000006")
    }
    assert {"0000000000.leaves", "0000000000.checkpoint", "0000000003.leaves", "tree"} <= found.keys()
    write(tmp_path / "copy" / "audit" / "gateway", 1, first=6)


def test_every_moment_of_a_busy_log_is_a_good_one(tmp_path: Path) -> None:
    log, stop = journal(tmp_path / "live" / "gateway"), threading.Event()
    log.open()

    def busy() -> None:
        number = 0
        while not stop.is_set():
            log.commit([encode(an_event(number), seq=log.size, salt=SALT)])
            number += 1
            if number % 5 == 0:
                log.checkpoint()
            if number % 17 == 0:
                log.rotate()

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        for attempt in range(30):
            backed_up(tmp_path / "live", tmp_path / str(attempt))
    finally:
        stop.set()
        worker.join()
        log.close()
    sizes = []
    for attempt in range(30):
        result = verify_log(tmp_path / str(attempt) / "audit" / "gateway", [KEY])
        assert isinstance(result, Verified), result
        sizes.append(result.size)
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_everything_else_below_the_audit_folder_comes_along(tmp_path: Path) -> None:
    write(tmp_path / "live" / "gateway", 3)
    write(tmp_path / "live" / "operator", 2)
    for name in ("escrow/2026-09-14.gateway.age", "kept/gateway/checkpoint.1", "note", "gateway/retention"):
        path = tmp_path / "live" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "live" / "escrow" / "half.new").write_text("x")
    backed_up(tmp_path / "live", tmp_path / "copy")
    found = {
        str(path.relative_to(tmp_path / "copy" / "audit"))
        for path in (tmp_path / "copy" / "audit").rglob("*")
        if path.is_file()
    }
    whole = {
        str(path.relative_to(tmp_path / "live")) for path in (tmp_path / "live").rglob("*") if path.is_file()
    }
    assert found == {name for name in whole if not name.endswith((".new", "/lock"))}


def test_an_archive_that_is_merged_meanwhile_comes_whole(tmp_path: Path) -> None:
    archive = tmp_path / "live" / "archive"
    (archive / "events").mkdir(parents=True)
    for day in ("2026-09-01", "2026-09-02"):
        (archive / "events" / f"{day}.parquet").write_text(day)
    (archive / "manifest.json").write_text('["2026-09-01","2026-09-02"]')
    members = audit_members(tmp_path / "live", [KEY])
    first = next(members)
    (archive / "events" / "2026-09.parquet").write_text("merged")
    (archive / "manifest.json").write_text('["2026-09"]')
    for day in ("2026-09-01", "2026-09-02"):
        (archive / "events" / f"{day}.parquet").unlink()
    put([first, *members], tmp_path / "copy")
    restored = tmp_path / "copy" / "audit" / "archive"
    assert (restored / "manifest.json").read_text() == '["2026-09"]'
    assert (restored / "events" / "2026-09.parquet").read_text() == "merged"


def _no_checkpoint(log: Path) -> None:
    (log / "checkpoint").unlink()


def _cut(log: Path) -> None:
    path = files.segment_path(log, 0)
    path.write_bytes(path.read_bytes()[:-10])


def _foreign(log: Path) -> None:
    shutil.rmtree(log)
    made = journal(log, ring=OTHER_RING)
    made.open()
    made.close()


@pytest.mark.parametrize(
    ("spoil", "why"), [(_no_checkpoint, "is missing"), (_cut, "fewer entries"), (_foreign, "audit verify")]
)
def test_a_log_that_is_not_the_signed_one_is_not_passed_off_as_saved(
    tmp_path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    write(tmp_path / "live" / "gateway", 3)
    spoil(tmp_path / "live" / "gateway")
    with pytest.raises(BackupRefused, match=why):
        backed_up(tmp_path / "live", tmp_path / "copy")


def test_an_edit_inside_a_saved_log_is_still_found(tmp_path: Path) -> None:
    write(tmp_path / "live" / "gateway", 3)
    path = files.segment_path(tmp_path / "live" / "gateway", 0)
    path.write_bytes(path.read_bytes().replace(b'"app":"demo"', b'"app":"domo"', 1))
    backed_up(tmp_path / "live", tmp_path / "copy")
    assert isinstance(verify_log(tmp_path / "copy" / "audit" / "gateway", [KEY]), Broken)


def test_no_log_is_no_fault(tmp_path: Path) -> None:
    assert list(audit_members(tmp_path / "nowhere", verifier_keys(OTHER_RING, SITE))) == []


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration with every kind of file it can name."""
    text = (CONFIGS / "working_smallest.yml").read_text().partition("apps:")[0]
    folder, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    for place in (folder / "apps", folder / "keys", elsewhere):
        place.mkdir(parents=True)
    (folder / "ecluse.yaml").write_text(
        text.replace("port: 8443}", "port: 8443, tls: {certificate: door.pem, key: door.key}}", 1)
        + f"include: [apps/*.yaml]\nbody: {{logo: {elsewhere}/logo.svg}}\nstore: {{password_file: password}}\n"
    )
    (folder / "apps" / "demo.yaml").write_text("upstream: {url: http://127.0.0.1:1, ca_file: ca.pem}\n")
    (folder / "apps" / "other.yaml").write_text("upstream: http://127.0.0.1:1\n")
    named = ("door.pem", "door.key", "password", "apps/ca.pem", "keys/session.json", "apps/unnamed.txt")
    for name in named:
        (folder / name).write_text(name)
    (elsewhere / "logo.svg").write_text("<svg/>")
    return folder / "ecluse.yaml"


def test_the_configuration_comes_with_the_files_it_names_and_no_secret(site: Path) -> None:
    outside = f"config/outside{site.parent.parent}/elsewhere/logo.svg"
    names = [member.name for member in config_members(site)]
    assert sorted(names) == sorted([
        "config/ecluse.yaml", "config/apps/demo.yaml", "config/apps/other.yaml", "config/apps/ca.pem",
        "config/door.pem", outside,
    ])  # fmt: skip


def test_keys_and_secret_files_come_for_the_owner_alone(site: Path) -> None:
    members = list(key_members(site.parent / "keys", site))
    assert [member.name for member in members] == [
        "keys/session.json", "keys/of-config/door.key", "keys/of-config/password",
    ]  # fmt: skip
    assert {member.mode for member in members} == {PRIVATE_MODE}
    assert len(source_files(site).secret) == 2
