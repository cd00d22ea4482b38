"""Which patients and which personal data an answer reveals. Pure, bounded, values instead of exceptions."""

from gateway.disclosure.pseudonyms import Pseudonym, pseudonym
from gateway.disclosure.read import check, read
from gateway.disclosure.sightings import NO_PIECES, Pieces, count, pieces, shows_personal_data

__all__ = [
    "NO_PIECES",
    "Pieces",
    "Pseudonym",
    "check",
    "count",
    "pieces",
    "pseudonym",
    "read",
    "shows_personal_data",
]
