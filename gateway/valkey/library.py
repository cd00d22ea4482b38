"""One function library out of the rooms' Lua files.

A library is named after the hash of its text, and so are its functions: gateways of different
versions can share a store during an upgrade, and loading is idempotent.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from gateway.valkey.slot import tagged_lua

ROOMS = (
    "limits/lua/patients.lua",
    "limits/lua/limits.lua",
    "limits/lua/measures.lua",
    "limits/lua/pools.lua",
    "accounts/accounts.lua",
    "sessions/sessions.lua",
    "lookups/phases.lua",
)
"""The product's Lua files inside the package, in the order in which they may use each other."""

_REGISTRATION = re.compile(r"""redis\.register_function\(\s*(['"])(\w+)\1""")


@dataclass(frozen=True, slots=True)
class Library:
    """*source* is what FUNCTION LOAD takes; *digest* is 12 hex digits."""

    digest: str
    source: str

    def wire_name(self, function: str) -> str:
        """Return the name under which the store knows *function*."""
        return _wire_name(function, self.digest)


@lru_cache(maxsize=256)
def _wire_name(function: str, digest: str) -> str:
    return f"{function}_{digest}"


def compose(sources: Sequence[str], *, in_cluster: bool = False) -> Library:
    """Join base.lua and *sources* (Lua texts of plain local functions and registrations) into one library.

    Write names of keys in single quotes, ``'ecluse:…'``: *in_cluster* they are made those of one slot.

    Raises:
        ValueError: a registration is not written ``redis.register_function('name', ...)``.
    """
    body = "\n".join((read("valkey/base.lua"), *sources))
    if in_cluster:
        body = tagged_lua(body)
    digest = hashlib.sha256(body.encode()).hexdigest()[:12]
    named, count = _REGISTRATION.subn(rf"redis.register_function('\2_{digest}'", body)
    if count != body.count("register_function"):
        raise ValueError("write every Lua registration as redis.register_function('name', ...)")
    return Library(digest, f"#!lua name=ecluse_{digest}\n{named}")


def read(path: str) -> str:
    """Return the text of the Lua file at *path* inside the package.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    return files("gateway").joinpath(path).read_text(encoding="utf-8")


def product_sources() -> tuple[str, ...]:
    """Return the texts of every room's Lua file, in order."""
    return tuple(read(path) for path in ROOMS)
