"""The accounts of a restored backup into the store, which is marked as ours last of all."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gateway.assembly.store import open_store
from gateway.backup import accounts
from gateway.backup.container import About, BackupRefused
from gateway.configuration import Loaded, fingerprint
from gateway.valkey import marker
from gateway.valkey.client import Store
from gateway.vocabulary.keys import Keys


def check_accounts(loaded: Loaded, keys: Keys, about: About, target: Path, *, force: bool) -> None:
    """Check that the accounts below *target* may be put into the configured store. No account is touched.

    Raises:
        BackupRefused: other keys, accounts that are none of ours, another site's store, or one that is not empty.
        StoreUnavailable, EmbeddedFailed, MarkerFileBroken: the store.
    """
    if about.keycheck is not None and about.keycheck != fingerprint(keys):
        raise BackupRefused(
            "these accounts were sealed under other keys than keys_dir holds: restore the keys first"
        )
    for path in _files(target):
        accounts.parse(path.name, path.read_bytes().splitlines())

    async def check() -> None:
        async with open_store(loaded.settings) as store:
            await _check_store(store, force=force)

    asyncio.run(check())


def load_accounts(loaded: Loaded, keys: Keys, target: Path, *, force: bool) -> int:
    """Put the accounts below *target*, found good by ``check_accounts``, into the store; return how many.

    A store that knows accounts already is left alone unless *force*: then those of the backup replace
    theirs, and the others stay. Nobody serves from an emptied store before all of them are there.

    Raises:
        BackupRefused: the store was taken or filled since it was checked.
        StoreUnavailable, EmbeddedFailed, MarkerFileBroken: the store.
    """

    async def put() -> int:
        async with open_store(loaded.settings) as store:
            await _check_store(store, force=force)
            return await _load(store, keys, _files(target))

    return asyncio.run(put())


def _files(target: Path) -> list[Path]:
    return sorted((target / accounts.DIRECTORY).glob("*.jsonl"))


async def _check_store(store: Store, *, force: bool) -> None:
    found = await marker.store_id_of(store)
    if found not in {None, store.store_id}:
        raise BackupRefused(
            "the store belongs to other gateways: check store.url, or see 'ecluse store adopt --replace'"
        )
    known = len(await accounts.account_ids(store))
    if known and not force:
        raise BackupRefused(f"the store knows {known} accounts already: --force replaces those of the backup")


async def _load(store: Store, keys: Keys, paths: Sequence[Path]) -> int:
    count = 0
    for path in paths:
        count += await accounts.load(store, accounts.parse(path.name, path.read_bytes().splitlines()))
    await store.execute("SET", marker.KEYCHECK, fingerprint(keys))
    if not await marker.adopt(store, store.store_id):
        raise BackupRefused("another gateway marked the store meanwhile: see 'ecluse store status'")
    return count
