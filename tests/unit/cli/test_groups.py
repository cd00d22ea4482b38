"""The groups of the command line: each lists its commands without importing them, in the commands' own words."""

import subprocess
import sys
from functools import cache

import click
import pytest
from click.testing import CliRunner

from gateway.cli import LazyGroup, cli
from gateway.cli.audit import audit
from gateway.cli.limits import limits

GROUPS = {"ecluse": cli, "ecluse audit": audit, "ecluse limits": limits}
LISTED = [(words, name) for words, group in GROUPS.items() for name in group.listed]
WHOLE_LINE = 1_000
HEAVY = (
    "redis",
    "tornado",
    "argon2",
    "duckdb",
    "babel",
    "jinja2",
    "mitmproxy",
    "gateway.assembly.services",
    "gateway.engine",
    "gateway.pages",
)

# Resolves a command as the command line does, word by word, and tells which modules that loaded.
PROBE = """
import sys
import click
from gateway.cli import cli
command = cli
for word in sys.argv[1:]:
    command = command.get_command(click.Context(command), word)
assert isinstance(command, click.Command)
print(*sys.modules, sep="\\n")
"""


@cache
def loaded(*words: str) -> set[str]:
    told = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def found_in(words: str, name: str) -> click.Command:
    group = GROUPS[words]
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


@pytest.mark.parametrize(("words", "name"), LISTED)
def test_a_listed_command_goes_by_that_name_and_its_line_is_its_own(words: str, name: str) -> None:
    command = found_in(words, name)
    assert command.name == name
    assert GROUPS[words].listed[name][1] == command.get_short_help_str(WHOLE_LINE)


@pytest.mark.parametrize("words", GROUPS)
def test_the_help_shows_every_command_with_its_whole_line(words: str) -> None:
    told = " ".join(CliRunner().invoke(GROUPS[words], ["--help"]).stdout.split())
    for name, (_, line) in GROUPS[words].listed.items():
        assert f"{name} {line}" in told


@pytest.mark.parametrize("words", [(), ("audit",), ("limits",)])
def test_a_group_imports_none_of_its_commands(words: tuple[str, ...]) -> None:
    ours = {module for module in loaded(*words) if module.startswith("gateway.")}
    assert ours == {"gateway.cli", *(f"gateway.cli.{word}" for word in words)}


# An operator's commands and the watcher act on accounts, of which the store knows; none of them shows a page.
@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("audit", "keep"), {"duckdb"}),
        (("audit", "watch"), {"redis", "argon2"}),
        (("audit", "publish"), {"tornado"}),
        (("account",), {"redis", "argon2"}),
        (("alerts",), set()),
        (("keys",), set()),
    ],
)
def test_a_command_loads_what_it_needs_and_no_more(words: tuple[str, ...], needed: set[str]) -> None:
    assert loaded(*words) & set(HEAVY) == needed


@pytest.mark.parametrize("name", ["keep", "watch"])
def test_what_runs_beside_the_gateway_loads_no_other_command_of_auditors(name: str) -> None:
    ours = {module for module in loaded("audit", name) if module.startswith("gateway.cli.audit_")}
    assert ours == {f"gateway.cli.audit_{name}"}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("verfy", "There is no command 'verfy'. Did you mean 'verify'?"),
        ("xyz", "There is no command 'xyz'. Commands: verify, query,"),
    ],
)
def test_a_misspelt_command_of_a_group_gets_a_suggestion(typed: str, said: str) -> None:
    answer = CliRunner().invoke(cli, ["audit", typed])
    assert answer.exit_code == 2
    assert said in answer.stderr


def test_what_is_listed_but_is_no_command_is_told() -> None:
    group = LazyGroup("group", listed={"wrong": ("gateway.cli:EXIT_DONE", "Nothing.")})
    with pytest.raises(TypeError, match=r"gateway\.cli:EXIT_DONE is not a command"):
        group.get_command(click.Context(group), "wrong")
    assert group.get_command(click.Context(group), "other") is None
