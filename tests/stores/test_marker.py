"""The store's identity and key check, on every store."""

import asyncio
from pathlib import Path

import pytest

from gateway.valkey import marker
from gateway.valkey.client import Store, StoreEmptied
from tests.stores.conftest import emptied


async def check(store: Store) -> None:
    await marker.verify_or_set_keycheck(store, "print")


async def test_the_first_start_marks_the_store_and_the_node(store: Store, tmp_path: Path) -> None:
    assert marker.read_local_id(tmp_path / "state") == store.store_id == await marker.store_id_of(store)
    assert len(store.store_id) == 32
    assert (tmp_path / "state" / "store-id").stat().st_mode & 0o777 == 0o600


async def test_many_nodes_that_start_at_once_agree(store_url: str, tmp_path: Path) -> None:
    await emptied(store_url)
    nodes = await asyncio.gather(
        *(Store.open(store_url, libraries=[], state_dir=tmp_path / str(number)) for number in range(8))
    )
    assert len({node.store_id for node in nodes}) == 1
    await asyncio.gather(*(check(node) for node in nodes))
    for node in nodes:
        await node.close()


async def test_a_node_that_remembers_another_store_refuses(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    marker.write_local_id(tmp_path / "other", "ab" * 16)
    stranger = await Store.open(store_url, libraries=[], state_dir=tmp_path / "other")
    with pytest.raises(StoreEmptied):
        await check(stranger)
    assert not await marker.adopt(stranger, stranger.store_id)
    await check(store)
    assert await marker.adopt(stranger, stranger.store_id, replace=True)
    await check(stranger)
    with pytest.raises(StoreEmptied):
        await check(store)
    await stranger.close()


async def test_an_emptied_store_is_refused_until_adopted_also_by_a_gateway_that_starts(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    await emptied(store_url)
    started = await Store.open(store_url, libraries=[], state_dir=tmp_path / "state")
    for node in (store, started):
        with pytest.raises(StoreEmptied):
            await check(node)
    assert await marker.adopt(started, started.store_id)
    for node in (store, started):
        await check(node)
    await started.close()


async def test_a_tool_without_state_follows_the_store(store: Store, store_url: str) -> None:
    tool = await Store.open(store_url, libraries=[], state_dir=None)
    assert tool.store_id == store.store_id
    await tool.close()


async def test_other_keys_are_refused(store: Store) -> None:
    await marker.verify_or_set_keycheck(store, "one")
    await marker.verify_or_set_keycheck(store, "one")
    with pytest.raises(marker.KeysDisagree):
        await marker.verify_or_set_keycheck(store, "two")


async def test_another_program_s_store_is_refused(store_url: str, tmp_path: Path) -> None:
    await emptied(store_url)
    tool = await Store.open(store_url, libraries=[], state_dir=None)
    await tool.execute("SET", marker.MARKER, "something else")
    await tool.close()
    with pytest.raises(marker.MarkerFileBroken, match="another program"):
        await Store.open(store_url, libraries=[], state_dir=tmp_path)
