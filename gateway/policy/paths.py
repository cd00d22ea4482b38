"""Path templates and the one canonical path.

The path that rules see is the path that goes upstream: it is canonical, or the request is refused.
"""

import re
from dataclasses import dataclass

PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)(?::(int|path|(?:[^{}]|\{[0-9,]+\})+))?\}")
# The spelling of nearly every path: unreserved characters, no empty and no dot segment.
_PLAIN = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_~.-]+)*/?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT_RAW = _UNRESERVED | frozenset(b"/!$&'()*+,=:@")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_DOTS = frozenset({".", ".."})


class PathRefused(ValueError):
    """The path has no one meaning that every server would agree on. *fault* is a short stable word."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"path refused: {fault}")
        self.fault = fault


def canonical_path(raw: str, allowances: frozenset[str] = frozenset()) -> str:
    """Return the one spelling of *raw*, a path as it stands on the request line, without query.

    Percent escapes of unreserved characters are decoded, the others get upper-case digits
    (RFC 3986, 6.2.2). What servers read in two ways is refused: dot segments, empty segments,
    encoded slashes and percent signs, backslashes, path parameters, control characters, bytes that
    are not UTF-8. *allowances* (PathAllowance values) lets an app that needs them have some.

    Raises:
        PathRefused: with the fault.
    """
    if raw and _PLAIN.fullmatch(raw):
        return raw
    if not raw.startswith("/"):
        raise PathRefused("not-origin-form")
    try:
        wire = raw.encode("ascii")
    except UnicodeEncodeError:
        raise PathRefused("raw-non-ascii") from None
    out = bytearray()
    decoded = bytearray()
    position = 0
    while position < len(wire):
        byte = wire[position]
        if byte == 0x25:
            pair = wire[position + 1 : position + 3]
            if len(pair) != 2 or not _HEX.issuperset(pair):
                raise PathRefused("bad-escape")
            value = int(pair, 16)
            position += 3
            _check_escaped(value, wire[position : position + 2], allowances)
            decoded.append(value)
            if value in _UNRESERVED:
                out.append(value)
            else:
                out += b"%" + pair.upper()
            continue
        if byte not in _KEPT_RAW and not _allowed_raw(byte, allowances):
            raise PathRefused("bad-character")
        out.append(byte)
        decoded.append(byte)
        position += 1
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise PathRefused("not-utf-8") from None
    path = out.decode("ascii")
    segments = path.split("/")[1:]
    if "empty-segment" not in allowances and "" in segments[:-1]:
        raise PathRefused("empty-segment")
    if any(segment in _DOTS or segment.partition(";")[0] in _DOTS for segment in segments):
        raise PathRefused("dot-segment")
    return path


def _check_escaped(value: int, following: bytes, allowances: frozenset[str]) -> None:
    if value < 0x20 or value == 0x7F:
        raise PathRefused("control-character")
    if value == 0x2F and "encoded-slash" not in allowances:
        raise PathRefused("encoded-slash")
    if value == 0x5C and "backslash" not in allowances:
        raise PathRefused("backslash")
    if value == 0x3B and "semicolon" not in allowances:
        raise PathRefused("semicolon")
    if value == 0x25 and "encoded-percent" not in allowances and _HEX.issuperset(following) and following:
        raise PathRefused("encoded-percent")


def _allowed_raw(byte: int, allowances: frozenset[str]) -> bool:
    # Browsers send these few raw although RFC 3986 wants them escaped; every server reads them alike.
    if byte in b'|[]^`{}"<>':
        return byte in b"|[]"
    return byte == 0x3B and "semicolon" in allowances


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """``/patients/{id}``: a compiled template. ``{x}`` is one segment, ``{x:int}`` digits, ``{x:path}`` the rest,
    ``{x:REGEX}`` a segment of that shape; ``*`` at the end of a template is any rest."""

    text: str
    exact: re.Pattern[str]
    loose: re.Pattern[str]
    names: tuple[str, ...]


def compile_template(text: str) -> PathTemplate:
    """Compile *text*.

    Raises:
        ValueError: naming what is wrong with the template.
    """
    if not text.startswith("/"):
        raise ValueError(f"path {text!r} must start with '/'")
    if "?" in text or "#" in text:
        raise ValueError(f"path {text!r} holds a query or fragment: use 'query' conditions instead")
    body, rest = (text[:-1], True) if text.endswith("*") else (text, False)
    pattern, names, position = "", [], 0
    for found in PLACEHOLDER.finditer(body):
        literal = body[position : found.start()]
        _check_literal(literal, text)
        pattern += re.escape(literal)
        name, shape = found.group(1), found.group(2)
        if name in names:
            raise ValueError(f"path {text!r} names {{{name}}} twice")
        names.append(name)
        pattern += f"(?P<{name}>{_shape(shape, text)})"
        position = found.end()
    tail = body[position:]
    _check_literal(tail, text)
    pattern += re.escape(tail)
    if rest:
        pattern += ".*"
    loose = pattern if rest else pattern.removesuffix("/") + "/?"
    return PathTemplate(
        text,
        re.compile(pattern + r"\Z", re.DOTALL),
        re.compile(loose + r"\Z", re.DOTALL | re.IGNORECASE),
        tuple(names),
    )


def _check_literal(literal: str, text: str) -> None:
    if "{" in literal or "}" in literal or "*" in literal:
        raise ValueError(
            f"path {text!r}: write {{name}}, {{name:int}}, {{name:path}} or {{name:regex}}; '*' only at the end"
        )
    try:
        literal.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(
            f"path {text!r}: write non-ASCII characters percent-encoded, as on the wire"
        ) from None


def _shape(shape: str | None, text: str) -> str:
    if shape is None:
        return "[^/]+"
    if shape == "int":
        return "[0-9]+"
    if shape == "path":
        return ".+"
    try:
        if re.compile(shape).groups:
            raise ValueError(f"path {text!r}: no groups inside {{name:{shape}}}")
    except re.error as error:
        raise ValueError(f"path {text!r}: {{name:{shape}}} is no regular expression: {error}") from None
    return f"(?:{shape})"
