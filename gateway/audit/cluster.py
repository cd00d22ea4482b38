"""ClickHouse holds the archive, for regions whose trail outgrows one machine. The journal is still read here.

The archive's Parquet files are loaded into two tables (config/clickhouse/schema.sql); up to where each writer's events
were loaded stands in a third. A question goes to both: the cluster answers for what is below, the files and
journals here for the rest, so that nothing is told twice or not at all. What was purged here is dropped there by
the next load.
"""

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from gateway.audit.columns import ACCESS_COLUMNS, EVENT_COLUMNS
from gateway.audit.manifest import File, Manifest, archive_directory
from gateway.audit.sql import Statement, Value

_TABLES = {"events": ("trail_events", EVENT_COLUMNS), "accesses": ("trail_accesses", ACCESS_COLUMNS)}


class ClusterUnavailable(Exception):
    """The cluster cannot be asked. The message says why, and never holds the password."""


class Client(Protocol):
    """What is used of a client of clickhouse-connect."""

    def command(self, cmd: str, parameters: dict[str, Any] | None = None) -> Any:
        """Run a statement that has no rows."""
        ...

    def query(self, query: str, parameters: dict[str, Any] | None = None) -> Any:
        """Run a SELECT; ``result_rows`` of what comes back are its rows."""
        ...

    def query_rows_stream(self, query: str, parameters: dict[str, Any] | None = None) -> Any:
        """Run a SELECT; a context manager that gives its rows one by one."""
        ...


def connect(url: str) -> "Cluster":
    """Return the cluster at *url*: ``clickhouse://user:password@host:port/database``, TLS unless ``?secure=0``.

    Raises:
        ClusterUnavailable: clickhouse-connect is not installed, or the server does not answer.
    """
    try:
        import clickhouse_connect  # noqa: PLC0415 - an optional dependency
        from clickhouse_connect.driver.exceptions import Error  # noqa: PLC0415
    except ImportError:
        raise ClusterUnavailable(
            "audit.engine names a ClickHouse and its client is not installed: pip install 'ecluse[clickhouse]'"
        ) from None
    parts = urlsplit(url)
    try:
        client = clickhouse_connect.get_client(
            host=parts.hostname or "",
            port=parts.port or 0,
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=parts.path.strip("/") or "default",
            secure="secure=0" not in parts.query.split("&"),
        )
    except (Error, OSError) as error:
        where = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
        raise ClusterUnavailable(f"no ClickHouse answers at {where}: {type(error).__name__}") from error
    return Cluster(client)


class Cluster:
    """One ClickHouse with the tables of config/clickhouse/schema.sql."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def loaded(self) -> dict[str, int]:
        """Return up to which ``seq``, excluded, each writer's events are there.

        Raises:
            ClusterUnavailable: it cannot be asked.
        """
        with _told():
            found = self._client.query('select "writer", max("seq") from trail_loaded group by "writer"')
        return {str(writer): int(seq) for writer, seq in found.result_rows}

    def run(self, statement: Statement, loaded: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of *statement* over what was there when *loaded* was told.

        Raises:
            ClusterUnavailable: it cannot be asked.
        """
        below, values = _below(loaded)
        tables = ", ".join(
            f"{name} as (select {_names(columns)} from {table} where {below})"
            for name, (table, columns) in _TABLES.items()
        )
        with (
            _told(),
            self._client.query_rows_stream(
                f"with {tables} {statement.text}", parameters={**values, **statement.values}
            ) as rows,
        ):
            yield from rows

    def load(self, audit_dir: Path, manifest: Manifest, source: str) -> int:
        """Load what *manifest* archives and the tables do not hold yet; return how many events came.

        *source* is where the server itself finds the archive of *audit_dir*: a folder (``file()``), or an
        ``http://``, ``https://`` or ``s3://`` prefix (``s3()``, with the credentials of the server). A load that was
        interrupted is begun again: what it left is dropped first, and counts for nothing until the end.

        Raises:
            ClusterUnavailable: it cannot be asked, a file cannot be read there, or a load is under way.
            OSError: the archive's folder cannot be written to.
        """
        with _alone(archive_directory(audit_dir)):
            return self._load(audit_dir, manifest, source)

    def _load(self, audit_dir: Path, manifest: Manifest, source: str) -> int:
        before = self.loaded()
        wanted = {
            writer: (before.get(writer, 0), upto)
            for writer, upto in manifest.archived.items()
            if upto > before.get(writer, 0)
        }
        with _told():
            for writer, below in manifest.purged.items():
                self._drop("<", writer, below)
            for writer, (since, _) in wanted.items():
                self._drop(">=", writer, since)
            for (table, columns), files in zip(
                _TABLES.values(), (manifest.events, manifest.accesses), strict=True
            ):
                for file in files:
                    self._copy(table, columns, file, wanted, _source(audit_dir, file, source))
            count = sum(upto - since for since, upto in wanted.values())
            for writer, (_, upto) in wanted.items():
                self._client.command(
                    "insert into trail_loaded values ({writer:String}, {seq:Int64})",
                    parameters={"writer": writer, "seq": upto},
                )
        return count

    def _copy(
        self,
        table: str,
        columns: Mapping[str, str],
        file: File,
        wanted: Mapping[str, tuple[int, int]],
        source: tuple[str, str],
    ) -> None:
        newer = {
            writer: wanted[writer]
            for writer, (_, last) in file.seqs.items()
            if writer in wanted and last >= wanted[writer][0]
        }
        if not newer:
            return
        function, place = source
        values: dict[str, Value] = {"place": place}
        each = []
        for number, (writer, (since, upto)) in enumerate(newer.items()):
            values |= {f"writer_{number}": writer, f"since_{number}": since, f"upto_{number}": upto}
            each.append(
                f'("writer" = {{writer_{number}:String}} and "seq" >= {{since_{number}:Int64}} '
                f'and "seq" < {{upto_{number}:Int64}})'
            )
        self._client.command(
            f"insert into {table} ({_names(columns)}) select {_names(columns)} "
            f"from {function}({{place:String}}, 'Parquet') where {' or '.join(each)}",
            parameters=values,
        )

    def _drop(self, side: str, writer: str, seq: int) -> None:
        for table, _ in _TABLES.values():
            self._client.command(
                f'alter table {table} delete where "writer" = {{writer:String}} and "seq" {side} {{seq:Int64}} '
                "settings mutations_sync = 2",
                parameters={"writer": writer, "seq": seq},
            )


def _below(loaded: Mapping[str, int]) -> tuple[str, dict[str, Value]]:
    values: dict[str, Value] = {}
    each = []
    for number, (writer, seq) in enumerate(sorted(loaded.items())):
        values |= {f"loaded_{number}": writer, f"below_{number}": seq}
        each.append(f'("writer" = {{loaded_{number}:String}} and "seq" < {{below_{number}:Int64}})')
    return " or ".join(each) or "0", values


def _source(audit_dir: Path, file: File, source: str) -> tuple[str, str]:
    name = file.path.relative_to(archive_directory(audit_dir)).as_posix()
    return ("s3" if "://" in source else "file"), f"{source.rstrip('/')}/{name}"


def _names(columns: Mapping[str, str] | Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


@contextmanager
def _alone(archive: Path) -> Iterator[None]:
    archive.mkdir(mode=0o750, parents=True, exist_ok=True)
    with (archive / "load.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterUnavailable("another load of this archive is under way: wait for its end") from None
        yield


@contextmanager
def _told() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import Error  # noqa: PLC0415 - an optional dependency

    try:
        yield
    except (Error, OSError) as error:
        # What a server says first names the fault; the rest may hold pieces of the question.
        said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        if "UNKNOWN_TABLE" in str(error):
            said = "the tables of the trail are missing: make them with config/clickhouse/schema.sql"
        raise ClusterUnavailable(f"ClickHouse: {said}") from error
