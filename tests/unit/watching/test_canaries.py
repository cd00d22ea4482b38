"""Decoys on disk: sealed, known by every pseudonym, named nowhere."""

from itertools import count
from pathlib import Path

import pytest

from gateway.audit.question import pseudonyms
from gateway.configuration import init_keys, load_keys
from gateway.configuration.keys import rotate_key
from gateway.vocabulary.keys import Keys
from gateway.watching import Canaries, CanariesRefused

NUMBER = "10050042"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    init_keys(tmp_path / "keys")
    return load_keys(tmp_path / "keys")


def canaries(folder: Path, keys: Keys) -> Canaries:
    numbers = count(0x1F2E3D4C)
    return Canaries(folder / "state" / "canaries", keys, lambda _: f"{next(numbers):08x}")


def add(kept: Canaries, number: str = NUMBER) -> str:
    return kept.add("parcours", "ipp", number, by="sysop", reason="register 12", at_ms=1).id


def test_a_decoy_is_known_by_its_pseudonym_and_kept_sealed(tmp_path: Path, keys: Keys) -> None:
    kept = canaries(tmp_path, keys)
    assert kept.list() == ()
    assert kept.pseudonyms() == frozenset()
    assert add(kept) == "1f2e3d4c"
    assert kept.pseudonyms() == set(pseudonyms(keys.pseudonyms, "ipp", NUMBER))
    written = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert NUMBER.encode() not in written
    assert all(name.encode() not in written for name in kept.pseudonyms())
    assert (tmp_path / "state" / "canaries").stat().st_mode & 0o077 == 0
    assert NUMBER not in repr(kept.list())


def test_a_key_that_turns_hides_no_decoy(tmp_path: Path, keys: Keys) -> None:
    add(canaries(tmp_path, keys))
    rotate_key(tmp_path / "keys", "pseudonyms", "k2")
    fresh = load_keys(tmp_path / "keys")
    names = canaries(tmp_path, fresh).pseudonyms()
    assert names == set(pseudonyms(fresh.pseudonyms, "ipp", NUMBER))
    assert len(names) == 2


def test_no_patient_is_a_decoy_twice_and_a_removed_one_is_none(tmp_path: Path, keys: Keys) -> None:
    kept = canaries(tmp_path, keys)
    name = add(kept)
    with pytest.raises(CanariesRefused, match="a decoy already"):
        add(kept)
    assert kept.remove("ffffffff") is None
    gone = kept.remove(name)
    assert gone is not None
    assert gone.id == name
    assert kept.pseudonyms() == frozenset()
    add(kept)


@pytest.mark.parametrize("damage", [b"", b"[1]", b'{"a": 1}', b"\xff"])
def test_a_damaged_list_is_told_and_never_written_over(tmp_path: Path, keys: Keys, damage: bytes) -> None:
    kept = canaries(tmp_path, keys)
    add(kept)
    kept.path.write_bytes(damage)
    for act in (kept.list, kept.pseudonyms, lambda: add(kept, "7"), lambda: kept.remove("1f2e3d4c")):
        with pytest.raises(CanariesRefused, match="no list of decoys"):
            act()
    assert kept.path.read_bytes() == damage


def test_other_keys_than_it_was_sealed_with_are_refused(tmp_path: Path, keys: Keys) -> None:
    add(canaries(tmp_path, keys))
    init_keys(tmp_path / "others")
    with pytest.raises(CanariesRefused, match="sealed with other keys"):
        canaries(tmp_path, load_keys(tmp_path / "others")).pseudonyms()
