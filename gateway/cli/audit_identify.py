"""``ecluse audit identify``: which patients pseudonyms are, for who holds the escrow's identity or a list of ids."""

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.age import AgeRefused
from gateway.audit import escrow
from gateway.audit.cells import cell_text
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import visible
from gateway.audit.operator import local_user, operator_log
from gateway.audit.query import pseudonyms
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import identities_or_exit, keys_or_exit, load_or_exit
from gateway.cli.progress import bytes_read
from gateway.clock import SystemClock
from gateway.configuration import Loaded
from gateway.disclosure.fold import fold_of
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing, Keys

_PSEUDONYM = re.compile(r"[0-9A-Za-z]{1,32}:[0-9a-f]{32}")
_MOST_IN_AN_ENTRY = 2_000
_MOST_CELL = 1_000_000

Found = dict[str, tuple[str, str]]


@click.command(
    epilog="Example:  ecluse audit identify 1a2b3c4d:9f… --identity /media/dpo/key.txt --reason 'art. 34, ticket 4711'"
)
@click.argument("pseudonyms_given", nargs=-1, metavar="PSEUDONYM...")
@click.option(
    "--from-file",
    type=click.File("r", encoding="utf-8"),
    help="More pseudonyms, one a line; - is standard input.",
)
@click.option(
    "--identity",
    "identity_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The age identity to open the escrow with, as age-keygen wrote it.",
)
@click.option(
    "--candidates",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV of ids that may be the ones, such as the app's patient index; no escrow is needed.",
)
@click.option("--system", help="Numbering of the candidates, as the routes name it.")
@click.option(
    "--column", default="1", show_default=True, help="Column of the candidates' ids: name, or number from 1."
)
@click.option(
    "--from", "from_day", type=click.DateTime(["%Y-%m-%d"]), help="Seen on this day or later (UTC)."
)
@click.option("--to", "to_day", type=click.DateTime(["%Y-%m-%d"]), help="Seen before this day (UTC).")
@click.option("--reason", "why", help="Why you must know; it stands in the audit log.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@config_option
@json_option
def identify(
    pseudonyms_given: tuple[str, ...],
    from_file: Iterable[str] | None,
    identity_path: Path | None,
    candidates: Path | None,
    system: str | None,
    column: str,
    from_day: datetime | None,
    to_day: datetime | None,
    why: str | None,
    as_csv: bool,
    config_path: str,
    as_json: bool,
) -> int:
    """Turn pseudonyms back into patients' ids. It is recorded, with its reason, before anything is shown.

    The gateway cannot: it takes the identity of a recipient of the escrow (audit.escrow.recipients), or a
    list of ids to try. Leaves with 1 when some were not found.
    """
    wanted = _asked(pseudonyms_given, from_file)
    if not why or not why.strip():
        raise click.UsageError("Who is identified must be told why: give --reason TEXT.")
    if (identity_path is None) == (candidates is None):
        raise click.UsageError("Give --identity FILE to open the escrow, or --candidates FILE to try ids.")
    if candidates is not None and system is None:
        raise click.UsageError(
            "--candidates needs --system: the numbering of the ids, as the routes name it."
        )
    loaded = load_or_exit(config_path)
    keys = keys_or_exit(loaded.settings)
    try:
        if candidates is not None and system is not None:
            found = _try_candidates(loaded, keys.pseudonyms, wanted, candidates, system, column)
        elif identity_path is not None:
            found = _open_escrow(loaded, keys.pseudonyms, wanted, identity_path, from_day, to_day)
        else:
            found = {}
        _record(
            loaded, keys, wanted, len(found), why, "escrow" if identity_path is not None else "candidates"
        )
    except AuditUnavailable as error:
        fail(f"this could not be recorded, so nothing is shown: {error}", EXIT_FAULT)
    except (AgeRefused, OSError, UnicodeDecodeError, csv.Error) as error:
        fail(str(error), EXIT_FAULT)
    _print(wanted, found, as_csv=as_csv, as_json=as_json)
    missing = len(wanted) - len(found)
    if missing:
        click.echo(f"{missing} of {len(wanted)} not found", err=True)
    return EXIT_REFUSED if missing else EXIT_DONE


def _asked(given: tuple[str, ...], lines: Iterable[str] | None) -> list[str]:
    texts = [*given, *(line.strip() for line in lines or ())]
    wanted = list(dict.fromkeys(text for text in texts if text))
    if not wanted:
        raise click.UsageError("Name the pseudonyms, or give --from-file.")
    for text in wanted:
        if not _PSEUDONYM.fullmatch(text):
            raise click.BadParameter(f"{visible(text)!r} is no pseudonym: write kid:hex32 as the log has it")
    return wanted


def _open_escrow(
    loaded: Loaded,
    ring: KeyRing,
    wanted: list[str],
    identity_path: Path,
    from_day: datetime | None,
    to_day: datetime | None,
) -> Found:
    identities = identities_or_exit(identity_path)
    directory = loaded.settings.audit_dir / escrow.DIRECTORY
    total = sum(path.stat().st_size for path in directory.glob(f"*{escrow.SUFFIX}"))
    with bytes_read("escrow", total) as progress:
        result = escrow.search(
            directory,
            frozenset(wanted),
            identities,
            lambda text, system, clear_id: text in pseudonyms(ring, system, clear_id),
            from_day=_day(from_day, ""),
            before_day=_day(to_day, "~"),
            progress=progress,
        )
    for count, what in (
        (result.forged, "entries contradict the pseudonyms' key and were passed over: somebody wrote them"),
        (result.damaged, "batches are cut short or altered"),
        (result.foreign, "batches are encrypted to others"),
    ):
        if count:
            click.echo(f"{count} {what}", err=True)
    return result.found


def _day(moment: datetime | None, otherwise: str) -> str:
    return moment.replace(tzinfo=UTC).date().isoformat() if moment is not None else otherwise


def _try_candidates(
    loaded: Loaded, ring: KeyRing, wanted: list[str], path: Path, system: str, column: str
) -> Found:
    """Hash each id of the file, as written and as the routes of *system* fold it, and keep those that fit."""
    folds = dict.fromkeys(
        fold_of(route.extraction)
        for app in loaded.policy.apps.values()
        for route in app.routes
        if route.extraction is not None and route.extraction.system == system
    )
    if not folds:
        click.echo(
            f"no route numbers its patients as {visible(system)!r}: ids are tried as written", err=True
        )
    kids = {text.partition(":")[0] for text in wanted} & ring.keys.keys()
    if not kids:
        raise AgeRefused("these pseudonyms were made under keys that keys_dir does not hold")
    asked = KeyRing(ring.purpose, next(iter(kids)), {kid: ring.keys[kid] for kid in kids})
    left, found = set(wanted), Found()
    with bytes_read("candidates", path.stat().st_size) as progress:
        for raw, read_bytes in _ids(path, column):
            for clear_id in dict.fromkeys([raw, *(fold(raw) for fold in folds)]):
                for text in pseudonyms(asked, system, clear_id) if clear_id else ():
                    if text in left:
                        left.discard(text)
                        found[text] = (system, clear_id or raw)
            progress(read_bytes)
            if not left:
                break
    return found


def _ids(path: Path, column: str) -> Iterator[tuple[str, int]]:
    """Yield the ids of *column* with how many characters were read."""
    read = 0

    def counted(lines: Iterable[str]) -> Iterator[str]:
        nonlocal read
        for line in lines:
            read += len(line)
            yield line

    # The limit is one for the whole process.
    before = csv.field_size_limit(_MOST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(_MOST_CELL)
            file.seek(0)
            delimiter = max(";,\t|", key=first.count)
            rows = csv.reader(counted(file), delimiter=delimiter)
            if column.isascii() and column.isdigit() and int(column):
                index = int(column) - 1
            else:
                names = next(rows, [])
                if column not in names:
                    raise AgeRefused(f"{path} has no column {column!r}: it has {', '.join(names)[:500]}")
                index = names.index(column)
            for row in rows:
                if index < len(row) and row[index].strip():
                    yield row[index].strip(), read
    finally:
        csv.field_size_limit(before)


def _record(loaded: Loaded, keys: Keys, wanted: list[str], found: int, why: str, source: str) -> None:
    settings = loaded.settings
    with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
        for first in range(0, len(wanted), _MOST_IN_AN_ENTRY):
            log.record(
                AuditEvent(
                    EventKind.AUDIT_IDENTIFIED,
                    SystemClock().now_ms(),
                    operator=local_user(),
                    patients=tuple(wanted[first : first + _MOST_IN_AN_ENTRY]),
                    policy_id=loaded.policy.policy_id,
                    detail=(
                        ("reason", why),
                        ("source", source),
                        ("asked", str(len(wanted))),
                        ("found", str(found)),
                    ),
                )
            )


def _print(wanted: list[str], found: Found, *, as_csv: bool, as_json: bool) -> None:
    rows = [(text, *found.get(text, (None, None))) for text in wanted]
    if as_json:
        for text, system, clear_id in rows:
            values = {"pseudonym": text, "system": system, "id": clear_id, "found": text in found}
            click.echo(msgspec.json.encode(values).decode())
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("pseudonym", "system", "id"))
        writer.writerows(
            (text, cell_text(system or ""), cell_text(clear_id or "")) for text, system, clear_id in rows
        )
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("pseudonym", "system", "id"):
            table.add_column(name, overflow="fold")
        for text, system, clear_id in rows:
            cells = (text, system or "", clear_id if clear_id is not None else "not found")
            table.add_row(*(Text(visible(cell)) for cell in cells))
        Console().print(table)
