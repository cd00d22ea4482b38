"""Whatever is done to the doors of an application: a request that is asked less afterwards was told to weaken."""

from dataclasses import replace
from itertools import product
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.configuration import load
from gateway.policy.paths import compile_template
from gateway.policy.policy import App, Route
from gateway.policy.routes import match
from gateway.policy.weakening import Effect
from gateway.policy.weakening.doors import compare_doors
from gateway.policy.weakening.samples import requests_for
from gateway.policy.weakening.table import KIND_RANKS
from gateway.vocabulary.records import RouteKind

APP = load(Path(__file__).parents[2] / "configs" / "working_smallest.yml").policy.apps["demo"]
METHODS = frozenset({"GET", "POST"})
PATHS = [
    "/",
    *("/" + "/".join(parts) for length in (1, 2, 3) for parts in product(("a", "b", "7"), repeat=length)),
]
REQUESTS = list(requests_for(None, METHODS, PATHS))
KINDS = [RouteKind.PUBLIC, RouteKind.PAGE, RouteKind.LISTING, RouteKind.RECORD, RouteKind.BLOCKED]


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Draw a template of at most three segments, some of which take anything, numbers, or the rest."""
    segments = draw(st.lists(st.sampled_from(["a", "b", "7", "{x}", "{x:int}"]), min_size=1, max_size=3))
    named = [segment.replace("x", f"x{at}") for at, segment in enumerate(segments)]
    return "/" + "/".join(named) + draw(st.sampled_from(["", "", "/*", "*", "/{r:path}", "/{r:path}/a"]))


@st.composite
def routes(draw: st.DrawFn) -> tuple[Route, ...]:
    """Draw some doors, each with a name of its own."""
    found = []
    for name in draw(st.lists(st.sampled_from("pqrstu"), unique=True, max_size=4)):
        template, kind = compile_template(draw(templates())), draw(st.sampled_from(KINDS))
        methods = draw(st.sampled_from([frozenset(), frozenset({"GET"}), frozenset({"POST"})]))
        found.append(Route(name, kind, template, methods))
    return tuple(found)


def app_with(doors: tuple[Route, ...], otherwise: RouteKind) -> App:
    return replace(APP, routes=doors, methods=METHODS, otherwise=otherwise)


@settings(max_examples=60, deadline=None)
@given(
    routes(),
    routes(),
    st.permutations(range(4)),
    st.booleans(),
    st.sampled_from([RouteKind.PAGE, RouteKind.BLOCKED]),
)
def test_a_request_that_is_asked_less_was_told_to_weaken(
    before: tuple[Route, ...], after: tuple[Route, ...], order: list[int], moved: bool, otherwise: RouteKind
) -> None:
    if moved:
        # The same doors in another order, some of them gone.
        after = tuple(before[at] for at in order if at < len(before))
    old, new = app_with(before, otherwise), app_with(after, otherwise)
    weakened = [change for change in compare_doors(old, new, "routes") if change.effect is Effect.WEAKER]
    for facts in REQUESTS:
        one, other = match(old, facts), match(new, facts)
        ranks = [KIND_RANKS[RouteKind.BLOCKED if met.alias else met.kind] for met in (one, other)]
        assert ranks[1] >= ranks[0] or weakened, (facts.method, facts.path, one, other)
    assert compare_doors(old, old, "routes") == []
