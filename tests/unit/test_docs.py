"""The pages say what is there: every word explained, every file named exists, every figure computed."""

import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.accounts.totp import DIGITS
from gateway.cli import cli
from gateway.configuration.keys import PURPOSES
from gateway.policy.policy import FailureBudget
from gateway.telemetry import REGISTRY
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import Control

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
SAMPLES = sorted(path for path in (ROOT / "config").rglob("*") if path.is_file())
OPERATIONS = (DOCS / "operations.md").read_text("utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
THREATS = (DOCS / "threat-model.md").read_text("utf-8")

_NAMED = re.compile(r"`((?:gateway|addons|tests|config|docs|loadtest|decisions)/[\w./*-]+)(?:::(\w+))?`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def section(page: str, title: str) -> str:
    """Return what stands under the heading *title*, up to the next heading of its level."""
    level = re.search(rf"^(#+) {re.escape(title)}$", page, re.MULTILINE)
    assert level is not None, f"no section {title!r}"
    rest = page[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end is not None else rest


def first_cells(text: str) -> set[str]:
    """Return the code words in the first cells of the tables of *text*."""
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {word for cell in rows for word in re.findall(r"`([^`]+)`", cell)}


def reserved(text: str) -> set[str]:
    """Return the words that *text* says are not used by this version."""
    lines = re.findall(r"^Reserved, not used by this version: (.*)$", text, re.MULTILINE)
    return {word for line in lines for word in re.findall(r"`([^`]+)`", line)}


@pytest.mark.parametrize(
    ("title", "words"), [("Reasons", Reason), ("Audit events", EventKind), ("Controls", Control)]
)
def test_every_word_of_a_closed_list_is_explained_and_no_other(title: str, words: type[StrEnum]) -> None:
    text = section(OPERATIONS, title)
    assert first_cells(text) | reserved(text) == {word.value for word in words}
    assert not first_cells(text) & reserved(text)


@pytest.mark.parametrize(("title", "words"), [("Reasons", Reason), ("Audit events", EventKind)])
def test_words_called_reserved_are_used_nowhere_and_the_others_somewhere(
    title: str, words: type[StrEnum]
) -> None:
    # The texts of pages have a sentence for each reason, exports a row for each kind, used or not.
    files = [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "addons").rglob("*.py")]
    code = "\n".join(
        path.read_text("utf-8")
        for path in files
        if not {"vocabulary", "pages", "export"} & {*path.relative_to(ROOT).parts}
    )
    used = {word.value for word in words if re.search(rf"\b{words.__name__}\.{word.name}\b", code)}
    assert {word.value for word in words} - used == reserved(section(OPERATIONS, title))


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its words."""

    def walk(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield words, command
            return
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, f"{words} {name}")

    return walk(cli, "ecluse")


def test_every_command_is_explained_and_no_other() -> None:
    assert first_cells(section(OPERATIONS, "Commands")) == {words for words, _ in commands()}


def test_commands_in_the_pages_exist_with_the_options_they_are_given() -> None:
    known = dict(commands())
    named = set()
    for page in PAGES:
        for line in re.findall(r"\becluse (?:[a-z]+ ){1,2}[^`|\n]*", page.read_text("utf-8")):
            words = line.split()
            name = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in known), None)
            if name is None:
                continue
            options = {option for one in known[name].params for option in one.opts} | {"--help"}
            given = set(re.findall(r"(?<=\s)--[a-z-]+", line))
            assert given <= options, f"{shown(page)}: {line}"
            named.add(name)
    assert "ecluse account lock" in named


def test_every_metric_is_explained_and_no_other() -> None:
    names = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith("ecluse_")
    }
    told = {name for name in first_cells(section(OPERATIONS, "Metrics")) if name.startswith("ecluse_")}
    assert told == names


def test_every_metric_is_fed_somewhere() -> None:
    declared = re.findall(
        r"^([A-Z_]+) = (?:_counter|Histogram|Gauge)\(",
        (ROOT / "gateway/telemetry.py").read_text(),
        re.MULTILINE,
    )
    assert len(declared) > 10
    code = "\n".join(
        path.read_text("utf-8") for folder in ("gateway", "addons") for path in (ROOT / folder).rglob("*.py")
    )
    assert [name for name in declared if len(re.findall(rf"\b{name}\b", code)) < 2] == []


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text("utf-8")):
        if "://" not in target:
            name = target.partition("#")[0]
            assert name, f"{target}: name the page"
            assert (page.parent / name).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    for name, test in _NAMED.findall(page.read_text("utf-8")):
        found = [*ROOT.glob(name.rstrip("/")), *page.parent.glob(name.rstrip("/"))]
        assert found, name
        if test:
            text = found[0].read_text("utf-8")
            assert re.search(rf"^(?:async )?def {test}\(", text, re.MULTILINE), f"{name}::{test}"


def test_claims_are_proven() -> None:
    assert len({test for _, test in _NAMED.findall(THREATS) if test}) > 30


@pytest.mark.parametrize("page", [*PAGES, *SAMPLES], ids=shown)
def test_nothing_of_the_workshop_is_told(page: Path) -> None:
    text = page.read_text("utf-8")
    found = re.findall(
        r"/(?:root|work|tmp|home)/|pypi\.org|pythonhosted|index-url|artifactory|jfrog|\bTODO\b|\bFIXME\b",
        text,
    )
    assert not found


def tree() -> list[str]:
    """Return the lines of the picture of the house."""
    return re.findall(r"```text\n(.*?)```", section(ARCHITECTURE, "The rooms"), re.DOTALL)[0].splitlines()


@pytest.mark.parametrize("folder", ["addons", "gateway"])
def test_the_picture_shows_every_room(folder: str) -> None:
    names, inside = set(), False
    for line in tree():
        if not line.startswith(" "):
            inside = line.startswith(f"{folder}/")
        elif inside:
            names.add(line.split()[0])
    there = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / folder).iterdir()
        if not path.name.startswith("__")
    }
    assert names == there


def test_the_floors_are_those_that_are_checked() -> None:
    contracts: Any = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    told = re.findall(r"^\| \d+ \| (.*) \|$", section(ARCHITECTURE, "Who may import whom"), re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in told] == [layer.split(" | ") for layer in layers]


def test_every_key_file_is_explained() -> None:
    assert first_cells(section(ARCHITECTURE, "Key files")) == {f"{purpose}.json" for purpose in PURPOSES}


def test_every_key_of_the_store_is_explained() -> None:
    told = first_cells(section(ARCHITECTURE, "Keys of the store"))
    kinds = {name.replace("{ID}:", "").replace("{HASH}", "").removesuffix("SID").strip(":") for name in told}
    lua = "\n".join(path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.lua"))
    for kind in re.findall(r"stem \.\. '(\w+):?'", lua) + re.findall(r"'ecluse:([a-z:]+)'", lua):
        assert f"ecluse:{kind}" in kinds, kind


def tries_in(seconds: float, budget: FailureBudget) -> int:
    """Return how many wrong codes fit into *seconds* when each is typed as soon as it may be."""
    now, tries = 0.0, 0
    while now < seconds and tries < budget.lock_at:
        tries += 1
        if tries >= budget.free:
            now += min(budget.longest_delay_s, budget.first_delay_s * 2 ** (tries - budget.free))
    return tries


def test_the_odds_of_guessing_are_those_told() -> None:
    budget, hit = FailureBudget(), 2 / 10**DIGITS
    text = section(THREATS, "Guessing a code")

    def chance(tries: int) -> float:
        return 100 * (1 - (1 - hit) ** tries)

    a_day = tries_in(86_400, budget)
    assert f"{chance(budget.lock_at):.4f} %" in text
    assert f"{chance(10 * budget.lock_at):.3f} %" in text
    assert f"{a_day} tries a day" in text
    assert f"{chance(a_day):.4f} % a day" in text
    assert f"{chance(365 * a_day):.2f} % a year" in text
    assert f"{budget.lock_at} failures in a row" in text
    last_try_h = next(
        hours for hours in range(1, 1_000) if tries_in(3_600 * hours + 1, budget) == budget.lock_at
    )
    assert f"take {last_try_h - 1} hours" in text or f"take {last_try_h} hours" in text
