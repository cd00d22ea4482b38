"""French words and numbers of a dossier. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

NARROW = "\u202f"
"""The space of French thousands and punctuation."""

_BEFORE = re.compile(r" ([;!?])")

TO_FILL = "[à compléter]"

_CATEGORIES = {
    "identite.nom": "nom",
    "identite.prenom": "prénom",
    "identite.age": "âge",
    "identite.ddn": "date de naissance",
    "identite.sexe": "sexe",
    "contact.tel": "numéro de téléphone",
    "contact.email": "adresse électronique",
    "contact.adresse": "adresse postale",
    "nir": "numéro de sécurité sociale (NIR)",
}
_FAMILIES = (
    ("État civil, identité, données d’identification", ("identite.",)),
    ("Coordonnées (téléphone, adresse électronique ou postale)", ("contact.",)),
    ("Numéro de sécurité sociale (NIR)", ("nir",)),
    ("Données de santé", ("sante.", "medical.")),
)
_KINDS = {"record": "dossier", "listing": "liste", "export": "export"}


@dataclass(frozen=True, slots=True)
class Times:
    """Moments as people of one time *zone* read them."""

    zone: ZoneInfo

    def moment(self, at_ms: int | None) -> str:
        """Return ``14/09/2025 08:30:12 (UTC+02:00)``; a dash when there is none."""
        if at_ms is None:
            return "–"
        at = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self.zone)
        return f"{at:%d/%m/%Y %H:%M:%S} (UTC{at:%:z})"

    def hour(self, at_ms: int) -> str:
        """Return ``14/09 08 h``."""
        return f"{datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self.zone):%d/%m %H} h"

    def day(self, at_ms: int) -> str:
        """Return ``14/09/2025``."""
        return f"{datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self.zone):%d/%m/%Y}"


def typographic(text: str) -> str:
    """Return *text* with the no-break spaces that French puts before and inside its punctuation."""
    return (
        _BEFORE.sub(NARROW + r"\1", text)
        .replace(" :", "\u00a0:")
        .replace("« ", "«\u00a0")
        .replace(" »", "\u00a0»")
    )


def number(value: int) -> str:
    """Return ``1 234 567``, with narrow no-break spaces."""
    return f"{value:,}".replace(",", NARROW)


def size(value_bytes: int) -> str:
    """Return a number of bytes as people read it, in decimal units."""
    for unit, step in (("Go", 1_000_000_000), ("Mo", 1_000_000), ("ko", 1_000)):
        if value_bytes >= step:
            return f"{value_bytes / step:.1f}".replace(".", ",") + f"\u00a0{unit}"
    return f"{value_bytes}\u00a0octets" if value_bytes > 1 else f"{value_bytes}\u00a0octet"


def counted(value: int, one: str, many: str) -> str:
    """Return ``1 personne`` or ``2 personnes``; French counts none in the singular."""
    return f"{number(value)}\u00a0{many if value > 1 else one}"


def category(name: str) -> str:
    """Return what a category of the configuration is called; one that has no French name stays as it is."""
    return _CATEGORIES.get(name, name)


def listed(parts: Iterable[str]) -> str:
    """Return ``a, b et c``."""
    words = list(parts)
    if len(words) <= 1:
        return "".join(words)
    return ", ".join(words[:-1]) + " et " + words[-1]


def categories(names: Iterable[str]) -> str:
    """Return categories in a sentence."""
    return listed(category(name) for name in names) or "catégories non déclarées dans la configuration"


def families(names: Iterable[str]) -> list[tuple[str, bool]]:
    """Return the authority's families of data, each with whether *names* hold some of it.

    A category that belongs to none comes last, under its own name.
    """
    left = set(names)
    told = []
    for family, starts in _FAMILIES:
        mine = {name for name in left if name.startswith(starts)}
        told.append((family, bool(mine)))
        left -= mine
    return told + [(f"Autre\u00a0: {category(name)}", True) for name in sorted(left)]


def door_kind(kind: str) -> str:
    """Return what a kind of route is called."""
    return _KINDS.get(kind, kind)
