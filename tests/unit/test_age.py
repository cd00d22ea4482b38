"""Recipients and identities: taken as age-keygen prints them, refused with a mend, secret keys never repeated."""

from pathlib import Path

import pyrage
import pytest

from gateway.age import AgeRefused, read_identities, read_recipients

IDENTITY = pyrage.x25519.Identity.generate()
PUBLIC = str(IDENTITY.to_public())
FILE = f"# created: 2026-09-14T08:00:00Z\n# public key: {PUBLIC}\n{IDENTITY}\n"


def never() -> str:
    raise AssertionError("no passphrase is needed")


def test_recipients_come_back_in_order_and_once() -> None:
    other = str(pyrage.x25519.Identity.generate().to_public())
    assert [str(one) for one in read_recipients([PUBLIC, f" {other}\n", PUBLIC])] == [PUBLIC, other]


@pytest.mark.parametrize(
    "text",
    ["", "age1", PUBLIC[:-1], PUBLIC.replace("age1", "age2"), "ssh-ed25519 AAAA", "é"],
    ids=["empty", "bare", "cut", "other-version", "ssh", "no-ascii"],
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(AgeRefused, match="no age recipient"):
        read_recipients([text])


@pytest.mark.parametrize(
    "text", [str(IDENTITY), str(IDENTITY).lower(), f" {IDENTITY}"], ids=["as-is", "small", "blank"]
)
def test_a_secret_key_in_the_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(AgeRefused, match="secret key") as caught:
        read_recipients([text])
    assert text.strip()[16:] not in str(caught.value)


def test_an_identity_file_is_read_as_age_keygen_writes_it(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(FILE)
    (identity,) = read_identities(tmp_path / "key.txt", never)
    assert pyrage.decrypt(pyrage.encrypt(b"x", read_recipients([PUBLIC])), [identity]) == b"x"


def test_an_identity_under_a_passphrase_opens_with_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.age"
    path.write_bytes(pyrage.passphrase.encrypt(FILE.encode(), "sésame"))
    assert len(read_identities(path, lambda: "sésame")) == 1
    with pytest.raises(AgeRefused, match="passphrase"):
        read_identities(path, lambda: "autre")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "holds no identity"),
        ("# nothing\n", "holds no identity"),
        ("AGE-SECRET-KEY-1XYZ", "no identity file"),
        (PUBLIC, "no identity file"),
    ],
    ids=["empty", "comment", "cut", "recipient"],
)
def test_other_files_are_no_identity(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "key.txt").write_text(content)
    with pytest.raises(AgeRefused, match=why) as caught:
        read_identities(tmp_path / "key.txt", never)
    assert "1XYZ" not in str(caught.value)


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(AgeRefused, match="cannot be read"):
        read_identities(tmp_path / "nowhere", never)
