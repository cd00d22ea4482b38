"""A draft is its owner's alone, and takes its place whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gateway.audit.drafts import NotWritten, drafts, text_draft, text_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_text_takes_its_place_and_is_its_owners_alone(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.write_text("old")
    place.chmod(0o666)
    with text_draft(place) as file:
        (draft,) = tmp_path.glob(".*")
        assert mode(draft) == 0o600
        file.write("é\r\n")
        assert place.read_text() == "old"
    assert (place.read_bytes(), mode(place)) == ("é\r\n".encode(), 0o600)
    assert list(tmp_path.iterdir()) == [place]


def test_a_writer_that_puts_another_file_under_the_drafts_name_gives_nothing_away(tmp_path: Path) -> None:
    place, made = tmp_path / "out", tmp_path / "made"
    with drafts(place) as (draft,):
        made.write_text("new")
        made.chmod(0o666)
        made.replace(draft)
    assert (place.read_text(), mode(place)) == ("new", 0o600)


def test_a_name_that_can_be_foreseen_is_not_used(tmp_path: Path) -> None:
    place, foreseen = tmp_path / "out", tmp_path / "out.new"
    foreseen.write_text("anybody's")
    foreseen.chmod(0o666)
    with text_draft(place) as file:
        file.write("ours")
    assert (place.read_text(), mode(place)) == ("ours", 0o600)
    assert (foreseen.read_text(), mode(foreseen)) == ("anybody's", 0o666)


def test_two_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with text_draft(place) as first:
        first.write("first" * 1_000)
        with text_draft(place) as second:
            second.write("second")
        assert place.read_text() == "second"
    assert place.read_text() == "first" * 1_000


@pytest.mark.parametrize("failing", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_no_draft(
    tmp_path: Path, failing: type[BaseException]
) -> None:
    place = tmp_path / "out"
    place.write_text("old")
    with pytest.raises(failing), text_draft(place) as file:
        file.write("half")
        raise failing
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_none_takes_its_place_before_all_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("old")
    really, times = os.fsync, 0

    def second_fails(handle: int) -> None:
        nonlocal times
        times += 1
        if times == 2:
            raise OSError(errno.EIO, "Input/output error")
        really(handle)

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(NotWritten, match="/two could not be written: Input/output"), drafts(one, two) as made:
        for draft in made:
            draft.write_text("new")
    assert one.read_text() == "old"
    assert list(tmp_path.iterdir()) == [one]


def test_where_one_draft_cannot_be_made_none_stays(tmp_path: Path) -> None:
    with (
        pytest.raises(NotWritten, match="/two could not be"),
        drafts(tmp_path / "one", tmp_path / "no" / "two"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_or_a_device_is_not_replaced(tmp_path: Path) -> None:
    folder, device = tmp_path / "folder", tmp_path / "device"
    folder.mkdir()
    device.symlink_to(os.devnull)
    for place in (folder, device):
        with pytest.raises(NotWritten, match="no regular file"), drafts(tmp_path / "one", place):
            pass
    assert sorted(tmp_path.iterdir()) == [device, folder]


def test_what_came_there_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with (
        pytest.raises(NotWritten, match="/out could not be written: File exists"),
        drafts(place, replace=False) as (draft,),
    ):
        draft.write_text("ours")
        place.write_text("somebody's")
    assert place.read_text() == "somebody's"
    assert list(tmp_path.iterdir()) == [place]
    place.unlink()
    with drafts(place, replace=False) as (draft,):
        draft.write_text("ours")
    assert (place.read_text(), mode(place), place.stat().st_nlink) == ("ours", 0o600, 1)


@pytest.mark.parametrize("length", [1, 1_000_000], ids=["at-its-end", "at-once"])
def test_a_full_disk_is_told_of_the_file_that_was_to_be(tmp_path: Path, length: int) -> None:
    place = tmp_path / "out"
    with (
        pytest.raises(NotWritten, match="/out could not be written: No space left"),
        text_file(Path("/dev/full"), place) as file,
    ):
        file.writelines(["x" * length])


def test_a_link_under_the_drafts_name_is_not_followed(tmp_path: Path) -> None:
    other, draft = tmp_path / "other", tmp_path / "draft"
    other.write_text("anybody's")
    draft.symlink_to(other)
    with pytest.raises(NotWritten, match="/out could not be written: Too many levels"):
        text_file(draft, tmp_path / "out")
    assert other.read_text() == "anybody's"


def test_an_error_of_what_is_read_is_not_told_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the trail") as caught, text_draft(tmp_path / "out"):
        raise OSError("the trail")
    assert not isinstance(caught.value, NotWritten)
