"""A file of logins for commands that act on many accounts at once: one a line, or CSV with a column login."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 16_000_000
_SEPARATORS = (",", ";", "\t")


class LoginsRefused(ValueError):
    """The file cannot be read as a list of logins. The message names the file, the line and the mend."""


@dataclass(frozen=True, slots=True)
class Typed:
    """One login as it stands in the file, at *line* (from 1)."""

    login: str
    line: int


def read_logins(path: Path) -> tuple[Typed, ...]:
    """Read *path*: UTF-8, one login a line; or CSV whose heading names ``login``, whatever else it names.

    Comma, semicolon or tab between columns. Empty lines are passed over. What a login means, and whether
    it can be one, is not decided here: in an incident each is to be tried, whatever the others are.

    Raises:
        LoginsRefused: it cannot be read, holds nobody, or has columns and no heading that names login.
    """
    try:
        with path.open("rb") as file:
            wire = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise LoginsRefused(f"{path}: {error.strerror}") from None
    if len(wire) > _MAX_BYTES:
        raise LoginsRefused(f"{path}: larger than {_MAX_BYTES // 1_000_000} MB: split it")
    try:
        text = wire.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = wire.count(b"\n", 0, error.start) + 1
        raise LoginsRefused(f"{path}:{line}: not UTF-8: save the file as UTF-8") from None
    heading = text.partition("\n")[0]
    mark = next((mark for mark in (";", "\t") if mark in heading), ",")
    names = [name.strip().strip('"').lower() for name in heading.split(mark)]
    found = _column(path, text, mark, names.index("login")) if "login" in names else _lines(path, text)
    if not found:
        raise LoginsRefused(f"{path}: nobody in it: one login a line, or CSV with a column login")
    return found


def _lines(path: Path, text: str) -> tuple[Typed, ...]:
    found = []
    for line, content in enumerate(text.splitlines(), start=1):
        login = content.strip()
        if any(mark in login for mark in _SEPARATORS):
            raise LoginsRefused(
                f"{path}:{line}: several columns, and no heading says which is the login: name it login"
            )
        if login:
            found.append(Typed(login, line))
    return tuple(found)


def _column(path: Path, text: str, mark: str, at: int) -> tuple[Typed, ...]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    found = []
    try:
        next(rows)
        for row in rows:
            login = row[at].strip() if len(row) > at else ""
            if login:
                found.append(Typed(login, rows.line_num))
    except csv.Error as error:
        raise LoginsRefused(f"{path}:{rows.line_num}: {error}") from None
    return tuple(found)
