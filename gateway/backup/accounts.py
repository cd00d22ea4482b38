"""Accounts in a backup: who is enrolled with which sealed factor, and what the caps remember. No sessions."""

import re
from collections.abc import Iterable, Sequence

import msgspec

from gateway.backup.container import BackupRefused
from gateway.limits.store import account_keys
from gateway.valkey import dump
from gateway.valkey.client import Store
from gateway.valkey.dump import Kept

DIRECTORY = "accounts"
IN_ONE_FILE = 500

_ACCOUNTS = "ecluse:accounts"
_OURS = re.compile(r"ecluse:\{([0-9a-f]{32})\}:(account|patients|opened|counters)\Z")
_TYPES = {"account": "hash", "patients": "zset", "opened": "zset", "counters": "hash"}
_LINES = msgspec.json.Decoder(Kept)


async def account_ids(store: Store) -> list[str]:
    """Return the ids of all accounts, sorted.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return sorted(each.decode() for each in await store.execute("SMEMBERS", _ACCOUNTS))


async def file_of(store: Store, ids: Sequence[str], *, with_caps: bool) -> bytes:
    """Return JSON lines that hold the accounts *ids*, with what their caps remember if *with_caps*.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    keys = []
    for account_id in ids:
        keys.append(f"ecluse:{{{account_id}}}:account")
        if with_caps:
            caps = account_keys(account_id)
            keys += [caps.patients, caps.opened, caps.counters]
    return b"".join(msgspec.json.encode(one) + b"\n" for one in await dump.dump(store, keys))


def parse(name: str, lines: Iterable[bytes]) -> list[Kept]:
    """Return the keys that *lines* of the file *name* hold.

    Raises:
        BackupRefused: a line is none of ours.
    """
    found = []
    for number, line in enumerate(lines, 1):
        try:
            one = _LINES.decode(line)
        except msgspec.DecodeError as error:
            raise BackupRefused(f"{name}, line {number}: {error}") from None
        key = _OURS.match(one.key)
        if key is None or _TYPES[key[2]] != one.type or (one.type != "set" and len(one.items) % 2):
            raise BackupRefused(f"{name}, line {number}: {one.key[:80]!r} is no key of an account")
        found.append(one)
    return found


async def load(store: Store, kept: Iterable[Kept]) -> int:
    """Put accounts and what their caps remember into the store; return how many accounts there were.

    An account gets an epoch beyond those of the backup and of the store: no session of before lives on.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    count = 0
    for one in kept:
        found = _OURS.match(one.key)
        if found is None:
            raise BackupRefused(f"{one.key[:80]!r} is no key of an account")
        if found[2] != "account":
            await dump.restore(store, [one])
            continue
        values = dict(zip(one.items[::2], one.items[1::2], strict=True))
        standing = await store.execute("HGET", one.key, "epoch")
        values["epoch"] = str(1 + max(int(values.get("epoch", "0")), int(standing or b"0")))
        items = [item for pair in values.items() for item in pair]
        await dump.restore(store, [Kept(one.key, one.type, one.ttl_ms, items)])
        await store.execute("SADD", _ACCOUNTS, found[1])
        count += 1
    return count
