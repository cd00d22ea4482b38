"""One person, one name: whatever spelling is typed."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.names import NameFault, NameRefused, account_ref, canonical
from gateway.vocabulary.identity import NameMapping
from gateway.vocabulary.keys import KeyRing
from tests.people import DR_MARTIN

PLAIN = NameMapping()
HOSPITAL = NameMapping(
    strip_domains=("CHU", "Chu.Local"),
    email_domains=("CHU.example", "chu-lille.example"),
    strip_prefixes=("u-",),
    drop="_",
    replace=((".", " "),),
)
RING = KeyRing("names", "n1", {"n1": b"N" * 32})


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        # Case, blanks, and what Unicode folds (F05).
        ("dr.martin", "dr.martin"),
        ("DR.Martin", "dr.martin"),
        ("  dr.martin ", "dr.martin"),
        ("dr\u00a0 martin", "dr martin"),
        ("dr\u3000martin", "dr martin"),
        ("\uff44\uff52\uff0e\uff4d\uff41\uff52\uff54\uff49\uff4e", "dr.martin"),
        ("\u212aelvin", "kelvin"),
        ("stra\u00dfe", "strasse"),
        ("\ufb01lle", "fille"),
        ("l\u0131a", "lia"),
        # Composed and decomposed accents are one.
        ("andr\u00e9", "andr\u00e9"),
        ("andre\u0301", "andr\u00e9"),
        ("ANDRE\u0301", "andr\u00e9"),
        ("o'brien-l\u00e9a+1@chu.example", "o'brien-l\u00e9a+1@chu.example"),
        # Names that only look alike stay two.
        ("dr.martin.", "dr.martin."),
    ],
)
def test_spellings_of_one_name(typed: str, name: str) -> None:
    assert canonical(typed, PLAIN) == name


@pytest.mark.parametrize(
    "typed",
    [
        "jean.petit",
        "Jean Petit",
        "CHU\\jean.petit",
        "chu.local\\Jean_.petit",
        "jean.petit@chu.example",
        "jean.petit@CHU-Lille.EXAMPLE.",
        "U-jean.petit",
        "chu\\u-u-jean_petit@chu.example".replace("_p", ".p"),
    ],
)
def test_the_realm_maps_spellings_that_its_apps_take_for_one_person(typed: str) -> None:
    assert canonical(typed, HOSPITAL) == "jean petit"


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("", NameFault.EMPTY),
        ("   ", NameFault.EMPTY),
        ("a" * 129, NameFault.TOO_LONG),
        ("a" * 100_000, NameFault.TOO_LONG),
        # One ligature of Arabic unfolds into 18 letters.
        ("\ufdfa" * 900, NameFault.TOO_LONG),
        # Controls, format and direction marks, invisible and unassigned characters, halves of pairs.
        ("dr.martin\x00", NameFault.BAD_CHARACTER),
        ("dr.martin\n", NameFault.BAD_CHARACTER),
        ("dr\tmartin", NameFault.BAD_CHARACTER),
        ("dr.\u202enitram", NameFault.BAD_CHARACTER),
        ("dr.\u200bmartin", NameFault.BAD_CHARACTER),
        ("dr.\u00admartin", NameFault.BAD_CHARACTER),
        ("dr.\u034fmartin", NameFault.BAD_CHARACTER),
        ("dr.martin\ufe0f", NameFault.BAD_CHARACTER),
        ("dr.martin\u3164", NameFault.BAD_CHARACTER),
        ("dr\u2028martin", NameFault.BAD_CHARACTER),
        ("dr.martin\udcff", NameFault.BAD_CHARACTER),
        ("dr.martin\ue000", NameFault.BAD_CHARACTER),
        ("dr.martin\u0378", NameFault.BAD_CHARACTER),
        # Letters, digits and signs that look like Latin ones.
        ("dr.m\u0430rtin", NameFault.FOREIGN_SCRIPT),
        ("\u03b1lpha", NameFault.FOREIGN_SCRIPT),
        ("dr.martin\u0661", NameFault.FOREIGN_SCRIPT),
        ("\U0001f600", NameFault.FOREIGN_SCRIPT),
        ("a@b@chu.example", NameFault.SEVERAL_AT),
    ],
)
def test_names_that_could_be_taken_for_another_are_refused(typed: str, fault: NameFault) -> None:
    with pytest.raises(NameRefused) as refused:
        canonical(typed, PLAIN)
    assert refused.value.fault is fault
    assert not typed.strip() or typed not in str(refused.value)


def test_a_realm_of_two_scripts_takes_either_but_not_both_in_one_name() -> None:
    two = NameMapping(scripts=("LATIN", "GREEK"))
    assert canonical("\u0391\u03bb\u03c6\u03b1", two) == "\u03b1\u03bb\u03c6\u03b1"
    assert canonical("alpha", two) == "alpha"
    with pytest.raises(NameRefused) as refused:
        canonical("alph\u03b1", two)
    assert refused.value.fault is NameFault.MIXED_SCRIPTS


def test_a_realm_without_latin_refuses_latin() -> None:
    with pytest.raises(NameRefused):
        canonical("alpha", NameMapping(scripts=("GREEK",)))


def test_a_mapping_that_feeds_itself_is_refused_not_looped() -> None:
    with pytest.raises(NameRefused) as refused:
        canonical("a", NameMapping(replace=(("a", "ba"),)))
    assert refused.value.fault is NameFault.UNSETTLED


@given(
    st.text(max_size=40),
    st.sampled_from([PLAIN, HOSPITAL, NameMapping(scripts=("LATIN", "GREEK", "CYRILLIC"))]),
)
def test_the_canonical_form_is_its_own_canonical_form(typed: str, mapping: NameMapping) -> None:
    try:
        name = canonical(typed, mapping)
    except NameRefused:
        return
    assert canonical(name, mapping) == name
    assert name == name.strip()
    assert unicodedata.is_normalized("NFKC", name)


LATIN = st.characters(min_codepoint=0x20, max_codepoint=0x24F)


@given(
    st.text(LATIN, max_size=30),
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
    st.sampled_from([PLAIN, HOSPITAL]),
)
def test_no_normal_form_and_no_case_makes_another_person(typed: str, form: str, mapping: NameMapping) -> None:
    def name_of(text: str) -> str | NameFault:
        try:
            return canonical(text, mapping)
        except NameRefused as refused:
            return refused.fault

    if isinstance(name := name_of(typed), NameFault):
        return
    assert name_of(unicodedata.normalize(form, typed)) == name  # type: ignore[arg-type]
    assert name_of(f" {typed}  ") == name


def test_the_account_id_is_keyed_and_depends_on_realm_and_name_only() -> None:
    martin = account_ref(DR_MARTIN.login.upper(), "region", PLAIN, RING)
    assert (martin.realm, martin.name) == ("region", "dr.martin")
    assert len(martin.id) == 32
    assert int(martin.id, 16) >= 0
    assert martin == account_ref(f" {DR_MARTIN.login}", "region", PLAIN, RING)
    assert martin.id != account_ref(DR_MARTIN.login, "other", PLAIN, RING).id
    assert (
        martin.id != account_ref(DR_MARTIN.login, "region", PLAIN, KeyRing("names", "n", {"n": b"M" * 32})).id
    )
