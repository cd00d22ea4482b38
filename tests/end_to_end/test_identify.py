"""From a page that was opened to the number of the patient, for who holds the identity; and after a new key."""

import asyncio
import io
import json
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pyrage
import pytest

from gateway.cli import main
from gateway.cli.serve import needs_restart, reload
from tests.attacks.factor import time_stands
from tests.people import DR_MARTIN
from tests.stand import Stand, stand

DPO = pyrage.x25519.Identity.generate()


def with_escrow(config: dict[str, Any]) -> None:
    config["audit"]["escrow"] = {"recipients": [str(DPO.to_public())]}


def run(folder: Path, *words: str | Path) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    arguments = [*map(str, words), "--config", str(folder / "ecluse.yaml")]
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(arguments)
    assert "Traceback" not in err.getvalue()
    return int(left.value.code or 0), out.getvalue()


async def seen(gate: Stand, *numbers: int) -> list[str]:
    """Open records, and return the pseudonyms under which the log has them."""
    known = {patient for entry in await gate.events("access") for patient in entry.get("patients", ())}
    browser = await gate.log_in(DR_MARTIN)
    for number in numbers:
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    return [
        patient
        for entry in await gate.events("access")
        for patient in entry.get("patients", ())
        if patient not in known
    ]


async def test_records_lists_and_a_new_key(tmp_path: Path) -> None:
    (tmp_path / "dpo.txt").write_text(f"{DPO}\n")
    async with stand(tmp_path, changes=with_escrow) as gate:
        first = await seen(gate, 1001, 1002)
        browser = gate.browsers[-1]
        assert (await browser.get("/dossiers")).status == 200
        listed = (await gate.events("access"))[-1]["patients"]
        secret = gate.secrets[DR_MARTIN.login]
    code, _ = await asyncio.to_thread(run, tmp_path, "keys", "rotate", "pseudonyms", "--reason", "yearly")
    assert code == 0
    async with stand(tmp_path, changes=with_escrow) as gate:
        gate.secrets[DR_MARTIN.login] = secret
        with time_stands(gate, after_s=90):
            again = await seen(gate, 1001, 1999)
        # The cap counts the patient of before and the one of now as one.
        key = f"ecluse:{{{gate.ref(DR_MARTIN.login).id}}}:patients"
        assert await gate.services.store.execute("ZCARD", key) == 21
    assert len({*first, *again}) == 4
    code, out = await asyncio.to_thread(
        run, tmp_path, "audit", "identify", *first, *again, *listed, "--identity", tmp_path / "dpo.txt",
        "--reason", "art. 34", "--json",
    )  # fmt: skip
    assert code == 0
    told = {row["pseudonym"]: row["id"] for row in map(json.loads, out.splitlines())}
    assert [told[name] for name in first] == ["1001", "1002"]
    assert [told[name] for name in again] == ["1001", "1999"]
    assert {told[name] for name in listed} == {str(number) for number in range(1001, 1021)}


async def test_other_recipients_take_a_restart(tmp_path: Path) -> None:
    async with stand(tmp_path, changes=with_escrow) as gate:
        text = (tmp_path / "ecluse.yaml").read_text()
        other = str(pyrage.x25519.Identity.generate().to_public())
        (tmp_path / "ecluse.yaml").write_text(text.replace(str(DPO.to_public()), other))
        assert not await reload(gate.services, gate.master, gate.loaded.settings)
        assert "escrow_recipients" in gate.loaded.settings.reload_file.read_text()
        assert needs_restart(gate.loaded.settings, gate.loaded.settings) == []


@pytest.mark.age
async def test_the_escrow_opens_with_debians_programs_alone(tmp_path: Path) -> None:
    """The words of docs/auditing.md, for whoever has the files and not Écluse."""
    (tmp_path / "key.txt").write_text(f"{DPO}\n")
    async with stand(tmp_path, changes=with_escrow) as gate:
        names = await seen(gate, 1001)
    (file,) = (tmp_path / "audit" / "escrow").iterdir()
    page = (Path(__file__).parents[2] / "docs" / "auditing.md").read_text("utf-8")
    words = "csplit -z FILE '/BEGIN AGE/' '{*}'; for one in xx*; do age -d -i key.txt \"$one\"; done"
    assert words in page
    done = subprocess.run(
        ["bash", "-c", words.replace("FILE", str(file)).replace("csplit", "csplit -s")],
        check=True, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[names[0], "parcours", "1001"]]
