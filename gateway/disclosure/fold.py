"""The one form of a patient id: aliases that an application accepts for a patient count once."""

import unicodedata
from collections.abc import Callable
from functools import lru_cache

from gateway.vocabulary.records import Extraction, Normalisation

MAX_LENGTH = 128
_MAX_RAW = 1_024
_SQUEEZED = frozenset("_.-\u2010\u2011")


@lru_cache(maxsize=256)
def folding(normalise: tuple[Normalisation, ...], strip_prefix: str | None) -> Callable[[str], str | None]:
    """Return the function that folds one id; it gives "" for a blank and None for what cannot be an id.

    The prefix is folded by the same steps and taken off once, before leading zeros are dropped.
    """
    early = tuple(step for step in normalise if step is not Normalisation.UNPAD)
    prefix = _steps(early, strip_prefix) if strip_prefix else ""
    plain = all(step in (Normalisation.NFKC, Normalisation.DIGITS, Normalisation.TRIM) for step in normalise)
    trims = Normalisation.TRIM in normalise

    def fold(value: str) -> str | None:
        if plain and not prefix and value.isascii():
            folded = value.strip() if trims else value
            if folded.isprintable() and len(folded) <= MAX_LENGTH:
                return folded
            return None
        if len(value) > _MAX_RAW:
            return None
        folded = _steps(early, value)
        if prefix and folded.startswith(prefix):
            folded = folded[len(prefix) :]
        folded = _steps(normalise, folded)
        if len(folded) > MAX_LENGTH or "\ufffd" in folded:
            return None
        if not folded.isprintable() and any(_hidden(letter) for letter in folded):
            return None
        return folded

    return fold


def fold_of(extraction: Extraction) -> Callable[[str], str | None]:
    """Return the folding of *extraction*."""
    return folding(extraction.normalise, extraction.strip_prefix)


def _hidden(letter: str) -> bool:
    # Control, format, surrogate, private and unassigned characters: two ids that look alike.
    return unicodedata.category(letter).startswith("C")


def _steps(normalise: tuple[Normalisation, ...], value: str) -> str:
    for step in normalise:
        match step:
            case Normalisation.NFKC:
                value = unicodedata.normalize("NFKC", value)
            case Normalisation.DIGITS:
                if not value.isascii():
                    value = "".join(_digit(letter) for letter in value)
            case Normalisation.TRIM:
                value = value.strip()
            case Normalisation.CASEFOLD:
                value = value.casefold()
            case Normalisation.UNPAD:
                if value.isascii() and value.isdecimal():
                    value = value.lstrip("0") or "0"
            case Normalisation.SQUEEZE:
                value = "".join(
                    letter for letter in value if letter not in _SQUEEZED and not letter.isspace()
                )
    return value


def _digit(letter: str) -> str:
    digit = unicodedata.decimal(letter, None)
    return letter if digit is None else str(digit)
