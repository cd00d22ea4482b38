"""``ecluse keys``: made once, shown by their public parts only."""

import base64
import json
from pathlib import Path

import pytest

from gateway.audit.checkpoint import verifier_of
from gateway.audit.query import pseudonyms
from gateway.configuration import load_keys
from tests.unit.cli.test_config import CONFIGS, run


def test_keys_are_made_once_and_shown_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "working_smallest.yml").read_text().replace("gateway:", "gateway:\n  keys_dir: keys", 1)
    config = tmp_path / "ecluse.yaml"
    config.write_text(text)
    assert run("keys", "show", "--config", str(config)) == 2
    assert "ecluse keys init" in capsys.readouterr().err

    assert run("keys", "init", "--config", str(config)) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7
    assert run("keys", "init", "--dir", str(tmp_path / "keys")) == 2
    assert "never overwritten" in capsys.readouterr().err

    assert run("keys", "show", "--config", str(config)) == 0
    shown = capsys.readouterr().out
    assert run("keys", "show", "--json", "--config", str(config)) == 0
    told = json.loads(capsys.readouterr().out)
    keys = load_keys(tmp_path / "keys")
    for purpose, kid in told["current"].items():
        secret = getattr(keys, purpose).keys[kid]
        assert base64.b64encode(secret).decode() not in shown
        assert secret.hex() not in shown
    # C2SP signed-note: name, hash of name and key, type 1 before the 32 bytes of the public key.
    name, key_hash, encoded = told["audit_verifier_key"].split("+", 2)
    assert (name, len(key_hash)) == ("ecluse", 8)
    assert base64.b64decode(encoded)[0] == 1
    assert len(base64.b64decode(encoded)) == 33
    assert told["audit_verifier_key"] in shown


def test_a_checkpoint_key_that_has_turned_is_still_shown_to_auditors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "working_smallest.yml").read_text().replace("gateway:", "gateway:\n  keys_dir: keys", 1)
    config = tmp_path / "ecluse.yaml"
    config.write_text(text)
    assert run("keys", "init", "--config", str(config)) == 0
    path = tmp_path / "keys" / "checkpoint.json"
    ring = json.loads(path.read_text())
    before = load_keys(tmp_path / "keys").checkpoint
    ring["keys"]["second"] = base64.b64encode(bytes(range(100, 228, 4))).decode()[:-4] + "abc="
    path.write_text(json.dumps({**ring, "current": "second"}))
    capsys.readouterr()
    assert run("keys", "show", "--json", "--config", str(config)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["audit_verifier_keys_before"] == [verifier_of("ecluse", before.key()).text()]
    assert told["audit_verifier_key"] not in told["audit_verifier_keys_before"]


def test_a_new_key_of_the_pseudonyms_is_recorded_and_the_old_one_still_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "working_smallest.yml").read_text()
    text = text.replace("gateway:", f"gateway:\n  keys_dir: keys\n  state_dir: {tmp_path}/state", 1)
    config = tmp_path / "ecluse.yaml"
    config.write_text(text)
    assert run("keys", "init", "--config", str(config)) == 0
    before = pseudonyms(load_keys(tmp_path / "keys").pseudonyms, "urn:a", "4711")
    capsys.readouterr()

    assert run("keys", "rotate", "pseudonyms", "--config", str(config)) == 2
    assert "--reason" in capsys.readouterr().err
    assert run("keys", "rotate", "names", "--reason", "x", "--config", str(config)) == 2
    capsys.readouterr()
    assert run("keys", "rotate", "pseudonyms", "--reason", "yearly", "--config", str(config), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    ring = load_keys(tmp_path / "keys").pseudonyms
    assert ring.current == told["current"]
    after = pseudonyms(ring, "urn:a", "4711")
    assert after[0].startswith(f"{told['current']}:")
    assert after[1:] == before

    (log,) = (tmp_path / "state" / "audit" / "operator").glob("*.jsonl")
    (entry,) = (json.loads(line) for line in log.read_bytes().splitlines())
    assert (entry["kind"], entry["reason"]) == ("keys-made", "yearly")
    assert entry["detail"] == {
        "act": "rotate",
        "purpose": "pseudonyms",
        "kid": ring.current,
        "before": before[0].split(":")[0],
    }
