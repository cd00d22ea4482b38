"""Ids in a JSON answer."""

from gateway.policy import jsonpaths
from gateway.vocabulary.records import Source, Unreadable


def values(source: Source, data: bytes) -> list[object] | Unreadable:
    """Return every value that the JSONPath of *source* selects in *data*, of whatever type.

    Anything but well-formed JSON without duplicate member names is MALFORMED.
    """
    try:
        return jsonpaths.select(source.select, jsonpaths.parse_json(data))
    except ValueError:
        return Unreadable.MALFORMED
