"""Which request is a login, and under which name."""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from gateway.logins import basic
from gateway.policy import bodies, jsonpaths, patterns
from gateway.policy.params import BodyUnreadable, form_values, holds, json_value, query_values, reads_body
from gateway.policy.paths import PathTemplate, compile_template
from gateway.vocabulary.logins import AccountPlace, AccountSource, LoginRule, ParamTest
from gateway.vocabulary.messages import RequestFacts, ResponseFacts
from gateway.vocabulary.records import Unreadable

MAX_BODY_BYTES = 8_000_000
MAX_NAME = 256
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BODILESS = frozenset({"GET", "HEAD"})
"""Strict ingress admits no body with these."""
_IN_BODY = (AccountPlace.FORM, AccountPlace.JSON)
_IN_ANSWER = (AccountPlace.RESPONSE_JSON, AccountPlace.RESPONSE_HTML, AccountPlace.RESPONSE_HEADER)


class NameFault(StrEnum):
    """Why a login has no name to go by. Such a login is refused."""

    MISSING = "missing"
    AMBIGUOUS = "ambiguous"
    UNREADABLE = "unreadable"


def needs_body(logins: tuple[LoginRule, ...], request: RequestFacts) -> bool:
    """Tell whether *attempt* or *account_name* cannot answer before the request's body is read."""
    if request.body is not None:
        return False
    for rule in logins:
        if not _door_fits(rule, request) or not _tests_hold(rule.params, request, with_body=False):
            continue
        if any(reads_body(test) for test in rule.params):
            return True
        looked_into = _IN_BODY if request.method in _BODILESS else (*_IN_BODY, AccountPlace.QUERY)
        if any(source.place in looked_into for source in rule.account):
            return True
    return False


def attempt(logins: tuple[LoginRule, ...], request: RequestFacts) -> LoginRule | None:
    """Return the first rule that *request* is a login by, or None.

    Paths are compared loosely (case, trailing slash). HEAD counts as GET. A body that a rule looks
    into and that cannot be read may hide a login, so the rule fits and the name is UNREADABLE.
    """
    for rule in logins:
        if _door_fits(rule, request) and _tests_hold(rule.params, request, with_body=True):
            return rule
    return None


def disguised(
    logins: tuple[LoginRule, ...], request: RequestFacts
) -> tuple[LoginRule, tuple[str, ...]] | None:
    """Return the rule that *request* may log in by with a method the rule does not name, and the names typed.

    Applications often send every method of a login address to the same code, and read a form's fields
    from the query too. A safe method counts only when the query holds an account field.
    """
    safe = request.method in _SAFE
    for rule in logins:
        if rule.path_template is None and not safe:
            continue
        if not _path_fits(rule, request) or not _tests_hold(rule.params, request, with_body=False):
            continue
        fields = [s.select for s in rule.account if s.place in (AccountPlace.FORM, AccountPlace.QUERY)]
        names = tuple(name for field in fields for name in query_values(request.query, field))
        if names or not safe:
            return rule, tuple(dict.fromkeys(names))
    return None


def account_name(
    rule: LoginRule, request: RequestFacts, response: ResponseFacts | None = None
) -> str | NameFault:
    """Return the login as typed, from the first source of *rule* that has it.

    A parameter that stands twice, in query and form at once, or sources of the request that disagree
    are AMBIGUOUS: the application might read the other one. Sources in the answer count once
    *response* is given.
    """
    names: list[str] = []
    typed: set[str] = set()
    astray = False
    for source in rule.account:
        if source.place in _IN_ANSWER:
            got = _answered(source, response) if response is not None else NameFault.MISSING
        else:
            got = _typed(source, request)
        if got is NameFault.MISSING:
            astray = astray or _stands_astray(source, request)
            continue
        if isinstance(got, NameFault):
            return got
        names.append(got)
        if source.place not in _IN_ANSWER:
            typed.add(got)
    if len(typed) > 1 or (typed and astray):
        return NameFault.AMBIGUOUS
    return names[0] if names else NameFault.MISSING


@lru_cache(maxsize=512)
def _template(text: str) -> PathTemplate:
    return compile_template(text)


def _door_fits(rule: LoginRule, request: RequestFacts) -> bool:
    method = "GET" if request.method == "HEAD" and "HEAD" not in rule.methods else request.method
    if rule.methods and method not in rule.methods:
        return False
    return _path_fits(rule, request)


def _path_fits(rule: LoginRule, request: RequestFacts) -> bool:
    if rule.path_template is None:
        return True
    return _template(rule.path_template).loose.match(request.path) is not None


def _tests_hold(tests: tuple[ParamTest, ...], request: RequestFacts, *, with_body: bool) -> bool:
    for test in sorted(tests, key=reads_body):
        if reads_body(test) and not with_body:
            continue
        try:
            if not holds(test, request):
                return False
        except BodyUnreadable:
            continue
    return True


def _typed(source: AccountSource, request: RequestFacts) -> str | NameFault:
    values: Sequence[object]
    try:
        match source.place:
            case AccountPlace.FORM | AccountPlace.QUERY:
                return _parameter(source, request)
            case AccountPlace.JSON:
                values = json_value(request, source.select)
            case AccountPlace.HEADER:
                values = request.header_values(source.select)
            case _:
                name = basic.user(request)
                if isinstance(name, basic.BasicMalformed):
                    return NameFault.UNREADABLE
                values = () if name is None else (name,)
    except BodyUnreadable:
        return NameFault.UNREADABLE
    return _only(values, source.pattern)


def _stands_astray(source: AccountSource, request: RequestFacts) -> bool:
    """Tell whether a form field of this name stands in the query, where many servers read it too."""
    return source.place is AccountPlace.FORM and any(query_values(request.query, source.select))


def _parameter(source: AccountSource, request: RequestFacts) -> str | NameFault:
    query = query_values(request.query, source.select)
    form = () if request.method in _BODILESS else form_values(request, source.select)
    here, there = (form, query) if source.place is AccountPlace.FORM else (query, form)
    if here and any(there):
        # Many servers merge query and form, each with its own order of precedence.
        return NameFault.AMBIGUOUS
    return _only(here, source.pattern)


def _answered(source: AccountSource, response: ResponseFacts) -> str | NameFault:
    if source.place is AccountPlace.RESPONSE_HEADER:
        return _only(response.header_values(source.select), source.pattern)
    media = bodies.answered_type(response)
    if media is None or not (media.is_json if source.place is AccountPlace.RESPONSE_JSON else media.is_html):
        return NameFault.MISSING
    data = bodies.decoded(response, MAX_BODY_BYTES)
    if isinstance(data, Unreadable):
        return NameFault.UNREADABLE
    if source.place is AccountPlace.RESPONSE_JSON:
        try:
            return _only(jsonpaths.select(source.select, jsonpaths.parse_json(data)), source.pattern)
        except ValueError:
            return NameFault.UNREADABLE
    text = bodies.text_of(data, media)
    if isinstance(text, Unreadable) or bodies.nested_deep(text):
        return NameFault.UNREADABLE
    try:
        return _only([node.text() for node in LexborHTMLParser(text).css(source.select)], source.pattern)
    except (SelectolaxError, ValueError):
        return NameFault.UNREADABLE


def _only(values: Sequence[object], pattern: str | None) -> str | NameFault:
    if len(values) > 1:
        return NameFault.AMBIGUOUS
    if not values:
        return NameFault.MISSING
    name = jsonpaths.scalar(values[0])
    if name is None:
        return NameFault.MISSING if values[0] is None else NameFault.UNREADABLE
    if pattern is not None:
        name = patterns.found(pattern, name)
    name = name.strip() if name is not None else None
    if not name:
        return NameFault.MISSING
    if len(name) > MAX_NAME or "\ufffd" in name or not name.isprintable():
        return NameFault.UNREADABLE
    return name
