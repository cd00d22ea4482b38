"""French first, English second: the choice of a language, and the catalogues of texts.

Catalogues are gettext files read once at import. Their msgids are keys (``code.title``), because
neither language is the source of the other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from babel.dates import format_datetime
from babel.messages.pofile import read_po
from babel.units import format_unit

Language = Literal["fr", "en"]

LANGUAGES: tuple[Language, ...] = ("fr", "en")

_HERE = Path(__file__).parent
_MAX_HEADER = 1_000
_QUALITY = re.compile(r"\s*;\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*\Z", re.IGNORECASE)
_BEFORE_SIGN = re.compile(r" (?=[;:!?»])")
_AFTER_QUOTE = re.compile(r"(?<=«) ")
_NARROW_SPACE = "\u202f"


def language(accept_language: str | None) -> Language:
    """Return the language of a page for header Accept-Language (RFC 9110, 12.5.4).

    French unless English is preferred to it: the first of the two among the highest weights wins.
    Anything unreadable counts as absent.
    """
    best: Language = "fr"
    best_weight = 0.0
    for tag, weight in weighted(accept_language):
        for known in LANGUAGES:
            if (tag == known or tag.startswith(f"{known}-")) and weight > best_weight:
                best, best_weight = known, weight
    return best


def weighted(header: str | None) -> list[tuple[str, float]]:
    """Return the elements of an Accept or Accept-Language header, in lower case, with their weights 0-1.

    Other parameters are dropped, elements with an unreadable weight are left out, at most 1 000
    characters are read.
    """
    found: list[tuple[str, float]] = []
    for element in (header or "")[:_MAX_HEADER].split(","):
        name, separator, rest = element.partition(";")
        weight = 1.0
        last = rest.rpartition(";")[2]
        if separator and last.strip().lower().startswith("q"):
            quality = _QUALITY.match(";" + last)
            if quality is None:
                continue
            weight = float(quality.group(1))
        if name.strip():
            found.append((name.strip().lower(), weight))
    return found


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language by key."""

    language: Language
    texts: Mapping[str, str]

    def text(self, key: str, **values: object) -> str:
        """Return the text of *key* with its ``%(name)s`` places filled.

        Raises:
            KeyError: the catalogue has no such key, or a place has no value.
        """
        return self.texts[key] % values


def catalogue(language: Language) -> Catalogue:
    """Return the catalogue of *language*."""
    return _CATALOGUES[language]


def duration(seconds: int, language: Language) -> str:
    """Return a waiting time in words, rounded up: seconds to 2 min, minutes to 2 h, hours to 2 days, days."""
    for unit, size_s, below_s in (("second", 1, 120), ("minute", 60, 7_200), ("hour", 3_600, 172_800)):
        if seconds <= below_s:
            return format_unit(-(-max(seconds, 1) // size_s), f"duration-{unit}", locale=language)
    return format_unit(-(-seconds // 86_400), "duration-day", locale=language)


def moment(at: datetime, language: Language) -> str:
    """Return date and time of day as people write it: ``22/11/2026 14:05``, ``22 Nov 2026, 14:05``."""
    return format_datetime(
        at, "dd/MM/yyyy HH:mm" if language == "fr" else "d MMM yyyy, HH:mm", locale=language
    )


def french_spaces(text: str) -> str:
    """Put narrow no-break spaces before ``; : ! ?`` and inside ``« »``, so that lines never break there."""
    return _AFTER_QUOTE.sub(_NARROW_SPACE, _BEFORE_SIGN.sub(_NARROW_SPACE, text))


def _read(language: Language) -> Catalogue:
    path = _HERE / "locale" / language / "LC_MESSAGES" / "ecluse.po"
    with path.open("rb") as file:
        messages = read_po(file, locale=language, abort_invalid=True)
    texts = {str(message.id): str(message.string) for message in messages if message.id and message.string}
    if language == "fr":
        texts = {key: french_spaces(text) for key, text in texts.items()}
    return Catalogue(language, texts)


_CATALOGUES: Mapping[Language, Catalogue] = {language: _read(language) for language in LANGUAGES}
