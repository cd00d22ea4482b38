"""people.csv for ``ecluse account import``: every fault at once, each with its line."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts.names import NameRefused, account_ref
from gateway.accounts.store import Labels
from gateway.audit.cells import is_formula
from gateway.policy.policy import Realm
from gateway.vocabulary.identity import AccountRef
from gateway.vocabulary.keys import KeyRing

COLUMNS = ("login", "class", "establishment", "display")
_MAX_BYTES = 16_000_000
_MAX_LABEL = 128


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to invite. *line* is where it stands in the file, None for the command line."""

    ref: AccountRef
    labels: Labels
    line: int | None = None


class PeopleRefused(ValueError):
    """The list cannot be used. *faults* are sentences, each naming its line or argument."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


def read_people(path: Path, realm: Realm, ring: KeyRing) -> tuple[Person, ...]:
    """Read *path*: UTF-8, a heading line, columns login, class, establishment, display; only login is needed.

    Comma or semicolon between columns. *ring* is the names ring.

    Raises:
        PeopleRefused: with every fault of the file.
    """
    try:
        with path.open("rb") as file:
            wire = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PeopleRefused([f"{path}: {error.strerror}"]) from None
    if len(wire) > _MAX_BYTES:
        raise PeopleRefused([f"{path}: larger than {_MAX_BYTES // 1_000_000} MB: split it"])
    try:
        text = wire.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = wire.count(b"\n", 0, error.start) + 1
        raise PeopleRefused([f"{path}:{line}: not UTF-8: save the file as UTF-8"]) from None
    heading = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in heading else ",", strict=True)
    return _people(path, rows, realm, ring)


def person(typed: str, labels: Labels, realm: Realm, ring: KeyRing) -> Person:
    """Return whom *typed* names, with *labels*.

    Raises:
        PeopleRefused: no such name is possible, or no such class exists.
    """
    faults = _label_faults(labels, realm)
    try:
        ref = account_ref(typed, realm.name, realm.mapping, ring)
    except NameRefused as refused:
        raise PeopleRefused(
            [f"login {typed!r} cannot be an account name: {refused.fault.value}", *faults]
        ) from None
    if faults:
        raise PeopleRefused(faults)
    return Person(ref, labels)


def _people(path: Path, rows: Iterable[list[str]], realm: Realm, ring: KeyRing) -> tuple[Person, ...]:
    people: list[Person] = []
    faults: list[str] = []
    first_line: dict[str, int] = {}
    heading: list[str] | None = None
    line = 0
    try:
        for line, row in enumerate(rows, start=1):
            cells = [cell.strip() for cell in row]
            if heading is None:
                heading = [cell.lower() for cell in cells]
                _check_heading(path, heading)
                continue
            if not any(cells):
                continue
            if len(cells) != len(heading):
                faults.append(f"{path}:{line}: {len(cells)} columns where the heading has {len(heading)}")
                continue
            values = dict(zip(heading, cells, strict=True))
            labels = Labels(*(values.get(name) or None for name in COLUMNS[1:]))
            try:
                found = person(values["login"], labels, realm, ring)
            except PeopleRefused as refused:
                faults += [f"{path}:{line}: {fault}" for fault in refused.faults]
                continue
            earlier = first_line.setdefault(found.ref.id, line)
            if earlier != line:
                faults.append(f"{path}:{line}: the same account as line {earlier}: keep one of them")
            people.append(Person(found.ref, labels, line))
    except csv.Error as error:
        faults.append(f"{path}:{line + 1}: {error}")
    if heading is None or (not people and not faults):
        faults.append(f"{path}: nobody in it: first line {','.join(COLUMNS)}, then one person a line")
    if faults:
        raise PeopleRefused(faults)
    return tuple(people)


def _check_heading(path: Path, heading: list[str]) -> None:
    unknown = [name for name in heading if name not in COLUMNS]
    if "login" not in heading or unknown or len(set(heading)) != len(heading):
        raise PeopleRefused([f"{path}:1: the heading must name login, and may name {', '.join(COLUMNS[1:])}"])


def _label_faults(labels: Labels, realm: Realm) -> list[str]:
    faults = []
    if labels.account_class and labels.account_class not in realm.classes:
        known = ", ".join(sorted(realm.classes))
        faults.append(f"class {labels.account_class!r} is not one of realm {realm.name!r}: {known}")
    for name, value in (("establishment", labels.establishment), ("display", labels.display)):
        if value and (len(value) > _MAX_LABEL or not value.isprintable() or is_formula(value)):
            # Spreadsheets would run what begins like a formula when the codes are exported for a mailing.
            faults.append(
                f"{name} must be at most {_MAX_LABEL} printable characters, not beginning with =, +, - or @, "
                "wide or not"
            )
    return faults
