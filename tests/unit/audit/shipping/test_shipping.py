"""The journal as spool: what a collector that fails in every way has in the end."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit import files
from gateway.audit.encoding import encode
from gateway.audit.shipping.cursors import Cursors, ShippingRefused
from gateway.audit.shipping.link import Unconfirmed
from gateway.audit.shipping.shipper import LONGEST_DELAY_S, Shipper
from gateway.audit.shipping.spool import Spool
from tests.thorough import EXAMPLES
from tests.unit.audit.logs import SALT, an_event, journal, write

EVERYTHING = 1 << 40


def sent(spool: Spool, most_bytes: int = EVERYTHING) -> list[int]:
    return [each["seq"] for each in spool.take(spool.signed(), most_bytes)]


def test_a_log_is_read_in_order_over_its_segments_and_as_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "gateway"
    write(log, 25, per_segment=10)
    spool = Spool(log, 0)
    assert sent(spool) == list(range(25))
    assert sent(spool) == []
    write(log, 7, per_segment=10, first=25)
    assert sent(spool) == list(range(25, 32))
    assert (spool.missing, spool.unreadable) == (0, 0)


@pytest.mark.parametrize("seq", [0, 1, 9, 10, 11, 19, 24, 25])
def test_a_log_is_taken_up_anywhere(tmp_path: Path, seq: int) -> None:
    write(tmp_path / "gateway", 25, per_segment=10)
    spool = Spool(tmp_path / "gateway", seq)
    assert sent(spool) == list(range(seq, 25))
    spool.go_back()
    assert sent(spool) == list(range(seq, 25))


def test_little_is_read_at_once_and_going_back_reads_the_same_again(tmp_path: Path) -> None:
    write(tmp_path / "gateway", 25, per_segment=10)
    spool = Spool(tmp_path / "gateway", 0)
    assert sent(spool, 1) == [0]
    assert sent(spool, 1) == [1]
    spool.keep()
    assert sent(spool) == list(range(2, 25))
    spool.go_back()
    assert sent(spool) == list(range(2, 25))


def test_what_is_not_signed_is_not_sent_since_a_recovery_may_cut_it(tmp_path: Path) -> None:
    log = journal(tmp_path / "gateway")
    log.open()
    log.commit([encode(an_event(0), seq=0, salt=SALT)])
    spool = Spool(tmp_path / "gateway", 0)
    assert sent(spool) == []
    log.checkpoint()
    assert sent(spool) == [0]
    log.close()


def test_a_purged_segment_is_told_and_holds_up_nothing(tmp_path: Path) -> None:
    log = tmp_path / "gateway"
    write(log, 30, per_segment=10)
    files.segment_path(log, 0).unlink()
    spool = Spool(log, 0)
    assert sent(spool) == list(range(10, 30))
    assert spool.missing == 10
    files.segment_path(log, 10).unlink()
    middle = Spool(log, 5)
    assert sent(middle) == list(range(20, 30))
    assert middle.missing == 15


def test_a_line_that_is_no_entry_is_told_and_holds_up_nothing(tmp_path: Path) -> None:
    log = tmp_path / "gateway"
    write(log, 3)
    path = files.segment_path(log, 0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"rubbish\n" + lines[2])
    spool = Spool(log, 0)
    assert sent(spool) == [0, 2]
    assert spool.unreadable == 1


def test_an_old_copy_of_a_log_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "gateway", 3)
    with pytest.raises(ShippingRefused, match="old copy"):
        Spool(tmp_path / "gateway", 4).signed()
    (tmp_path / "gateway" / "checkpoint").write_bytes(b"rubbish")
    with pytest.raises(ShippingRefused, match="checkpoint"):
        Spool(tmp_path / "gateway", 0).signed()


def test_cursors_outlive_the_process_and_belong_to_one(tmp_path: Path) -> None:
    first = Cursors(tmp_path / "collector")
    first.open()
    first.save({"gateway": 7, "operator.node-2": 3})
    with pytest.raises(ShippingRefused, match="another process"):
        Cursors(tmp_path / "collector").open()
    first.close()
    second = Cursors(tmp_path / "collector")
    second.open()
    assert second.load() == {"gateway": 7, "operator.node-2": 3}
    second.forget()
    assert second.load() == {}
    (tmp_path / "collector" / "gateway.cursor").write_bytes(b'{"seq": "7"}')
    with pytest.raises(ShippingRefused, match="delete it"):
        second.load()
    second.close()


class Collector:
    """A collector that fails as told: each connection reads some messages, then ends in one of three ways."""

    def __init__(self, fates: list[tuple[str, int]]) -> None:
        self.has: list[str] = []
        self.fates = iter(fates)
        self.connections = 0

    def connect(self) -> "Connection":
        self.connections += 1
        fate, reads = next(self.fates, ("well", EVERYTHING))
        if fate == "refused":
            raise ConnectionRefusedError("nobody listens")
        return Connection(self, fate, reads)


class Connection:
    def __init__(self, collector: Collector, fate: str, reads: int) -> None:
        self.collector, self.fate, self.reads = collector, fate, reads
        self.waiting: list[str] = []

    def send(self, messages: list[str]) -> None:
        # Everything is taken by the system; the receiver reads no more than it is fated to.
        self.waiting += messages
        if self.fate == "breaks" and len(self.waiting) > self.reads:
            self._read()
            raise ConnectionResetError("reset")

    def finish(self) -> None:
        self._read()
        if self.fate != "well":
            raise Unconfirmed("closed")

    def drop(self) -> None:
        self._read()

    def _read(self) -> None:
        self.collector.has += self.waiting if self.fate == "well" else self.waiting[: self.reads]
        self.waiting = []


def a_shipper(
    audit_dir: Path, cursors: Cursors, collector: Collector, wait: Callable[[float], bool] | None = None
) -> Shipper:
    def render(event: Mapping[str, Any]) -> list[str]:
        return [f"{event['writer']}:{event['seq']}"]

    clock = count()
    return Shipper(
        audit_dir, cursors, collector.connect, render,
        now_s=lambda: float(next(clock)), wait=wait or (lambda _: True), turn_s=3.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_writers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("audit")
    write(place / "gateway", 40, per_segment=15)
    write(place / "operator", 11)
    return place


def firsts(messages: list[str]) -> dict[str, list[int]]:
    """Return each writer's entries in the order in which the collector first saw them."""
    seen: dict[str, list[int]] = {}
    for message in dict.fromkeys(messages):
        writer, _, seq = message.partition(":")
        seen.setdefault(writer, []).append(int(seq))
    return seen


FATES = st.lists(
    st.tuples(st.sampled_from(["refused", "breaks", "silent loss", "well"]), st.integers(0, 60)), max_size=12
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(fates=FATES, restarts=st.lists(st.integers(1, 6), max_size=3))
def test_whatever_the_collector_does_it_ends_with_everything_in_order(
    two_writers: Path,
    tmp_path_factory: pytest.TempPathFactory,
    fates: list[tuple[str, int]],
    restarts: list[int],
) -> None:
    collector = Collector(fates)
    place = tmp_path_factory.mktemp("state")
    for steps in [*restarts, None]:
        # A new process each time, which knows the cursor and nothing else.
        cursors = Cursors(place / "collector")
        cursors.open()
        left = iter(range(steps)) if steps is not None else None

        def wait(_: float, left: Iterator[int] | None = left) -> bool:
            return left is None or next(left, None) is not None

        shipper = a_shipper(two_writers, cursors, collector, wait)
        if steps is not None:
            shipper.run()
        else:
            for _ in range(len(fates) + 1):
                if shipper.run(once=True):
                    break
            else:
                pytest.fail("never arrived")
        for writer, seq in cursors.load().items():
            assert set(range(seq)) <= set(firsts(collector.has).get(writer, [])), "a cursor ran ahead"
        cursors.close()
    assert firsts(collector.has) == {"gateway": list(range(40)), "operator": list(range(11))}


def test_nothing_is_sent_twice_when_nothing_fails(two_writers: Path, tmp_path: Path) -> None:
    collector = Collector([])
    cursors = Cursors(tmp_path)
    cursors.open()
    assert a_shipper(two_writers, cursors, collector).run(once=True)
    assert a_shipper(two_writers, cursors, collector).run(once=True)
    assert len(collector.has) == 51
    assert collector.connections == 1
    # Events of two writers are mixed by time: both began at the same moment.
    assert collector.has[:4] == ["gateway:0", "operator:0", "gateway:1", "operator:1"]
    cursors.close()


def test_a_collector_that_is_down_is_asked_ever_more_seldom(two_writers: Path, tmp_path: Path) -> None:
    delays: list[float] = []

    def wait(seconds: float) -> bool:
        delays.append(seconds)
        return len(delays) < 9

    cursors = Cursors(tmp_path)
    cursors.open()
    assert not a_shipper(two_writers, cursors, Collector([("refused", 0)] * 20), wait).run()
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert delays[-1] == LONGEST_DELAY_S
    assert cursors.load() == {}
    cursors.close()


def test_a_stop_ends_the_connection_in_order(two_writers: Path, tmp_path: Path) -> None:
    cursors = Cursors(tmp_path)
    cursors.open()
    collector = Collector([])
    assert a_shipper(two_writers, cursors, collector, lambda _: False).run()
    assert cursors.load() == {"gateway": 40, "operator": 11}
    cursors.close()
