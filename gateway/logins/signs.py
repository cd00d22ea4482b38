"""Whether the application's answer to a login means yes."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from gateway.policy import bodies, jsonpaths, patterns
from gateway.vocabulary.logins import LoginRule, ResponseTest, Sign
from gateway.vocabulary.messages import RequestFacts, ResponseFacts
from gateway.vocabulary.records import Unreadable

MAX_BODY_BYTES = 8_000_000


class Outcome(StrEnum):
    """What the application decided."""

    SUCCESS = "success"
    FAILURE = "failure"


def outcome(rule: LoginRule, request: RequestFacts, response: ResponseFacts) -> Outcome:
    """Tell whether the application let somebody in.

    A sign that cannot be read (streamed, undecodable or malformed body) is taken as shown in a group
    of success and as not shown in a group of failure: the code is then asked. So is it when *rule*
    names no sign of success at all.
    """
    failed = any(
        all(_shown(test, request, response) is True for test in group) for group in rule.failure if group
    )
    if failed:
        return Outcome.FAILURE
    let_in = not rule.success or any(
        all(_shown(test, request, response) is not False for test in group) for group in rule.success
    )
    return Outcome.SUCCESS if let_in else Outcome.FAILURE


def bearer(rule: LoginRule, response: ResponseFacts) -> str | None:
    """Return the token that the answer hands out, by the JSONPath of *rule*; None when there is none."""
    if rule.bearer is None:
        return None
    document = _document(response)
    if document is None:
        return None
    try:
        values = jsonpaths.select(rule.bearer, document[0])
    except ValueError:
        return None
    return next((value for value in values if isinstance(value, str) and value), None)


def _shown(test: ResponseTest, request: RequestFacts, response: ResponseFacts) -> bool | None:
    shown = _raw_shown(test, request, response)
    return shown if shown is None else shown != test.negate


def _raw_shown(test: ResponseTest, request: RequestFacts, response: ResponseFacts) -> bool | None:
    match test.sign:
        case Sign.STATUS:
            return response.status in test.statuses
        case Sign.LOCATION:
            return any(_fits(test.pattern, value) for value in response.header_values("location"))
        case Sign.HEADER:
            return any(_fits(test.pattern, value) for value in response.header_values(test.name.lower()))
        case Sign.COOKIE_SET:
            return any(_set(test.name, request, response))
        case Sign.COOKIE_ABSENT:
            return not any(_set(test.name, request, response))
        case Sign.COOKIE_CHANGED:
            carried = set(_carried(request))
            return any(cookie not in carried for cookie in _set(test.name, request, response))
        case Sign.COOKIE_MATCHES:
            return any(_fits(test.pattern, value) for _, value in _set(test.name, request, response))
        case Sign.BODY:
            return _body_shows(test, response)
        case Sign.JSON:
            return _json_shows(test, response)


def _fits(pattern: str | None, value: str) -> bool:
    return pattern is None or patterns.found(pattern, value) is not None


def _carried(request: RequestFacts) -> Iterator[tuple[str, str]]:
    for line in request.header_values("cookie"):
        for pair in line.split(";"):
            name, _, value = pair.strip(" \t").partition("=")
            yield name, value


def _set(shape: str, request: RequestFacts, response: ResponseFacts) -> Iterator[tuple[str, str]]:
    """Yield name and value of the cookies that the answer sets; a deletion sets nothing (RFC 6265, 3.1)."""
    for line in response.header_values("set-cookie"):
        pair, _, attributes = line.partition(";")
        name, _, value = pair.partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if value.strip('"') and fnmatchcase(name, shape) and not _expired(attributes, request.received_ms):
            yield name, value


def _expired(attributes: str, now_ms: int) -> bool:
    written = {}
    for attribute in attributes.split(";"):
        name, _, value = attribute.partition("=")
        written[name.strip(" \t").lower()] = value.strip(" \t")
    age = written.get("max-age", "")
    if age.removeprefix("-").isdecimal() and age.isascii():
        return age.startswith("-") or not age.strip("0")
    try:
        return parsedate_to_datetime(written.get("expires", "")).timestamp() * 1000 <= now_ms
    except (ValueError, OverflowError):
        return False


def _body_shows(test: ResponseTest, response: ResponseFacts) -> bool | None:
    data = bodies.decoded(response, MAX_BODY_BYTES)
    if isinstance(data, Unreadable):
        return None
    text = bodies.text_of(data, bodies.answered_type(response))
    return None if isinstance(text, Unreadable) else _fits(test.pattern, text)


def _json_shows(test: ResponseTest, response: ResponseFacts) -> bool | None:
    document = _document(response)
    if document is None:
        data, media = bodies.decoded(response, MAX_BODY_BYTES), bodies.answered_type(response)
        if isinstance(data, Unreadable):
            return None
        return False if not data or (media is not None and not media.is_json) else None
    try:
        values = jsonpaths.select(test.name, document[0])
    except ValueError:
        return None
    if test.pattern is None:
        return any(value is not None and value is not False for value in values)
    return any(_fits(test.pattern, _text(value)) for value in values)


def _document(response: ResponseFacts) -> tuple[object] | None:
    data = bodies.decoded(response, MAX_BODY_BYTES)
    if isinstance(data, Unreadable):
        return None
    try:
        return (jsonpaths.parse_json(data),)
    except jsonpaths.JsonRefused:
        return None


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return jsonpaths.scalar(value) or ""
