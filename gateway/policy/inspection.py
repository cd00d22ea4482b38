"""Which answers must be seen by the gateway, so that their requests may not pass by the edge. Pure."""

from enum import StrEnum

from gateway.policy.policy import App, Basic, Flow, Route, Strangers
from gateway.vocabulary.records import REVEALING, RouteKind

SEEN_ELSEWHERE = frozenset({"GET", "HEAD"})
"""The methods that may pass by the edge: they bring no body that a decision could depend on."""


class Why(StrEnum):
    """Why an answer is inspected."""

    NAMES_PATIENTS = "its answers name patients"
    IS_A_LOGIN = "logins are observed"
    IS_A_LOGOUT = "logouts are observed"
    IS_REFUSED = "it is refused there"
    UNDECLARED = "nobody has said what is there"
    ASKED_FOR = "inspect: true"
    COUNTED = "what it streams is counted"
    CONDITIONS = "it depends on more than its path"
    METHODS = "it knows no GET"
    STRANGERS = "strangers see pages, and those are inspected"
    CODE_FIRST = "the app's login is owed after the code, and what it shows until then is inspected"
    BASIC = "each request is a login"


_BY_KIND = dict.fromkeys(REVEALING, Why.NAMES_PATIENTS) | {
    RouteKind.LOGIN: Why.IS_A_LOGIN,
    RouteKind.LOGOUT: Why.IS_A_LOGOUT,
    RouteKind.BLOCKED: Why.IS_REFUSED,
}


def why_inspected(app: App, route: Route | None) -> Why | None:
    """Return why answers of *route* must be seen; None when deciding the request is enough.

    *route* None: no door was declared and the app's ``otherwise`` speaks.
    """
    if route is None:
        return Why.UNDECLARED
    if route.kind is not RouteKind.PUBLIC and (why := _of_page(app, route)) is not None:
        return why
    if route.params:
        return Why.CONDITIONS
    return Why.METHODS if route.methods and "GET" not in route.methods else None


def _of_page(app: App, route: Route) -> Why | None:
    if (why := _BY_KIND.get(route.kind)) is not None:
        return why
    if route.inspect:
        return Why.ASKED_FOR
    if route.stream or route.websocket:
        return Why.COUNTED
    if app.basic is Basic.LOGIN:
        return Why.BASIC
    if app.flow is Flow.BEFORE_LOGIN:
        return Why.CODE_FIRST
    return Why.STRANGERS if app.strangers is Strangers.SHOW else None
