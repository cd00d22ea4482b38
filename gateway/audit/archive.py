"""What the archive should become: names of files, what to merge, one manifest from another. Touches no file.

Each sealed segment becomes one piece a day and dataset. Pieces of a month are merged when there are many;
once the month has passed all of it is merged, into files of one generation, sorted through all its parts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from gateway.audit.manifest import ACCESSES, EVENTS, File, Manifest

DATASETS = (EVENTS, ACCESSES)
MOST_PIECES = 48
"""So many pieces of a month may stand unmerged: each file costs a reader a few milliseconds."""

MONTH_RESTS_DAYS = 2
"""So long after its end a month counts as passed: the last segments of each writer have then ended."""

GRACE_MS = 15 * 60_000
"""So long a merged file stays for readers that hold an older manifest."""

_MERGED = re.compile(r"[0-9]{4}-[0-9]{2}\.(?:([0-9]+)(?:-([0-9]+))?\.)?parquet")
_MONTH_CHARS = 7


@dataclass(frozen=True, slots=True)
class Merge:
    """Make files of *generation* of the rows of *sources*, all of one *dataset* and *month* (``YYYY-MM``)."""

    dataset: str
    month: str
    generation: int
    sources: tuple[File, ...]


def piece_path(archive: Path, dataset: str, day: int, writer: str, first: int, last: int) -> Path:
    """Return where a piece stands: one writer's rows of one *day* (since 1970, UTC), ``seq`` *first* to *last*."""
    when = (datetime.fromtimestamp(0, UTC) + timedelta(days=day)).date().isoformat()
    return archive / dataset / f"{when}.{quote(writer, safe='')}.{first}-{last}.parquet"


def merged_path(archive: Path, dataset: str, month: str, generation: int, part: int) -> Path:
    """Return where part *part* (from 0) of a merge of *month* (``YYYY-MM``) stands."""
    return archive / dataset / f"{month}.{generation}-{part}.parquet"


def month_of(path: Path) -> str:
    """Return the month (``YYYY-MM``) of a file of the archive."""
    return path.name[:_MONTH_CHARS]


def generation_of(path: Path) -> tuple[int, int] | None:
    """Return generation and part of a merged file; None of a piece."""
    found = _MERGED.fullmatch(path.name)
    return (int(found[1] or 0), int(found[2] or 0)) if found else None


def next_generation(manifest: Manifest, dataset: str, month: str) -> int:
    """Return the generation of the next merge of *month*: names that no manifest used before."""
    return 1 + max((generation for generation, _ in _used(manifest, dataset, month)), default=0)


def next_part(manifest: Manifest, dataset: str, month: str, generation: int) -> int:
    """Return the number of the next part of *generation*, likewise."""
    parts = [part for found, part in _used(manifest, dataset, month) if found == generation]
    return 1 + max(parts, default=-1)


def _used(manifest: Manifest, dataset: str, month: str) -> list[tuple[int, int]]:
    known = (*(item.path for item in files_of(manifest, dataset)), *manifest.retired)
    return [
        found
        for path in known
        if path.parent.name == dataset and month_of(path) == month and (found := generation_of(path))
    ]


def files_of(manifest: Manifest, dataset: str) -> tuple[File, ...]:
    """Return the files of one dataset."""
    return manifest.events if dataset == EVENTS else manifest.accesses


def with_files(manifest: Manifest, dataset: str, items: Iterable[File]) -> Manifest:
    """Return *manifest* with *items* as the files of *dataset*, in the order of their names."""
    ordered = tuple(sorted(items, key=lambda item: item.path))
    return replace(manifest, events=ordered) if dataset == EVENTS else replace(manifest, accesses=ordered)


def with_segment(
    manifest: Manifest,
    writer: str,
    end: int,
    tree: Sequence[bytes],
    pieces: Mapping[str, Sequence[File]],
) -> Manifest:
    """Return *manifest* once *writer*'s events up to *end* (excluded) stand in *pieces* too."""
    made = replace(
        manifest,
        archived={**manifest.archived, writer: end},
        trees={**manifest.trees, writer: tuple(tree)},
    )
    for dataset, items in pieces.items():
        made = with_files(made, dataset, (*files_of(made, dataset), *items))
    return made


def with_merge(manifest: Manifest, merge: Merge, made: Sequence[File], now_ms: int) -> Manifest:
    """Return *manifest* with *made* in place of the sources of *merge*, which retire now."""
    sources = {item.path for item in merge.sources}
    kept = [item for item in files_of(manifest, merge.dataset) if item.path not in sources]
    retired = {**manifest.retired, **dict.fromkeys(sources, now_ms)}
    return with_files(replace(manifest, retired=retired), merge.dataset, (*kept, *made))


def merges_due(manifest: Manifest, now_ms: int) -> list[Merge]:
    """Return what is to be merged at *now_ms*, oldest month first; at most one merge a month and dataset."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    merges = []
    for dataset in DATASETS:
        months: dict[str, list[File]] = {}
        for item in files_of(manifest, dataset):
            months.setdefault(month_of(item.path), []).append(item)
        for month, items in sorted(months.items()):
            sources = _sources(items, has_passed=_has_passed(month, today))
            if sources:
                generation = next_generation(manifest, dataset, month)
                merges.append(Merge(dataset, month, generation, tuple(sources)))
    return merges


def _sources(items: Sequence[File], *, has_passed: bool) -> Sequence[File]:
    found = {item.path: generation_of(item.path) for item in items}
    pieces = [item for item in items if found[item.path] is None]
    if not has_passed:
        return pieces if len(pieces) > MOST_PIECES else ()
    generations = {place[0] for place in found.values() if place is not None}
    return items if len(pieces) + len(generations) > 1 else ()


def expired(manifest: Manifest, now_ms: int) -> Manifest:
    """Return *manifest* without the retired files that no reader waits for any more."""
    kept = {path: at_ms for path, at_ms in manifest.retired.items() if now_ms - at_ms < GRACE_MS}
    return manifest if len(kept) == len(manifest.retired) else replace(manifest, retired=kept)


def strays(manifest: Manifest, found: Iterable[Path]) -> list[Path]:
    """Return which of the files *found* in the archive no manifest speaks of: left by a crash, or expired."""
    known = {item.path for dataset in DATASETS for item in files_of(manifest, dataset)}
    return sorted(path for path in found if path not in known and path not in manifest.retired)


def _has_passed(month: str, today: date) -> bool:
    begun = date.fromisoformat(f"{month}-01")
    # The 28th and four days more is always in the next month.
    ended = (begun.replace(day=28) + timedelta(days=4)).replace(day=1)
    return today >= ended + timedelta(days=MONTH_RESTS_DAYS)
