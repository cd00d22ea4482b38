"""Archives for the tests of this folder: journals of several writers and days, and what a reader finds in them."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from gateway.audit import files
from gateway.audit.encoding import decode, encode
from gateway.audit.manifest import File, Manifest, journal_parts, read_manifest
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN
from tests.unit.audit.logs import NOW_MS, SALT, journal

DAY_MS = 86_400_000
Id = tuple[str, int]


def day_ms(day: int) -> int:
    """The first millisecond of the *day*-th day after that of NOW_MS."""
    return NOW_MS // DAY_MS * DAY_MS + day * DAY_MS


def event(day: int, number: int) -> AuditEvent:
    """One of the events of *day*: accesses to one and to several patients, and events that name none."""
    at_ms = day_ms(day) + number
    shared = {"realm": "region", "app": "demo", "request_id": f"r{day}-{number}", "client": "10.0.0.1"}
    match number % 4:
        case 0:
            return AuditEvent(
                EventKind.ACCESS, at_ms, account=DR_MARTIN.login, patients=(patient(number),), opened=True,
                rows=1, status=200, establishment="590000001", categories=("identite.nom", "nir"),
                sensitivity="medical", **shared,
            )  # fmt: skip
        case 1:
            return AuditEvent(
                EventKind.ACCESS, at_ms, account=CLERK_LEA.login, opened=False, rows=3, bytes=4711,
                patients=tuple(patient(number + more) for more in range(3)), **shared,
            )  # fmt: skip
        case 2:
            return AuditEvent(
                EventKind.REFUSED, at_ms, account=NURSE_BEN.login, reason="cap", control="patients-24h",
                detail=(("note", "it's \"odd\" \u202e"), ("b", "2")), **shared,
            )  # fmt: skip
        case _:
            return AuditEvent(EventKind.STARTED, at_ms)


def patient(number: int) -> str:
    return f"k1:{number % 7:032x}"


def write_days(directory: Path, days: Sequence[int], per_day: int = 4) -> None:
    """Append *per_day* events for each of *days*, a segment a day; the last day's stays open."""
    log = journal(directory)
    log.open()
    for day in days:
        if log.is_of_a_day_before(day_ms(day)):
            log.rotate()
        log.commit(
            [encode(event(day, number), seq=log.size + number, salt=SALT) for number in range(per_day)]
        )
    log.close()


def entries(audit_dir: Path) -> dict[Id, dict[str, Any]]:
    """Every entry of the journals, by writer and seq."""
    found = {}
    for directory in files.log_directories(audit_dir):
        for start in files.segment_starts(directory):
            for line in files.read_lines(files.segment_path(directory, start)):
                values = decode(line)
                found[directory.name, values["seq"]] = values
    return found


def rows(items: Sequence[File]) -> list[dict[str, Any]]:
    """Every row of *items*, in their order, without what is empty."""
    found: list[dict[str, Any]] = []
    for item in items:
        result = _engine().execute("select * from read_parquet(?)", [str(item.path)])
        names = [column[0] for column in result.description or ()]
        found += [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in result.fetchall()
        ]
    return found


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One engine for all readings, since making it costs more than they do; it remembers nothing of a file."""
    return duckdb.connect(config={"threads": 1, "enable_external_file_cache": False})


def ids(found: Sequence[dict[str, Any]]) -> list[Id]:
    return [(row["writer"], row["seq"]) for row in found]


def assert_one_log(audit_dir: Path, expected: dict[Id, dict[str, Any]]) -> Manifest:
    """Assert that archive and journal together hold each of *expected* once, as it was recorded, and nothing else."""
    manifest = read_manifest(audit_dir)
    archived = rows(manifest.events)
    read = [
        (path.parent.name, values["seq"])
        for path, first in journal_parts(audit_dir, manifest)
        for values in map(decode, files.read_lines(path))
        if values["seq"] >= first
    ]
    counted = Counter([*ids(archived), *read])
    assert counted == Counter(dict.fromkeys(expected, 1))
    for row in archived:
        entry = expected[row["writer"], row["seq"]]
        told = {name: value for name, value in entry.items() if name not in {"salt", "v"}}
        assert {name: value for name, value in row.items() if name != "writer"} == told
    # Of the accesses, exactly those of the archived events.
    named = Counter((row["writer"], row["seq"], row["patient"]) for row in rows(manifest.accesses))
    assert named == Counter(
        (writer, seq, one)
        for writer, seq in ids(archived)
        for one in set(expected[writer, seq].get("patients", ()))
    )
    assert len(archived) == sum(item.rows for item in manifest.events)
    assert sum(named.values()) == sum(item.rows for item in manifest.accesses)
    for item in (*manifest.events, *manifest.accesses):
        assert item.path.stat().st_size == item.bytes
        assert item.path.stat().st_mode & 0o777 == 0o640
    return manifest
