"""JSON read in the one way that every parser agrees on, and RFC 9535 paths in it."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache

import jsonpath_rfc9535
import msgspec
import orjson

Step = str | int | None
"""A member name, an index, or None for the wildcard."""

MAX_EXACT = 1 << 53
MAX_BITS = 512
_SHAPE = re.compile(
    r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*|\['[^'\\\x00-\x1f]*'\]|\.\*|\[\*\]|\[(?:0|[1-9][0-9]{0,8})\])*\Z"
)
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\['([^'\\]*)'\]|(\.\*|\[\*\])|\[([0-9]+)\]")
_BOM = b"\xef\xbb\xbf"


class JsonRefused(ValueError):
    """The text is not JSON, or parsers would disagree about it. The message never holds the text."""


def parse_json(data: bytes) -> object:
    """Parse *data*, UTF-8 JSON (RFC 8259; a byte order mark is passed over).

    Duplicate member names are refused, since parsers disagree on which one counts (RFC 8259, 4), as
    are NaN, lone surrogates and nesting deeper than 1024. Integers are exact whatever their size.

    Raises:
        JsonRefused: naming the fault.
    """
    data = data.removeprefix(_BOM)
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise JsonRefused("not well-formed JSON") from None
    members, wide = _members(document)
    # Every member's colon follows a quote or one blank, so this count is never below the number of
    # members that stand in the text: when it equals the members parsed, nothing was dropped.
    if data.count(b":") != members and _colons(data) != members:
        try:
            json.loads(data, object_pairs_hook=_distinct, parse_int=_no_number, parse_float=_no_number)
        except RecursionError:
            raise JsonRefused("nested too deep") from None
    if wide:
        # orjson turns integers beyond 64 bits into floats, and would fold two ids into one.
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError):
            raise JsonRefused("a number is out of range") from None
    return document


def _colons(data: bytes) -> int:
    return sum(map(data.count, (b'":', b" :", b"\n:", b"\t:", b"\r:")))


def _members(document: object) -> tuple[int, bool]:
    count, wide = 0, False
    stack: list[object] = [document]
    while stack:
        node = stack.pop()
        values: Iterable[object]
        if type(node) is dict:
            count += len(node)
            values = node.values()
        elif type(node) is list:
            values = node
        else:
            continue
        for value in values:
            kind = type(value)
            if kind is dict or kind is list:
                stack.append(value)
            elif kind is float and (value >= MAX_EXACT or value <= -MAX_EXACT):
                wide = True
    return count, wide


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonRefused("a member name stands twice in one object")
    return members


def _no_number(_text: str) -> int:
    return 0


@lru_cache(maxsize=512)
def steps(path: str) -> tuple[Step, ...] | None:
    """Return the steps of a simple *path* (names, indexes, wildcards), None when the library has to read it."""
    if not _SHAPE.match(path):
        return None
    return tuple(
        None if star else int(index) if index else name or quoted
        for name, quoted, star, index in _STEP.findall(path)
    )


@lru_cache(maxsize=512)
def compile_path(path: str) -> jsonpath_rfc9535.JSONPathQuery:
    """Compile *path* (RFC 9535).

    Raises:
        ValueError: saying what is wrong with it.
    """
    try:
        return jsonpath_rfc9535.compile(path)
    except (jsonpath_rfc9535.JSONPathError, RecursionError) as error:
        raise ValueError(f"{path!r} is no JSONPath (RFC 9535): {str(error).splitlines()[0]}") from None


def select(path: str, document: object) -> list[object]:
    """Return every value of *document* that *path* selects, in document order.

    Raises:
        ValueError: when *path* is no JSONPath or *document* too deep for it.
    """
    simple = steps(path)
    if simple is None:
        try:
            return list(compile_path(path).find(document).values())
        except (jsonpath_rfc9535.JSONPathError, RecursionError):
            raise ValueError(f"path {path!r} could not be followed") from None
    nodes = [document]
    for step in simple:
        nodes = _follow(step, nodes)
    return nodes


def _follow(step: Step, nodes: list[object]) -> list[object]:
    if type(step) is str:
        return [node[step] for node in nodes if type(node) is dict and step in node]
    if step is None:
        below: list[object] = []
        for node in nodes:
            if type(node) is list:
                below.extend(node)
            elif type(node) is dict:
                below.extend(node.values())
        return below
    index = int(step)
    return [node[index] for node in nodes if type(node) is list and index < len(node)]


def scalar(value: object) -> str | None:
    """Return the text of a string or whole number, None for anything else.

    Floats that are whole and exact count as their integer, as JSON has one kind of number.
    """
    if type(value) is str:
        return value
    if type(value) is int and value.bit_length() <= MAX_BITS:
        return str(value)
    if type(value) is float and value.is_integer() and abs(value) < MAX_EXACT:
        return str(int(value))
    return None
