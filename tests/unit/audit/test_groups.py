"""Counts of two places are those of one, whichever event lies where."""

import fcntl
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.cluster import Cluster, ClusterUnavailable, connect
from gateway.audit.groups import same_patients, sort_groups, sum_groups
from gateway.audit.manifest import Manifest, archive_directory
from gateway.audit.sql import MEASURES

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["dr.martin", "ben", None]),
        st.frozensets(st.integers(0, 6)),
        st.integers(0, 9),
        st.booleans(),
    )
)
Event = tuple[str | None, frozenset[int], int, bool]


def counted(events: Sequence[Event]) -> list[tuple[object, ...]]:
    groups: dict[str | None, list[Event]] = {}
    for event in events:
        groups.setdefault(event[0], []).append(event)
    return [
        (name, len(each), len(frozenset().union(*(one[1] for one in each))), sum(one[2] for one in each), 0)
        for name, each in groups.items()
    ]


def named(events: Sequence[Event]) -> set[tuple[str | None, int]]:
    return {(name, patient) for name, patients, _, _ in events for patient in patients}


@given(EVENTS)
def test_a_patient_seen_in_both_places_counts_once(events: list[Event]) -> None:
    there, here = [one for one in events if one[3]], [one for one in events if not one[3]]
    shared = [(name,) for name, _ in named(there) & named(here)]
    told = sum_groups(counted(there), counted(here), shared, width=1)
    assert sorted(told, key=str) == sorted(counted(events), key=str)


def test_what_a_journal_gained_meanwhile_is_left_out_of_both() -> None:
    here = [("demo", 3, 2, 9, 9), ("bis", 1, 0, 0, 0)]
    pairs = [("demo", "k1:a"), ("demo", "k1:b"), ("demo", "k1:new"), ("new app", "k1:a")]
    told, mine = same_patients(here, pairs, width=1)
    assert told == [("demo", 3, 3, 9, 9), ("bis", 1, 0, 0, 0)]
    assert mine == set(pairs[:3])


def test_groups_are_in_the_order_of_the_engine() -> None:
    rows = [(None, 1, 2, 3, 4), ("b", 1, 2, 3, 4), ("a", 1, 2, 3, 4), ("z", 9, 2, 0, 0), ("y", 0, 8, 0, 0)]
    assert [row[0] for row in sort_groups(rows, width=1, by="patients")] == ["y", "z", "a", "b", None]
    assert [row[0] for row in sort_groups(rows, width=1, by="events")] == ["z", "a", "b", None, "y"]
    assert MEASURES == ("events", "patients", "rows", "bytes")


def test_a_missing_client_is_told_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clickhouse_connect", None)
    with pytest.raises(ClusterUnavailable, match=r"ecluse\[clickhouse\]"):
        connect("clickhouse://ecluse@127.0.0.1:1/trail?secure=0")


def test_two_loads_of_one_archive_do_not_run_at_once(tmp_path: Path) -> None:
    archive = archive_directory(tmp_path)
    archive.mkdir()
    with (archive / "load.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ClusterUnavailable, match="under way"):
            Cluster(Unasked()).load(tmp_path, Manifest(), "/nowhere")


class Unasked:
    """A client nobody asks anything."""

    def command(self, cmd: str, parameters: object = None) -> object:
        raise AssertionError(cmd)

    query = query_rows_stream = command
