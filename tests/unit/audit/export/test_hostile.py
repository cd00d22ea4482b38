"""Hostile values in every field, through every format: each line stays one line, one record, and bounded."""

import json
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.export.facts import harmless
from gateway.audit.export.formats import FORMATS, MAX_MESSAGE_BYTES, messages, texts
from gateway.audit.export.syslog import octet_counted
from tests.unit.audit.export.events import OBSERVER, a_list, an_access, an_act
from tests.unit.audit.export.readers import READERS, read_syslog

HOSTILE = {
    "line ends": "a\r\nb\nc\rd",
    "other line ends": "a\u0085b\u2028c\u2029d\x0be\x0cf",
    "a second syslog message": 'x"]\n<86>1 2026-01-01T00:00:00Z evil ecluse - access - gotcha',
    "an SD-ELEMENT's end": 'x"] [evil@1 account="root"',
    "a backslash at the end": "x\\",
    "many backslashes": "\\" * 7 + '"' + "\\" * 4,
    "brackets": "[]][[\\]",
    "a CEF header": "x|9|src=6.6.6.6|CEF:0|Evil|evil|1|x|x|10|",
    "a CEF extension": "x src=6.6.6.6 suser=root \\=",
    "JSON": '","user":{"name":"root"},"x":"',
    "XML": "\"/><ActiveParticipant UserID='root'/><!-- ]]> &lt;&evil; --><![CDATA[",
    "a terminal": "\x1b[31mred\x1b]0;title\x07\x9b31m",
    "right to left": "\u202egnp.exe\u202c\u2066\u200f\ufeff",
    "NUL": "a\x00b",
    "a lone surrogate": "a\ud800b\udfff",
    "noncharacters": "\ufffe\uffff\ufdd0\U0001ffff\U0010ffff",
    "private use": "\ue000\U000f0000",
    "a megabyte": "A" * 1_000_000,
    "a megabyte of quotes": '"' * 1_000_000,
    "a megabyte beyond the plane": "\U0001f4a9" * 1_000_000,
    "a megabyte of controls": "\x1b" * 1_000_000,
    "blanks": " \u00a0\u3000\t ",
    "nothing": "",
    "a formula": "=cmd|'/c calc'!A1",
    "accents": "Éléonore d’Ørsted 李",
    "octet counting": "0 99 <86>1",
}
TEXTS = (
    *("account", "account_class", "app", "client", "control", "establishment", "kind", "method", "operator"),
    *(
        "policy_id",
        "realm",
        "reason",
        "reference",
        "request_id",
        "route",
        "route_kind",
        "rule",
        "sensitivity",
    ),
    *("session", "writer"),
)


def filled(value: str) -> Iterator[dict[str, Any]]:
    """Yield events that hold *value* in one field each, and in all of them."""
    for name in TEXTS:
        yield an_access(**{name: value})
    yield a_list(patients=[value, value], categories=[value] * 100)
    yield an_act(detail={value: value, f"{value}2": value} | {f"{value[:9]}{n}": value for n in range(40)})
    everywhere = dict.fromkeys(TEXTS, value)
    yield an_act(
        **{**everywhere, "kind": "access"}, patients=[value], categories=[value], detail={value: value}
    )
    yield an_act(**everywhere, patients=[value] * 3, categories=[value] * 50, detail={value: value})


def check(event: dict[str, Any]) -> None:
    expected = max(1, len([each for each in event.get("patients", ()) if each]))
    for name, form in FORMATS.items():
        lines, carried = list(texts(event, form, OBSERVER)), list(messages(event, form, OBSERVER))
        assert len(lines) == len(carried)
        if name != "ans":
            assert len(lines) == expected
        for line, message in zip(lines, carried, strict=True):
            assert len(line.encode()) <= MAX_MESSAGE_BYTES
            assert line.isprintable(), (name, line[:300])
            READERS[name](line)
            if name == "fhir":
                AuditEvent.model_validate_json(line)
            read = read_syslog(message)
            assert read["host"] == OBSERVER.host
            assert message.replace("\ufeff", "", 1).isprintable()
            framed = octet_counted(message)
            length, _, rest = framed.partition(b" ")
            assert int(length) == len(rest)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_stays_where_it_was_put(value: str) -> None:
    for event in filled(value):
        check(event)


@settings(max_examples=60, deadline=None)
@given(value=st.text(st.characters(), max_size=80), name=st.sampled_from(TEXTS))
def test_any_text_in_any_field(value: str, name: str) -> None:
    check(an_access(**{name: value, "detail": {value: value}, "patients": [value]}))


def where_it_stands(name: str, line: str) -> list[str]:
    """Return the account as each format's reader finds it."""
    read = READERS[name](line)
    match name:
        case "ecs":
            return [read["user"]["name"]]
        case "fhir":
            return [each["name"] for each in read["agent"] if "name" in each]
        case "ans":
            return [read["IdRPPS"]]
        case "syslog":
            return [value for key, value in read["data"]["ecluse@64000"] if key == "account"]
        case "cef":
            return [read["told"]["suser"]]
        case _:
            assert isinstance(read, Element)
            return [each.attrib["UserID"] for each in read.iter("ActiveParticipant")][:1]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=100, deadline=None)
@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).filter(str.strip))
def test_a_reader_finds_the_harmless_form_of_what_was_recorded(name: str, value: str) -> None:
    (line,) = texts(an_access(account=value), FORMATS[name], OBSERVER)
    assert where_it_stands(name, line) == [harmless(value)]


@given(st.text(st.characters(), max_size=700))
def test_harmless_is_print_bounded_and_done_once(text: str) -> None:
    made = harmless(text)
    assert made.isprintable()
    assert len(made) <= 512
    assert harmless(made) == made
    if text.isprintable() and len(text) <= 512:
        assert made == text


def test_values_of_wrong_types_are_left_out() -> None:
    event = an_access(account=7, status="200", bytes=True, seq="x", at_ms=None, opened="yes", rows=2**60)
    (line,) = texts(event, FORMATS["ecs"], OBSERVER)
    told = json.loads(line)
    assert "user" not in told or "name" not in told["user"]
    assert "response" not in told["http"]
    assert told["@timestamp"] == "1970-01-01T00:00:00.000Z"
    check(event)
