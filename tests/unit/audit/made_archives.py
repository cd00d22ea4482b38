"""Archives for the tests of this folder: what stands in journals, put into Parquet files and a manifest."""
# ruff: noqa: S608 - names of our own stand in this SQL.

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from gateway.audit.embedded import open_embedded
from gateway.audit.manifest import File, Manifest, archive_directory, dump_manifest
from gateway.audit.sql import DAY_MS

_SORTED = {"events": "account, at_ms, writer, seq", "accesses": "patient, at_ms, writer, seq"}


@contextmanager
def _tables(audit_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the two tables over the journals of *audit_dir*, as the engine of queries makes them."""
    with open_embedded([audit_dir]) as engine:
        engine.show()
        yield engine.connection


def archive(audit_dir: Path, archived: Mapping[str, int], *, row_group: int = 2_048) -> Manifest:
    """Put the events below *archived* of each writer into daily files of both datasets, and list them."""
    place = archive_directory(audit_dir)
    listed: dict[str, list[File]] = {"events": [], "accesses": []}
    with _tables(audit_dir) as engine:
        for dataset, order in _SORTED.items():
            (place / dataset).mkdir(parents=True, exist_ok=True)
            below = " or ".join(f"(writer = '{writer}' and seq < {seq})" for writer, seq in archived.items())
            days = f"select distinct at_ms // {DAY_MS}, writer from {dataset} where {below or 'false'} order by all"
            for day, writer in engine.sql(days).fetchall():
                path = place / dataset / f"{day}.{writer}.parquet"
                kept = (
                    f"select * from {dataset} where writer = '{writer}' and at_ms // {DAY_MS} = {day} "
                    f"and seq < {archived[writer]} order by {order}"
                )
                engine.execute(
                    f"copy ({kept}) to '{path}' (format parquet, compression zstd, row_group_size {row_group})"
                )
                rows, first, last, least, most = engine.sql(
                    f"select count(*), min(at_ms), max(at_ms), min(seq), max(seq) from read_parquet('{path}')"
                ).fetchall()[0]
                raw = path.read_bytes()
                digest = hashlib.sha256(raw).hexdigest()
                listed[dataset].append(
                    File(path, rows, len(raw), first, last, digest, {writer: (least, most)})
                )
    manifest = Manifest(dict(archived), tuple(listed["events"]), tuple(listed["accesses"]))
    (place / "manifest.json").write_bytes(dump_manifest(audit_dir, manifest))
    return manifest
