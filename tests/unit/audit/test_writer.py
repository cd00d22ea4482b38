"""The gateway's journal: durable before the answer, closed when in doubt, healing by itself."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.audit import files, segments, writer
from gateway.audit.encoding import decode
from gateway.audit.verify import Verified, verify_log
from gateway.audit.writer import AuditUnavailable, AuditWriter
from gateway.clock import FixedClock
from tests.unit.audit.logs import KEY, NOW_MS, RING, SITE, an_event


def entries(log: Path) -> list[dict[str, object]]:
    return [
        decode(line)
        for start in files.segment_starts(log)
        for line in files.read_lines(files.segment_path(log, start))
    ]


def make(log: Path, **options: int) -> AuditWriter:
    return AuditWriter(log, SITE, RING, clock=FixedClock(NOW_MS), **options)  # type: ignore[arg-type]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[AuditWriter]:
    made = make(tmp_path / "gw")
    made.open()
    yield made
    made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heal at the first event after a failure, not a second later."""
    monkeypatch.setattr(writer, "HEAL_EVERY_S", 0.0)


async def heal(log: AuditWriter) -> int:
    """Give events until one is recorded again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await log.append(an_event(777))
            except AuditUnavailable:
                await asyncio.sleep(0.01)


async def test_an_event_is_on_disk_when_its_number_comes(opened: AuditWriter, tmp_path: Path) -> None:
    for number in range(3):
        assert await opened.append(an_event(number)) == number
        assert [entry["seq"] for entry in entries(tmp_path / "gw")] == list(range(number + 1))


async def test_many_at_once_keep_their_order_and_share_batches(
    opened: AuditWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    really = os.fdatasync

    def counted(handle: int) -> None:
        syncs.append(handle)
        really(handle)

    monkeypatch.setattr(segments.os, "fdatasync", counted)
    assert await asyncio.gather(*(opened.append(an_event(number)) for number in range(500))) == list(
        range(500)
    )
    assert [entry["request_id"] for entry in entries(tmp_path / "gw")] == [f"r{n}" for n in range(500)]
    assert len(syncs) < 50


async def test_salts_differ(opened: AuditWriter, tmp_path: Path) -> None:
    await asyncio.gather(*(opened.append(an_event(0)) for _ in range(50)))
    assert len({entry["salt"] for entry in entries(tmp_path / "gw")}) == 50


async def test_events_nobody_waits_for_are_written_too(tmp_path: Path) -> None:
    log = make(tmp_path / "gw")
    log.open()
    for number in range(100):
        log.append_soon(an_event(number))
    log.close()
    assert log.lost == 0
    assert verify_log(tmp_path / "gw", [KEY]) == Verified(
        tmp_path / "gw", "site/gw", 100, 100, None, 0, damaged_leaves=False
    )


async def test_a_cancelled_waiter_does_no_harm(opened: AuditWriter) -> None:
    gone, kept = opened.append(an_event(0)), opened.append(an_event(1))
    gone.cancel()
    assert await kept == 1


async def test_an_event_that_cannot_be_written_is_its_callers_fault_alone(opened: AuditWriter) -> None:
    with pytest.raises(ValueError, match="patients"):
        opened.append(an_event(0, patients=("4711",)))
    with pytest.raises(ValueError, match="patients"):
        opened.append_soon(an_event(0, patients=("4711",)))
    assert await opened.append(an_event(1)) == 0
    assert opened.healthy


async def test_segments_turn_and_the_log_stays_sound(tmp_path: Path) -> None:
    log = make(tmp_path / "gw", segment_bytes=2_000)
    log.open()
    for number in range(60):
        await log.append(an_event(number))
    log.close()
    assert len(files.segment_starts(tmp_path / "gw")) > 5
    log.open()
    assert await log.append(an_event(60)) == 60
    log.close()
    found = verify_log(tmp_path / "gw", [KEY])
    assert isinstance(found, Verified)
    assert (found.size, found.signed) == (61, 61)


async def test_a_new_day_turns_the_segment(opened: AuditWriter, tmp_path: Path) -> None:
    for day in range(3):
        await opened.append(an_event(at_ms=NOW_MS + day * 86_400_000))
    opened.close()
    # The first batch of a new day ends the segment, before it or with it: nobody waits for midnight.
    starts = files.segment_starts(tmp_path / "gw")
    assert starts[0] == 0
    assert starts[-1] in {2, 3}
    assert isinstance(verify_log(tmp_path / "gw", [KEY]), Verified)


async def test_a_checkpoint_follows_without_further_events(
    opened: AuditWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = threading.Event()
    really = segments.Journal.checkpoint

    def told(journal: segments.Journal) -> None:
        really(journal)
        if journal.size == 2:
            signed.set()

    monkeypatch.setattr(segments.Journal, "checkpoint", told)
    await opened.append(an_event(0))
    await opened.append(an_event(1))
    assert await asyncio.to_thread(signed.wait, 10)
    found = verify_log(tmp_path / "gw", [KEY])
    assert isinstance(found, Verified)
    assert found.signed == 2


@pytest.mark.parametrize("when", ["never opened", "closed"])
async def test_a_closed_log_takes_nothing(tmp_path: Path, when: str) -> None:
    log = make(tmp_path / "gw")
    if when == "closed":
        log.open()
        log.close()
        log.close()
    assert not log.healthy
    with pytest.raises(AuditUnavailable):
        await log.append(an_event(0))
    log.append_soon(an_event(0))
    assert log.lost == 2


async def test_a_second_writer_is_refused(opened: AuditWriter, tmp_path: Path) -> None:
    with pytest.raises(AuditUnavailable, match="another process"):
        make(tmp_path / "gw").open()
    with pytest.raises(AuditUnavailable, match="open already"):
        opened.open()


async def test_a_damaged_log_is_refused_with_file_and_mend(opened: AuditWriter, tmp_path: Path) -> None:
    await opened.append(an_event(0))
    opened.close()
    path = files.segment_path(tmp_path / "gw", 0)
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand"))
    with pytest.raises(AuditUnavailable, match=r"gw.*audit verify"):
        make(tmp_path / "gw").open()


async def test_a_restart_after_a_crash_is_recorded(opened: AuditWriter, tmp_path: Path) -> None:
    await opened.append(an_event(0))
    opened.close()
    with files.segment_path(tmp_path / "gw", 0).open("ab") as file:
        file.write(b'{"torn')
    opened.open()
    assert await opened.append(an_event(1)) == 2
    told = entries(tmp_path / "gw")
    assert [entry["kind"] for entry in told] == ["access", "gap", "access"]
    assert told[1]["detail"] == {"cause": "restart", "cut_bytes": "6", "unsigned": "0"}


class Disk:
    """The system's calls as the journal sees them, failing on demand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fault: dict[str, int] = {}
        for name in ("write", "fdatasync", "fsync"):
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, really: Callable[..., object]) -> Callable[..., object]:
        def call(handle: int, *rest: bytes) -> object:
            code = self.fault.get(name)
            # Only files are on this disk: the loop wakes itself through a socket.
            if code is not None and os.path.isfile(f"/proc/self/fd/{handle}"):  # noqa: PTH113
                if name == "write" and rest:
                    really(handle, bytes(rest[0])[:7])
                raise OSError(code, os.strerror(code))
            return really(handle, *rest)

        return call


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("write", errno.EDQUOT),
        ("fdatasync", errno.EIO),
        ("fdatasync", errno.ENOSPC),
    ],
)
@pytest.mark.usefixtures("impatient")
async def test_a_failing_disk_fails_closed_then_heals(
    opened: AuditWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    assert await opened.append(an_event(0)) == 0
    disk = Disk(monkeypatch)
    disk.fault = {call: code, "fsync": code}
    outcomes = await asyncio.gather(
        *(opened.append(an_event(n)) for n in range(1, 20)), return_exceptions=True
    )
    assert all(isinstance(outcome, AuditUnavailable) for outcome in outcomes)
    assert not opened.healthy
    assert os.strerror(code) in (opened.fault or "")
    opened.append_soon(an_event(20))
    with pytest.raises(AuditUnavailable):
        await opened.append(an_event(21))
    disk.fault = {}
    seq = await heal(opened)
    assert opened.healthy
    told = entries(tmp_path / "gw")
    # Nothing that was refused is in the log, and the hole is told.
    assert [entry["request_id"] for entry in told if entry["kind"] == "access"] == ["r0", "r777"]
    (gap,) = (entry for entry in told if entry["kind"] == "gap")
    assert int(gap["detail"]["lost"]) >= 21  # type: ignore[index]
    assert told[-1]["seq"] == seq
    opened.close()
    assert isinstance(verify_log(tmp_path / "gw", [KEY]), Verified)
    assert len(files.segment_starts(tmp_path / "gw")) == 2


@pytest.mark.usefixtures("impatient")
async def test_a_failing_checkpoint_fails_closed_then_heals(
    opened: AuditWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()
    really = files.replace_durably

    def refuse(path: Path, data: bytes) -> None:
        failed.set()
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(files, "replace_durably", refuse)
    # The entry itself is durable, so its answer is yes; the next one is refused.
    assert await opened.append(an_event(0)) == 0
    assert await asyncio.to_thread(failed.wait, 10)
    async with asyncio.timeout(10):
        while opened.healthy:
            await asyncio.sleep(0.001)
    with pytest.raises(AuditUnavailable, match="Read-only"):
        await opened.append(an_event(1))
    monkeypatch.setattr(files, "replace_durably", really)
    await heal(opened)
    kinds = [entry["kind"] for entry in entries(tmp_path / "gw")]
    assert kinds[:2] == ["access", "gap"]


@pytest.mark.usefixtures("impatient")
async def test_lost_entries_are_never_healed_over(
    opened: AuditWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened.append(an_event(0))
    disk = Disk(monkeypatch)
    disk.fault = {"fdatasync": errno.EIO}
    with pytest.raises(AuditUnavailable):
        await opened.append(an_event(1))
    disk.fault = {}
    path = files.segment_path(tmp_path / "gw", 0)
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand"))
    for _ in range(20):
        with pytest.raises(AuditUnavailable):
            await opened.append(an_event(2))
        await asyncio.sleep(0.005)
    assert "durable" in (opened.fault or "") or "not those" in (opened.fault or "")


async def test_a_disk_that_does_not_answer_is_not_healthy(
    opened: AuditWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(segments.os, "fdatasync", lambda _: answer.wait(30))
    monkeypatch.setattr(writer, "STALLED_AFTER_S", 0.05)
    waiting = opened.append(an_event(0))
    async with asyncio.timeout(10):
        while opened.healthy:
            await asyncio.sleep(0.005)
    with pytest.raises(AuditUnavailable, match="has not answered"):
        await opened.append(an_event(1))
    answer.set()
    assert await waiting == 0
    async with asyncio.timeout(10):
        while not opened.healthy:
            await asyncio.sleep(0.005)


async def test_the_queue_is_bounded(opened: AuditWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(segments.os, "fdatasync", lambda _: answer.wait(30))
    monkeypatch.setattr(writer, "MAX_WAITING", 10)
    waiting = [opened.append(an_event(n)) for n in range(40)]
    answer.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(outcome, AuditUnavailable) for outcome in outcomes)
    recorded = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert recorded == list(range(len(recorded)))


async def test_low_space_is_told_before_the_disk_is_full(tmp_path: Path) -> None:
    log = make(tmp_path / "gw", low_space_bytes=1 << 62)
    log.open()
    await log.append(an_event(0))
    log.close()
    assert log.low_space


# Real disks, really full or read-only.


@contextmanager
def tmpfs(place: Path) -> Iterator[Path]:
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k,mode=0700", "none", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small tmpfs here: needs root and CAP_SYS_ADMIN")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.usefixtures("impatient")
async def test_a_full_disk_withholds_then_heals_when_space_returns(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk") as disk:
        log = make(disk / "gw")
        log.open()
        recorded = 0
        with pytest.raises(AuditUnavailable, match="No space left"):
            while recorded < 2_000:
                await asyncio.gather(*(log.append(an_event(recorded + n)) for n in range(5)))
                recorded += 5
        assert recorded > 20
        for number in range(5):
            with pytest.raises(AuditUnavailable):
                await log.append(an_event(number))
        size = log.size
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert await heal(log) > size
        log.close()
        told = entries(disk / "gw")
        assert sum(entry["kind"] == "access" for entry in told[:-1]) == size
        assert isinstance(verify_log(disk / "gw", [KEY]), Verified)


@pytest.mark.usefixtures("impatient")
async def test_a_disk_turned_read_only_withholds_then_heals(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk") as disk:
        log = make(disk / "gw")
        log.open()
        await log.append(an_event(0))
        log.close()
        # A file system with a file open for writing refuses to turn read-only: the reopening meets it.
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(AuditUnavailable, match="Read-only"):
            log.open()
        assert not log.healthy
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        log.open()
        assert await log.append(an_event(1)) == 1
        log.close()


CHILD = """
import asyncio, sys
from pathlib import Path
from gateway.audit.writer import AuditWriter
from tests.unit.audit.logs import RING, SITE, an_event

async def main() -> None:
    log = AuditWriter(Path(sys.argv[1]), SITE, RING, segment_bytes=40_000)
    log.open()

    async def client(me: int) -> None:
        number = 0
        while True:
            number += 1
            name = me * 1_000_000 + number
            seq = await log.append(an_event(name))
            sys.stdout.write(f"{seq} r{name}\\n")
            sys.stdout.flush()

    await asyncio.gather(*(client(me) for me in range(1, 21)))

asyncio.run(main())
"""


@pytest.mark.parametrize("kills", [3])
def test_kill_9_under_load_loses_nothing_that_was_answered(tmp_path: Path, kills: int) -> None:
    answered: dict[int, str] = {}
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "gw")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            text=True,
        )
        if child.stdout is None:
            raise RuntimeError("no pipe")
        told = [child.stdout.readline() for _ in range(1_500)]
        child.send_signal(signal.SIGKILL)
        told += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        for line in told:
            if line.endswith("\n"):
                seq, name = line.split()
                assert int(seq) not in answered
                answered[int(seq)] = name
    log = make(tmp_path / "gw")
    log.open()
    log.close()
    kept = {int(str(entry["seq"])): entry.get("request_id") for entry in entries(tmp_path / "gw")}
    assert len(answered) >= 1_500 * kills
    assert {seq: kept.get(seq) for seq in answered} == answered
    assert sorted(kept) == list(range(len(kept)))
    found = verify_log(tmp_path / "gw", [KEY])
    assert isinstance(found, Verified)
    assert (found.size, found.signed) == (len(kept), len(kept))
