"""Personal data on unmapped routes: what counts, and what only looks like it."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disclosure.sightings import count, nir_holds
from gateway.vocabulary.records import Sightings, Uninspectable, Unreadable
from tests.unit.disclosure.exchange import answered, asked

NIR = "185079710512393"


def sighted(text: str, kind: str = "text/html; charset=utf-8") -> tuple[int, int, int]:
    found = count(asked(), answered(text.encode(), kind), 1_000_000)
    assert isinstance(found, Sightings)
    return found.nirs, found.phones, found.emails


@pytest.mark.parametrize(
    "nir",
    # Keys made by python-stdnum; Corsica is 2A and 2B; 99 is born abroad.
    [
        "269054958815780",
        "180032A00400103",
        "180032B03300133",
        "299129910000143",
        NIR,
        "295109912611193",
        "253072B07300470",
    ],
)
def test_nirs_with_the_right_key(nir: str) -> None:
    assert nir_holds(nir)
    assert not nir_holds(nir[:13] + f"{(int(nir[13:]) % 97) + 1:02d}")
    assert sighted(f"<td>{nir}</td>") == (1, 0, 0)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        # NIR: spellings, distinctness, neighbours.
        ("1 85 07 97 105 123 93", (1, 0, 0)),
        ("1\u00a085\u202f07.97.105.123&nbsp;93", (1, 0, 0)),
        ("1 80 03 2a 004 001 03", (1, 0, 0)),
        (f"{NIR} 1 85 07 97 105 123 93", (1, 0, 0)),
        (f"{NIR}\n269054958815780,299129910000143", (3, 0, 0)),
        (f"1 {NIR}", (1, 0, 0)),
        ('{"nir":"' + NIR + '"}', (1, 0, 0)),
        ("NIR :\\n" + NIR, (1, 0, 0)),
        # Phones.
        ("01 99 00 12 34", (0, 1, 0)),
        ("0199001234 01.99.00.12.34 01-99-00-12-34 +33199001234 +33 1 99 00 12 34 0033199001234", (0, 1, 0)),
        ("+33 (0)1 99 00 12 34", (0, 1, 0)),
        ("tel:+33639981234", (0, 1, 0)),
        ('"0199001234","0261911234"', (0, 2, 0)),
        # E-mails, escapes included.
        ("a.b+c@exemple.example A.B+C@EXEMPLE.EXAMPLE", (0, 0, 1)),
        ("a&#64;exemple.example b&#x40;exemple.example c&commat;exemple.example", (0, 0, 3)),
        ("a\\u0040exemple.example", (0, 0, 1)),
        ("mailto:a%40exemple.example", (0, 0, 1)),
        # Look-alikes.
        ("185079710512394", (0, 0, 0)),
        ("7" + NIR, (0, 0, 0)),
        (NIR + "0", (0, 0, 0)),
        ("185 139710512393", (0, 0, 0)),
        ("SIRET 552 081 317 00043", (0, 0, 0)),
        ("SIRET 05520813170004", (0, 0, 0)),
        ("facture FA0612345678", (0, 0, 0)),
        ("facture 2026-0612345678", (0, 0, 0)),
        ("1790000000000 1790000000000123", (0, 0, 0)),
        ("2026-11-22T03:45:01.0612345678Z", (0, 0, 0)),
        ("01.02.2026 10:11", (0, 0, 0)),
        ("01 02 03 04 05 06 07", (0, 0, 0)),
        ("0.0612345678", (0, 0, 0)),
        ("00 99 00 12 34", (0, 0, 0)),
        ("logo@2x.png @media react@18.2.0 a@b", (0, 0, 0)),
    ],
)
def test_counts(text: str, counts: tuple[int, int, int]) -> None:
    assert sighted(text) == counts


@pytest.mark.parametrize(
    "kind", ["text/css", "application/javascript", "text/javascript", "image/png", "application/pdf"]
)
def test_scripts_and_files_are_not_scanned(kind: str) -> None:
    assert sighted(NIR, kind) == (0, 0, 0)


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "application/xml", "image/svg+xml", "text/html; charset=x"]
)
def test_text_is_scanned(kind: str) -> None:
    assert sighted(NIR, kind) == (1, 0, 0)


def test_an_answer_without_type_is_scanned() -> None:
    assert count(asked(), answered(NIR.encode(), None), 100) == Sightings(1, 0, 0)


def test_bounds_and_encodings() -> None:
    zipped = answered(gzip.compress(NIR.encode(), mtime=0), "text/plain", content_encoding="gzip")
    assert count(asked(), zipped, 100) == Sightings(1, 0, 0)
    assert count(asked(), zipped, 10) == Uninspectable(Unreadable.TOO_LARGE)
    assert count(asked("HEAD"), answered(b"", "text/html"), 10) == Sightings(0, 0, 0)
    strange = answered(b"\xff\xfe" + NIR.encode(), "text/html; charset=utf-8", content_encoding="br")
    assert count(asked(), strange, 100) == Uninspectable(Unreadable.BAD_ENCODING)


@given(
    st.binary(max_size=300),
    st.sampled_from([None, "text/html", "application/json", "text/plain; charset=latin1"]),
)
def test_nothing_raises(body: bytes, kind: str | None) -> None:
    assert isinstance(count(asked(), answered(body, kind), 1_000), Sightings)


@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 95), st.integers(1, 999), st.integers(1, 999))
def test_every_valid_nir_is_seen(year: int, month: int, department: int, commune: int, order: int) -> None:
    number = f"2{year:02d}{month:02d}{department:02d}{commune:03d}{order:03d}"
    nir = number + f"{97 - int(number) % 97:02d}"
    assert sighted(f"a;{nir};b") == (1, 0, 0)
