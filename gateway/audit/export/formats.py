"""The formats by name: an event of the journal in, the messages that tell it out. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

from gateway.audit.export import ans, atna, cef, ecs, fhir, syslog
from gateway.audit.export.facts import Facts, Observer, facts_of

MAX_MESSAGE_BYTES: Final = 60_000
"""Longest message: fits one UDP datagram (RFC 5426, 3.2) with its header."""

_SHORT_CHARS: Final = 32

Render = Callable[[Facts, Observer], str | None]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to tell an event. *carry* puts a text into an RFC 5424 message; None: it is one already."""

    name: str
    title: str
    render: Render
    carry: Callable[[str, Facts, Observer], str] | None = syslog.carry


FORMATS: Final[dict[str, Format]] = {
    each.name: each
    for each in (
        Format("ecs", "Elastic Common Schema, JSON lines", ecs.render),
        Format("syslog", "RFC 5424 with structured data", syslog.render, None),
        Format("cef", "Common Event Format", cef.render),
        Format("fhir", "FHIR R4 AuditEvent (IHE BALP), JSON lines", fhir.render),
        Format(
            "atna",
            "DICOM audit message (IHE ATNA), XML",
            atna.render,
            partial(syslog.carry, message_type=atna.MESSAGE_TYPE, severity=atna.SEVERITY, is_unicode=True),
        ),
        Format("ans", "trace of the ANS proxy e-santé, JSON lines", ans.render),
    )
}


def texts(event: Mapping[str, Any], form: Format, observer: Observer) -> Iterator[str]:
    """Yield *event* as lines of *form*: one for each patient, one without patients, none if it has no such line.

    A line holds no line end and at most 60 000 bytes: texts are bounded to 512 characters, and to 32 where
    that would be longer all the same.
    """
    for text, _ in _told(event, form, observer):
        yield text


def messages(event: Mapping[str, Any], form: Format, observer: Observer) -> Iterator[str]:
    """Yield *event* as the RFC 5424 messages that carry *form* to a collector."""
    for text, facts in _told(event, form, observer):
        yield text if form.carry is None else form.carry(text, facts, observer)


def _told(event: Mapping[str, Any], form: Format, observer: Observer) -> Iterator[tuple[str, Facts]]:
    for number, facts in enumerate(facts_of(event)):
        told, text = facts, form.render(facts, observer)
        if text is not None and len(text.encode()) > MAX_MESSAGE_BYTES:
            told = next(islice(facts_of(event, _SHORT_CHARS), number, None))
            text = form.render(told, observer)
        if text is not None:
            yield text, told
