"""Every question of auditors has one answer, whether DuckDB or ClickHouse gives it.

ClickHouse runs inside the process (chdb) and is spoken to through the client of production. Not tried here: a
server over HTTP, a cluster of several, replicated tables, S3.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.cluster import Cluster, ClusterUnavailable
from gateway.audit.manifest import Manifest, archive_directory, read_manifest
from gateway.audit.query import Question, accesses, ask, grouped
from tests.unit.audit.made_archives import archive
from tests.unit.audit.test_trail import COUNTS, GROUPINGS, QUESTIONS, journals

__all__ = ["journals"]
SCHEMA = Path(__file__).parents[3] / "config" / "clickhouse" / "schema.sql"
TABLES = ("trail_events", "trail_accesses", "trail_loaded")

pytestmark = pytest.mark.clickhouse


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    connect = pytest.importorskip("clickhouse_connect")
    made = connect.get_client(interface="chdb", path=str(tmp_path_factory.mktemp("chdb")))
    yield made
    made.close()


@pytest.fixture
def cluster(client: Any) -> Cluster:
    for table in TABLES:
        client.command(f"drop table if exists {table}")
    text = "\n".join(line for line in SCHEMA.read_text().splitlines() if not line.startswith("--"))
    for statement in text.split(";"):
        if statement.strip():
            client.command(statement)
    return Cluster(client)


def archived(journals: Path, place: Path, *upto: int) -> tuple[Path, Manifest]:
    shutil.copytree(journals, place, dirs_exist_ok=True)
    return place, archive(place, dict(zip(COUNTS, upto, strict=True)))


def load(cluster: Cluster, place: Path) -> int:
    return cluster.load(place, read_manifest(place), str(archive_directory(place)))


def check(
    cluster: Cluster, place: Path, journals: Path, questions: Sequence[Question] = QUESTIONS[::4]
) -> None:
    for question in questions:
        assert list(ask(place, question, cluster=cluster)) == list(ask(journals, question)), question
        assert list(accesses(place, question, cluster=cluster)) == list(accesses(journals, question)), (
            question
        )


# Part of it loaded with the rest in journals, and everything.
@pytest.mark.parametrize("upto", [(5, 9, 2), (12, 9, 4)])
def test_both_engines_tell_the_same_events_and_accesses(
    cluster: Cluster, journals: Path, tmp_path: Path, upto: tuple[int, ...]
) -> None:
    place, _ = archived(journals, tmp_path, *upto)
    assert load(cluster, place) == sum(upto)
    check(cluster, place, journals, QUESTIONS)


def test_both_engines_count_the_same(cluster: Cluster, journals: Path, tmp_path: Path) -> None:
    place, _ = archived(journals, tmp_path, 5, 9, 2)
    load(cluster, place)
    asked = [*zip(QUESTIONS, cycle(GROUPINGS), strict=False), *product([Question(limit=4)], GROUPINGS)]
    for (question, columns), by in zip(asked, cycle(("patients", "events", "bytes", "rows")), strict=False):
        told = grouped(place, question, columns, by=by, cluster=cluster)
        assert told == grouped(journals, question, columns, by=by), (question, columns, by)


def test_an_archive_that_is_ahead_of_the_cluster_is_read_here(
    cluster: Cluster, journals: Path, tmp_path: Path
) -> None:
    place, _ = archived(journals, tmp_path, 5, 0, 2)
    load(cluster, place)
    shutil.rmtree(archive_directory(place))
    archive(place, dict(zip(COUNTS, (12, 9, 4), strict=True)))
    check(cluster, place, journals)
    # The next load takes the rest, from files that hold what was loaded already too.
    assert load(cluster, place) == 12 + 9 + 4 - 7
    assert load(cluster, place) == 0
    check(cluster, place, journals)


def test_a_load_that_was_interrupted_counts_for_nothing_and_is_mended(
    cluster: Cluster, client: Any, journals: Path, tmp_path: Path
) -> None:
    place, _ = archived(journals, tmp_path, 12, 9, 4)
    load(cluster, place)
    client.command("truncate table trail_loaded")
    client.command("insert into trail_loaded values ('gw-1', 3)")
    check(cluster, place, journals)
    assert load(cluster, place) == 12 + 9 + 4 - 3
    assert client.query("select count(*) from trail_events").result_rows == [(25,)]
    check(cluster, place, journals)


def test_what_was_purged_here_is_dropped_there(
    cluster: Cluster, client: Any, journals: Path, tmp_path: Path
) -> None:
    place, manifest = archived(journals, tmp_path, 12, 9, 4)
    load(cluster, place)
    purged = Manifest(manifest.archived, manifest.events, manifest.accesses, purged={"gw-1": 10})
    assert cluster.load(place, purged, str(archive_directory(place))) == 0
    left = client.query("select min(seq) from trail_events where writer = 'gw-1'").result_rows
    assert left == [(10,)]


def test_missing_tables_are_told_with_their_mend(cluster: Cluster, client: Any, journals: Path) -> None:
    client.command("drop table trail_loaded")
    with pytest.raises(ClusterUnavailable, match=r"schema\.sql"):
        list(ask(journals, Question(), cluster=cluster))
