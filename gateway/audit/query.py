"""Questions to the journals of every writer. A view: only verify says whether what is read was signed."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from gateway.audit import files
from gateway.audit.encoding import MAX_LINE_BYTES, NotAnEntry, decode
from gateway.vocabulary.keys import KeyRing

COLUMNS = {
    "at": "VARCHAR",
    "at_ms": "BIGINT",
    "seq": "BIGINT",
    "kind": "VARCHAR",
    "reason": "VARCHAR",
    "control": "VARCHAR",
    "realm": "VARCHAR",
    "account": "VARCHAR",
    "account_class": "VARCHAR",
    "establishment": "VARCHAR",
    "operator": "VARCHAR",
    "app": "VARCHAR",
    "route": "VARCHAR",
    "route_kind": "VARCHAR",
    "method": "VARCHAR",
    "status": "BIGINT",
    "opened": "BOOLEAN",
    "rows": "BIGINT",
    "bytes": "BIGINT",
    "patients": "VARCHAR[]",
    "categories": "VARCHAR[]",
    "sensitivity": "VARCHAR",
    "client": "VARCHAR",
    "client_port": "BIGINT",
    "session": "VARCHAR",
    "request_id": "VARCHAR",
    "reference": "VARCHAR",
    "rule": "VARCHAR",
    "policy_id": "VARCHAR",
    "detail": "MAP(VARCHAR, VARCHAR)",
    "salt": "VARCHAR",
    "v": "BIGINT",
}
"""What can be asked for, and the order in which it is shown."""

_SHOWN = tuple(name for name in COLUMNS if name not in {"salt", "v"})
_SEPARATOR = b"\x1f"
_PSEUDONYM_BYTES = 16
_BATCH = 1_000
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Question:
    """Which events: every field given must fit.

    *patients* are pseudonyms, any of which may stand in the event. *outcomes* fit an event's reason or its
    control. *from_ms* is included, *to_ms* is not. *newest* asks for the last ones first, *limit* bounds them.
    """

    accounts: tuple[str, ...] = ()
    realm: str | None = None
    patients: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    establishments: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    request_id: str | None = None
    reference: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    newest: bool = False
    limit: int | None = None


def pseudonyms(ring: KeyRing, system: str, patient_id: str) -> tuple[str, ...]:
    """Return the pseudonyms of one patient under every key of *ring*, the current key's first.

    ``<kid>:<hex32>``, HMAC-SHA256 of system, 0x1F and id, its first 16 bytes. *patient_id* is in the form
    the route's normalisation gives it.
    """
    message = system.encode() + _SEPARATOR + patient_id.encode()
    kids = [ring.current, *(kid for kid in ring.keys if kid != ring.current)]
    return tuple(
        f"{kid}:{hmac.digest(ring.keys[kid], message, hashlib.sha256)[:_PSEUDONYM_BYTES].hex()}"
        for kid in kids
    )


def ask(audit_dir: Path, question: Question) -> Iterator[dict[str, Any]]:
    """Yield the events of every writer under *audit_dir* that answer *question*, in order of time.

    Each bears ``writer`` and its fields that are not empty. An unfinished last line of a live log is passed
    over.

    Raises:
        OSError: the directory cannot be read.
        duckdb.Error: a segment cannot be read.
    """
    segments = [
        _GLOB.sub(r"[\g<0>]", str(files.segment_path(directory, start)))
        for directory in files.log_directories(audit_dir)
        for start in files.segment_starts(directory)
    ]
    if not segments:
        return
    conditions, values = _conditions(question)
    columns = ", ".join(f"\"{name}\": '{kind}'" for name, kind in COLUMNS.items())
    shown = ", ".join(f'"{name}"' for name in _SHOWN)
    order = "desc" if question.newest else "asc"
    # Only names and types of our own stand in this text; everything that was asked is bound.
    sql = (
        f"select filename, {shown} from read_json($segments, columns={{{columns}}}, "  # noqa: S608
        "format='newline_delimited', ignore_errors=true, filename=true, "
        f"maximum_object_size={MAX_LINE_BYTES + 1}) where {' and '.join(conditions)} "
        f"order by at_ms {order}, filename {order}, seq {order}"
    )
    if question.limit is not None:
        sql += " limit $limit"
        values["limit"] = question.limit
    values["segments"] = segments
    with duckdb.connect(config={"threads": 2, "allow_unsigned_extensions": "false"}) as engine:
        engine.execute("set autoinstall_known_extensions = false; set autoload_known_extensions = false")
        found = engine.execute(sql, values)
        while rows := found.fetchmany(_BATCH):
            for filename, *row in rows:
                told = {name: value for name, value in zip(_SHOWN, row, strict=True) if value is not None}
                yield {"writer": Path(filename).parent.name, **told}


def _conditions(question: Question) -> tuple[list[str], dict[str, Any]]:
    conditions, values = ["at_ms is not null"], dict[str, Any]()

    def add(condition: str, name: str, value: object) -> None:
        if value is None or value == ():
            return
        conditions.append(condition)
        values[name] = list(value) if isinstance(value, tuple) else value

    add("list_contains($accounts, account)", "accounts", question.accounts)
    add("realm = $realm", "realm", question.realm)
    add("list_has_any(patients, $patients)", "patients", question.patients)
    add("list_contains($apps, app)", "apps", question.apps)
    add("list_contains($establishments, establishment)", "establishments", question.establishments)
    add("list_contains($kinds, kind)", "kinds", question.kinds)
    add(
        "(list_contains($outcomes, reason) or list_contains($outcomes, control))",
        "outcomes",
        question.outcomes,
    )
    add("request_id = $request_id", "request_id", question.request_id)
    add("reference = $reference", "reference", question.reference)
    add("at_ms >= $from_ms", "from_ms", question.from_ms)
    add("at_ms < $to_ms", "to_ms", question.to_ms)
    return conditions, values


def follow(
    audit_dir: Path, again: Callable[[], bool], *, from_start: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield events as writers add them: new writers and new segments too, whole lines only.

    *again* is called when everything there has been read: it waits and returns True, or False to stop.
    Starts at the present end of each log, or with its first entry when *from_start*.

    Raises:
        OSError: a file cannot be read.
    """
    read: dict[Path, int] = {}
    known_bytes = not from_start
    while True:
        for directory in files.log_directories(audit_dir):
            for start in files.segment_starts(directory):
                path = files.segment_path(directory, start)
                if path not in read:
                    read[path] = path.stat().st_size if known_bytes else 0
                yield from _news(path, read)
        known_bytes = False
        if not again():
            return


def _news(path: Path, read: dict[Path, int]) -> Iterator[dict[str, Any]]:
    size = path.stat().st_size
    # A writer that recovers cuts what it never promised.
    read[path] = min(read[path], size)
    if size == read[path]:
        return
    with path.open("rb") as file:
        file.seek(read[path])
        for line in file:
            if not line.endswith(b"\n"):
                return
            read[path] += len(line)
            try:
                values = decode(line[:-1])
            except NotAnEntry:
                # A line begun before following started, or no entry at all: verify names it.
                continue
            yield {"writer": path.parent.name, **{name: values[name] for name in _SHOWN if name in values}}
