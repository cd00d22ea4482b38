"""The choice of a language, and catalogues that miss nothing."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import pages
from gateway.pages.language import (
    LANGUAGES,
    Language,
    catalogue,
    duration,
    french_spaces,
    language,
    moment,
    weighted,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # Nothing said, or nothing we have: French.
        (None, "fr"),
        ("", "fr"),
        ("*", "fr"),
        ("de", "fr"),
        ("de-AT, nl;q=0.8", "fr"),
        # One of ours.
        ("fr", "fr"),
        ("FR-ca", "fr"),
        ("en", "en"),
        ("en-GB", "en"),
        ("de, en;q=0.3", "en"),
        # Both: the weight decides, then the order.
        ("fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7", "fr"),
        ("en-US,en;q=0.9,fr;q=0.8", "en"),
        ("en;q=0.5, fr;q=0.9", "fr"),
        ("en, fr", "en"),
        ("fr, en", "fr"),
        # Refused, or unreadable.
        ("fr;q=0, en;q=0.1", "en"),
        ("en;q=0", "fr"),
        ("en;q=2", "fr"),
        ("en;q=nan", "fr"),
        ("en;q=-1", "fr"),
        ("en;q=", "fr"),
        ("english", "fr"),
        ("en_US", "fr"),
        (",,;;q=1,", "fr"),
        ("x," * 500 + "en", "fr"),
    ],
)
def test_language(header: str | None, expected: str) -> None:
    assert language(header) == expected


@given(st.text(max_size=200))
def test_any_header_has_a_language(header: str) -> None:
    assert language(header) in LANGUAGES
    assert all(0 <= weight <= 1 and name for name, weight in weighted(header))


PLACES = re.compile(r"%\(([a-z]+)\)s")


def test_both_catalogues_hold_the_same_keys_and_places() -> None:
    french, english = (catalogue(name).texts for name in LANGUAGES)
    assert french.keys() == english.keys()
    for key in french:
        assert sorted(PLACES.findall(french[key])) == sorted(PLACES.findall(english[key])), key


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_text_needs_escaping_and_every_place_is_named(name: Language) -> None:
    for key, text in catalogue(name).texts.items():
        assert not re.search(r"[<>&\"']", text), key
        assert "%" not in PLACES.sub("", text), key
        assert text == text.strip(), key


@pytest.mark.parametrize("name", LANGUAGES)
def test_files_leave_no_message_untranslated(name: Language) -> None:
    file = Path(pages.__file__).parent / "locale" / name / "LC_MESSAGES" / "ecluse.po"
    text = file.read_text(encoding="utf-8")
    assert text.count("\nmsgid ") - 1 == len(catalogue(name).texts)
    assert "fuzzy" not in text


def test_french_never_breaks_before_a_sign() -> None:
    for key, text in catalogue("fr").texts.items():
        assert not re.search(r" [;:!?»]|« ", text), key
    assert french_spaces("« oui » : non ?") == "«\u202foui\u202f»\u202f: non\u202f?"


def test_french_and_english_differ() -> None:
    french, english = (catalogue(name).texts for name in LANGUAGES)
    same = {key for key in french if french[key] == english[key]}
    assert same == {"layout.document"}


def test_unknown_keys_and_missing_values_are_errors() -> None:
    with pytest.raises(KeyError):
        catalogue("fr").text("code.absent")
    with pytest.raises(KeyError):
        catalogue("fr").text("code.intro")


@pytest.mark.parametrize(
    ("seconds", "french", "english"),
    [
        (-5, "1 seconde", "1 second"),
        (1, "1 seconde", "1 second"),
        (120, "120 secondes", "120 seconds"),
        (121, "3 minutes", "3 minutes"),
        (3_600, "60 minutes", "60 minutes"),
        (7_201, "3 heures", "3 hours"),
        (172_801, "3 jours", "3 days"),
    ],
)
def test_duration_rounds_up(seconds: int, french: str, english: str) -> None:
    assert duration(seconds, "fr").replace("\u00a0", " ") == french
    assert duration(seconds, "en") == english


def test_moment() -> None:
    at = datetime(2026, 3, 2, 14, 5, tzinfo=UTC)
    assert moment(at, "fr") == "02/03/2026 14:05"
    assert moment(at, "en") == "2 Mar 2026, 14:05"
