"""A backup on the wire: what goes in comes out, or the whole is refused; Debian's programs read it."""

import io
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pyrage
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.backup.container import (
    About,
    BackupRefused,
    Entry,
    Manifest,
    Member,
    is_plain_name,
    member_of_bytes,
)
from gateway.backup.reading import read
from gateway.backup.writing import write

SAFE, DEPUTY, STRANGER = (pyrage.x25519.Identity.generate() for _ in range(3))
RECIPIENTS = [SAFE.to_public(), DEPUTY.to_public()]
ABOUT = About(1, "ecluse backup", "2026-09-14T02:00:00+00:00", "node1", "0.1.0", ["audit"], None, None, [])
FILES = {"audit/gateway/checkpoint": b"signed", "audit/é.jsonl": b"", "config/ecluse.yaml": b"x" * 600_000}


class Kept(io.BytesIO):
    def close(self) -> None:
        pass


def made(files: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    members = [member_of_bytes(name, content) for name, content in (files or FILES).items()]
    write(out, ABOUT, members, RECIPIENTS, at_s=1_789_344_000)
    return out.getvalue()


def taken(backup: bytes, identity: object = SAFE) -> tuple[dict[str, bytes], About, Manifest]:
    sinks: dict[str, Kept] = {}

    def sink(name: str, _: int) -> Kept:
        return sinks.setdefault(name, Kept())

    about, manifest = read(io.BytesIO(backup), [identity], sink)
    return {name: kept.getvalue() for name, kept in sinks.items()}, about, manifest


@pytest.mark.parametrize("identity", [SAFE, DEPUTY])
def test_each_recipient_gets_back_what_went_in(identity: object) -> None:
    found, about, manifest = taken(made(), identity)
    assert found == FILES
    assert about == ABOUT
    assert [entry.name for entry in manifest.members] == ["about.json", *FILES]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-zé]{1,150}", fullmatch=True), st.binary(max_size=3_000), max_size=6)
)
def test_any_files_come_back(files: dict[str, bytes]) -> None:
    named = {f"config/{name}": content for name, content in files.items()}
    assert taken(made(named or {"config/x": b""}))[0] == (named or {"config/x": b""})


def test_nothing_stands_in_clear() -> None:
    backup = made({"accounts/000000.jsonl": b"dr.martin" * 100})
    assert b"dr.martin" not in backup
    assert b"about.json" not in backup


def test_memory_is_bounded_by_pieces_not_by_members() -> None:
    asked = []

    def endless() -> Iterator[bytes]:
        for number in range(2_000):
            asked.append(number)
            yield bytes(10_000)

    class Slow(io.BytesIO):
        def write(self, data: object) -> int:  # type: ignore[override]
            return len(bytes(data))  # type: ignore[call-overload]

    told: list[int] = []
    write(Slow(), ABOUT, [Member("audit/x", 20_000_000, endless())], RECIPIENTS, at_s=0, progress=told.append)
    assert len(asked) == 2_000
    assert told[-1] > 20_000_000


@pytest.mark.parametrize("pieces", [[b"12345"], [b"123"], [b"12", b"3456"], []])
def test_a_member_of_another_size_than_announced_is_refused(pieces: list[bytes]) -> None:
    with pytest.raises(BackupRefused, match="changed while it was read"):
        write(io.BytesIO(), ABOUT, [Member("audit/x", 4, iter(pieces))], RECIPIENTS, at_s=0)


def test_a_fault_of_the_source_is_told_as_it_is() -> None:
    def failing() -> Iterator[bytes]:
        yield b"x"
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        write(io.BytesIO(), ABOUT, [Member("audit/x", 4, failing())], RECIPIENTS, at_s=0)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data[:-1], "cut short or altered"),
        (lambda data: data[:-70_000], "cut short or altered"),
        (lambda data: data[: len(data) // 2], "cut short or altered"),
        (lambda data: data[:600], "cut short or altered"),
        (lambda data: data + b"x", "cut short or altered"),
        (lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], "cut short or altered"),
        (lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:], "cut short or altered"),
        (lambda _: b"", "no backup"),
        (lambda _: b"PK\x03\x04" * 100, "no backup"),
    ],
)
def test_a_spoilt_backup_is_refused(spoil: Callable[[bytes], bytes], why: str) -> None:
    data = made({"audit/x": random.Random(7).randbytes(300_000)})
    with pytest.raises(BackupRefused, match=why):
        taken(spoil(data))


def test_another_identity_opens_nothing() -> None:
    with pytest.raises(BackupRefused, match="none of the backup's recipients"):
        taken(made(), STRANGER)


def forged(*entries: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, compress: bool = True) -> bytes:
    """A well-encrypted tar that no program of ours wrote: anybody knows the recipients' public keys."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in entries:
            header = tarfile.TarInfo(name)
            header.size, header.type = len(content), kind if name.startswith("evil") else tarfile.REGTYPE
            archive.addfile(header, io.BytesIO(content))
    data = raw.getvalue()
    return bytes(pyrage.encrypt(zstandard.compress(data) if compress else data, RECIPIENTS))


def test_a_disk_that_is_full_while_it_is_read_back_is_told_at_once() -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    data = made({"audit/x": random.Random(7).randbytes(3_000_000)})
    with pytest.raises(OSError, match="No space left"):
        read(io.BytesIO(data), [SAFE], lambda _, __: Full())


_ABOUT = ("about.json", msgspec.json.encode(ABOUT))


def _manifest(*entries: Entry) -> tuple[str, bytes]:
    return "manifest.json", msgspec.json.encode(Manifest(1, list(entries)))


@pytest.mark.parametrize(
    ("backup", "why"),
    [
        (forged(("readme", b"x")), "no backup of Écluse"),
        (forged(_ABOUT, compress=False), "no compressed tar"),
        (forged(_ABOUT), "without its manifest"),
        (forged(_ABOUT, ("../evil", b"x"), _manifest()), "which no backup of ours does"),
        (forged(_ABOUT, ("/etc/evil", b"x"), _manifest()), "which no backup of ours does"),
        (forged(_ABOUT, ("evil", b""), _manifest(), kind=tarfile.SYMTYPE), "which no backup of ours does"),
        (forged(_ABOUT, ("evil", b""), _manifest(), kind=tarfile.FIFOTYPE), "which no backup of ours does"),
        (forged(_ABOUT, ("audit/x", b"x"), _manifest()), "about.json is not what"),
        (forged(_ABOUT, ("manifest.json", b"{")), "papers cannot be read"),
        (forged(_ABOUT, _manifest(), ("audit/late", b"x")), "goes on after its manifest"),
        (forged(("about.json", _ABOUT[1].replace(b'"v":1', b'"v":2'))), "version 2"),
    ],
)
def test_what_somebody_else_encrypted_to_us_is_refused(backup: bytes, why: str) -> None:
    with pytest.raises(BackupRefused, match=why):
        taken(backup)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("audit/gateway/checkpoint", True), ("é", True), ("a b", True),
        ("", False), (".", False), ("..", False), ("a/../b", False), ("/a", False), ("a//b", False),
        ("./a", False), ("a/", False), ("a\nb", False), ("a\x1b[31m", False), ("x" * 1_025, False),
    ],
)  # fmt: skip
def test_names_stay_below_where_they_are_put(name: str, good: bool) -> None:
    assert is_plain_name(name) is good


@pytest.mark.age
def test_age_zstd_and_tar_of_debian_read_it(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(f"{SAFE}\n")
    (tmp_path / "backup").write_bytes(made())
    opened = subprocess.run(
        ["age", "-d", "-i", tmp_path / "key.txt", tmp_path / "backup"], check=True, capture_output=True
    )
    plain = subprocess.run(["zstd", "-d"], input=opened.stdout, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", tmp_path], input=plain.stdout, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES


@pytest.mark.age
def test_what_age_itself_encrypts_is_read(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(f"{SAFE}\n")
    (tmp_path / "ours").write_bytes(made())
    age = shutil.which("age")
    assert age is not None
    opened = subprocess.run(
        [age, "-d", "-i", tmp_path / "key.txt", tmp_path / "ours"], check=True, capture_output=True
    )
    again = subprocess.run(
        [age, "-r", str(DEPUTY.to_public())], input=opened.stdout, check=True, capture_output=True
    )
    assert taken(again.stdout, DEPUTY)[0] == FILES
