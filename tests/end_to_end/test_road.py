"""The road of one person: password, code, a record, a list, out again."""

from pathlib import Path

from tests.people import DR_MARTIN
from tests.stand import stand


async def test_a_professional_logs_in_and_opens_a_record(tmp_path: Path) -> None:
    async with stand(tmp_path) as gate:
        browser = await gate.log_in(DR_MARTIN)
        home = await browser.get("/")
        assert home.status == 200
        assert "Bonjour dr.martin" in home.text
        record = await browser.get("/dossiers/1001")
        assert record.status == 200
        assert "Patient1001" in record.text
        assert record.header("cache-control") == "no-store"
        accesses = await gate.events("access")
        assert len(accesses) == 1
        assert accesses[0]["account"] == "dr.martin"
        assert len(accesses[0]["patients"]) == 1


async def test_the_password_alone_opens_nothing(tmp_path: Path) -> None:
    async with stand(tmp_path) as gate:
        await gate.enrol(DR_MARTIN)
        browser = await gate.password_only(DR_MARTIN)
        before = len(gate.app.seen)
        got = await browser.get("/dossiers/1001")
        assert got.status == 303
        assert got.header("location") == "/.ecluse/code"
        assert len(gate.app.seen) == before
