"""Key files: made once, private, refused when they are anything but good keys."""

import base64
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.configuration import KeysRefused, fingerprint, init_keys, load_keys, public_key, rotate_key
from gateway.configuration.keys import PURPOSES


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a folder with fresh keys."""
    init_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_one_private_file_per_purpose(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {path.name for path in made.iterdir()} == {f"{purpose}.json" for purpose in PURPOSES}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o600}


def test_keys_come_back_each_its_own(made: Path) -> None:
    keys = load_keys(made)
    values = [getattr(keys, purpose).key() for purpose in PURPOSES]
    assert {len(value) for value in values} == {32}
    assert len(set(values)) == len(PURPOSES)
    assert [getattr(keys, purpose).purpose for purpose in PURPOSES] == list(PURPOSES)


def test_keys_are_never_overwritten(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    (made / "session.json").unlink()
    with pytest.raises(KeysRefused, match="never overwritten"):
        init_keys(made)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == {
        name: content for name, content in before.items() if name != "session.json"
    }


def test_shared_folder_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("")
    tmp_path.chmod(0o755)
    with pytest.raises(KeysRefused, match="holds other things"):
        init_keys(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_all_keys_are_made_or_none(tmp_path: Path) -> None:
    drawn = iter(os.urandom(32) for _ in range(5))

    def running_dry(size: int) -> bytes:
        try:
            return next(drawn)[:size]
        except StopIteration:
            raise OSError(28, "No space left on device") from None

    with pytest.raises(KeysRefused, match="No space left"):
        init_keys(tmp_path / "keys", running_dry)
    assert list((tmp_path / "keys").iterdir()) == []
    assert len(init_keys(tmp_path / "keys")) == len(PURPOSES)


def test_keys_and_errors_show_no_key(made: Path) -> None:
    keys = load_keys(made)
    secret = base64.b64encode(keys.sealing.key()).decode()
    assert secret not in repr(keys)
    assert keys.sealing.key().hex() not in repr(keys) + fingerprint(keys)
    (made / "sealing.json").write_text(f'{{"purpose": "sealing", "current": "{secret}", "keys": "{secret}"}}')
    with pytest.raises(KeysRefused) as caught:
        load_keys(made)
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def _ring(key: bytes, purpose: str = "sealing", kid: str = "k1", current: str = "k1") -> str:
    return json.dumps({"purpose": purpose, "current": current, "keys": {kid: base64.b64encode(key).decode()}})


GOOD = bytes(range(7, 256, 8))[:32][::-1].replace(b"\x0f", b"\xfa")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        # Not a key file.
        ("", "not a key file"),
        ("[]", "not a key file"),
        ("{}", "not a key file"),
        ("[" * 100_000, "not a key file"),
        # Another ring, no current key, an odd id.
        (_ring(GOOD, purpose="session"), "another purpose"),
        (_ring(GOOD, current="k2"), "'current' names a key"),
        (_ring(GOOD, kid="../k", current="../k"), "key id"),
        # Short, long, not base64.
        (_ring(GOOD[:31]), "31 bytes instead of 32"),
        (_ring(GOOD + b"x"), "33 bytes"),
        (_ring(GOOD).replace('="', '!"'), "not base64"),
        # Examples: zeros, one byte, counted bytes, a passphrase.
        (_ring(bytes(32)), "is an example"),
        (_ring(b"\xab" * 32), "is an example"),
        (_ring(bytes(range(200, 232))), "is an example"),
        (_ring(b"changeme-changeme-changeme-12345"), "is an example"),
    ],
)
def test_bad_ring_is_refused(made: Path, content: str, why: str) -> None:
    (made / "sealing.json").write_text(content)
    with pytest.raises(KeysRefused, match=why) as caught:
        load_keys(made)
    assert "sealing.json" in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: (folder / "names.json").unlink(), "names.json is missing"),
        (lambda folder: (folder / "names.json").chmod(0o640), "names.json can be read by others"),
        (lambda folder: (folder / "names.json").chmod(0o604), "names.json can be read by others"),
        (lambda folder: folder.chmod(0o750), "can be read by others"),
        (lambda folder: _link(folder / "names.json"), "names.json cannot be read"),
        (lambda folder: _pipe(folder / "names.json"), "names.json is not a plain file"),
        (lambda folder: _copy(folder / "session.json", folder / "binding.json"), "share a key"),
    ],
)
def test_exposed_missing_or_odd_files_are_refused(
    made: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(made)
    with pytest.raises(KeysRefused, match=why):
        load_keys(made)


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _copy(source: Path, target: Path) -> None:
    target.write_text(source.read_text().replace('"session"', '"binding"'))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_somebody_elses_key_is_refused(made: Path) -> None:
    os.chown(made / "names.json", 65_534, 65_534)
    with pytest.raises(KeysRefused, match="belongs to another user"):
        load_keys(made)


def test_no_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(KeysRefused, match="ecluse keys init"):
        load_keys(tmp_path / "nowhere")


def test_fingerprint_changes_with_each_ring(made: Path) -> None:
    keys = load_keys(made)
    marks = {fingerprint(keys)}
    for purpose in PURPOSES:
        ring = getattr(keys, purpose)
        marks.add(fingerprint(replace(keys, **{purpose: replace(ring, keys={ring.current: GOOD})})))
    assert len(marks) == len(PURPOSES) + 1
    assert fingerprint(load_keys(made)) == fingerprint(keys)


def test_public_key_verifies_what_the_ring_signs(made: Path) -> None:
    ring = load_keys(made).assertion
    private = Ed25519PrivateKey.from_private_bytes(ring.key())
    assert public_key(ring) == private.public_key().public_bytes_raw()


def test_a_rotated_ring_keeps_its_old_keys_its_owner_and_the_stores_trust(made: Path) -> None:
    before = load_keys(made)
    rotate_key(made, "pseudonyms", "fresh1")
    after = load_keys(made)
    assert after.pseudonyms.current == "fresh1"
    assert next(iter(after.pseudonyms.keys)) == before.pseudonyms.current
    assert after.pseudonyms.keys[before.pseudonyms.current] == before.pseudonyms.key()
    assert after.pseudonyms.key() != before.pseudonyms.key()
    assert stat.S_IMODE((made / "pseudonyms.json").stat().st_mode) == 0o600
    assert sorted(path.name for path in made.iterdir()) == sorted(f"{purpose}.json" for purpose in PURPOSES)
    # The store was made with the ring, not with one key of it: the gateway starts again.
    assert fingerprint(after) == fingerprint(before)


def test_a_key_id_is_never_used_twice(made: Path) -> None:
    kid = load_keys(made).pseudonyms.current
    with pytest.raises(KeysRefused, match="already"):
        rotate_key(made, "pseudonyms", kid)
    assert list(load_keys(made).pseudonyms.keys) == [kid]


def test_a_rotation_that_meets_a_full_disk_leaves_the_ring_as_it_was(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (made / "pseudonyms.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeysRefused, match="No space left"):
        rotate_key(made, "pseudonyms", "fresh1")
    assert (made / "pseudonyms.json").read_bytes() == before
    assert not (made / "pseudonyms.new").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_root_gives_the_rotated_file_back_to_the_gateways_user(made: Path) -> None:
    os.chown(made / "pseudonyms.json", 65_534, 65_534)
    with pytest.raises(KeysRefused, match="belongs to another user"):
        rotate_key(made, "pseudonyms", "fresh1")
    os.chown(made / "pseudonyms.json", 0, 65_534)
    rotate_key(made, "pseudonyms", "fresh1")
    assert (made / "pseudonyms.json").stat().st_gid == 65_534
