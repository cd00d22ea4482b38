"""Two nodes whose clocks disagree, and step back over midnight: one log to whoever asks (M12)."""

import itertools
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.audit.manifest import read_manifest
from gateway.configuration import load_keys
from tests.attacks.auditor import Client, Id, Ran, Sight, arrive, entries, named, rfc3339, run, told
from tests.attacks.factor import time_stands
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stand import Change, MiniApp, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_MS, HOUR_MS = 86_400_000, 3_600_000


@dataclass
class Site:
    """Two nodes' folders, asked from the first; *midnight_ms* is the one the clocks stepped over."""

    nodes: tuple[Path, Path]
    midnight_ms: int
    notes: list[Sight]

    def journal(self) -> dict[Id, dict[str, Any]]:
        return entries(*(node / "audit" for node in self.nodes))

    def asked(self, *words: str) -> list[dict[str, Any]]:
        """Return what a query of the gateways' events tells, asked on the first node."""
        found = run(
            self.nodes[0], "audit", "query", "--json", "--realm", "region", *words, "--reason", "skew"
        )
        assert found.code == 0, found.err
        return found.rows()


def _named(node: str, other: Path) -> Change:
    def change(config: dict[str, Any]) -> None:
        config["audit"] |= {"node": node, "also": [str(other / "audit")]}

    return change


async def _work(client: Client) -> None:
    """See patients while the clock is set right, a second or an hour back, and over midnight."""
    clock = client.clock
    for patient, step_ms in (
        ("1001", 0),
        ("1002", -61_000),  # A leap second, as most systems live it: the second before midnight again.
        ("1003", 0),
        ("1004", -HOUR_MS),
        ("1005", 0),
        ("1006", HOUR_MS),
        ("1001", 0),
    ):
        clock.advance(step_ms)
        assert (await client.see(f"/dossiers/{patient}")).status == 200
    # The session is over the next day, which is told, and ends the segment.
    clock.advance(DAY_MS)
    assert (await client.see("/dossiers/1009")).status == 303


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    nodes = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    notes: list[Sight] = []
    midnight_ms = 0
    people = (("a", DR_MARTIN, 400), ("b", NURSE_BEN, -120_000))
    for (node, person, skew_ms), folder, other in zip(people, nodes, reversed(nodes), strict=True):
        if node == "b":
            shutil.copytree(nodes[0] / "keys", folder / "keys")
        async with stand(folder, MiniApp(), _named(node, other)) as gate:
            with time_stands(gate) as clock:
                midnight_ms = midnight_ms or (clock.now_ms() // DAY_MS - 2) * DAY_MS
                # It logs in a minute before.
                clock.advance(midnight_ms + skew_ms - 60_000 - clock.now_ms())
                client = await arrive(gate, person, clock)
                assert clock.now_ms() == midnight_ms + skew_ms
                await _work(client)
                notes += client.notes
    yield Site(nodes, midnight_ms, notes)


def _order(row: dict[str, Any]) -> tuple[int, str, int]:
    return row["at_ms"], row["writer"], row["seq"]


async def test_m12_each_entry_has_node_number_and_the_clock_of_its_node(site: Site) -> None:
    """M12 The number never goes back when the clock does; the time told is the one the node had."""
    journal = site.journal()
    for writer, login in (("gateway.a", DR_MARTIN.login), ("gateway.b", NURSE_BEN.login)):
        mine = [entry for (name, _), entry in sorted(journal.items()) if name == writer]
        assert [entry["seq"] for entry in mine] == list(range(len(mine)))
        accesses = [entry["at_ms"] for entry in mine if entry["kind"] == "access"]
        assert accesses == [sight.at_ms for sight in site.notes if sight.login == login]
        assert sum(later < earlier for earlier, later in itertools.pairwise(accesses)) == 2
        assert len({at_ms // DAY_MS for at_ms in accesses}) == 2
        assert run(site.nodes[writer == "gateway.b"], "audit", "verify").code == 0


async def test_m12_a_query_over_both_is_ordered_and_complete(site: Site) -> None:
    """M12 Every event of both nodes once, in the order of time, then node and number; archived too."""
    expected = sorted(
        (
            {**told(entry), "writer": writer}
            for (writer, _), entry in site.journal().items()
            if "realm" in entry
        ),
        key=_order,
    )
    assert {row["writer"] for row in expected} == {"gateway.a", "gateway.b"}
    for archived in (False, True):
        if archived:
            for node in site.nodes:
                assert run(node, "audit", "keep", "--once").code == 0
                (bound,) = [
                    upto for name, upto in read_manifest(node / "audit").archived.items() if "gateway" in name
                ]
                assert bound >= 8
        assert site.asked() == expected
        assert site.asked("--newest") == expected[::-1]
        assert site.asked("--limit", "5") == expected[:5]
        # Whatever moment parts it, no event falls between two periods or stands in both.
        for cut_ms in (
            site.midnight_ms,
            site.midnight_ms + 400,
            expected[4]["at_ms"],
            expected[4]["at_ms"] + 1,
        ):
            before, after = site.asked("--to", rfc3339(cut_ms)), site.asked("--from", rfc3339(cut_ms))
            assert before + after == expected
            assert len(before) == sum(row["at_ms"] < cut_ms for row in expected)
        patient = run(
            site.nodes[0], "audit", "patient", "1001", "--system", "parcours", "--json", "--reason", "art. 15"
        )
        seen = sorted((sight.at_ms, sight.login) for sight in site.notes if sight.patient == "1001")
        accesses = [row for row in patient.rows() if row["kind"] == "access"]
        assert [(row["at_ms"], row["account"]) for row in accesses] == seen
        assert len(seen) == 4


def _scope(site: Site, output: Path, form: str, from_ms: int, to_ms: int) -> Ran:
    return run(
        site.nodes[0], "breach", "scope", "--accounts", f"{DR_MARTIN.login},{NURSE_BEN.login}",
        "--from", rfc3339(from_ms), "--to", rfc3339(to_ms), f"--{form}", "-o", output, "--reason", "ticket 4711",
    )  # fmt: skip


@pytest.mark.parametrize("to_ms", [0, 400, 60_400, 12 * HOUR_MS])
async def test_m07_a_scope_reaches_over_both_nodes(site: Site, tmp_path: Path, to_ms: int) -> None:
    """M07 M12 Asked on one node, who was seen through either, up to any moment of clocks that stepped back."""
    from_ms, to_ms = site.midnight_ms - 12 * HOUR_MS, site.midnight_ms + to_ms
    made = _scope(site, tmp_path / "scope.json", "json", from_ms, to_ms)
    assert made.code == 0, made.err
    found = json.loads((tmp_path / "scope.json").read_bytes())
    seen = [sight for sight in site.notes if from_ms <= sight.at_ms < to_ms]
    keys, journal = load_keys(site.nodes[0] / "keys"), site.journal()
    rows = {row["pseudonym"]: row for row in found["patients"]}
    assert set(rows) == {named(keys, sight.patient) for sight in seen}
    for name, row in rows.items():
        mine = [sight for sight in seen if named(keys, sight.patient) == name]
        assert (row["opened"], row["listed"]) == (len(mine), 0)
        assert row["first"] == rfc3339(min(sight.at_ms for sight in mine))
        assert row["last"] == rfc3339(max(sight.at_ms for sight in mine))
        evidence = [(writer, int(seq)) for writer, _, seq in (one.rpartition(":") for one in row["evidence"])]
        assert sorted((journal[one]["at_ms"], journal[one]["account"]) for one in evidence) == sorted(
            (sight.at_ms, sight.login) for sight in mine
        )
    assert {state["origin"] for state in found["stands_on"]} >= {"ecluse/gateway.a", "ecluse/gateway.b"}
    assert run(site.nodes[0], "breach", "verify", tmp_path / "scope.json").code == 0


async def test_m07_a_node_that_cannot_be_read_makes_no_smaller_scope(site: Site, tmp_path: Path) -> None:
    """M07 The other node's folder is not mounted, empty, or altered: no report, rather than half of one."""
    audit_dir, aside = site.nodes[1] / "audit", tmp_path / "aside"
    period = (site.midnight_ms - 12 * HOUR_MS, site.midnight_ms + 12 * HOUR_MS)
    shutil.move(audit_dir, aside)
    try:
        gone = _scope(site, tmp_path / "gone.json", "json", *period)
        audit_dir.mkdir()
        empty = _scope(site, tmp_path / "empty.json", "json", *period)
        shutil.rmtree(audit_dir)
        shutil.copytree(aside, audit_dir)
        path = next((audit_dir / "gateway.b").glob("0000000000.jsonl"))
        path.write_bytes(path.read_bytes().replace(NURSE_BEN.login.encode(), b"ben.innocents"))
        altered = _scope(site, tmp_path / "altered.json", "json", *period)
    finally:
        shutil.rmtree(audit_dir, ignore_errors=True)
        shutil.move(aside, audit_dir)
    for refused, name in ((gone, "gone"), (empty, "empty"), (altered, "altered")):
        assert refused.code in {1, 2}, (name, refused)
        assert not (tmp_path / f"{name}.json").exists()
    assert str(audit_dir) in gone.err + gone.out
    assert "ecluse audit verify" in altered.err
