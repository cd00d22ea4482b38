"""RFC 5424 messages, and how they stand on a stream (RFC 5425, RFC 6587). Pure."""

import re
from typing import Final

from gateway.audit.export.facts import PRODUCT, Facts, Observer
from gateway.audit.export.meanings import meaning_of, outcome_of

AUTHPRIV: Final = 10
"""Facility of security and authorisation messages (RFC 5424, 6.2.1)."""

_NOT_PRINT = re.compile(r"[^!-~]")
_NOT_NAME = re.compile(r'[^!-~]|[=\]"]')
_SPECIAL = re.compile(r'["\\\]]')
_HOST_CHARS = 255
_PROCESS_CHARS = 128
_NAME_CHARS = 32
_BOM: Final = "\ufeff"


def render(facts: Facts, observer: Observer) -> str:
    """Return *facts* as one RFC 5424 message: everything in structured data, a title as text."""
    told: list[tuple[str, object]] = [
        ("id", facts.message_id),
        ("event", facts.event_id),
        ("seq", facts.seq),
        ("outcome", outcome_of(facts).value),
        ("reason", facts.reason),
        ("control", facts.control),
        ("realm", facts.realm),
        ("account", facts.account),
        ("class", facts.account_class),
        ("establishment", facts.establishment),
        ("operator", facts.operator),
        ("app", facts.app),
        ("route", facts.route),
        ("routeKind", facts.route_kind),
        ("rule", facts.rule),
        ("method", facts.method),
        ("status", facts.status),
        ("patient", facts.patient),
        ("place", facts.place if facts.patient else None),
        ("patients", facts.patients or None),
        ("opened", None if facts.opened is None else str(facts.opened).lower()),
        ("rows", facts.rows),
        ("bytes", facts.bytes),
        *(("category", each) for each in facts.categories),
        ("sensitivity", facts.sensitivity),
        ("client", facts.client),
        ("clientPort", facts.client_port),
        ("session", facts.session),
        ("request", facts.request_id),
        ("reference", facts.reference),
        ("policy", facts.policy_id),
    ]
    elements = _element(f"{PRODUCT}@{observer.enterprise_id}", told)
    if facts.detail:
        elements += _element(f"detail@{observer.enterprise_id}", list(facts.detail))
    return f"{_header(facts, observer, facts.kind)} {elements} {meaning_of(facts).title}"


def carry(
    text: str,
    facts: Facts,
    observer: Observer,
    *,
    message_type: str | None = None,
    severity: int | None = None,
    is_unicode: bool = False,
) -> str:
    """Return *text*, an event in another form, inside an RFC 5424 message that names the event.

    *message_type* is the MSGID (the event's kind), *severity* as in RFC 5424 (the event's). With
    *is_unicode* the text begins with the mark that RFC 5424, 6.4, asks of UTF-8.
    """
    told: list[tuple[str, object]] = [
        ("id", facts.message_id),
        ("event", facts.event_id),
        ("seq", facts.seq),
    ]
    element = _element(f"{PRODUCT}@{observer.enterprise_id}", told)
    header = _header(facts, observer, message_type or facts.kind, severity)
    return f"{header} {element} {_BOM if is_unicode else ''}{text}"


def octet_counted(message: str) -> bytes:
    """Return *message* as it stands on TLS or TCP: its length in bytes, a blank, itself (RFC 6587, 3.4.1)."""
    data = message.encode()
    return b"%d %b" % (len(data), data)


def _header(facts: Facts, observer: Observer, message_type: str, severity: int | None = None) -> str:
    level = meaning_of(facts).severity if severity is None else severity
    return (
        f"<{AUTHPRIV * 8 + level}>1 {facts.at} {_word(observer.host, _HOST_CHARS)} {PRODUCT}"
        f" {_word(facts.writer, _PROCESS_CHARS)} {_word(message_type, _NAME_CHARS)}"
    )


def _word(text: str, limit: int) -> str:
    return _NOT_PRINT.sub("_", text)[:limit] or "-"


def _element(name: str, params: list[tuple[str, object]]) -> str:
    told = "".join(
        f' {_NOT_NAME.sub("_", key)[:_NAME_CHARS] or "_"}="{_SPECIAL.sub(r"\\\g<0>", str(value))}"'
        for key, value in params
        if value is not None
    )
    return f"[{name}{told}]"
