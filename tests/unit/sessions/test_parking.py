"""The app's answer waits sealed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.parking import MAX_BYTES, Parked, ParkingRefused, seal, unseal
from gateway.vocabulary.keys import KeyRing

RING = KeyRing("sealing", "s2", {"s1": b"1" * 32, "s2": b"2" * 32})
MARTIN, SID = "a" * 32, "5" * 32
PARKED = Parked(302, "/accueil", ("parcours_session=canary; HttpOnly",), "/dossiers/1001")
SEALED = seal(RING, PARKED, MARTIN, SID)


@pytest.mark.parametrize(
    "parked", [PARKED, Parked(200, None, (), None), Parked(303, "/\u00e9\udcff"[:2], ("\u00e9=1",), "")]
)
def test_what_is_parked_comes_back(parked: Parked) -> None:
    assert unseal(RING, seal(RING, parked, MARTIN, SID), MARTIN, SID) == parked


def test_neither_the_seal_nor_its_repr_shows_the_cookie() -> None:
    assert "canary" not in SEALED + repr(PARKED)


@pytest.mark.parametrize(
    ("ring", "account", "session", "sealed"),
    [
        (RING, "b" * 32, SID, SEALED),
        (RING, MARTIN, "6" * 32, SEALED),
        (KeyRing("sealing", "s2", {"s2": b"3" * 32}), MARTIN, SID, SEALED),
        (KeyRing("sealing", "s1", {"s1": b"1" * 32}), MARTIN, SID, SEALED),
        (RING, MARTIN, SID, SEALED.replace("s2", "s1")),
        (RING, MARTIN, SID, SEALED[:-5]),
        (RING, MARTIN, SID, SEALED[:40] + ("A" if SEALED[40] != "A" else "B") + SEALED[41:]),
        (RING, MARTIN, SID, "v2" + SEALED[2:]),
        (RING, MARTIN, SID, "v1.s2."),
        (RING, MARTIN, SID, ""),
    ],
)
def test_elsewhere_it_does_not_open(ring: KeyRing, account: str, session: str, sealed: str) -> None:
    with pytest.raises(ParkingRefused) as refused:
        unseal(ring, sealed, account, session)
    assert "canary" not in str(refused.value)


@given(st.text(max_size=80))
def test_nothing_else_is_raised(text: str) -> None:
    for sealed in (text, f"v1.s2.{text}"):
        with pytest.raises(ParkingRefused):
            unseal(RING, sealed, MARTIN, SID)


def test_an_answer_too_large_is_refused_not_cut() -> None:
    large = Parked(302, "/", ("c=" + "x" * MAX_BYTES,), None)
    with pytest.raises(ParkingRefused, match="bytes"):
        seal(RING, large, MARTIN, SID)
    with pytest.raises(ValueError, match="key id"):
        seal(KeyRing("sealing", "a.b", {"a.b": b"1" * 32}), PARKED, MARTIN, SID)
