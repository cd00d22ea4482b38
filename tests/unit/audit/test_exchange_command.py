"""Checkpoints leave a closed network by files, are cosigned elsewhere and come back; others are kept in a directory."""

import json
import shutil
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, verifier_of
from gateway.audit.encoding import decode, encode
from gateway.audit.segments import Journal
from gateway.audit.witness_server import Pace
from gateway.audit.witness_store import WitnessStore, WitnessUnusable, init_witness
from gateway.cli import main
from gateway.configuration import init_keys, load_keys
from tests.unit.audit.logs import SALT, an_event

CONFIGS = Path(__file__).parents[2] / "configs"
SECRET = b"\x0b" * 31 + b"\x0c"


class House:
    """A gateway's configuration, keys and log, and a neighbour's witness, in one folder."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], publish: str = "") -> None:
        self.place, self.capsys = place, capsys
        self.config = place / "ecluse.yaml"
        text = (CONFIGS / "working_smallest.yml").read_text()
        text = text.replace("gateway:", "gateway:\n  keys_dir: keys\n  state_dir: state", 1)
        self.config.write_text(text.replace("realms:", f"audit: {{dir: audit{publish}}}\nrealms:", 1))
        init_keys(place / "keys")
        self.ring = load_keys(place / "keys").checkpoint
        self.log = place / "audit" / "gateway"
        self.witness = place / "witness"
        self.key = init_witness(self.witness, "chu.example/w1", lambda _: SECRET).public.text()
        self.know()

    def know(self) -> None:
        key = verifier_of(LOG_NAME, self.ring.key()).text()
        with (self.witness / "logs").open("a") as known:
            known.write(f"ecluse/gateway {key}\n")

    def write(self, first: int, count: int, **values: object) -> None:
        log = Journal(self.log, LOG_NAME, self.ring, segment_bytes=1_500)
        log.open()
        for number in range(first, first + count):
            log.commit([encode(an_event(number, **values), seq=log.size, salt=SALT)])
            if log.is_full:
                log.rotate()
        log.close()

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([*map(str, arguments)])
        told = self.capsys.readouterr()
        return int(left.value.code or 0), told.out, told.err

    def audit(self, *arguments: str | Path) -> tuple[int, str, str]:
        return self.run("audit", *arguments, "--config", self.config)

    def verify(self) -> tuple[int, str, str]:
        key = verifier_of(LOG_NAME, self.ring.key()).text()
        return self.run("audit", "verify", self.log, "--key", key, "--witness", self.key)

    def exchange(self) -> tuple[int, str, str]:
        """Carry the log's checkpoint to the witness and its answer back; the first step that fails tells."""
        usb = self.place / "usb"
        usb.mkdir(exist_ok=True)
        asked, answer = usb / "gateway.add-checkpoint", usb / "gateway.cosigned"
        for step in (
            ("audit", "checkpoint", "export", "-o", usb, "--witness", self.key, "--config", self.config),
            ("witness", "cosign", asked, "-o", answer, "--dir", self.witness),
            ("audit", "checkpoint", "import", answer, "--witness", self.key, "--config", self.config),
        ):
            code, out, err = self.run(*step)
            if code:
                break
        return code, out, err


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    made = House(tmp_path, capsys)
    made.write(0, 9)
    return made


def test_a_closed_network_is_witnessed_by_files(house: House) -> None:
    assert house.verify()[0] == 1
    code, out, _ = house.exchange()
    assert code == 0
    assert "ecluse/gateway, 9 entries, cosigned by chu.example/w1" in out
    house.write(9, 5)
    # The second time the export knows by itself what the witness saw.
    assert house.exchange()[0] == 0
    code, out, _ = house.verify()
    assert code == 0, out
    assert "seen    ecluse/gateway: 14 entries" in out
    code, out, _ = house.run("witness", "show", "--dir", house.witness, "--json")
    assert json.loads(out) == {"verifier_key": house.key, "logs": {"ecluse/gateway": 14}}


def test_a_rewritten_log_is_not_cosigned(house: House) -> None:
    assert house.exchange()[0] == 0
    seen = (house.log / "cosigned").read_bytes()
    shutil.rmtree(house.log)
    house.write(0, 12, account="somebody.else")
    (house.log / "cosigned").write_bytes(seen)
    code, out, _ = house.exchange()
    assert code == 1
    assert "history" in out or "past was rewritten" in out
    assert house.verify()[0] == 1


def test_a_witness_that_saw_more_says_from_where_to_export(house: House) -> None:
    assert house.exchange()[0] == 0
    (house.log / "cosigned").unlink()
    house.write(9, 3)
    code, out, _ = house.exchange()
    assert code == 1
    assert "export again with --since 9" in out
    usb = house.place / "usb"
    asked, answer = usb / "gateway.add-checkpoint", usb / "answer"
    assert house.audit("checkpoint", "export", "-o", usb, "--log", "gateway", "--since", "9")[0] == 0
    assert house.run("witness", "cosign", asked, "-o", answer, "--dir", house.witness)[0] == 0
    assert house.audit("checkpoint", "import", answer, "--witness", house.key)[0] == 0


def test_what_comes_back_must_be_ours_and_cosigned_by_who_was_asked(house: House) -> None:
    assert house.exchange()[0] == 0
    answer = house.place / "usb" / "gateway.cosigned"
    own = house.place / "own"
    own.write_bytes((house.log / "checkpoint").read_bytes())
    altered = house.place / "altered"
    altered.write_bytes(answer.read_bytes().replace(b"\n9\n", b"\n8\n"))
    for path, said in ((own, "no known witness cosigned it"), (altered, "altered")):
        code, _, err = house.audit("checkpoint", "import", path, "--witness", house.key)
        assert code == 1
        assert said in err
    code, _, err = house.audit("checkpoint", "import", answer)
    assert code == 2
    assert "give --witness" in err
    shutil.rmtree(house.log)
    house.write(0, 12, account="somebody.else")
    code, _, err = house.audit("checkpoint", "import", answer, "--witness", house.key)
    assert code == 1
    assert "does not hold the 9 entries" in err


def test_a_log_nobody_knows_and_a_file_of_junk_are_refused(house: House, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk\n")
    code, _, err = house.run("witness", "cosign", junk, "-o", tmp_path / "x", "--dir", house.witness)
    assert (code, "no empty line" in err) == (2, True)
    (house.witness / "logs").write_text("# nobody\n")
    code, out, _ = house.exchange()
    assert code == 1
    assert "does not know the log" in out
    code, _, err = house.audit("checkpoint", "export", "-o", tmp_path, "--log", "other")
    assert (code, "no log other" in err) == (2, True)


def test_publish_once_keeps_checkpoints_in_a_directory_and_records_a_contradiction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(tmp_path, capsys, ", publish: [{directory: archive}]")
    house.write(0, 4)
    (tmp_path / "archive").mkdir()
    code, out, _ = house.audit("publish", "--once", "--json")
    assert code == 0
    assert json.loads(out)["size"] == 4
    assert (tmp_path / "archive" / "ecluse" / "gateway" / "checkpoint").exists()
    shutil.rmtree(house.log)
    house.write(0, 6, account="somebody.else")
    code, out, err = house.audit("publish", "--once")
    assert code == 1
    assert out.startswith("ALARM   ecluse/gateway, directory ")
    assert "checkpoint_contradicted" in err
    (told,) = [
        decode(line) for line in files.read_lines(files.segment_path(tmp_path / "audit" / "operator", 0))
    ]
    assert told["kind"] == "checkpoint-contradicted"
    assert told["detail"]["log"] == "ecluse/gateway"
    assert house.verify()[0] == 1


def test_publish_says_when_there_is_nothing_to_do(house: House) -> None:
    code, _, err = house.audit("publish", "--once")
    assert (code, "audit.publish" in err) == (2, True)


def test_a_witness_whose_state_was_put_in_from_elsewhere_signs_nothing(house: House) -> None:
    assert house.exchange()[0] == 0
    (kept,) = (house.witness / "state").glob("*/checkpoint")
    kept.write_bytes((house.log / "checkpoint").read_bytes())
    house.write(9, 2)
    code, _, err = house.exchange()
    assert code == 2
    assert "was not cosigned by this witness" in err


@pytest.mark.parametrize("name", ["", "a b", "a+b"])
def test_a_witness_has_a_name_that_can_stand_in_a_signature(tmp_path: Path, name: str) -> None:
    with pytest.raises(WitnessUnusable, match="name"):
        init_witness(tmp_path / "w", name, lambda _: SECRET)
    with pytest.raises(WitnessUnusable, match="ecluse witness init"):
        WitnessStore(tmp_path / "w")


def test_the_pace_of_one_address_is_bounded_and_anothers_is_its_own() -> None:
    pace = Pace(burst=3, per_s=1.0)
    assert [pace.takes("10.0.0.1", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert pace.takes("10.0.0.2", 0.0)
    assert not pace.takes("10.0.0.1", 0.9)
    assert pace.takes("10.0.0.1", 1.9)
    for number in range(20_000):
        pace.takes(str(number), 2.0)
    assert pace.takes("10.0.0.1", 2.0)
