"""multipart/form-data (RFC 7578), refused wherever servers would read it differently."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

MAX_PARTS = 1_000
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]\Z")
_NAMES = re.compile(r"(?i)(?:^|[;\s\"])(?:file)?name(\*?)\s*=")
_PLAIN = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class FormField:
    """One part. *value* is empty for files."""

    name: str
    value: str = field(repr=False)
    is_file: bool


def fields(body: bytes, parameters: Mapping[str, str]) -> tuple[FormField, ...]:
    """Return the parts of *body*; *parameters* are those of its content type.

    Raises:
        ValueError: naming the fault, never the content.
    """
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.match(boundary):
        raise ValueError("the multipart boundary is missing or malformed")
    if body.count(b"--" + boundary.encode("ascii")) > MAX_PARTS:
        raise ValueError("the multipart form has too many parts")
    decoder = MultipartDecoder(boundary.encode("ascii"), max_parts=MAX_PARTS)
    parts: list[FormField] = []
    pieces: list[bytes] = []
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        current: Field | File | None = None
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, NeedData):
                raise ValueError("the multipart form is cut short")  # noqa: TRY004
            if isinstance(event, (Field, File)):
                _check_headers(event.headers)
                current, pieces = event, []
            elif isinstance(event, Data) and current is not None:
                pieces.append(event.data)
                if not event.more_data:
                    parts.append(_part(current, b"".join(pieces)))
                    current = None
    except (RequestEntityTooLarge, LookupError, UnicodeError):
        raise ValueError("the multipart form is malformed") from None
    return tuple(parts)


def _part(event: Field | File, data: bytes) -> FormField:
    name = event.name or ""
    if isinstance(event, File):
        return FormField(name, "", is_file=True)
    return FormField(name, data.decode("utf-8", "replace"), is_file=False)


def _check_headers(headers: Headers) -> None:
    dispositions = headers.getlist("content-disposition")
    if len(dispositions) != 1 or not dispositions[0].lower().startswith("form-data"):
        raise ValueError("a part has no single form-data disposition")
    written = _NAMES.findall(dispositions[0])
    if any(written) or len(re.findall(r"(?i)\bname\s*=", dispositions[0])) != 1:
        raise ValueError("a part has no single plain name")
    encodings = headers.getlist("content-transfer-encoding")
    if any(encoding.strip().lower() not in _PLAIN for encoding in encodings):
        raise ValueError("a part has a transfer encoding")
    for kind in headers.getlist("content-type"):
        charset = re.search(r"(?i)charset\s*=\s*\"?([^\s\";]+)", kind)
        if charset and charset.group(1).lower() not in {"utf-8", "us-ascii"}:
            raise ValueError("a part has an unusual charset")
