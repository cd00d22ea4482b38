"""Which door of an app a request stands at. Pure; routes are tried in the order they are written."""

import re
from dataclasses import field

import msgspec

from gateway.policy import params
from gateway.policy.policy import App, Route
from gateway.vocabulary.logins import ParamPlace
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import REVEALING, RouteKind

_BODILESS = frozenset({"GET", "HEAD"})
_BODY_PLACES = frozenset({ParamPlace.FORM, ParamPlace.JSON})
_PROTECTED = REVEALING | {RouteKind.BLOCKED}
_SUFFIX = re.compile(r"(?:;[^/]*|\.[A-Za-z0-9]{1,5}|\.|%20|%00)$")


class RouteMatch(msgspec.Struct, frozen=True):
    """The door: *route* is None when none was declared and the app's ``otherwise`` speaks.

    *captures* are percent-encoded as on the wire. *alias*: another spelling of the path would have
    stood at a protected door, so this one is refused. *unknown_method*: the door does not know it.
    """

    kind: RouteKind
    route: Route | None
    captures: dict[str, str] = field(default_factory=dict)
    alias: bool = False
    unknown_method: bool = False

    @property
    def rule(self) -> str:
        """Return the name that decisions and audit events carry."""
        return self.route.name if self.route is not None else "otherwise"


def needs_body(app: App, request: RequestFacts) -> bool:
    """Tell whether a condition on the body must be read before the door is known."""
    if request.body is not None or request.method in _BODILESS:
        return False
    return any(
        test.place in _BODY_PLACES
        for route in app.routes
        if route.params
        and _fits_path(route, request.path) is not None
        and _fits_method(route, app, request.method)
        for test in route.params
    )


def match(app: App, request: RequestFacts) -> RouteMatch:
    """Return the first declared door that path, method and parameters fit, or the app's ``otherwise``.

    Public doors are matched to the letter, all others without regard to case and final slash, so that
    another spelling of a protected path is never a way around it.
    """
    path_known = False
    for route in app.routes:
        captures = _fits_path(route, request.path)
        if captures is None:
            continue
        if not _fits_method(route, app, request.method):
            path_known = True
            continue
        if all(params.holds(test, request) for test in route.params):
            alias = _is_catch_all(route) and _is_alias(app, request)
            return RouteMatch(route.kind, route, captures, alias=alias)
    if request.method not in app.methods:
        return RouteMatch(RouteKind.BLOCKED, None, unknown_method=True)
    if path_known and not any(_fits_path(r, request.path) is not None and not r.methods for r in app.routes):
        return RouteMatch(RouteKind.BLOCKED, None, unknown_method=True)
    return RouteMatch(app.otherwise, None, alias=_is_alias(app, request))


def _fits_path(route: Route, path: str) -> dict[str, str] | None:
    pattern = route.template.exact if route.kind is RouteKind.PUBLIC else route.template.loose
    found = pattern.match(path)
    return found.groupdict() if found is not None else None


def _fits_method(route: Route, app: App, method: str) -> bool:
    allowed = route.methods or app.methods
    return method in allowed or (method == "HEAD" and "GET" in allowed)


def _is_catch_all(route: Route) -> bool:
    # Such a door says as little about a path as the app's ``otherwise`` does.
    text = route.template.text
    return route.kind not in _PROTECTED and (text.endswith("*") or ":path}" in text)


def _is_alias(app: App, request: RequestFacts) -> bool:
    # A final slash is no other spelling: routes fit without regard to it, and this one was turned down by its
    # methods or conditions.
    folded = request.path.rstrip("/")
    while True:
        shorter = _SUFFIX.sub("", folded.rstrip("/"))
        if shorter == folded:
            break
        folded = shorter
        if _stands_at_protected(app, request, folded):
            return True
    return False


def _stands_at_protected(app: App, request: RequestFacts, path: str) -> bool:
    """Tell whether *request* under *path* would stand at a protected door, whatever its method."""
    for route in app.routes:
        if _fits_path(route, path) is None:
            continue
        protected = route.kind in _PROTECTED
        if not protected and not _fits_method(route, app, request.method):
            continue
        try:
            if all(params.holds(test, request) for test in route.params):
                return protected
        except params.BodyUnreadable:
            if protected:
                return True
    return False
