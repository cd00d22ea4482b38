"""Sights sorted by patient, in bounded memory: runs on disk, merged. They hold pseudonyms only."""

import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from gateway.audit.scope import Sight

RUN = 250_000
"""How many sights are held at once: about 100 MB."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Sight)


def sorted_sights(sights: Iterable[Sight], directory: Path, *, run: int = RUN) -> Iterator[Sight]:
    """Yield *sights* in order. More than *run* of them pass through files in *directory*, which the caller owns.

    Raises:
        OSError: the disk refused.
    """
    with ExitStack() as stack:
        runs: list[BinaryIO] = []
        held: list[Sight] = []
        for sight in sights:
            held.append(sight)
            if len(held) >= run:
                runs.append(stack.enter_context((directory / f"run-{len(runs)}").open("w+b")))
                _write(runs[-1], held)
                held = []
        held.sort()
        yield from heapq.merge(held, *(_read(file) for file in runs))


def _write(file: BinaryIO, held: list[Sight]) -> None:
    held.sort()
    file.writelines(_encoder.encode(sight) + b"\n" for sight in held)
    file.seek(0)


def _read(file: BinaryIO) -> Iterator[Sight]:
    for line in file:
        yield _decoder.decode(line)
