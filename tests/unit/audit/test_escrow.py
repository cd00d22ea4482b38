"""The escrow: written for others, bounded, whole after faults, and believed only where the key agrees."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from gateway import telemetry
from gateway.age import AgeRefused
from gateway.audit import escrow, files
from gateway.audit.escrow import Escrow, day_name, search
from tests.unit.audit.logs import NOW_MS

DPO, DEPUTY, STRANGER = (pyrage.x25519.Identity.generate() for _ in range(3))
RECIPIENTS = [str(DPO.to_public()), str(DEPUTY.to_public())]
SYSTEM = "urn:oid:1.2.250.1.999"
NIR = "269054958815780"


def name(number: int) -> str:
    return f"k1:{number:032x}"


def everything(_: str, __: str, ___: str) -> bool:
    return True


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escrow, "BATCH_AFTER_S", 0.02)
    monkeypatch.setattr(escrow, "RETRY_AFTER_S", 0.02)


def written(directory: Path, *numbers: int, at_ms: int = NOW_MS) -> None:
    made = Escrow(directory, "gateway", RECIPIENTS)
    made.open()
    made.note([name(number) for number in numbers], SYSTEM, [f"{NIR}{number}" for number in numbers], at_ms)
    made.close()


def blocks(directory: Path) -> int:
    return sum(path.read_bytes().count(b"-----BEGIN") for path in directory.glob("*.age"))


def test_each_recipient_reads_it_and_nothing_stands_in_clear(tmp_path: Path) -> None:
    written(tmp_path, 1, 2)
    for identity in (DPO, DEPUTY):
        result = search(tmp_path, frozenset({name(1), name(3)}), [identity], everything)
        assert result.found == {name(1): (SYSTEM, f"{NIR}1")}
    (path,) = tmp_path.iterdir()
    assert path.name == "2026-09-21.gateway.age"
    assert NIR.encode() not in path.read_bytes()
    assert b"k1:" not in path.read_bytes()
    with pytest.raises(AgeRefused, match="opens nothing"):
        search(tmp_path, frozenset({name(1)}), [STRANGER], everything)


@pytest.mark.usefixtures("fast")
def test_a_patient_is_written_once_a_day_and_anew_the_next(tmp_path: Path) -> None:
    made = Escrow(tmp_path, "gateway", RECIPIENTS)
    made.open()
    for at_ms in (NOW_MS, NOW_MS + 1, NOW_MS + 86_400_000, NOW_MS + 86_400_000):
        made.note([name(1)], SYSTEM, [NIR], at_ms)
    made.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2026-09-21.gateway.age",
        "2026-09-22.gateway.age",
    ]
    assert blocks(tmp_path) == 2
    (tmp_path / "2026-09-21.gateway.age").unlink()
    assert search(tmp_path, frozenset({name(1)}), [DPO], everything).found


def test_days_narrow_the_search(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2, at_ms=NOW_MS + 86_400_000)
    wanted = frozenset({name(1), name(2)})
    assert set(search(tmp_path, wanted, [DPO], everything, before_day="2026-09-22").found) == {name(1)}
    assert set(search(tmp_path, wanted, [DPO], everything, from_day="2026-09-22").found) == {name(2)}
    with pytest.raises(AgeRefused, match="no escrow"):
        search(tmp_path, wanted, [DPO], everything, from_day="2026-09-23")


def test_what_is_asked_ends_the_search_newest_day_first(tmp_path: Path) -> None:
    for day in range(5):
        written(tmp_path, day, at_ms=NOW_MS + day * 86_400_000)
    assert search(tmp_path, frozenset({name(4)}), [DPO], everything).blocks == 1
    assert search(tmp_path, frozenset({name(0)}), [DPO], everything).blocks == 5


def test_a_lie_that_the_key_contradicts_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path, 1)
    lie = b'["%s","%s","000"]\n' % (name(1).encode(), SYSTEM.encode())
    recipients = [DPO.to_public()]
    (tmp_path / "2026-09-30.gateway.age").write_bytes(pyrage.encrypt(lie, recipients, armored=True))
    result = search(tmp_path, frozenset({name(1)}), [DPO], lambda _, __, clear_id: clear_id.startswith(NIR))
    assert result.found == {name(1): (SYSTEM, f"{NIR}1")}
    assert result.forged == 1


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _cut_in_a_line(data: bytes) -> bytes:
    return data[:-10]


def _alter(data: bytes) -> bytes:
    middle = data.index(b"\n", 200) + 10
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("spoil", [_cut, _cut_in_a_line, _alter, lambda _: b"\n\n\n", lambda data: data[:20]])
def test_a_spoilt_batch_costs_itself_alone(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    written(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    written(tmp_path, 2)
    result = search(tmp_path, frozenset({name(1), name(2)}), [DPO], everything)
    assert result.found == {name(2): (SYSTEM, f"{NIR}2")}
    assert result.damaged <= 1


@pytest.mark.usefixtures("fast")
def test_a_disk_that_refuses_is_tried_again_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, real = threading.Event(), os.fdatasync
    left = [3]

    def full(handle: int) -> None:
        if left[0]:
            left[0] -= 1
            os.ftruncate(handle, max(0, os.fstat(handle).st_size - 30))
            refused.set()
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fdatasync", full)
    failures = telemetry.ESCROW_FAILURES._value.get()
    made = Escrow(tmp_path, "gateway", RECIPIENTS)
    made.open()
    made.note([name(1)], SYSTEM, [NIR], NOW_MS)
    assert refused.wait(5)
    made.note([name(2)], SYSTEM, [NIR], NOW_MS)
    while left[0]:
        threading.Event().wait(0.01)
    made.close()
    assert set(search(tmp_path, frozenset({name(1), name(2)}), [DPO], everything).found) == {name(1), name(2)}
    assert telemetry.ESCROW_FAILURES._value.get() == failures + 3


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("refuses", ["write", "directory"])
def test_the_name_of_a_new_file_is_durable_whatever_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    done: list[str] = []
    left = {refuses: 1}

    def once(what: str, real: Callable[[Any], None]) -> Callable[[Any], None]:
        def doing(argument: Any) -> None:
            left[what] = left.get(what, 0) - 1
            if left[what] >= 0:
                raise OSError(5, "Input/output error")
            real(argument)
            done.append(what)

        return doing

    made = Escrow(tmp_path, "gateway", RECIPIENTS)
    made.open()
    monkeypatch.setattr(os, "fdatasync", once("write", os.fdatasync))
    monkeypatch.setattr(files, "sync_directory", once("directory", files.sync_directory))
    made.note([name(1)], SYSTEM, [NIR], NOW_MS)
    while "write" not in done:
        threading.Event().wait(0.01)
    made.close()
    assert done == ["directory", "write"]
    assert search(tmp_path, frozenset({name(1)}), [DPO], everything).found


@pytest.mark.usefixtures("fast")
def test_a_batch_that_cannot_be_made_is_dropped_and_the_next_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = telemetry.ESCROW_FAILURES._value.get()
    dropped = telemetry.ESCROW_DROPPED._value.get()
    made = Escrow(tmp_path, "gateway", RECIPIENTS)
    made.note([name(1), name(2)], SYSTEM, [NIR, f"{NIR}\ud800"], NOW_MS)
    made.open()
    while telemetry.ESCROW_DROPPED._value.get() == dropped:
        threading.Event().wait(0.01)
    # What was dropped is noted when its patient is next seen.
    made.note([name(1), name(3)], SYSTEM, [NIR, NIR], NOW_MS)
    made.close()
    assert set(search(tmp_path, frozenset(map(name, range(4))), [DPO], everything).found) == {
        name(1),
        name(3),
    }
    assert telemetry.ESCROW_FAILURES._value.get() == failures + 1
    assert telemetry.ESCROW_DROPPED._value.get() == dropped + 2
    said = capsys.readouterr()
    assert NIR not in said.out + said.err


def test_memory_is_bounded_and_what_had_no_room_is_noted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escrow, "MOST_WAITING", 2)
    dropped = telemetry.ESCROW_DROPPED._value.get()
    made = Escrow(tmp_path, "gateway", RECIPIENTS)
    names, ids = [name(number) for number in range(5)], [str(number) for number in range(5)]
    made.note(names, SYSTEM, ids, NOW_MS)
    assert telemetry.ESCROW_DROPPED._value.get() == dropped + 3
    made.open()
    made.close()
    made.note(names, SYSTEM, ids, NOW_MS)
    made.open()
    made.close()
    found = search(tmp_path, frozenset(names), [DPO], everything).found
    assert set(found) == {name(number) for number in range(4)}


def test_what_is_known_is_forgotten_before_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escrow, "MOST_KNOWN", 10)
    made = Escrow(tmp_path, "gateway", RECIPIENTS)
    for number in range(100):
        made.note([name(number)], SYSTEM, [NIR], NOW_MS)
        assert len(made._known) <= 10


@pytest.mark.usefixtures("fast")
def test_many_batches_hold_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escrow, "MOST_IN_A_BATCH", 7)
    made = Escrow(tmp_path, "gateway", RECIPIENTS)
    made.open()
    for first in range(0, 100, 10):
        numbers = range(first, first + 10)
        made.note([name(number) for number in numbers], SYSTEM, [str(number) for number in numbers], NOW_MS)
    made.close()
    wanted = frozenset(name(number) for number in range(100))
    assert search(tmp_path, wanted, [DEPUTY], everything).found == {
        name(number): (SYSTEM, str(number)) for number in range(100)
    }


def test_a_recipient_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(AgeRefused):
        Escrow(tmp_path, "gateway", ["age1nobody"])


def test_days_are_told_in_utc() -> None:
    assert day_name(NOW_MS // 86_400_000) == "2026-09-21"
