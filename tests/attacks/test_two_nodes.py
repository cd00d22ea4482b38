"""Two nodes whose clocks disagree, and step back over midnight: one log to whoever asks (M12)."""

import itertools
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.audit.manifest import read_manifest
from tests.attacks.auditor import Client, Id, Sight, arrive, entries, rfc3339, run, told
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
