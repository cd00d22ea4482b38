"""Files of logins: one a line, or a column of a table."""

from pathlib import Path

import pytest

from gateway.cli.account_logins import LoginsRefused, Typed, read_logins


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "stolen.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("dr.martin\nben\n", (1, 2)),
        ("\ufeff\r\n  dr.martin \r\n\r\nben", (2, 4)),
        ("login\ndr.martin\nben\n", (2, 3)),
        ('\ufeff"Establishment";"Login"\r\n590;dr.martin\r\n;;\r\n591;"ben"\r\n', (2, 4)),
        ("login\tclass\ndr.martin\tward\nben\t\n", (2, 3)),
    ],
)
def test_the_same_logins(tmp_path: Path, text: str, lines: tuple[int, int]) -> None:
    assert read_logins(written(tmp_path, text)) == (Typed("dr.martin", lines[0]), Typed("ben", lines[1]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "nobody in it"),
        ("login\n\n", "nobody in it"),
        ("dr.martin\nben,ward\n", ":2: several columns"),
        ("name;class\ndr.martin;ward\n", ":1: several columns"),
        (b"ben\n\xe9\n", ":2: not UTF-8"),
        ('login\n"x\n', ":2: "),
    ],
)
def test_files_that_are_no_list(tmp_path: Path, text: str | bytes, fault: str) -> None:
    with pytest.raises(LoginsRefused, match=fault):
        read_logins(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoginsRefused, match=r"nowhere\.txt: No such file"):
        read_logins(tmp_path / "nowhere.txt")
