"""Making a dossier: the logs are read and proven, the events counted, the patients sorted and kept on disk."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from gateway.audit.breach.footing import Footing, Reading, stand
from gateway.audit.breach.seal import digest_file
from gateway.audit.breach.sorting import sorted_sights
from gateway.audit.cells import cell_text
from gateway.audit.checkpoint import Checkpoint, VerifierKey
from gateway.audit.scope import Asked, Exposure, Scope, Shown, Sight, Survey

COLUMNS = (
    "pseudonym", "letter", "opened", "listed", "exported", "first", "last", "categories", "medical", "accounts",
    "apps", "establishments", "answers_bytes", "evidence",
)  # fmt: skip
"""Columns of the list of patients."""

Progress = Callable[[str], Callable[[int], None]]
_LIST, _CSV = "exposures", "exposures.csv"
_TELL_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the log does not know. Empty texts are left to be filled in by hand.

    *notification* is ``initiale``, ``complementaire`` or ``complete``; *aware_ms* when the breach was known;
    *previous* the authority's number of an earlier notification; *medical* the (app, route) that the
    configuration *policy_id* declares medical, None when no configuration was read; *zone* an IANA name.
    """

    zone: str = "Europe/Paris"
    body_name: str = ""
    contact: str = ""
    notification: str = "initiale"
    aware_ms: int | None = None
    previous: str = ""
    medical: tuple[tuple[str, str], ...] | None = None
    policy_id: str = ""


@dataclass(frozen=True, slots=True)
class Dossier:
    """Everything a report is made of. *list_sha256* is that of the CSV list of patients."""

    scope: Scope
    facts: Facts
    footings: tuple[Footing, ...]
    letters: Mapping[Shown, str]
    list_sha256: str
    directory: Path
    leads: tuple[tuple[str, str, int], ...] | None = None

    def exposures(self) -> Iterator[Exposure]:
        """Yield every patient, by pseudonym, from the file that holds them."""
        decoder = msgspec.json.Decoder(Exposure)
        with (self.directory / _LIST).open("rb") as file:
            for line in file:
                yield decoder.decode(line)

    @property
    def csv_path(self) -> Path:
        """Return the file that holds the list of patients as CSV."""
        return self.directory / _CSV


@dataclass(slots=True)
class _Counting:
    """Feeds a survey from the events of a reader, as far as the footings reach."""

    survey: Survey
    reading: Reading
    sizes: Mapping[str, int]
    progress: Callable[[int], None]
    taken: int = field(default=0)

    def sights(self, events: Iterable[Mapping[str, Any]]) -> Iterator[Sight]:
        for event in events:
            if event["seq"] >= self.sizes.get(event["writer"], 0):
                continue
            self.reading.add(event["writer"], event)
            yield from self.survey.take(event)
            self.taken += 1
            if not self.taken % _TELL_EVERY:
                self.progress(self.taken)


def make_dossier(
    asked: Asked,
    logs: Sequence[Path],
    events: Callable[[], Iterable[Mapping[str, Any]]],
    keys: Sequence[VerifierKey],
    directory: Path,
    facts: Facts,
    *,
    as_of: Mapping[str, Checkpoint] | None = None,
    progress: Progress = lambda _name: lambda _count: None,
) -> Dossier:
    """Answer *asked* from *logs*, one directory a writer, and the events that *events* reads of them.

    *directory* belongs to the caller; the list of patients stands there until it is removed. *as_of* bounds
    each writer, by origin, to an earlier state; writers that it does not name are left out.

    Raises:
        LogDamaged, NotYetSigned, ReadingDiffers: no report can stand on these logs; the message says why.
        OSError, duckdb.Error: something cannot be read.
    """
    signed = Reading(asked)
    footings = []
    for log in logs:
        bound = next(
            (one for name, one in (as_of or {}).items() if name.rpartition("/")[2] == log.name), None
        )
        if as_of is not None and bound is None:
            continue
        found = stand(log, keys, signed, as_of=bound, progress=progress(log.name))
        footings += [found] if found is not None else []
    survey = Survey(asked)
    counted = Reading(asked, {footing.writer: footing.kept_from for footing in footings})
    sizes = {footing.writer: footing.size for footing in footings}
    counting = _Counting(survey, counted, sizes, progress("events"))
    sights = sorted_sights(counting.sights(events()), directory)
    encoder = msgspec.json.Encoder()
    with (directory / _LIST).open("wb") as file:
        for exposure in survey.group(sights):
            file.write(encoder.encode(exposure) + b"\n")
    counted.check(signed)
    scope = survey.scope()
    letters = {shown: f"L{number}" for number, shown in enumerate(scope.letters, start=1)}
    dossier = Dossier(scope, facts, tuple(footings), letters, "", directory)
    return replace(dossier, list_sha256=_write_csv(dossier))


def leads(
    asked: Asked, clients: Iterable[str], events: Iterable[Mapping[str, Any]], footings: Iterable[Footing]
) -> tuple[tuple[str, str, int], ...]:
    """Return who else came from *clients*: account, address, events. A lead, never a finding.

    A whole hospital may stand behind one address.
    """
    wanted = frozenset(clients)
    sizes = {footing.writer: footing.size for footing in footings}
    found: dict[tuple[str, str], int] = {}
    for event in events:
        account, client = event.get("account"), event.get("client")
        if account is None or account in asked.accounts or client not in wanted:
            continue
        if event["seq"] < sizes.get(event["writer"], 0):
            found[account, client] = found.get((account, client), 0) + 1
    return tuple((account, client, count) for (account, client), count in sorted(found.items()))


def _write_csv(dossier: Dossier) -> str:
    """Write the list of patients and return its SHA-256 (hex)."""
    with dossier.csv_path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(one, dossier.letters[one.shown]) for one in dossier.exposures())
    return digest_file(dossier.csv_path)[0]


def _cells(one: Exposure, letter: str) -> tuple[str | int, ...]:
    return (
        cell_text(one.patient),
        letter,
        one.opened,
        one.listed,
        one.exported,
        rfc3339(one.first_ms),
        rfc3339(one.last_ms),
        _joined(one.categories),
        "yes" if one.medical else "no",
        _joined(one.accounts),
        _joined(one.apps),
        _joined(one.establishments),
        one.bytes,
        cell_text(" ".join([f"{writer}:{seq}" for writer, seq in one.evidence])),
    )


@lru_cache(maxsize=1_024)
def _joined(names: tuple[str, ...]) -> str:
    return cell_text(" ".join(names))


def rfc3339(at_ms: int) -> str:
    """Return Unix milliseconds as UTC, to the millisecond."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=100_000)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
