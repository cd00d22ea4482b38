"""The node's own memory of the store's id."""

from pathlib import Path

import pytest

from gateway.valkey.marker import MarkerFileBroken, read_local_id, write_local_id


def test_nothing_is_remembered_before_the_first_start(tmp_path: Path) -> None:
    assert read_local_id(tmp_path) is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_local_id(tmp_path / "new", "0f" * 16)
    write_local_id(tmp_path / "new", "1f" * 16)
    assert read_local_id(tmp_path / "new") == "1f" * 16
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["store-id"]


@pytest.mark.parametrize(
    "text",
    [
        # Empty after a crash of another program, too short, upper case, not text.
        b"",
        b"0f" * 15,
        b"0F" * 16,
        b"\xff" * 32,
    ],
)
def test_a_broken_file_is_never_taken_for_a_first_start(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "store-id").write_bytes(text)
    with pytest.raises(MarkerFileBroken, match="store-id"):
        read_local_id(tmp_path)
