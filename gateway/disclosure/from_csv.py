"""Ids in a CSV answer (RFC 4180, and what French spreadsheets make of it)."""

import csv
import io
import re

from gateway.vocabulary.records import Source, Unreadable

_SEPARATORS = (",", ";", "\t")
_TOLD = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


def values(source: Source, text: str) -> list[object] | Unreadable:
    """Return the cells of one column.

    A column name needs a header line that holds it once; a 1-based number counts every line, so a
    header needs a pattern to be told from ids. A line that lacks the column, or has more filled cells
    than the header, is MALFORMED: its id could stand anywhere.
    """
    told = _TOLD.match(text)
    if told:
        text = text[told.end() :]
    if not text.strip():
        return []
    by_number = source.select.isascii() and source.select.isdecimal()
    delimiter = source.delimiter or (
        told.group(1) if told else _sniffed(text, None if by_number else source.select)
    )
    if delimiter is None:
        return Unreadable.MALFORMED
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        if by_number:
            column, width = int(source.select) - 1, None
        else:
            header = [cell.strip() for cell in next(lines)]
            if header.count(source.select) != 1:
                return Unreadable.MALFORMED
            column, width = header.index(source.select), len(header)
        found: list[object] = []
        for line in lines:
            if not any(line):
                continue
            if column >= len(line) or (width is not None and any(line[width:])):
                return Unreadable.MALFORMED
            found.append(line[column])
    except (csv.Error, ValueError, TypeError):
        return Unreadable.MALFORMED
    return found


def _sniffed(text: str, name: str | None) -> str | None:
    best, most = None, 0
    for delimiter in _SEPARATORS:
        try:
            first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            continue
        if name is not None and name not in (cell.strip() for cell in first):
            continue
        if len(first) > most:
            best, most = delimiter, len(first)
    return best
