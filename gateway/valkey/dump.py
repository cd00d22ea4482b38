"""Keys of the store as lines of text and back, whatever server they come from or go to."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from gateway.valkey.client import Argument, Store

_AT_ONCE = 100
_FIELDS_AT_ONCE = 1_000


class Kept(msgspec.Struct, frozen=True):
    """One key. Bytes are written as the characters U+0000 to U+00FF of the same numbers.

    *ttl_ms* is what was left of its life, None for ever. *items* by *type*: string: its value; set: its
    members; hash and zset: names and values, or members and scores, by turns.
    """

    key: str
    type: str
    ttl_ms: int | None
    items: list[str]


async def dump(store: Store, keys: Sequence[str]) -> list[Kept]:
    """Return those of *keys* that are there, each as it was at one moment.

    Raises:
        StoreUnavailable: the store does not answer.
        ValueError: a key is of a type that is not ours.
    """
    found: list[Kept | None] = []
    for first in range(0, len(keys), _AT_ONCE):
        found += await asyncio.gather(*(_dump_one(store, key) for key in keys[first : first + _AT_ONCE]))
    return [one for one in found if one is not None]


async def _dump_one(store: Store, key: str) -> Kept | None:
    kind, ttl_ms = await asyncio.gather(store.execute("TYPE", key), store.execute("PTTL", key))
    items: list[bytes]
    match kind:
        case b"none":
            return None
        case b"string":
            items = [await store.execute("GET", key)]
        case b"set":
            items = sorted(await store.execute("SMEMBERS", key))
        case b"hash":
            items = await store.execute("HGETALL", key)
        case b"zset":
            items = await store.execute("ZRANGE", key, "0", "-1", "WITHSCORES")
        case _:
            raise ValueError(f"{key} is of the type {kind!r}: this is another program's key")
    if not items or items == [None]:
        # It lived until a moment ago.
        return None
    told = [item.decode("latin-1") for item in items]
    return Kept(key, kind.decode(), ttl_ms if ttl_ms >= 0 else None, told)


async def restore(store: Store, kept: Iterable[Kept]) -> None:
    """Put each of *kept* in the place of whatever stands under its key.

    Raises:
        StoreUnavailable: the store does not answer.
        ValueError: one is of a type that is not ours.
    """
    for one in kept:
        await store.execute("DEL", one.key)
        for command in _commands(one):
            await store.execute(*command)


def _commands(one: Kept) -> list[tuple[Argument, ...]]:
    items = [item.encode("latin-1") for item in one.items]
    if one.type == "zset":
        items = [item for pair in zip(items[1::2], items[::2], strict=True) for item in pair]
    word = {"string": "SET", "set": "SADD", "hash": "HSET", "zset": "ZADD"}.get(one.type)
    if word is None:
        raise ValueError(f"{one.key} is of the type {one.type!r}: this is no key of ours")
    commands: list[tuple[Argument, ...]] = [
        (word, one.key, *items[first : first + _FIELDS_AT_ONCE])
        for first in range(0, len(items), _FIELDS_AT_ONCE)
    ]
    if one.ttl_ms is not None:
        commands.append(("PEXPIRE", one.key, one.ttl_ms))
    return commands
