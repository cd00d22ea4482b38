"""Versions with known faults are named with what was found, what is wanted, and the mend."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gateway.dependencies import WANTED, DependenciesRefused, Wanted, fault, faults, installed

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize(
    ("found", "is_taken"),
    [
        ("12.2.2", True),
        ("12.2.3", True),
        ("12.2.2.post1", True),
        ("12.2.1", False),
        ("12.2.2rc1", False),
        ("12.3", False),
        ("12.10.0", False),
        ("13.0", False),
        ("11.0.2", False),
        ("9.9", False),
        ("unknown", False),
        (None, False),
    ],
)
def test_a_version_is_taken_or_named(found: str | None, is_taken: bool) -> None:
    said = fault(Wanted("mitmproxy", "12.2.2", "measured", "12.3"), found)
    assert (said is None) is is_taken
    if said is not None:
        assert "install mitmproxy>=12.2.2,<12.3" in said
        assert (found or "not installed") in said


def test_what_is_installed_here_is_taken() -> None:
    assert faults() == []
    assert installed("no-such-package-at-all") is None


def test_every_fault_is_told_at_once() -> None:
    said = faults({"h11": "0.14.0", "h2": "4.1.0"}.get)
    assert len(said) == len(WANTED)
    assert str(DependenciesRefused(said)).count("install ") == len(WANTED)


def test_what_is_refused_at_start_is_not_installed_in_the_first_place() -> None:
    """O07 The requirements of the package are as strict as the check at the start."""
    asked = {one.name: one.specifier for one in map(Requirement, PROJECT["dependencies"])}
    for wanted in WANTED:
        assert wanted.least not in ("", None)
        assert f">={wanted.least}" in str(asked[wanted.package]), wanted.package
        if wanted.below is not None:
            assert f"<{wanted.below}" in str(asked[wanted.package])
