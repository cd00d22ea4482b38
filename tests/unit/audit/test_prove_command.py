"""``ecluse audit prove`` and ``ecluse audit verify --proof``: a proof leaves the house and is checked elsewhere."""

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, split_note, verifier_of
from gateway.audit.cosignature import WitnessSecret, cosign, with_lines
from gateway.audit.encoding import decode, encode
from gateway.audit.segments import Journal
from gateway.audit.witnessed import keep_cosigned
from gateway.cli import audit_prove
from gateway.configuration import init_keys, load_keys
from tests.unit.audit.logs import SALT, an_event
from tests.unit.audit.test_command import Ran, run

WITNESS = WitnessSecret("ars.example/w1", b"\7" * 32)
OTHER = WitnessSecret("chu.example/w1", b"\x08" * 32)


@pytest.fixture(scope="module")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys") / "keys"
    init_keys(place)
    return place


@pytest.fixture
def audit_dir(tmp_path: Path, keys_dir: Path) -> Path:
    log = Journal(tmp_path / "audit" / "gw-1", LOG_NAME, load_keys(keys_dir).checkpoint, segment_bytes=1_000)
    log.open()
    for number in range(12):
        event = an_event(number, request_id=f"r{number // 2}", reference=f"ref{number}")
        log.commit([encode(event, seq=log.size, salt=SALT)])
        if log.is_full:
            log.rotate()
    log.close()
    return tmp_path / "audit"


def key(keys_dir: Path) -> str:
    return verifier_of(LOG_NAME, load_keys(keys_dir).checkpoint.key()).text()


def prove(audit_dir: Path, keys_dir: Path, event: str, *more: str | Path) -> Ran:
    place = ("--audit-dir", audit_dir, "--keys-dir", keys_dir, "--reason", "complaint 12")
    return run("prove", event, "-o", audit_dir.parent / "x.tlog-proof", *place, *more)


def cosign_log(log: Path, *by: WitnessSecret) -> None:
    note = (log / files.CHECKPOINT).read_bytes()
    text, _ = split_note(note)
    keep_cosigned(log, with_lines(note, [cosign(text, secret, 1_790_000_000)[:-1] for secret in by]))


def test_a_proof_with_its_entry_convinces_somebody_who_has_the_key_alone(
    audit_dir: Path, keys_dir: Path, tmp_path: Path
) -> None:
    made = prove(audit_dir, keys_dir, "gw-1:7", "--with-entry", "--json")
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["seq"] == 7
    (told,) = [decode(line) for line in files.read_lines(files.segment_path(audit_dir / "operator", 0))]
    assert (told["kind"], told["detail"]) == ("audit-proved", {"entry": "gw-1:7", "reason": "complaint 12"})
    shutil.rmtree(audit_dir)
    proof, entry = tmp_path / "x.tlog-proof", tmp_path / "x.jsonl"
    assert decode(entry.read_bytes())["request_id"] == "r3"
    with_entry = run("verify", "--proof", proof, "--entry", entry, "--key", key(keys_dir))
    assert with_entry.exit_code == 0, with_entry.stderr
    assert "this entry is entry 7 of 12" in with_entry.stdout
    without = run("verify", "--proof", proof, "--key", key(keys_dir), "--json")
    assert json.loads(without.stdout) == {
        "holds": True, "file": str(proof), "origin": "ecluse/gw-1", "seq": 7, "size": 12, "entry_checked": False,
        "by": [],
    }  # fmt: skip
    entry.write_bytes(entry.read_bytes().replace(b"r3", b"r4"))
    altered = run("verify", "--proof", proof, "--entry", entry, "--key", key(keys_dir))
    assert altered.exit_code == 1
    assert "FAILS" in altered.stdout
    assert "this entry is not entry 7" in altered.stdout


def test_several_keys_may_be_given_and_a_strangers_key_proves_nothing(
    audit_dir: Path, keys_dir: Path, tmp_path: Path
) -> None:
    assert prove(audit_dir, keys_dir, "gw-1:0").exit_code == 0
    proof, stranger = tmp_path / "x.tlog-proof", verifier_of(LOG_NAME, bytes(range(32))).text()
    assert run("verify", "--proof", proof, "--key", stranger, "--key", key(keys_dir)).exit_code == 0
    refused = run("verify", "--proof", proof, "--key", stranger)
    assert refused.exit_code == 1
    assert "not signed by any" in refused.stdout


def test_an_event_is_named_by_its_reference_or_by_a_request_that_has_one(
    audit_dir: Path, keys_dir: Path
) -> None:
    found = prove(audit_dir, keys_dir, "ref9", "--json")
    assert json.loads(found.stdout)["seq"] == 9
    several = prove(audit_dir, keys_dir, "r3")
    assert several.exit_code == 2
    assert "names 2 events" in several.stderr
    assert "gw-1:6 (access), gw-1:7 (access)" in several.stderr


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("gw-1:12", "entry 12 is not among them"),
        ("gw-2:1", "no log of the writer 'gw-2': gw-1"),
        ("nobody", "no event bears"),
    ],
)
def test_what_cannot_be_proven_is_told_and_not_recorded(
    audit_dir: Path, keys_dir: Path, event: str, said: str
) -> None:
    found = prove(audit_dir, keys_dir, event)
    assert found.exit_code == 2
    assert said in found.stderr
    assert not (audit_dir / "operator").exists()
    assert not (audit_dir.parent / "x.tlog-proof").exists()


def test_a_purged_entry_is_proven_by_its_hash_alone(audit_dir: Path, keys_dir: Path, tmp_path: Path) -> None:
    shutil.copy(files.segment_path(audit_dir / "gw-1", 0), tmp_path / "kept")
    files.segment_path(audit_dir / "gw-1", 0).unlink()
    gone = prove(audit_dir, keys_dir, "gw-1:1", "--with-entry")
    assert gone.exit_code == 2
    assert "without the entry" in gone.stderr
    assert prove(audit_dir, keys_dir, "gw-1:1").exit_code == 0
    # Somebody who kept the entry can still show that it was logged.
    (tmp_path / "entry").write_bytes((tmp_path / "kept").read_bytes().splitlines(keepends=True)[1])
    arguments = ("verify", "--proof", tmp_path / "x.tlog-proof", "--entry", tmp_path / "entry")
    assert run(*arguments, "--key", key(keys_dir)).exit_code == 0


def test_a_proof_is_made_on_a_copy_and_by_a_kept_checkpoint(
    audit_dir: Path, keys_dir: Path, tmp_path: Path
) -> None:
    kept = shutil.copy(min((audit_dir / "gw-1").glob("0*.checkpoint")), tmp_path / "kept")
    place = ("--audit-dir", audit_dir, "--copy", "--key", key(keys_dir), "--checkpoint", kept)
    made = run("prove", "gw-1:0", "-o", tmp_path / "x.tlog-proof", *place, "--json")
    assert made.exit_code == 0, made.stderr
    size = json.loads(made.stdout)["size"]
    assert size < 12
    assert run("verify", "--proof", tmp_path / "x.tlog-proof", "--key", key(keys_dir)).exit_code == 0
    late = run("prove", f"gw-1:{size}", "-o", tmp_path / "y.tlog-proof", *place)
    assert late.exit_code == 2
    assert f"signs {size} entries" in late.stderr


def test_a_proof_is_asked_to_be_witnessed(audit_dir: Path, keys_dir: Path, tmp_path: Path) -> None:
    proof = tmp_path / "x.tlog-proof"
    assert prove(audit_dir, keys_dir, "gw-1:4").exit_code == 0
    asked = ("verify", "--proof", proof, "--key", key(keys_dir), "--witness", WITNESS.public.text())
    refused = run(*asked)
    assert refused.exit_code == 1
    assert "not witnessed as asked: cosigned by nobody" in refused.stdout
    cosign_log(audit_dir / "gw-1", WITNESS)
    assert prove(audit_dir, keys_dir, "gw-1:4").exit_code == 0
    held = run(*asked)
    assert held.exit_code == 0, held.stdout
    assert "cosigned by ars.example/w1 at 2026-09-21T14:13:20Z" in held.stdout
    assert run(*asked, "--witness", OTHER.public.text()).exit_code == 1
    assert run(*asked, "--witness", OTHER.public.text(), "--quorum", "1").exit_code == 0
    policy = tmp_path / "policy"
    policy.write_text(f"log {key(keys_dir)}\nwitness ars {WITNESS.public.text()}\nquorum ars\n")
    assert run("verify", "--proof", proof, "--policy", policy).exit_code == 0


def test_a_log_is_asked_to_be_witnessed_and_to_hold_what_was(audit_dir: Path, keys_dir: Path) -> None:
    asked = ("verify", audit_dir, "--key", key(keys_dir), "--witness", WITNESS.public.text())
    assert run(*asked[:-2]).exit_code == 0
    missing = run(*asked)
    assert missing.exit_code == 1
    assert "no checkpoint of this log was cosigned" in missing.stdout
    cosign_log(audit_dir / "gw-1", WITNESS)
    held = run(*asked)
    assert held.exit_code == 0, held.stdout
    assert "seen    ecluse/gw-1: 12 entries, cosigned by ars.example/w1" in held.stdout
    # Whoever holds the log's key rewrites it whole; the witness's word remains.
    seen = (audit_dir / "gw-1" / "cosigned").read_bytes()
    shutil.rmtree(audit_dir / "gw-1")
    log = Journal(audit_dir / "gw-1", LOG_NAME, load_keys(keys_dir).checkpoint, segment_bytes=1_000_000)
    log.open()
    for number in range(12):
        log.commit([encode(an_event(number, account="somebody.else"), seq=number, salt=SALT)])
    log.close()
    assert run(*asked[:-2]).exit_code == 0
    (audit_dir / "gw-1" / "cosigned").write_bytes(seen)
    found = run(*asked)
    assert found.exit_code == 1
    assert "the exported checkpoint" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "--proof", "JUNK", "--key", "KEY"), "not a proof file"),
        (("verify", "--proof", "JUNK", "DIR", "--key", "KEY"), "without a log"),
        (("verify", "DIR", "--entry", "JUNK", "--key", "KEY"), "give --proof"),
        (("verify", "DIR", "--key", "KEY", "--quorum", "2"), "--witness"),
        (("verify", "DIR", "--key", "KEY", "--witness", "junk"), "witness key"),
        (("verify", "DIR", "--key", "KEY", "--policy", "JUNK"), "line 1"),
        (("prove", "gw-1:1", "-o", "OUT", "--audit-dir", "DIR"), "--keys-dir"),
        (("prove", "gw-1:1", "-o", "OUT", "--audit-dir", "DIR", "--keys-dir", "KEYS"), "--reason"),
        (("prove", "gw-1:1", "-o", "OUT", "--copy"), "--audit-dir and --key"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_told(
    audit_dir: Path, keys_dir: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "junk").write_text("junk\n")
    places = {
        "JUNK": tmp_path / "junk", "DIR": audit_dir, "OUT": tmp_path / "out", "KEYS": keys_dir, "KEY": key(keys_dir),
    }  # fmt: skip
    found = run(*(places.get(argument, argument) for argument in arguments))
    assert found.exit_code == 2
    assert said in found.stderr


def test_what_the_engine_says_of_an_entry_is_not_repeated(
    audit_dir: Path, keys_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> list[dict[str, object]]:
        raise duckdb.ConversionException("could not read '4711 DUPONT'")

    monkeypatch.setattr(audit_prove, "ask", refusing)
    refused = prove(audit_dir, keys_dir, "ref9")
    assert refused.exit_code == 2
    assert "the proof could not be made: the engine refuses (ConversionException)" in refused.stderr
    assert "DUPONT" not in refused.stderr
