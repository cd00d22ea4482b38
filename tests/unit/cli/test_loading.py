"""Identities as commands read them: the passphrase is asked for once, where no pipe takes it, and never shown."""

from pathlib import Path

import click
import pyrage
from click.testing import CliRunner, Result

from gateway.cli.loading import identities_or_exit

PASSPHRASE = "deux canards au portail"


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def count(path: Path) -> None:
    """Print how many identities *path* holds."""
    click.echo(len(identities_or_exit(path)))


def typed(path: Path, text: str) -> Result:
    return CliRunner().invoke(count, [str(path)], input=text)


def test_the_passphrase_is_asked_for_once_and_beside_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "dpo.age"
    plain = f"{pyrage.x25519.Identity.generate()}\n".encode()
    path.write_bytes(pyrage.passphrase.encrypt(plain, PASSPHRASE))
    ran = typed(path, f"{PASSPHRASE}\n")
    assert (ran.exit_code, ran.stdout) == (0, "1\n"), ran.stderr
    assert ran.stderr.count("Passphrase of the identity") == 1
    assert PASSPHRASE not in ran.output


def test_an_identity_in_clear_needs_no_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "dpo.txt"
    path.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    ran = typed(path, "")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "1\n", "")


def test_an_identity_that_is_not_there_is_named(tmp_path: Path) -> None:
    ran = typed(tmp_path / "nowhere", "")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert f"{tmp_path / 'nowhere'} cannot be read" in ran.stderr
