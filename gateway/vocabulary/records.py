"""Patients, and where an exchange names them."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class RouteKind(StrEnum):
    """The doors an application declares (behaviour, part 5)."""

    PUBLIC = "public"
    LOGIN = "login"
    LOGOUT = "logout"
    PAGE = "page"
    RECORD = "record"
    LISTING = "listing"
    EXPORT = "export"
    BLOCKED = "blocked"


REVEALING = frozenset({RouteKind.RECORD, RouteKind.LISTING, RouteKind.EXPORT})
"""Kinds whose answers name patients: buffered, inspected, charged and recorded before release."""


class Sensitivity(StrEnum):
    """Whether a route shows who somebody is, or how they are."""

    ADMINISTRATIVE = "administrative"
    MEDICAL = "medical"


class Place(StrEnum):
    """Where patient ids stand."""

    PATH = "path"
    QUERY = "query"
    REQUEST_FORM = "request-form"
    REQUEST_JSON = "request-json"
    REQUEST_TEXT = "request-text"
    JSON = "json"
    HTML = "html"
    CSV = "csv"
    TEXT = "text"
    HEADER = "header"


REQUEST_PLACES = frozenset(
    {Place.PATH, Place.QUERY, Place.REQUEST_FORM, Place.REQUEST_JSON, Place.REQUEST_TEXT}
)


class Normalisation(StrEnum):
    """Steps that fold the aliases an app accepts for one id into one form, applied in the given order."""

    NFKC = "nfkc"
    DIGITS = "digits"
    """Any Unicode decimal digit becomes its ASCII digit."""
    TRIM = "trim"
    CASEFOLD = "casefold"
    UNPAD = "unpad"
    """Leading zeros of an all-digit id are dropped; "000" becomes "0"."""
    SQUEEZE = "squeeze"
    """Spaces (all kinds), underscores, dots and hyphens are dropped."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place where ids are read.

    *select* is, by place: the path or query or form parameter name; an RFC 9535 JSONPath; a CSS
    selector; a CSV column (name, or 1-based number); for text, an RE2 pattern whose group 1 (or the
    whole match) is the id; a response header name. *attribute* (HTML) reads an attribute instead of
    the text. *pattern* is an RE2 pattern searched in each value read: group 1 (or the whole match) is
    the id, and a value without a match is no id.
    """

    place: Place
    select: str
    attribute: str | None = None
    pattern: str | None = None
    delimiter: str | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """How one route names its patients.

    *first_only*: take the first source that yields an id, not the union of all. *system* names the
    numbering (two apps with the same system share patients). *may_be_empty*: an answer that names
    nobody is normal (an empty list). *max_bytes* bounds the decoded body, *max_ids* the ids read.
    """

    sources: tuple[Source, ...]
    system: str
    normalise: tuple[Normalisation, ...] = (Normalisation.NFKC, Normalisation.DIGITS, Normalisation.TRIM)
    strip_prefix: str | None = None
    first_only: bool = False
    may_be_empty: bool = False
    max_bytes: int = 4_000_000
    max_ids: int = 2_000


class RecordsSeen(msgspec.Struct, frozen=True):
    """What a response reveals: clear ids, distinct, in order of appearance. Never leaves the process."""

    system: str
    ids: tuple[str, ...]
    rows: int
    decoded_bytes: int


class Unreadable(StrEnum):
    """Why an answer could not be inspected."""

    TOO_LARGE = "too-large"
    TOO_MANY_IDS = "too-many-ids"
    WRONG_TYPE = "wrong-type"
    BAD_ENCODING = "bad-encoding"
    MALFORMED = "malformed"
    NO_ID = "no-id"


@dataclass(frozen=True, slots=True)
class Uninspectable:
    """An answer on a revealing route that could not be read: withheld, never free."""

    why: Unreadable


@dataclass(frozen=True, slots=True)
class Sightings:
    """Personal data seen on a route that nobody mapped: counts of distinct values, never the values."""

    nirs: int
    phones: int
    emails: int

    @property
    def total(self) -> int:
        """Return how many distinct pieces were seen."""
        return self.nirs + self.phones + self.emails


class Walk(StrEnum):
    """In which order somebody opened patients whose ids are numbers."""

    ASCENDING = "ascending"
    DESCENDING = "descending"
    STRIDED = "strided"
    """At one and the same distance, in any order."""
    BLOCK = "block"
    """All of a narrow block, in any order."""
