"""What every renderer reads: one event about at most one patient, each text harmless and bounded."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from gateway.audit.encoding import MAX_FIELD_CHARS

DOCUMENTATION_PEN: Final = 32473
"""The private enterprise number reserved for examples (RFC 5612)."""

PRODUCT: Final = "ecluse"
_MOST_CATEGORIES: Final = 32
_MOST_DETAILS: Final = 16
_UNKNOWN: Final = "unknown"
_LATEST_MS: Final = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class Observer:
    """Who tells: the machine and site that every message names.

    *host* is this machine's name, *site* the regional body's. *enterprise_id* is the IANA private enterprise
    number of the structured data. *addresses* gives the public host name of each app, where it is known.
    """

    host: str
    site: str = ""
    version: str = ""
    enterprise_id: int = DOCUMENTATION_PEN
    addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """One event about at most one patient.

    *at* is RFC 3339 in UTC with milliseconds. An event of several patients is told once for each of them:
    *place* of *patients*, from 1. *kind* is the word of the journal, also when this version does not know it.
    """

    writer: str
    seq: int
    at: str
    at_ms: int
    kind: str
    patient: str | None = None
    place: int = 1
    patients: int = 0
    account: str | None = None
    account_class: str | None = None
    app: str | None = None
    bytes: int | None = None
    categories: tuple[str, ...] = ()
    client: str | None = None
    client_port: int | None = None
    control: str | None = None
    detail: tuple[tuple[str, str], ...] = ()
    establishment: str | None = None
    method: str | None = None
    opened: bool | None = None
    operator: str | None = None
    policy_id: str | None = None
    realm: str | None = None
    reason: str | None = None
    reference: str | None = None
    request_id: str | None = None
    route: str | None = None
    route_kind: str | None = None
    rows: int | None = None
    rule: str | None = None
    sensitivity: str | None = None
    session: str | None = None
    status: int | None = None

    @property
    def event_id(self) -> str:
        """Return the event's name in its site, ``WRITER:SEQ``."""
        return f"{self.writer}:{self.seq}"

    @property
    def message_id(self) -> str:
        """Return the name by which a receiver knows doubles: ``WRITER:SEQ``, or ``WRITER:SEQ/PLACE``."""
        return f"{self.event_id}/{self.place}" if self.patients > 1 else self.event_id


_TEXTS: Final = (
    *("account", "account_class", "app", "client", "control", "establishment", "method", "operator"),
    *("policy_id", "realm", "reason", "reference", "request_id", "route", "route_kind", "rule"),
    *("sensitivity", "session"),
)
_NUMBERS: Final = ("bytes", "client_port", "rows", "status")


def facts_of(event: Mapping[str, Any], limit: int = MAX_FIELD_CHARS) -> Iterator[Facts]:
    """Yield *event*, a journal entry with its ``writer``, once for each of its patients, or once.

    Texts are bounded to *limit* characters, categories to 32 and details to 16. A value of another type than
    the journal's is left out.
    """
    patients = [harmless(str(each), limit) for each in event.get("patients") or () if each]
    at_ms = _number(event.get("at_ms")) or 0
    told: dict[str, Any] = {name: _text(event.get(name), limit) for name in _TEXTS}
    told |= {name: _number(event.get(name)) for name in _NUMBERS}
    opened = event.get("opened")
    detail = event.get("detail") or {}
    told |= {
        "writer": _text(event.get("writer"), limit) or _UNKNOWN,
        "seq": _number(event.get("seq")) or 0,
        "at": _moment(at_ms),
        "at_ms": at_ms,
        "kind": _text(event.get("kind"), limit) or _UNKNOWN,
        "opened": opened if isinstance(opened, bool) else None,
        "categories": tuple(
            harmless(str(each), limit) for each in (event.get("categories") or ())[:_MOST_CATEGORIES]
        ),
        "detail": tuple(
            (harmless(str(name), limit), harmless(str(text), limit))
            for name, text in list(detail.items())[:_MOST_DETAILS]
        ),
        "patients": len(patients),
    }
    for place, patient in enumerate(patients or [None], 1):
        yield Facts(**told, patient=patient, place=place)


def harmless(text: str, limit: int = MAX_FIELD_CHARS) -> str:
    """Return *text* as print and nothing else, bounded to *limit* characters.

    Control, format, bidirectional, private and unassigned characters, noncharacters and surrogates stand as
    ``\\uXXXX``, blanks of every kind as a space. What has been made harmless already stays as it is.
    """
    if len(text) <= limit and text.isprintable():
        return text
    made = "".join(char if char.isprintable() else _named(char) for char in text[: limit + 1])
    return made if len(made) <= limit else made[: limit - 1] + "…"


def _named(char: str) -> str:
    if unicodedata.category(char) == "Zs":
        return " "
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"


def _text(value: Any, limit: int) -> str | None:
    return harmless(value, limit) if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    return value if type(value) is int and -(2**53) < value < 2**53 else None


def _moment(at_ms: int) -> str:
    seconds, milliseconds = divmod(min(max(at_ms, 0), _LATEST_MS), 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
