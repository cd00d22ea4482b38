"""Request parameters, read as any server might read them.

Servers differ: some split at ``;``, fold case, cut names at NUL, read ``id[]`` as ``id`` or ``a.b`` as
``a_b``. A gateway that reads one way while the application reads another is no gate, so a value counts
under a name as soon as some server would file it there; what cannot be read at all is an error.
"""

import re
from enum import StrEnum
from urllib.parse import unquote_plus

from gateway.policy import jsonpaths, multipart, patterns
from gateway.policy.bodies import CHARSETS, MediaType, media_type
from gateway.vocabulary.logins import Op, ParamPlace, ParamTest
from gateway.vocabulary.messages import RequestFacts

MAX_FIELDS = 10_000
_BEFORE_JSON = b" \t\r\n\xef\xbb\xbf"
_NAME_FOLD = str.maketrans({" ": "_", ".": "_"})


class BodyUnreadable(ValueError):
    """The body has no one meaning that every server would agree on. The message never holds its content."""


class BodyKind(StrEnum):
    """What a request body claims to be; UNTYPED has no content type, and many servers read it as a form."""

    FORM = "form"
    MULTIPART = "multipart"
    JSON = "json"
    UNTYPED = "untyped"
    OTHER = "other"


def query_values(query: str, name: str) -> tuple[str, ...]:
    """Return every value that a server might file under *name* in the raw *query*, decoded, in order.

    Bytes that are not UTF-8 become U+FFFD. A raw ``;`` is read both ways, as text and as separator.
    """
    return tuple(unquote_plus(value) for value in _raw_values(query, name))


def form_values(request: RequestFacts, name: str) -> tuple[str, ...]:
    """Return every value that a server might file under *name* in a urlencoded or multipart body.

    Empty when the body is no form.

    Raises:
        BodyUnreadable: body not read yet, compressed, in an unusual charset, or malformed.
    """
    media = _media(request)
    kind = _kind(media)
    if kind in (BodyKind.JSON, BodyKind.OTHER):
        return ()
    body = _body(request)
    if kind is BodyKind.MULTIPART:
        try:
            fields = multipart.fields(body, media.parameters if media else {})
        except ValueError as error:
            raise BodyUnreadable(str(error)) from None
        wanted = _folded(name)
        picked = [field for field in fields if _alike(_folded(field.name), wanted)]
        if any(field.is_file for field in picked):
            # Some servers file it among the uploads, some among the values.
            raise BodyUnreadable("the form field also has a file name")
        return tuple(field.value for field in picked)
    charset = CHARSETS.get(media.charset or "utf-8") if media else "utf-8"
    if charset is None:
        raise BodyUnreadable("the form has an unusual charset")
    if body.count(b"&") + body.count(b";") > MAX_FIELDS:
        raise BodyUnreadable("the form has too many fields")
    text = body.decode(charset, "replace")
    return tuple(unquote_plus(value, encoding=charset) for value in _raw_values(text, name))


def json_value(request: RequestFacts, path: str) -> tuple[object, ...]:
    """Return every value that the RFC 9535 *path* selects in a JSON body.

    Some servers read JSON whatever the content type, so a body of another type that begins as a JSON
    object or array is read too.

    Raises:
        BodyUnreadable: body not read yet, compressed, or not readable as the JSON it seems to be.
    """
    declared = body_kind(request) is BodyKind.JSON
    body = _body(request)
    if not declared and not body.lstrip(_BEFORE_JSON).startswith((b"{", b"[")):
        return ()
    try:
        return tuple(jsonpaths.select(path, jsonpaths.parse_json(body)))
    except ValueError:
        raise BodyUnreadable("the body is not JSON that every parser reads alike") from None


def body_kind(request: RequestFacts) -> BodyKind:
    """Return what the body claims to be.

    Raises:
        BodyUnreadable: several content types, or one that is no media type.
    """
    return _kind(_media(request))


def reads_body(test: ParamTest) -> bool:
    """Tell whether *test* looks into the body."""
    return test.place in (ParamPlace.FORM, ParamPlace.JSON)


def holds(test: ParamTest, request: RequestFacts) -> bool:
    """Tell whether *test* holds: EQUALS, PRESENT and MATCHES for any value, ABSENT when there is none.

    Raises:
        BodyUnreadable: as form_values and json_value, for tests on the body only.
    """
    values = _tested(test, request)
    match test.op:
        case Op.PRESENT:
            return bool(values)
        case Op.ABSENT:
            return not values
        case Op.EQUALS:
            return test.value in values
        case Op.MATCHES:
            pattern = test.value or ""
            return any(patterns.found(pattern, value) is not None for value in values)


def _tested(test: ParamTest, request: RequestFacts) -> tuple[str, ...]:
    match test.place:
        case ParamPlace.QUERY:
            return query_values(request.query, test.name)
        case ParamPlace.FORM:
            return form_values(request, test.name)
        case ParamPlace.HEADER:
            return request.header_values(test.name)
        case ParamPlace.JSON:
            return tuple(_json_text(value) for value in json_value(request, test.name))


def _json_text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return jsonpaths.scalar(value) or ""


def _raw_values(text: str, name: str) -> list[str]:
    wanted = _folded(name)
    values: list[str] = []
    for pair in text.split("&"):
        _keep(pair, wanted, values)
        if ";" in pair:
            for piece in pair.split(";"):
                _keep(piece, wanted, values)
    return values


def _keep(pair: str, wanted: str, values: list[str]) -> None:
    if not pair:
        return
    key, _, value = pair.partition("=")
    if "%" in key or "+" in key:
        key = unquote_plus(key)
    if _alike(_folded(key), wanted):
        values.append(value)


def _folded(name: str) -> str:
    name = name.partition("\0")[0].lstrip()
    if "[" in name and "]" not in name:
        name = name.replace("[", "_", 1)
    return name.translate(_NAME_FOLD).casefold()


def _alike(folded: str, wanted: str) -> bool:
    return folded == wanted or folded.startswith(wanted + "[")


def _media(request: RequestFacts) -> MediaType | None:
    types = request.header_values("content-type")
    if not types:
        return None
    media = media_type(types[0])
    if len(types) > 1 or media is None:
        raise BodyUnreadable("the request has no single, well-formed content type")
    return media


def _kind(media: MediaType | None) -> BodyKind:
    if media is None:
        return BodyKind.UNTYPED
    if media.name == "application/x-www-form-urlencoded":
        return BodyKind.FORM
    if media.name == "multipart/form-data":
        return BodyKind.MULTIPART
    if media.is_json:
        return BodyKind.JSON
    return BodyKind.OTHER


def _body(request: RequestFacts) -> bytes:
    if request.body is None:
        raise BodyUnreadable("the body has not been read")
    encodings = request.header_values("content-encoding")
    if request.body and any(not re.fullmatch(r"(?i)identity|", encoding) for encoding in encodings):
        raise BodyUnreadable("the request body is compressed")
    return request.body
