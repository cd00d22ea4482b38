"""``ecluse audit identify`` as a data-protection officer uses it: why first, the record next, the answer last."""

import csv
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from gateway.audit import files
from gateway.audit.encoding import decode
from gateway.audit.escrow import Escrow
from gateway.audit.query import pseudonyms
from gateway.cli import main
from gateway.configuration import init_keys, load_keys, rotate_key
from tests.unit.audit.logs import NOW_MS

SYSTEM = "urn:oid:1.2.250.1.999"
DPO = pyrage.x25519.Identity.generate()
UNKNOWN = "abcd1234:" + "0" * 32
CONFIG = """\
version: 1
gateway:
  listen: {{address: 127.0.0.1, port: 1}}
  state_dir: {folder}/state
  keys_dir: {folder}/keys
audit: {{dir: "{folder}/audit", escrow: {{recipients: [{recipient}]}}}}
realms: {{chu: {{}}}}
apps:
  demo:
    realm: chu
    hosts: [demo.chu.example]
    upstream: http://127.0.0.1:2
    login_page: /login
    login: [{{name: form, path: /login, account: user, success: {{status: 302}}}}]
    routes:
    - {{name: login, kind: login, path: /login}}
    - name: record
      kind: record
      path: /dossiers/{{id}}
      patients: {{path: id, normalise: [digits, unpad], system: "{system}"}}
      categories: [identite.nom]
"""


@dataclass(frozen=True)
class Ran:
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site whose escrow names three patients, one of them under a key that was replaced since."""
    text = CONFIG.format(folder=tmp_path, recipient=DPO.to_public(), system=SYSTEM)
    (tmp_path / "ecluse.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "dpo.txt").write_text(f"# kept elsewhere\n{DPO}\n")
    init_keys(tmp_path / "keys")
    kept = Escrow(tmp_path / "audit" / "escrow", "gateway", [str(DPO.to_public())])
    kept.open()
    kept.note([named(tmp_path, "4711")], SYSTEM, ["4711"], NOW_MS)
    rotate_key(tmp_path / "keys", "pseudonyms", "fresh1")
    kept.note([named(tmp_path, number) for number in ("4712", "=4713")], SYSTEM, ["4712", "=4713"], NOW_MS)
    kept.close()
    return tmp_path


def named(site: Path, clear_id: str, key: int = 0) -> str:
    return pseudonyms(load_keys(site / "keys").pseudonyms, SYSTEM, clear_id)[key]


def run(site: Path, *arguments: str | Path) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    words = ["audit", "identify", *map(str, arguments), "--config", str(site / "ecluse.yaml")]
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(words)
    return Ran(int(left.value.code or 0), out.getvalue(), err.getvalue())


def records(site: Path) -> list[dict[str, object]]:
    path = files.segment_path(site / "audit" / "operator", 0)
    return [decode(line) for line in files.read_lines(path)] if path.exists() else []


def with_identity(site: Path) -> tuple[str | Path, ...]:
    return ("--identity", site / "dpo.txt", "--reason", "art. 34")


def test_patients_are_told_under_old_keys_and_new_and_the_record_names_pseudonyms_alone(site: Path) -> None:
    asked = [named(site, "4711", 1), named(site, "4712")]
    found = run(site, *asked, *with_identity(site), "--json")
    assert found.exit_code == 0, found.stderr
    assert [json.loads(line) for line in found.stdout.splitlines()] == [
        {"pseudonym": asked[0], "system": SYSTEM, "id": "4711", "found": True},
        {"pseudonym": asked[1], "system": SYSTEM, "id": "4712", "found": True},
    ]
    (entry,) = records(site)
    assert (entry["kind"], entry["patients"]) == ("audit-identified", asked)
    assert entry["detail"] == {"reason": "art. 34", "source": "escrow", "asked": "2", "found": "2"}
    assert entry["operator"]
    for path in (site / "audit").rglob("*"):
        assert not path.is_file() or b"4711" not in path.read_bytes(), path


def test_a_table_a_spreadsheet_and_those_not_found(site: Path) -> None:
    asked = (named(site, "=4713"), UNKNOWN)
    as_table = run(site, *asked, *with_identity(site))
    assert as_table.exit_code == 1
    assert "=4713" in as_table.stdout
    assert "not found" in as_table.stdout
    assert "1 of 2 not found" in as_table.stderr
    as_csv = run(site, *asked, *with_identity(site), "--csv")
    assert list(csv.reader(io.StringIO(as_csv.stdout))) == [
        ["pseudonym", "system", "id"],
        [asked[0], SYSTEM, "'=4713"],
        [asked[1], "", ""],
    ]


def test_a_list_may_come_from_a_file(site: Path) -> None:
    (site / "list").write_text(f"{named(site, '4712')}\n\n{named(site, '4712')}\n")
    found = run(site, "--from-file", site / "list", *with_identity(site), "--json")
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == ["4712"]


@pytest.mark.parametrize(
    ("column", "content"),
    [
        ("1", "4000\n0004712\n"),
        ("IPP", "\ufeffNom;IPP\nDUPONT;4000\nMARTIN;4712\n"),
        ("2", "Nom,IPP\nDUPONT, 4712 \n"),
    ],
)
def test_candidates_are_tried_as_the_routes_fold_them_without_an_escrow(
    site: Path, column: str, content: str
) -> None:
    for path in (site / "audit" / "escrow").iterdir():
        path.unlink()
    (site / "ids.csv").write_text(content, encoding="utf-8")
    found = run(
        site, named(site, "4712"), "--candidates", site / "ids.csv", "--system", SYSTEM, "--column", column,
        "--reason", "art. 34", "--json",
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["id"] == "4712"
    (entry,) = records(site)
    assert entry["detail"]["source"] == "candidates"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("GOOD", "--identity", "DPO"), "--reason"),
        (("GOOD", "--identity", "DPO", "--reason", "  "), "--reason"),
        (("--identity", "DPO", "--reason", "x"), "--from-file"),
        (("GOOD", "--reason", "x"), "--candidates"),
        (("GOOD", "--identity", "DPO", "--candidates", "IDS", "--reason", "x"), "--identity"),
        (("GOOD", "--candidates", "IDS", "--reason", "x"), "--system"),
        (("4711", "--identity", "DPO", "--reason", "x"), "no pseudonym"),
        (("GOOD", "--identity", "STRANGER", "--reason", "x"), "opens nothing"),
        (("GOOD", "--identity", "IDS", "--reason", "x"), "no identity file"),
        (("GOOD", "--identity", "DPO", "--from", "2027-01-01", "--reason", "x"), "no escrow"),
        (("GOOD", "--candidates", "IDS", "--system", "x", "--column", "none", "--reason", "x"), "no column"),
        (("FOREIGN", "--candidates", "IDS", "--system", "x", "--reason", "x"), "does not hold"),
    ],
)
def test_a_wrong_question_is_told_and_neither_answered_nor_recorded(
    site: Path, arguments: tuple[str, ...], said: str
) -> None:
    (site / "ids.csv").write_text("4711\n4712\n")
    (site / "stranger.txt").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    places = {
        "GOOD": named(site, "4712"),
        "FOREIGN": UNKNOWN,
        "DPO": site / "dpo.txt",
        "STRANGER": site / "stranger.txt",
        "IDS": site / "ids.csv",
    }
    found = run(site, *(places.get(argument, argument) for argument in arguments))
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stdout == ""
    assert records(site) == []


def test_nothing_is_shown_that_could_not_be_recorded(site: Path) -> None:
    (site / "audit" / "operator").write_bytes(b"")
    found = run(site, named(site, "4712"), *with_identity(site), "--json")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "nothing is shown" in found.stderr


def test_a_lie_in_the_escrow_is_told_and_not_believed(site: Path) -> None:
    lie = json.dumps([named(site, "4712"), SYSTEM, "9999"]).encode()
    block = pyrage.encrypt(lie, [DPO.to_public()], armored=True)
    (site / "audit" / "escrow" / "2099-01-01.gateway.age").write_bytes(block)
    found = run(site, named(site, "4712"), *with_identity(site), "--json")
    assert json.loads(found.stdout)["id"] == "4712"
    assert "1 entries contradict" in found.stderr


def test_a_numbering_that_looks_like_a_formula_is_text_in_a_spreadsheet(site: Path) -> None:
    system = "=cmd|'/c calc'!A1"
    (asked,) = pseudonyms(load_keys(site / "keys").pseudonyms, system, "4711")[:1]
    (site / "ids.csv").write_text("4711\n")
    found = run(
        site, asked, "--candidates", site / "ids.csv", "--system", system, "--reason", "art. 34", "--csv"
    )
    assert list(csv.reader(io.StringIO(found.stdout)))[1] == [asked, f"'{system}", "4711"]
