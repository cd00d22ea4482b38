"""Routes that nothing reaches are found, and no other."""

import pytest

from gateway.configuration.schema_app import RouteSpec
from gateway.configuration.shadows import shadowed_by
from gateway.vocabulary.records import RouteKind


def route(path: str, methods: list[str] | None = None, when: dict[str, object] | None = None) -> RouteSpec:
    """Return a route of *path*."""
    written = {
        "name": "x",
        "kind": RouteKind.PAGE,
        "path": path,
        "methods": methods or [],
        "when": when or {},
    }
    return RouteSpec.model_validate(written, strict=False)


@pytest.mark.parametrize(
    ("earlier", "later", "shadowed"),
    [
        # The same path, a wider one, a rest.
        ("/a", "/a", True),
        ("/p/{id}", "/p/new", True),
        ("/p/{id}", "/p/{id:int}", True),
        ("/p/{id}", "/p/{code:[A-Z]+}", True),
        ("/p/*", "/p/{id}/edit", True),
        ("/*", "/static/*", True),
        ("/p/{rest:path}", "/p/{a}/{b}", True),
        # Narrower first, or beside each other.
        ("/p/{id:int}", "/p/{id}", False),
        ("/p/{id:int}", "/p/new", False),
        ("/p/{code:[A-Z]+}", "/p/{id}", False),
        ("/p/{id}", "/p/{id}/edit", False),
        ("/static/*", "/*", False),
        ("/p/{id}", "/p/*", False),
        ("/q/{id}", "/p/{id}", False),
    ],
)
def test_path_that_an_earlier_one_takes(earlier: str, later: str, shadowed: bool) -> None:
    first = route(earlier)
    assert shadowed_by(route(later), [first]) is (first if shadowed else None)


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        # Methods: none means all.
        ((["GET"], None), (["GET"], None), True),
        (([], None), (["GET"], None), True),
        ((["GET", "POST"], None), (["GET"], None), True),
        ((["GET"], None), (["GET", "POST"], None), False),
        ((["GET"], None), ([], None), False),
        # Conditions: a route that has some leaves the rest to the next.
        (([], {"query": {"a": "1"}}), ([], None), False),
        (([], None), ([], {"query": {"a": "1"}}), True),
        (([], {"query": {"a": "1"}}), ([], {"query": {"a": "1"}}), True),
        (([], {"query": {"a": "1"}}), ([], {"query": {"a": "2"}}), False),
    ],
)
def test_methods_and_conditions(first: object, second: object, shadowed: bool) -> None:
    earlier, later = (route("/p/{id}", *found) for found in (first, second))  # type: ignore[misc]
    assert (shadowed_by(later, [earlier]) is not None) is shadowed
