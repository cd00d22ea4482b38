"""What the workers are made of: whose turn it is, how long to wait, how many there are, what is summed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.audit import files
from gateway.processes import Pauses
from gateway.workers.merging import exposition, families_of, merged
from gateway.workers.plan import count
from gateway.workers.port import PortTaken, take
from gateway.workers.standings import Standings, may_take
from gateway.workers.systemd import watchdog_s


@given(st.lists(st.integers(-1, 50), min_size=2, max_size=8))
def test_somebody_may_always_take_and_nobody_with_more_than_another(counts: list[int]) -> None:
    there = [place for place, each in enumerate(counts) if each >= 0]
    turns = [place for place in there if may_take(counts[place], counts[:place] + counts[place + 1 :])]
    assert bool(turns) == bool(there)
    assert all(counts[place] == min(counts[each] for each in there) for place in turns)


def test_the_table_is_one_for_all_and_who_is_gone_holds_up_nobody() -> None:
    handle = Standings.make()
    first, second, supervisor = Standings(handle, 1), Standings(handle, 2), Standings(handle)
    os.close(handle)
    assert first.is_my_turn(5)
    assert second.is_my_turn(4)
    assert not first.is_my_turn(5)
    second.note(6)
    assert first.is_my_turn(5)
    second.note(0)
    assert not first.is_my_turn(5)
    supervisor.leave(2)
    assert first.is_my_turn(5)


def test_pauses_grow_until_a_process_lasts() -> None:
    pauses = Pauses(0.1, 0.5, 60.0)
    assert [pauses.after(1.0) for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert [pauses.after(lived_s) for lived_s in (60.0, 1.0)] == [0.1, 0.2]


@pytest.mark.parametrize(
    ("quota", "most"),
    [("max 100000", 10_000), ("100000 100000", 1), ("150000 100000", 2), ("1 100000", 1), ("?", 10_000)],
)
def test_auto_is_the_cores_that_may_be_used(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n", "ascii")
    assert count("auto", tmp_path / "cpu.max") == min(most, len(os.sched_getaffinity(0)))
    assert count("auto", tmp_path / "none") == len(os.sched_getaffinity(0))
    assert count(7, tmp_path / "cpu.max") == 7


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_systemd_is_told_twice_within_its_patience(
    environment: dict[str, str], every_s: float | None
) -> None:
    assert watchdog_s(environment, 7) == every_s


@pytest.mark.parametrize(
    ("node", "worker", "name"),
    [(None, 1, "gateway"), (None, 2, "gateway~2"), ("a", 1, "gateway.a"), ("a", 3, "gateway.a~3")],
)
def test_each_worker_has_a_log_and_the_first_goes_on_with_that_of_before(
    node: str | None, worker: int, name: str
) -> None:
    assert files.writer_name(files.GATEWAY, node, worker) == name


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(PortTaken, match=r"listener 203\.0\.113\.9:8443: "):
        take("203.0.113.9", 8443)


def registry(requests: int, waits: tuple[float, ...], policy: str, memory: float) -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("ecluse_requests", "x", ("app",), registry=made).labels('a"b').inc(requests)
    histogram = Histogram("ecluse_wait_seconds", "x", buckets=(0.1, 1.0), registry=made)
    for wait in waits:
        histogram.observe(wait)
    Gauge("ecluse_config_info", "x", ("policy_id",), registry=made).labels(policy).set(1)
    Gauge("process_resident_memory_bytes", "x", registry=made).set(memory)
    return made


def lines(text: bytes) -> set[str]:
    return {
        line for line in text.decode().splitlines() if not line.startswith("#") and "_created" not in line
    }


def test_what_was_counted_is_summed_and_stays_when_a_worker_ends() -> None:
    one = families_of(registry(3, (0.05, 0.5), "p", 100.0))
    two = families_of(registry(4, (5.0,), "p", 200.0))
    together = lines(exposition(merged({"1": one, "2": two})))
    assert together == {
        'ecluse_requests_total{app="a\\"b"} 7.0',
        'ecluse_wait_seconds_bucket{le="0.1"} 1.0',
        'ecluse_wait_seconds_bucket{le="1.0"} 2.0',
        'ecluse_wait_seconds_bucket{le="+Inf"} 3.0',
        "ecluse_wait_seconds_count 3.0",
        "ecluse_wait_seconds_sum 5.55",
        'ecluse_config_info{policy_id="p"} 1.0',
        'process_resident_memory_bytes{worker="1"} 100.0',
        'process_resident_memory_bytes{worker="2"} 200.0',
    }
    # The second one ended, and a third one begins from nothing: no sum falls.
    ended = merged({}, [merged({}, [two])])
    third = families_of(registry(1, (), "q", 50.0))
    later = lines(exposition(merged({"1": one, "3": third}, [ended])))
    assert 'ecluse_requests_total{app="a\\"b"} 8.0' in later
    assert "ecluse_wait_seconds_count 3.0" in later
    assert 'process_resident_memory_bytes{worker="2"} 200.0' not in later


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=6), st.data())
def test_no_sum_falls_whoever_ends(counts: list[int], data: st.DataObject) -> None:
    families = [families_of(registry(each, (), "p", 1.0)) for each in counts]
    gone = data.draw(st.integers(0, len(counts)))
    present = {str(place): each for place, each in enumerate(families[gone:])}
    text = exposition(merged(present, families[:gone]))
    assert f'ecluse_requests_total{{app="a\\"b"}} {float(sum(counts))}' in lines(text)
