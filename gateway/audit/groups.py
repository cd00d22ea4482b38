"""Counts of one trail that is kept in two places, put together exactly. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.audit.sql import MEASURES

_PATIENTS = MEASURES.index("patients")


def sum_groups(
    there: Iterable[Sequence[Any]],
    here: Iterable[Sequence[Any]],
    in_both: Iterable[tuple[Any, ...]],
    *,
    width: int,
) -> list[tuple[Any, ...]]:
    """Return the counts of two places as those of one.

    Rows are *width* columns that name the group, then the MEASURES. Events, rows and bytes add up, since an
    event is in one place only. A patient can be in both: *in_both* names the group once for each such patient.
    """
    counts: dict[tuple[Any, ...], list[int]] = {}
    for row in (*there, *here):
        kept = counts.setdefault(tuple(row[:width]), [0] * len(MEASURES))
        for number, value in enumerate(row[width:]):
            kept[number] += value
    for group, times in Counter(in_both).items():
        counts[group][_PATIENTS] -= times
    return [(*group, *kept) for group, kept in counts.items()]


def same_patients(
    here: Iterable[Sequence[Any]], pairs: Iterable[Sequence[Any]], *, width: int
) -> tuple[list[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """Return the counts of *here* with the patients of *pairs*, and these pairs of group and patient.

    A journal grows between two looks at it: which patients are counted and which are compared must be the same.
    """
    groups = {tuple(row[:width]): row for row in here}
    mine = {tuple(pair) for pair in pairs if tuple(pair[:width]) in groups}
    patients = Counter(pair[:width] for pair in mine)
    told = [
        (*group, *(patients[group] if at == _PATIENTS else value for at, value in enumerate(row[width:])))
        for group, row in groups.items()
    ]
    return told, mine


def sort_groups(rows: Iterable[Sequence[Any]], *, width: int, by: str) -> list[Sequence[Any]]:
    """Return *rows* as sql.select_groups orders them: the greatest of *by*, then of the others, then by name."""
    first = MEASURES.index(by)
    ranks = [first, *(number for number in range(len(MEASURES)) if number != first)]

    def key(row: Sequence[Any]) -> tuple[Any, ...]:
        named = ((value is None, value if value is not None else 0) for value in row[:width])
        return (*(-row[width + number] for number in ranks), *named)

    return sorted(rows, key=key)
