"""One event, one line: canonical, bounded, harmless."""

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.encoding import MAX_FIELD_CHARS, Entry, NotAnEntry, decode, encode, visible
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.people import DR_MARTIN

SALT = bytes(range(16))
PATIENT = "k1:" + "0123456789abcdef" * 2
WORDS = st.text(max_size=40)
ANYTHING = st.text(st.characters(), max_size=600)
TEXT_FIELDS = (
    "request_id", "realm", "account", "account_class", "establishment", "operator", "session", "app", "route",
    "route_kind", "method", "client", "rule", "reason", "control", "sensitivity", "policy_id", "reference",
)  # fmt: skip


@st.composite
def events(draw: st.DrawFn) -> AuditEvent:
    values = {
        name: draw(st.none() | ANYTHING) for name in draw(st.sets(st.sampled_from(TEXT_FIELDS), max_size=5))
    }
    return AuditEvent(
        draw(st.sampled_from(EventKind)),
        draw(st.integers(0, 253_402_300_799_999)),
        status=draw(st.none() | st.integers(100, 599)),
        rows=draw(st.none() | st.integers(0, 2**53 - 1)),
        opened=draw(st.none() | st.booleans()),
        patients=tuple(draw(st.lists(st.just(PATIENT), max_size=60))),
        categories=tuple(draw(st.lists(ANYTHING, max_size=3))),
        detail=tuple(draw(st.lists(st.tuples(WORDS, ANYTHING), max_size=3))),
        **values,
    )


def event(**values: object) -> AuditEvent:
    return AuditEvent(EventKind.ACCESS, 1_790_000_000_123, **values)  # type: ignore[arg-type]


def test_the_line_as_it_stands_in_the_file() -> None:
    line = encode(
        event(account=DR_MARTIN.login, opened=True, patients=(PATIENT,), reason=Reason.WITHIN_CAPS),
        seq=3,
        salt=SALT,
    )
    assert line.decode() == (
        '{"account":"dr.martin","at":"2026-09-21T14:13:20.123Z","at_ms":1790000000123,"kind":"access","opened":true,'
        f'"patients":["{PATIENT}"],"reason":"within-caps","salt":"000102030405060708090a0b0c0d0e0f","seq":3,"v":1}}'
    )


@given(events(), st.integers(0, 2**53))
def test_every_event_is_one_canonical_line_that_reads_back(given: AuditEvent, seq: int) -> None:
    line = encode(given, seq=seq, salt=SALT)
    assert line == encode(given, seq=seq, salt=SALT)
    assert b"\n" not in line
    assert b"\r" not in line
    values = decode(line)
    assert values == json.loads(line)
    assert list(values) == sorted(values)
    assert None not in values.values()
    assert (values["seq"], values["v"], values["at_ms"]) == (seq, 1, given.at_ms)
    assert tuple(values.get("patients", ())) == given.patients
    for name in TEXT_FIELDS:
        text = getattr(given, name)
        assert values.get(name) == (None if text is None else visible(text))
        assert len(values.get(name, "")) <= MAX_FIELD_CHARS
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in line.decode())


@given(ANYTHING, ANYTHING)
def test_two_texts_never_become_one(one: str, other: str) -> None:
    if one != other:
        assert visible(one, 10_000) != visible(other, 10_000)


@pytest.mark.parametrize(
    "hostile",
    [
        # Line breaks of every kind, and the end of a string in JSON.
        "a\r\nb",
        "a\u2028b\u2029c\x85d",
        '","account":"somebody.else","x":"',
        "\\",
        # Terminals: colours, title, bell, backspace, C1, DEL, NUL.
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\x9b31m",
        "\x7f\x08\x00",
        # Eyes: right-to-left, isolates, zero width, byte order mark, tags beyond the first plane.
        "photo\u202egnp.exe",
        "\u2066x\u2069",
        "a\u200bb\ufeff",
        "\U000e0041",
        # What is not Unicode text at all, as it comes out of header bytes.
        "\udcff\udc80",
        "\ud83d",
        # Length.
        "A" * 1_000_000,
        "é" * 600,
        "\x1b" * 600,
    ],
)
@pytest.mark.parametrize("field", ["account", "client", "reference", "detail", "categories"])
def test_hostile_text_stays_inside_its_field(hostile: str, field: str) -> None:
    value: object = {"detail": (("agent", hostile),), "categories": (hostile,)}.get(field, hostile)
    line = encode(event(**{field: value}), seq=0, salt=SALT)
    assert len(line) < 4_000
    text = line.decode("utf-8")
    assert text.isprintable()
    values = decode(line)
    assert set(values) == {"at", "at_ms", "kind", "salt", "seq", "v", field}


def test_long_text_says_that_it_was_cut() -> None:
    assert decode(encode(event(route="A" * 513), seq=0, salt=SALT))["route"] == "A" * 511 + "…"
    assert decode(encode(event(route="A" * 512), seq=0, salt=SALT))["route"] == "A" * 512
    # Many pseudonyms make a long line, and hide no long text.
    many = event(route="A" * 600, patients=(PATIENT,) * 40)
    assert len(decode(encode(many, seq=0, salt=SALT))["route"]) == 512


def test_every_patient_is_named_however_many() -> None:
    patients = tuple(f"k1:{number:032x}" for number in range(2_000))
    assert tuple(decode(encode(event(patients=patients), seq=0, salt=SALT))["patients"]) == patients


def test_a_repeated_detail_loses_nothing() -> None:
    values = decode(encode(event(detail=(("why", "b"), ("act", "x"), ("why", "a"))), seq=0, salt=SALT))
    assert values["detail"] == {"act": "x", "why": "a; b"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        # A patient's id or name in clear is stopped here at the latest, and not shown in the error.
        ({"patients": ("4711",)}, "patients"),
        ({"patients": (PATIENT, "Jeanne Martin")}, "patients"),
        ({"patients": ("0123456789abcdef" * 3,)}, "patients"),
        ({"rows": 2**60}, "rows"),
        ({"bytes": -(2**60)}, "bytes"),
        ({"account": object()}, "canonical"),
    ],
)
def test_what_cannot_be_recorded_is_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        encode(event(**values), seq=0, salt=SALT)
    assert "4711" not in str(caught.value)
    assert "Jeanne" not in str(caught.value)


@pytest.mark.parametrize("at_ms", [-1, 253_402_300_800_000])
def test_a_moment_outside_the_calendar_is_named(at_ms: int) -> None:
    with pytest.raises(ValueError, match="at_ms"):
        encode(AuditEvent(EventKind.ACCESS, at_ms), seq=0, salt=SALT)


def test_every_field_of_the_vocabulary_has_its_place() -> None:
    fields = {item.name for item in msgspec.structs.fields(AuditEvent)}
    assert set(Entry.__struct_fields__) == fields | {"at", "salt", "seq", "v"}
    assert list(Entry.__struct_fields__) == sorted(Entry.__struct_fields__)


@pytest.mark.parametrize("name", [item.name for item in msgspec.structs.fields(AuditEvent)])
def test_each_field_is_recorded_under_its_own_name(name: str) -> None:
    odd: dict[str, object] = {
        "kind": EventKind.GAP, "at_ms": 5, "client_port": 5, "status": 5, "rows": 5, "bytes": 5, "opened": True,
        "patients": (PATIENT,), "categories": ("c",), "detail": (("a", "b"),),
    }  # fmt: skip
    value = odd.get(name, "text")
    made = decode(encode(msgspec.structs.replace(event(), **{name: value}), seq=0, salt=SALT))[name]
    assert made == {"detail": {"a": "b"}, "patients": [PATIENT], "categories": ["c"]}.get(name, value)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"7", b"\xff", b'{"v":2,"seq":1}', b'{"v":1}', b'{"v":1,"seq":true}', b"[" * 100_000],
)
def test_a_line_that_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(NotAnEntry):
        decode(line)
