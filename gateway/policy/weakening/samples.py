"""Requests that stand for many: paths that fit a template, or two at once, and what a door's conditions want. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from gateway.policy.paths import PLACEHOLDER
from gateway.policy.policy import Route
from gateway.vocabulary.logins import Op, ParamPlace, ParamTest
from gateway.vocabulary.messages import RequestFacts

_ANY, _NUMBER, _REST = "\x00", "\x01", "\x02"
_FILLINGS: Final = ({_ANY: "x1", _NUMBER: "1", _REST: "x1/y2"}, {_ANY: "1", _NUMBER: "1", _REST: "1"})
_PLAIN_SHAPES: Final = {None: _ANY, "int": _NUMBER, "path": _REST}


def is_plain(route: Route) -> bool:
    """Tell whether samples stand for everything that fits *route*: no conditions, no shapes of its own, and no segment
    of which a part is fixed."""
    shapes = (found.group(2) for found in PLACEHOLDER.finditer(route.template.text))
    partly = any(_is_open(segment) and len(segment) > 1 for segment in _segments(route))
    return not route.params and not partly and all(shape in _PLAIN_SHAPES for shape in shapes)


def paths_of(route: Route) -> list[str]:
    """Return some paths that fit the template of *route*; those of a shape of its own may not."""
    segments = _segments(route)
    return sorted({_filled(segments, filling) for filling in _FILLINGS})


def paths_of_both(one: Route, other: Route) -> list[str]:
    """Return some paths that fit both templates, none where they cannot meet."""
    merged = _merged(_segments(one), _segments(other))
    return [] if merged is None else sorted({_filled(merged, filling) for filling in _FILLINGS})


def requests_for(route: Route | None, methods: frozenset[str], paths: list[str]) -> Iterator[RequestFacts]:
    """Yield requests at *paths* by each method, with what the conditions of *route* want where that can be told."""
    query, form, headers = _wanted(route.params if route is not None else ())
    if form:
        headers.append(("content-type", "application/x-www-form-urlencoded"))
    for method in sorted(methods):
        for path in paths:
            yield RequestFacts(
                request_id="",
                received_ms=0,
                scheme="https",
                method=method,
                host="",
                port=443,
                path=path,
                query="&".join(query),
                headers=tuple(headers),
                client_address="",
                client_port=0,
                body="&".join(form).encode(),
            )


def can_be_met(route: Route) -> bool:
    """Tell whether a request can be made that meets every condition of *route*."""
    return all(test.op is not Op.MATCHES and test.place is not ParamPlace.JSON for test in route.params)


def _wanted(tests: tuple[ParamTest, ...]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    query: list[str] = []
    form: list[str] = []
    headers: list[tuple[str, str]] = []
    for test in tests:
        if test.op is Op.ABSENT:
            continue
        value = test.value or "1"
        if test.place is ParamPlace.QUERY:
            query.append(f"{test.name}={value}")
        elif test.place is ParamPlace.FORM:
            form.append(f"{test.name}={value}")
        elif test.place is ParamPlace.HEADER:
            headers.append((test.name, value))
    return query, form, headers


def _segments(route: Route) -> list[str]:
    text = route.template.text
    marked = PLACEHOLDER.sub(lambda found: _PLAIN_SHAPES.get(found.group(2), _ANY), text.removesuffix("*"))
    return (marked + _REST if text.endswith("*") else marked).removeprefix("/").split("/")


def _merged(one: list[str], other: list[str]) -> list[str] | None:
    """Return segments that fit both; a literal wins over what takes anything. None where they cannot meet."""
    found: list[str] = []
    for at in range(max(len(one), len(other))):
        first, second = one[at] if at < len(one) else None, other[at] if at < len(other) else None
        for segment, rest, others in (
            (first, one[at + 1 :], other[at:]),
            (second, other[at + 1 :], one[at:]),
        ):
            if segment is not None and _REST in segment:
                tail = _with_rest(segment, rest, others)
                return found + tail if tail is not None else None
        if first is None or second is None:
            return None
        if not _is_open(first) and not _is_open(second) and first.casefold() != second.casefold():
            return None
        found.append(second if _is_open(first) else first)
    return found


def _with_rest(segment: str, after: list[str], others: list[str]) -> list[str] | None:
    """Return segments that fit *others* and also *segment*, which takes any rest, and what stands *after* that."""
    begin = segment.partition(_REST)[0]
    found = list(others)
    if not found:
        found = [segment]
    elif _REST in found[0]:
        theirs = found[0].partition(_REST)[0]
        if not begin.startswith(theirs) and not theirs.startswith(begin):
            return None
        found[0] = max(segment, found[0], key=len)
    elif begin:
        found[0] = begin if _is_open(found[0]) else found[0]
    if not after:
        return found
    if any(_REST in one for one in found):
        return found + after
    if len(found) <= len(after):
        return None
    tail = _merged(after, found[-len(after) :])
    return found[: -len(after)] + tail if tail is not None else None


def _is_open(segment: str) -> bool:
    return any(mark in segment for mark in (_ANY, _NUMBER))


def _filled(segments: list[str], filling: dict[str, str]) -> str:
    text = "/" + "/".join(segments)
    return re.sub(f"[{_ANY}{_NUMBER}{_REST}]", lambda found: filling[found.group()], text)
