"""One event, one line: the canonical, versioned form that is hashed, stored and read again."""

import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from gateway.vocabulary.events import AuditEvent

VERSION = 1
SALT_BYTES = 16
MAX_FIELD_CHARS = 512
MAX_LINE_BYTES = 16_000_000
"""Longest line: what readers are told to accept."""

_LATEST_MS = 253_402_300_799_999
_TAIL = 33
_LEAST_FRAME_BYTES = 100
_GREATEST = 2**53 - 1
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


class NotAnEntry(ValueError):
    """A line is not an entry of this version."""


class Entry(msgspec.Struct, omit_defaults=True):
    """An event in its place in a log. Fields stand in the order of the line, which is alphabetical."""

    account: str | None = None
    account_class: str | None = None
    app: str | None = None
    at: str | None = None
    at_ms: int | None = None
    bytes: int | None = None
    categories: tuple[str, ...] = ()
    client: str | None = None
    client_port: int | None = None
    control: str | None = None
    detail: dict[str, str] | None = None
    establishment: str | None = None
    kind: str | None = None
    method: str | None = None
    opened: bool | None = None
    operator: str | None = None
    patients: tuple[str, ...] = ()
    policy_id: str | None = None
    realm: str | None = None
    reason: str | None = None
    reference: str | None = None
    request_id: str | None = None
    route: str | None = None
    route_kind: str | None = None
    rows: int | None = None
    rule: str | None = None
    salt: str | None = None
    sensitivity: str | None = None
    seq: int | None = None
    session: str | None = None
    status: int | None = None
    v: int | None = None


_FIELDS = Entry.__struct_fields__
_TEXTS = attrgetter(
    *("account", "account_class", "app", "client", "control", "establishment", "kind", "method", "operator"),
    *(
        "policy_id",
        "realm",
        "reason",
        "reference",
        "request_id",
        "route",
        "route_kind",
        "rule",
        "sensitivity",
    ),
    "session",
)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode(event: AuditEvent, *, seq: int, salt: bytes) -> bytes:
    """Return the line of *event*, without line end.

    UTF-8 JSON, keys sorted, absent fields left out, ``at`` in RFC 3339 (UTC, milliseconds) beside
    ``at_ms``. Text is bounded to 512 characters a field and holds no control, format or bidirectional
    character: each stands as ``\\uXXXX`` in the text itself, so that a terminal, a spreadsheet or a
    parser that reads the value meets nothing but print. *seq* is the entry's index in its log, from 0;
    *salt* is 16 random bytes, so that nobody can guess an entry from its hash.

    Raises:
        ValueError: naming the field that cannot be recorded, never its value.
    """
    for number in (event.bytes, event.client_port, event.rows, event.status):
        if number is not None and not -_GREATEST <= number <= _GREATEST:
            raise ValueError("audit event field 'bytes', 'client_port', 'rows' or 'status' is beyond 2**53")
    patients = event.patients
    for item in patients:
        # An id in clear must never reach the journal, whatever the mistake that brought it here.
        if len(item) <= _TAIL or item[-_TAIL] != ":":
            raise ValueError(
                "audit event field 'patients' holds something else than '<kid>:<32 hex>' pseudonyms"
            )
    entry = Entry(
        event.account,
        event.account_class,
        event.app,
        _rfc3339(event.at_ms),
        event.at_ms,
        event.bytes,
        event.categories,
        event.client,
        event.client_port,
        event.control,
        _detail(event.detail) if event.detail else None,
        event.establishment,
        event.kind,
        event.method,
        event.opened,
        event.operator,
        patients,
        event.policy_id,
        event.realm,
        event.reason,
        event.reference,
        event.request_id,
        event.route,
        event.route_kind,
        event.rows,
        event.rule,
        salt.hex(),
        event.sensitivity,
        seq,
        event.session,
        event.status,
        VERSION,
    )
    line = _dump(entry)
    # The short way holds for nearly every event: plain printable ASCII, nothing that JSON escaped, and
    # no text of more than 512 characters.
    if not (line and line.isascii() and b"\\" not in line and b"\x7f" not in line and _is_short(entry, line)):
        line = _dump(Entry(*(_clean(getattr(entry, name)) for name in _FIELDS)))
    if not line:
        raise ValueError("audit event holds a value of a type that has no canonical form")
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"audit event of {len(line)} bytes: an entry holds at most {MAX_LINE_BYTES}")
    return line


def decode(line: bytes) -> dict[str, Any]:
    """Read one line back. Unknown keys are kept: later versions may add some.

    Raises:
        NotAnEntry: it is no JSON object of this version with a sequence number.
    """
    try:
        values = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotAnEntry("not a JSON line") from None
    if not isinstance(values, dict) or values.get("v") != VERSION:
        raise NotAnEntry(f"not an entry of version {VERSION}")
    if type(values.get("seq")) is not int:
        raise NotAnEntry("an entry without sequence number")
    return values


def visible(text: str, limit: int = MAX_FIELD_CHARS) -> str:
    """Return *text* with every control, format or bidirectional character as ``\\uXXXX``, bounded to *limit*.

    A backslash before ``u`` or ``U`` is written ``\\u005c``, so that two texts never become one.
    """
    out: list[str] = []
    for position, char in enumerate(text[: limit + 1]):
        if unicodedata.category(char) in _UNSAFE_CATEGORIES:
            out.append(f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}")
        elif char == "\\" and text[position + 1 : position + 2] in {"u", "U"}:
            out.append("\\u005c")
        else:
            out.append(char)
    made = "".join(out)
    return made if len(made) <= limit else made[: limit - 1] + "…"


def _is_short(entry: Entry, line: bytes) -> bool:
    if len(line) - (_TAIL + 4) * len(entry.patients) <= MAX_FIELD_CHARS + _LEAST_FRAME_BYTES:
        return True
    if entry.detail is not None and any(len(text) > MAX_FIELD_CHARS for text in entry.detail.values()):
        return False
    return max(map(len, filter(None, (*_TEXTS(entry), *entry.categories))), default=0) <= MAX_FIELD_CHARS


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, tuple):
        return tuple(_clean(item) for item in value)
    if isinstance(value, dict):
        return {visible(name): _clean(text) for name, text in value.items()}
    return value


def _dump(entry: Entry) -> bytes:
    try:
        return _encoder.encode(entry)
    except (UnicodeEncodeError, TypeError, OverflowError, msgspec.MsgspecError):
        # A lone surrogate, which cleaning replaces, or a value of a wrong type: the caller tells them apart.
        return b""


def _detail(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, text in sorted(pairs):
        made[name] = f"{made[name]}; {text}" if name in made else text
    return made


def _rfc3339(at_ms: int) -> str:
    if not 0 <= at_ms <= _LATEST_MS:
        raise ValueError(f"audit event field 'at_ms' is {at_ms}: outside 1970 to 9999 in milliseconds")
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    # Events come in crowds: most share their second with the one before.
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
