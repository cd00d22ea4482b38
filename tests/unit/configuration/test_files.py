"""The files a configuration names are tried when it is loaded."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.configuration import files


def _certificate(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    closing = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    shape = serialization.PrivateFormat.PKCS8
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, shape, closing))
    (folder / f"{name}.key").chmod(0o640)
    return folder / f"{name}.pem", folder / f"{name}.key"


def test_pair_serves_and_strangers_do_not(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "one")
    _, other_key = _certificate(tmp_path, "two")
    _, closed_key = _certificate(tmp_path, "three", b"password")
    assert files.check_certificate(certificate, key) is None
    for wrong in (other_key, closed_key, certificate):
        wrong.chmod(0o600)
        assert files.check_certificate(certificate, wrong) == (
            "certificate",
            "certificate and key are no pair",
            "name the PEM files of one certificate and its unencrypted key",
        )


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_private_key_that_anybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    certificate, key = _certificate(tmp_path, "one")
    key.chmod(mode)
    found = files.check_certificate(certificate, key)
    assert found is not None
    assert found[0] == "key"


def test_authorities(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "one")
    assert files.check_authorities(certificate) is None
    for wrong in (key, tmp_path, tmp_path / "absent.pem"):
        assert files.check_authorities(wrong) is not None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one.yaml", ["one.yaml"]),
        ("*.yaml", ["one.yaml", "two.yaml"]),
        ("?ne.yaml", ["one.yaml"]),
        # Folders are no files; a wildcard stands in the last part only.
        ("*", ["note.txt", "one.yaml", "two.yaml"]),
        ("*/three.yaml", []),
        ("absent/*.yaml", []),
        ("absent.yaml", []),
        ("\0", []),
    ],
)
def test_files_that_fit_a_name(tmp_path: Path, text: str, found: list[str]) -> None:
    for name in ("two.yaml", "one.yaml", "note.txt"):
        (tmp_path / name).touch()
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "three.yaml").touch()
    assert [path.name for path in files.matching(tmp_path, text)] == found


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"x" * 1_001])
def test_password_file_holds_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(0o600)
    assert isinstance(files.read_password(file), tuple)


def test_logo(tmp_path: Path) -> None:
    for name, size, sound in (
        ("a.svg", 10, True),
        ("a.PNG", 10, True),
        ("a.svgz", 10, False),
        ("b.png", 500_001, False),
    ):
        (tmp_path / name).write_bytes(b"x" * size)
        assert (files.check_logo(tmp_path / name) is None) is sound, name
