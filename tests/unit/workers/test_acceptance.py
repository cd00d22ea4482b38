"""Consent to one change: taken once, by the one it is for, from nobody else."""

from pathlib import Path

import pytest

from gateway.workers.acceptance import LASTS_MS, NAME, Acceptance, leave, take

GIVEN = Acceptance("a.1", "b.1", "denis", 1_000_000)


def test_it_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / NAME
    assert take(path) is None
    leave(path, GIVEN)
    assert path.stat().st_mode & 0o777 == 0o600
    assert take(path) == GIVEN
    assert take(path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", ["readable", "link", "nonsense", "empty"])
def test_what_is_not_ours_alone_counts_for_nothing_and_is_taken_away(tmp_path: Path, change: str) -> None:
    path = tmp_path / NAME
    leave(path, GIVEN)
    if change == "readable":
        path.chmod(0o644)
    elif change == "link":
        elsewhere = path.rename(tmp_path / "elsewhere")
        path.symlink_to(elsewhere)
    else:
        path.write_bytes(b"{" if change == "nonsense" else b"")
    assert take(path) is None
    assert not path.exists()


def test_one_that_waits_is_not_written_over(tmp_path: Path) -> None:
    leave(tmp_path / NAME, GIVEN)
    with pytest.raises(FileExistsError):
        leave(tmp_path / NAME, GIVEN)


@pytest.mark.parametrize(
    ("before", "after", "now_ms", "holds"),
    [
        ("a.1", "b.1", 1_000_000, True),
        ("a.1", "b.1", 1_000_000 + LASTS_MS, True),
        ("a.1", "b.1", 1_000_001 + LASTS_MS, False),
        ("a.1", "b.1", 999_999, False),
        ("b.1", "a.1", 1_000_000, False),
        ("a.1", "b.2", 1_000_000, False),
        ("a.2", "b.1", 1_000_000, False),
    ],
)
def test_it_holds_for_one_change_and_a_while(before: str, after: str, now_ms: int, holds: bool) -> None:
    assert GIVEN.holds(before, after, now_ms) is holds
