"""The store's identity: a store that came back empty, or another store, is never mistaken for ours.

The id stands in the store (``ecluse:store``) and in a file of each node (``store-id`` in its state
directory). A node whose file disagrees with the store refuses every call until an operator adopts it.
"""

import os
import re
import secrets
from pathlib import Path
from typing import Protocol

MARKER = "ecluse:store"
KEYCHECK = "ecluse:keycheck"
_ID = re.compile(r"[0-9a-f]{32}\Z")


class KeysDisagree(Exception):
    """The keys of this node are not those the store was made with. The gateway must not start."""


class MarkerFileBroken(Exception):
    """The node's ``store-id`` file does not hold 32 hex digits."""


class _Executes(Protocol):
    async def execute(self, *command: str | bytes | int) -> object: ...


class _Confirms(_Executes, Protocol):
    async def confirm(self) -> None: ...


class _Calls(Protocol):
    async def call(self, function: str, keys: list[str], args: list[str]) -> object: ...


def read_local_id(state_dir: Path) -> str | None:
    """Return the id that this node remembers, None on its first start.

    Raises:
        MarkerFileBroken: the file is there but holds something else.
        OSError: the file cannot be read.
    """
    path = state_dir / "store-id"
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    if not _ID.match(text):
        raise MarkerFileBroken(
            f"{path} does not hold 32 hex digits: restore it, or remove it to follow the store's own id"
        )
    return text


def write_local_id(state_dir: Path, store_id: str) -> None:
    """Remember *store_id* durably: a crash leaves the old file or the new one, never half of one."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, fresh = state_dir / "store-id", state_dir / f"store-id.{os.getpid()}"
    with fresh.open("w", encoding="ascii") as file:
        file.write(store_id + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(0o600)
    fresh.replace(path)
    directory = os.open(state_dir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def store_id_of(store: _Executes) -> str | None:
    """Return the id that the store holds, None when it holds none."""
    found = await store.execute("GET", MARKER)
    return found.decode("ascii", "replace") if isinstance(found, bytes) else None


async def agree(store: _Executes, state_dir: Path | None) -> str:
    """Return the id that this node expects of the store, making one for a new store.

    A node that remembers an id keeps it whatever the store says. A node that remembers none takes
    the store's id, and when the store has none either, makes one (exactly one of many nodes wins).
    """
    local = read_local_id(state_dir) if state_dir is not None else None
    if local is not None:
        return local
    await store.execute("SET", MARKER, secrets.token_hex(16), "NX")
    agreed = await store_id_of(store)
    if agreed is None or not _ID.match(agreed):
        raise MarkerFileBroken(
            f"the store's key {MARKER} does not hold 32 hex digits: is this another program's store?"
        )
    if state_dir is not None:
        write_local_id(state_dir, agreed)
    return agreed


async def adopt(store: _Confirms, store_id: str, *, replace: bool = False) -> bool:
    """Mark the store with *store_id*, so that the nodes that remember it serve again.

    A store that holds another id is left alone unless *replace*. Returns whether the store is ours now: the mark,
    and all that was written before it, is then confirmed by replicas, where any are asked for.

    Raises:
        StoreUnavailable: no answer, or too few replicas; it may have been done.
    """
    await store.execute("SET", MARKER, store_id, *(() if replace else ("NX",)))
    ours = await store_id_of(store) == store_id
    if ours:
        await store.confirm()
    return ours


async def verify_or_set_keycheck(store: _Calls, fingerprint: str) -> None:
    """Check that this node's keys are those of the store; the first node of a new store sets them.

    *fingerprint* is a MAC of a constant under each key, so it tells nothing about them.

    Raises:
        KeysDisagree: with other keys nobody's second factor could be read and nobody's history matched.
        StoreUnavailable, StoreEmptied: as every call.
    """
    kept = await store.call("ecluse_keycheck", [KEYCHECK], [fingerprint])
    if not isinstance(kept, bytes) or not secrets.compare_digest(kept, fingerprint.encode()):
        raise KeysDisagree(
            "these keys are not those the store was made with: restore the right keys_dir, or name the right store"
        )
