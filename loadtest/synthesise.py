"""A trail of any size, shaped like a region's: a sorted monthly archive, and a journal by the real writer.

The archive is made by DuckDB from hashes of the event's number, so that the same size is the same trail. A day
has 91 324 events, so that 10^8 of them are 1 095 days, the longest preset of retention: more events are more
history, not busier days. Half the events open one record, one in twenty shows a list of 5 to 40 patients, one in two
thousand is an export of 200; the rest are logins, codes, refusals. Few of the 30 000 accounts do most of the work, and
some of the 1 500 000 patients are seen far oftener than others.
"""

import argparse
import asyncio
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from gateway.audit import files
from gateway.audit.archive import merged_path
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.manifest import File, Manifest, archive_directory, dump_manifest
from gateway.audit.parquet import ROW_GROUP_ROWS
from gateway.audit.sql import DAY_MS
from gateway.audit.writer import AuditWriter
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing

EVENTS_A_DAY = 91_324
ACCOUNTS = 30_000
PATIENTS = 1_500_000
END_MS = 1_798_761_600_000
"""2027-01-01: every trail ends there, whatever its length."""

ARCHIVED, JOURNAL = "gateway.archived", "gateway"
RING = KeyRing("checkpoint", "bench", {"bench": bytes(range(32))})
_BATCH = 500
_PART_GROUPS = 24
"""Groups of rows in a file: parts of 20 to 40 MB, as the keeper cuts them."""

_KEYS = {"events": "account", "accesses": "patient"}
_SORTED = {"events": '"account", "at_ms", "writer", "seq"', "accesses": '"patient", "at_ms", "writer", "seq"'}


def synthesise(directory: Path, events: int, tail: int, *, memory: str = "2GB") -> Manifest:
    """Make a trail of *events* archived events and *tail* journal entries under *directory*.

    Raises:
        FileExistsError: something stands there already.
    """
    archive = archive_directory(directory)
    for dataset in _SORTED:
        (archive / dataset).mkdir(parents=True)
    listed: dict[str, list[File]] = {dataset: [] for dataset in _SORTED}
    with tempfile.TemporaryDirectory(dir=directory, prefix="making-") as room:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": 2,
            "memory_limit": memory,
            "temp_directory": room,
        }
        with duckdb.connect(config=config) as engine:
            for month, first, last in months(events):
                _stage(engine, Path(room) / "stage.parquet", events, first, last)
                for dataset in _SORTED:
                    listed[dataset] += _merged(engine, Path(room) / "stage.parquet", archive, dataset, month)
                print(f"{month}: {last:,} of {events:,} events", file=sys.stderr, flush=True)
    manifest = Manifest({ARCHIVED: events}, tuple(listed["events"]), tuple(listed["accesses"]))
    files.replace_durably(archive / "manifest.json", dump_manifest(directory, manifest))
    if tail:
        asyncio.run(write_journal(directory / JOURNAL, tail))
    return manifest


def months(events: int) -> Iterator[tuple[str, int, int]]:
    """Yield each month of a trail of *events*: its name, and its first and its last event, excluded."""
    begin = 0
    while begin < events:
        month = _month(begin, events)
        low, high = begin, events
        # The first event of the next month: events are numbered in order of time.
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if _month(middle, events) == month else (low, middle)
        yield month, begin, low
        begin = low


def first_ms(events: int) -> int:
    """Return when the first day of a trail of *events* begins."""
    return END_MS - -(-events // EVENTS_A_DAY) * DAY_MS


def patient(number: int) -> str:
    """Return the pseudonym of patient *number*."""
    return f"k1:{hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()}"


def account(number: int) -> str:
    """Return the login of account *number*."""
    return f"agent.{number:05d}"


async def write_journal(directory: Path, entries: int) -> None:
    """Write *entries* accesses of the last day with the gateway's own writer, batch by batch."""
    writer = AuditWriter(directory, LOG_NAME, RING)
    writer.open()
    try:
        for begin in range(0, entries, _BATCH):
            numbers = range(begin, min(begin + _BATCH, entries))
            await asyncio.gather(*(writer.append(_entry(number, entries)) for number in numbers))
    finally:
        writer.close()


def _entry(number: int, entries: int) -> AuditEvent:
    listed = number % 10 == 0
    named = range(number, number + (20 if listed else 1))
    return AuditEvent(
        EventKind.ACCESS,
        END_MS + number * DAY_MS // (entries + 1),
        request_id=f"{number:016x}",
        realm="region",
        account=account(number * 7919 % ACCOUNTS),
        account_class="ward",
        establishment=f"59{number % 2000:07d}",
        session=f"{number % 5000:012x}",
        app="dossiers",
        route="liste" if listed else "dossier",
        route_kind="listing" if listed else "record",
        method="GET",
        status=200,
        client=f"10.{number % 200}.{number % 250}.7",
        client_port=443,
        reason="within-caps",
        patients=tuple(patient(one * 104_729 % PATIENTS) for one in named),
        opened=not listed,
        rows=len(named),
        bytes=4_000 + number % 9_000,
        categories=("identite.nom", "identite.prenom", "identite.age"),
        sensitivity="administrative",
        policy_id="p-0123456789ab",
    )


def _month(number: int, events: int) -> str:
    at_ms = first_ms(events) + number // EVENTS_A_DAY * DAY_MS
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m")


def _share(salt: int) -> str:
    """Return an expression of a number from 0 to 1 that is always the same for event ``i`` and *salt* (0 to 7)."""
    return f"(hash(i * 8 + {salt}) / 18446744073709551616.0)"


def _stage(engine: duckdb.DuckDBPyConnection, path: Path, events: int, first: int, last: int) -> None:
    """Write the events *first* to *last* in order of time."""
    # Six events in a hundred come before 7 h, six after 19 h.
    day = f"((i % {EVENTS_A_DAY}) / {EVENTS_A_DAY}.0)"
    of_day = (
        f"case when {day} < 0.06 then {day} / 0.06 * 7 when {day} < 0.94 then 7 + ({day} - 0.06) / 0.88 * 12 "
        f"else 19 + ({day} - 0.94) / 0.06 * 5 end"
    )
    named = (
        "case what when 'record' then 1 when 'withheld' then 1 when 'export' then 200 "
        f"when 'listing' then 5 + cast(35 * power({_share(0)}, 1.5) as BIGINT) else 0 end"
    )
    engine.execute(
        f"""
        copy (
          with drawn as (
            select i, {_share(1)} as u, cast({ACCOUNTS} * power({_share(2)}, 1.6) as BIGINT) as who,
              {first_ms(events)} + i // {EVENTS_A_DAY} * {DAY_MS} + cast(({of_day}) * 3600000 as BIGINT) as at_ms
            from range({first}, {last}) as numbers(i)
          ), told as (
            select *, case when u < 0.5 then 'record' when u < 0.55 then 'listing' when u < 0.5505 then 'export'
              when u < 0.555 then 'withheld' when u < 0.70 then 'login-seen' when u < 0.80 then 'code-accepted'
              when u < 0.90 then 'session-opened' when u < 0.95 then 'challenged' else 'refused' end as what
            from drawn
          ), sized as (select *, {named} as named from told)
          select '{ARCHIVED}' as writer,
            strftime(make_timestamp_ms(at_ms), '%Y-%m-%dT%H:%M:%S.%gZ') as at, at_ms, i as seq,
            case when what in ('record', 'listing', 'export') then 'access' else what end as kind,
            case what when 'withheld' then 'cap' when 'refused' then 'no-session' when 'challenged' then 'code-owed'
              when 'record' then 'within-caps' when 'listing' then 'within-caps' end as reason,
            case what when 'withheld' then 'patients-24h' end as control,
            'region' as realm, printf('agent.%05d', who) as account,
            (['ward', 'ward', 'ward', 'admission-desk', 'discharge-planning', 'coordination'])[who % 6 + 1]
              as account_class,
            printf('59%07d', who % 2000) as establishment, cast(null as VARCHAR) as operator,
            (['dossiers', 'dossiers', 'orientation', 'imagerie'])[who % 4 + 1] as app,
            case when named = 1 then 'dossier' when named > 1 then 'liste' else 'accueil' end as route,
            case what when 'withheld' then 'record' when 'record' then what when 'listing' then what
              when 'export' then what else 'page' end as route_kind,
            'GET' as method,
            cast(case what when 'withheld' then 429 when 'refused' then 403 else 200 end as BIGINT) as status,
            case when named > 0 then named = 1 end as opened, case when named > 0 then named end as rows,
            case when named > 0 then 3000 + named * 400 + cast(6000 * {_share(3)} as BIGINT) end as bytes,
            case when named > 0 then list_transform(range(named), lambda k: 'k1:' || md5(cast(cast(
              {PATIENTS} * power(hash(i * 256 + k) / 18446744073709551616.0, 1.3) as BIGINT) as VARCHAR)))
              end as patients,
            case when named > 0 then ['identite.nom', 'identite.prenom', 'identite.age'] end as categories,
            case when named > 0 then 'administrative' end as sensitivity,
            printf('10.%d.%d.7', who % 200, who % 250) as client, cast(443 as BIGINT) as client_port,
            substr(md5(cast(i // 40 * {ACCOUNTS} + who as VARCHAR)), 1, 12) as session,
            substr(md5(cast(i as VARCHAR)), 1, 16) as request_id,
            case what when 'withheld' then substr(md5(cast(i as VARCHAR)), 1, 8) end as reference,
            cast(null as VARCHAR) as rule, 'p-0123456789ab' as policy_id,
            cast(null as MAP(VARCHAR, VARCHAR)) as detail
          from sized
        ) to '{path}' (format parquet, compression lz4)
        """
    )


def _merged(
    engine: duckdb.DuckDBPyConnection, stage: Path, archive: Path, dataset: str, month: str
) -> list[File]:
    """Write *dataset* of the staged events as the keeper would have merged them: sorted, and cut into parts."""
    if dataset == "events":
        rows = f"select * from '{stage}'"
    else:
        rows = (
            "select unnest(list_distinct(patients)) as patient, at_ms, writer, seq, kind, realm, account, "
            "account_class, establishment, operator, app, route, route_kind, opened, rows, bytes, status, reason, "
            f"categories, sensitivity, client, session, request_id from '{stage}' where patients is not null"
        )
    drafts = stage.with_name("parts")
    shutil.rmtree(drafts, ignore_errors=True)
    engine.execute(
        f"copy ({rows} order by {_SORTED[dataset]}) to '{drafts}' (format parquet, compression zstd, "
        f"row_group_size {ROW_GROUP_ROWS}, row_groups_per_file {_PART_GROUPS})"
    )
    made: list[File] = []
    while (draft := drafts / f"data_{len(made)}.parquet").exists():
        path = draft.replace(merged_path(archive, dataset, month, 1, len(made)))
        key = _KEYS[dataset]
        count, first, last, lowest, highest, least, most = engine.execute(
            "select count(*), min(at_ms), max(at_ms), min(seq), max(seq), "
            f"min({key}), max({key}) from read_parquet('{path}')"
        ).fetchall()[0]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        seqs = {ARCHIVED: (lowest, highest)}
        made.append(File(path, count, path.stat().st_size, first, last, digest, seqs, least, most))
    return made


def main() -> int:
    """Make a trail as the command line says."""
    parser = argparse.ArgumentParser(prog="loadtest.synthesise", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--tail", type=int, default=45_000, help="journal entries, half a day by default")
    parser.add_argument("--dir", type=Path, required=True, help="an empty or new folder")
    chosen = parser.parse_args()
    manifest = synthesise(chosen.dir.absolute(), chosen.events, chosen.tail)
    total = sum(file.bytes for file in (*manifest.events, *manifest.accesses))
    rows = sum(file.rows for file in manifest.accesses)
    print(f"{chosen.events:,} events, {rows:,} accesses, {total:,} bytes in {chosen.dir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
