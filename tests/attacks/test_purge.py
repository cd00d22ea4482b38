"""A year goes by and the log is purged: what was proven stays proven, and nobody else can make entries go (M11)."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
import pytest_asyncio

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, verifier_of
from gateway.audit.encoding import encode
from gateway.audit.merkle import leaf_hash
from gateway.audit.operator import operator_log
from gateway.audit.purges import Purge, purge_event
from gateway.configuration import load_keys
from gateway.vocabulary.keys import KeyRing
from tests.attacks.auditor import Ran, arrive, entries, named, run
from tests.attacks.factor import time_stands
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stand import MiniApp, stand
from tests.unit.audit.logs import PRIVATE, SALT

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_MS, DAY_S = 86_400_000, 86_400
OLD, NEW = ("1001", "1002", "1003"), ("1501", "1502")
TAKING = ("audit", "purge", "--reason", "yearly, register entry 12")


def _kept_half_a_year(config: dict[str, Any]) -> None:
    config["audit"]["retention_days"] = 183


@dataclass
class Site:
    """A site's folder, with what was proven and kept elsewhere before anything was purged."""

    folder: Path
    safe: Path
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def audit_dir(self) -> Path:
        return self.folder / "audit"

    @property
    def log(self) -> Path:
        return self.audit_dir / "gateway"

    @property
    def key(self) -> str:
        return verifier_of(LOG_NAME, load_keys(self.folder / "keys").checkpoint.key()).text()

    def moved(self, to: Path) -> "Site":
        """Return a copy of the whole site in *to*."""
        shutil.copytree(self.folder, to)
        path = to / "ecluse.yaml"
        path.write_text(path.read_text().replace(str(self.folder), str(to)))
        return Site(to, self.safe, self.secrets)

    def verify(self, *more: str | Path) -> Ran:
        return run(self.folder, "audit", "verify", self.audit_dir, "--key", self.key, *more)

    def journals(self) -> dict[str, bytes]:
        """Return the bytes of every file of the journals."""
        return {
            str(path.relative_to(self.audit_dir)): path.read_bytes()
            for log in files.log_directories(self.audit_dir)
            for path in sorted(log.iterdir())
            if path.suffix in {".jsonl", ".leaves", ".checkpoint"}
        }

    def told(self) -> str:
        """Return every text that journals and archive hold."""
        texts = [path.read_text() for path in self.audit_dir.rglob("*.jsonl")]
        with duckdb.connect(config={"threads": 1}) as engine:
            texts += [
                str(engine.execute("select * from read_parquet(?)", [str(path)]).fetchall())
                for path in (self.audit_dir / "archive").rglob("*.parquet")
            ]
        return "\n".join(texts)


async def _ended(site: Site, count: int) -> None:
    """Wait until *count* segments of the gateway's log have ended: its writer does so behind the answer."""
    async with asyncio.timeout(10):
        while len(list(site.log.glob("0*.checkpoint"))) < count:
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def year(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Live a day of last year, one of last month and today, with a proof and a checkpoint from last year."""
    site = Site(tmp_path_factory.mktemp("year") / "site", tmp_path_factory.mktemp("safe"))
    site.folder.mkdir()
    async with stand(site.folder, MiniApp(), _kept_half_a_year) as gate:
        await gate.enrol(DR_MARTIN)
        with time_stands(gate, after_s=-400 * DAY_S) as clock:
            doctor = await arrive(gate, DR_MARTIN, clock)
            for patient in OLD:
                assert (await doctor.see(f"/dossiers/{patient}")).status == 200
            clock.advance(DAY_MS)
            # The session is long over: refused, told, and the first entry of another day, which ends a segment.
            assert (await doctor.see("/dossiers/1001")).status == 303
            await _ended(site, 1)
    shutil.copy(site.log / "checkpoint", site.safe / "checkpoint")
    place = next(f"{w}:{s}" for (w, s), entry in entries(site.audit_dir).items() if entry["kind"] == "access")
    proven = run(
        site.folder, "audit", "prove", place, "-o", site.safe / "access.tlog-proof", "--with-entry",
        "--reason", "complaint 12",
    )  # fmt: skip
    assert proven.code == 0, proven.err
    async with stand(site.folder, MiniApp(), _kept_half_a_year) as gate:
        await gate.enrol(NURSE_BEN)
        with time_stands(gate, after_s=-30 * DAY_S) as clock:
            nurse = await arrive(gate, NURSE_BEN, clock)
            assert (await nurse.see(f"/dossiers/{NEW[0]}")).status == 200
            clock.advance(DAY_MS)
            assert (await nurse.see("/dossiers/1001")).status == 303
            await _ended(site, 2)
        with time_stands(gate, after_s=-3_600) as clock:
            nurse = await arrive(gate, NURSE_BEN, clock)
            assert (await nurse.see(f"/dossiers/{NEW[1]}")).status == 200
        site.secrets |= gate.secrets
    assert run(site.folder, "audit", "keep", "--once").code == 0
    return site


async def test_m11_a_purge_drops_the_old_and_leaves_everything_verifiable(year: Site, tmp_path: Path) -> None:
    """M11 Entries and salts go, from journal and archive; tree, checkpoints and proofs of before hold as they did."""
    site = year.moved(tmp_path / "site")
    keys = load_keys(site.folder / "keys")
    before = entries(site.audit_dir)
    first = files.read_lines(files.segment_path(site.log, 0))
    hashes = [leaf_hash(line.rstrip(b"\n")) for line in first]
    text = site.told()
    assert all(named(keys, patient) in text for patient in (*OLD, *NEW))
    purged = run(site.folder, *TAKING, "--json")
    assert purged.code == 0, purged.err
    assert json.loads(purged.out)["dropped"]["entries"] == len(hashes) >= 5

    text = site.told()
    assert [patient for patient in OLD if named(keys, patient) in text] == []
    assert [patient for patient in NEW if named(keys, patient) not in text] == []
    assert all(
        entry["salt"] not in text for (writer, seq), entry in before.items() if _is_old(writer, seq, hashes)
    )
    assert (site.log / "0000000000.leaves").read_bytes() == b"".join(hashes)
    verified = site.verify("--against", site.safe / "checkpoint")
    assert verified.code == 0, verified
    assert f"entries 0 to {len(hashes) - 1} purged on record" in verified.out
    proof = ("audit", "verify", "--proof", site.safe / "access.tlog-proof")
    assert run(site.folder, *proof, "--entry", site.safe / "access.jsonl", "--key", site.key).code == 0

    # The log goes on, and is asked as before: who was there since, and nobody of before.
    async with stand(site.folder, MiniApp(), _kept_half_a_year) as gate:
        gate.secrets |= site.secrets
        with time_stands(gate, after_s=90) as clock:
            assert (await (await arrive(gate, NURSE_BEN, clock)).see("/dossiers/1601")).status == 200
    assert run(site.folder, "audit", "keep", "--once").code == 0
    assert site.verify("--against", site.safe / "checkpoint").code == 0
    asked = run(site.folder, "audit", "query", "--kind", "access", "--json", "--reason", "after the purge")
    assert [row["patients"] for row in asked.rows()] == [[named(keys, one)] for one in (*NEW, "1601")]


def _is_old(writer: str, seq: int, hashes: list[bytes]) -> bool:
    return writer == "gateway" and seq < len(hashes)


def _without_a_word(site: Site) -> None:
    files.segment_path(site.log, 0).unlink()


def _with_all_that_belongs_to_it(site: Site) -> None:
    for path in site.log.glob("0000000000.*"):
        path.unlink()


def _with_an_unsigned_record(site: Site) -> None:
    """Write what a purge would have written, behind what the operators' log has signed."""
    count = sum(1 for _ in files.read_lines(files.segment_path(site.log, 0)))
    log = site.audit_dir / "operator"
    (path,) = log.glob("*.jsonl")
    seq = sum(1 for _ in files.read_lines(path))
    with path.open("ab") as file:
        file.write(encode(_record(count), seq=seq, salt=SALT) + b"\n")
    files.segment_path(site.log, 0).unlink()


def _with_a_record_under_another_key(site: Site) -> None:
    count = sum(1 for _ in files.read_lines(files.segment_path(site.log, 0)))
    shutil.rmtree(site.audit_dir / "operator")
    with operator_log(site.audit_dir, LOG_NAME, KeyRing("checkpoint", "k1", {"k1": PRIVATE})) as log:
        log.record(_record(count))
    files.segment_path(site.log, 0).unlink()


def _with_a_record_of_something_else(site: Site) -> None:
    """Let the right command purge, and take one segment more than it told."""
    assert run(site.folder, *TAKING).code == 0
    first = files.segment_starts(site.log)[0]
    files.segment_path(site.log, first).unlink()


def _record(count: int) -> Any:
    purge = Purge("gateway", 0, count, 1, 1_000)
    return purge_event(
        purge, 1_790_000_000_000, "root", "yearly", older_than="2026-01-01", retention="183 days"
    )


@pytest.mark.parametrize(
    "impostor",
    [
        _without_a_word,
        _with_all_that_belongs_to_it,
        _with_an_unsigned_record,
        _with_a_record_under_another_key,
        _with_a_record_of_something_else,
    ],
)
async def test_m11_who_only_deletes_has_not_purged(
    year: Site, tmp_path: Path, impostor: Callable[[Site], None]
) -> None:
    """M11 Entries that go without the signed record of their purge are missing, and no later purge covers it up."""
    site = year.moved(tmp_path / "site")
    assert site.verify().code == 0
    impostor(site)
    found = site.verify()
    assert found.code == 1, found
    assert "BROKEN" in found.out
    before = site.journals()
    refused = run(site.folder, *TAKING)
    assert refused.code in {1, 2}, refused
    assert "nothing was purged" in refused.err or "not finished" in refused.err
    assert site.journals() == before
    assert site.verify().code == 1


def _scope(site: Site, output: Path, form: str, *, since: str = "402d", until: str = "1m") -> Ran:
    return run(
        site.folder, "breach", "scope", "--accounts", f"{DR_MARTIN.login},{NURSE_BEN.login}",
        "--from", since, "--to", until, f"--{form}", "-o", output, "--reason", "ticket 4711",
    )  # fmt: skip


async def test_m07_a_scope_tells_what_a_purge_took_from_it(year: Site, tmp_path: Path) -> None:
    """M07 M11 Over the keeper's archive, before and after a purge: who is still known, and that some are not."""
    site = year.moved(tmp_path / "site")
    keys = load_keys(site.folder / "keys")
    old, new = ([named(keys, one) for one in patients] for patients in (OLD, NEW))
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    made = _scope(site, before, "json")
    assert made.code == 0, made.err
    whole = json.loads(before.read_bytes())
    assert {row["pseudonym"] for row in whole["patients"]} == {*old, *new}
    assert {state["kept_from"] for state in whole["stands_on"]} == {0}
    assert "effacé" not in whole["texts"]["limits"]

    assert run(site.folder, *TAKING).code == 0
    made = _scope(site, after, "json")
    assert made.code == 0, made.err
    rest = json.loads(after.read_bytes())
    assert {row["pseudonym"] for row in rest["patients"]} == set(new)
    assert rest["total"]["patients"] == len(new)
    count = next(state["kept_from"] for state in rest["stands_on"] if state["origin"] == "ecluse/gateway")
    assert count == files.segment_starts(site.log)[0] >= 5
    assert (
        f"le texte des {count} premières entrées a été effacé (durée de conservation)"
        in rest["texts"]["limits"]
    )
    # The root that the report stands on is the same: the tree has not changed.
    roots = [
        {one["origin"]: (one["size"], one["root"]) for one in told["stands_on"]} for told in (whole, rest)
    ]
    assert roots[0]["ecluse/gateway"] == roots[1]["ecluse/gateway"]
    # What was signed before is still what was signed, and the journals still hold what it stands on.
    for report in (before, after):
        assert run(site.folder, "breach", "verify", report).code == 0
    # Of a period that is gone whole nobody is known, and that is said in the report for people too.
    page = tmp_path / "gone.html"
    assert _scope(site, page, "html", until="390d").code == 0
    assert "a été effacé" in page.read_text()
    assert not any(name in page.read_text() for name in (*old, *new))


@pytest.mark.parametrize("impostor", [_without_a_word, _with_a_record_of_something_else])
@pytest.mark.parametrize("archive", ["as it was", "altered", "deleted"])
async def test_m07_no_scope_stands_on_entries_that_were_only_deleted(
    year: Site, tmp_path: Path, impostor: Callable[[Site], None], archive: str
) -> None:
    """M07 M11 What nobody purged on record is missing, whatever the archive tells in its place."""
    site = year.moved(tmp_path / "site")
    impostor(site)
    if archive == "deleted":
        shutil.rmtree(site.audit_dir / "archive")
    elif archive == "altered":
        _accuse_somebody_else(site)
    report = tmp_path / "scope.csv"
    made = _scope(site, report, "csv")
    assert made.code == 1, made
    assert "no report can stand on these logs" in made.err
    assert not report.exists()


def _accuse_somebody_else(site: Site) -> None:
    """Put another login for the doctor's into every file of the archive."""
    for path in (site.audit_dir / "archive").glob("*/*.parquet"):
        with duckdb.connect(config={"threads": 1}) as engine:
            rows = engine.execute(
                "create table rows as select * replace (replace(account, $was, $now) as account) "
                "from read_parquet($path)",
                {"was": DR_MARTIN.login, "now": NURSE_BEN.login, "path": str(path)},
            )
            rows.table("rows").write_parquet(str(path), compression="zstd")


async def test_m07_what_an_archive_of_before_the_purge_tells_is_in_no_report(
    year: Site, tmp_path: Path
) -> None:
    """M07 M11 Purged, and the old archive put back: nothing proves its rows any more, so no report tells them."""
    site = year.moved(tmp_path / "site")
    shutil.copytree(site.audit_dir / "archive", tmp_path / "archive")
    assert run(site.folder, *TAKING).code == 0
    shutil.rmtree(site.audit_dir / "archive")
    shutil.copytree(tmp_path / "archive", site.audit_dir / "archive")
    made = _scope(site, tmp_path / "scope.csv", "csv")
    assert made.code == 1, made
    assert "move the archive away" in made.err
    shutil.rmtree(site.audit_dir / "archive")
    made = _scope(site, tmp_path / "scope.csv", "csv")
    assert made.code == 0, made.err
    assert "2 patients" in made.out
