"""Ids in the request: path, query, form, JSON, any text."""

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from gateway.policy import patterns
from gateway.policy.params import BodyUnreadable, form_values, json_value, query_values
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import Place, Source, Unreadable


def values(source: Source, request: RequestFacts, captures: Mapping[str, str]) -> list[object] | Unreadable:
    """Return every value that *source* finds in *request*; *captures* are still percent-encoded.

    A body that was not read, or that parsers would read in several ways, is MALFORMED.
    """
    try:
        match source.place:
            case Place.PATH:
                raw = captures.get(source.select)
                return [] if raw is None else [unquote_to_bytes(raw).decode("utf-8")]
            case Place.QUERY:
                return _given(query_values(request.query, source.select))
            case Place.REQUEST_FORM:
                return _given(form_values(request, source.select))
            case Place.REQUEST_JSON:
                return list(json_value(request, source.select))
            case _:
                if request.body is None:
                    return Unreadable.MALFORMED
                return list[object](patterns.every(source.select, request.body.decode("utf-8")))
    except (BodyUnreadable, ValueError):
        return Unreadable.MALFORMED


def _given(found: tuple[str, ...]) -> list[object]:
    # An empty parameter names nobody: search forms send all their fields.
    return [value for value in found if value]
