"""What the doctor asks a real store, and that asking changes nothing there."""

from dataclasses import replace
from pathlib import Path

from gateway.clock import SystemClock
from gateway.configuration import Settings, load
from gateway.doctor import store as doctor
from gateway.doctor.findings import Outcome
from gateway.valkey.client import Store
from gateway.valkey.embedded import find_server
from gateway.valkey.marker import verify_or_set_keycheck, write_local_id
from tests.stores.conftest import emptied
from tests.stores.servers import Server

SMALLEST = Path(__file__).parents[1] / "configs" / "working_smallest.yml"
OURS, THEIRS = "1" * 64, "2" * 64


def settings_for(url: str, folder: Path) -> Settings:
    return replace(load(SMALLEST).settings, store_url=url, state_dir=folder)


async def outcomes(settings: Settings, fingerprint: str | None = OURS) -> dict[str, Outcome]:
    facts = await doctor.gather(settings, fingerprint, SystemClock())
    return {one.check: one.outcome for one in doctor.judge(facts)}


async def test_a_store_in_use(store: Store, store_url: str, tmp_path: Path) -> None:
    await verify_or_set_keycheck(store, OURS)
    settings = settings_for(store_url, tmp_path / "state")
    before = await store.execute("DBSIZE")
    told = await outcomes(settings)
    assert set(told.values()) == {Outcome.OK}, told
    assert await store.execute("DBSIZE") == before
    assert (await outcomes(settings, THEIRS))["keys of the store"] is Outcome.FAILED
    assert (await outcomes(settings, None))["keys of the store"] is Outcome.WARNING
    write_local_id(settings.state_dir, "f" * 32)
    assert (await outcomes(settings))["store identity"] is Outcome.FAILED


async def test_a_new_store_is_left_as_it_is(store_url: str, tmp_path: Path) -> None:
    await emptied(store_url)
    told = await outcomes(settings_for(store_url, tmp_path / "state"))
    assert (told["store"], told["store identity"]) == (Outcome.OK, Outcome.WARNING)
    assert not (tmp_path / "state").exists()
    facts = await doctor.gather(settings_for(store_url, tmp_path), OURS, SystemClock())
    assert facts.identity == ""


async def test_a_store_that_forgets_and_one_that_is_gone(tmp_path: Path) -> None:
    server = Server(find_server(), "--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
    try:
        settings = replace(settings_for(server.url, tmp_path), store_replicas=1)
        told = await outcomes(settings)
        for check in ("store disk", "store memory", "store replicas"):
            assert told[check] is Outcome.FAILED
        server.kill()
        assert await outcomes(settings) == {"store": Outcome.FAILED}
    finally:
        server.remove()
