"""Routes that no request ever reaches, found by trying sample paths; best effort."""

import itertools
import re
from collections.abc import Sequence

from gateway.configuration.schema_app import RequestTests, RouteSpec
from gateway.policy.paths import compile_template

_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*(?::([^{}]+))?\}|\*$")
_CANDIDATES = ("1", "42", "2026", "007", "a", "zz", "AB", "x-y.z", "a1", "2026-01-31", "a_b", "%C3%A9")
_MOST_SAMPLES = 64
_NO_TESTS = RequestTests()


def shadowed_by(route: RouteSpec, earlier: Sequence[RouteSpec]) -> RouteSpec | None:
    """Return the route of *earlier* that takes every request of *route*, None when some are left."""
    samples = _samples(route.path)
    for other in earlier:
        wider = not other.methods or (route.methods and set(route.methods) <= set(other.methods))
        if not wider or other.when not in (_NO_TESTS, route.when):
            continue
        if other.path == route.path:
            return other
        template = compile_template(other.path)
        if samples and all(template.exact.match(sample) for sample in samples):
            return other
    return None


def _samples(path: str) -> list[str]:
    """Return paths that fit *path*, none when a hole's shape fits no candidate."""
    literals, holes, position = [], [], 0
    for found in _HOLE.finditer(path):
        literals.append(path[position : found.start()])
        holes.append(_fillings(found.group(0), found.group(1)))
        position = found.end()
    literals.append(path[position:])
    filled = itertools.islice(itertools.product(*holes), _MOST_SAMPLES)
    return ["".join(itertools.chain(*zip(literals, (*filling, ""), strict=True))) for filling in filled]


def _fillings(hole: str, shape: str | None) -> tuple[str, ...]:
    if hole == "*":
        return ("", "a", "a/b", "1")
    if shape == "path":
        return ("1", "zz", "a/b", "1/2/")
    if shape == "int":
        return ("1", "007", "123456789012")
    if shape is None:
        return _CANDIDATES
    return tuple(text for text in _CANDIDATES if re.fullmatch(shape, text))
