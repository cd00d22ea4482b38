"""The product's scripts with the time as an argument, and what they are tried with."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from gateway.valkey.library import Library, compose, read

LIMITS = ("limits/lua/patients.lua", "limits/lua/limits.lua", "limits/lua/pools.lua")
NOW_US = 1_790_000_000_000_000
numbers = itertools.count()


@contextmanager
def timed_library(store_url: str, registrations: str) -> Iterator[tuple[redis.Redis, Library]]:
    """Load the limits' scripts with more *registrations*: the product's own take their time from the server."""
    library = compose([*map(read, LIMITS), registrations])
    with redis.Redis(unix_socket_path=store_url.removeprefix("unix://"), protocol=2) as client:
        client.execute_command("FUNCTION", "LOAD", "REPLACE", library.source)
        yield client, library


def new_account() -> str:
    """Return the id of an account that nobody has spent for."""
    return f"{next(numbers):032x}"


def new_name() -> str:
    """Return the name of a pool that is no account's id."""
    return f"b{next(numbers):031x}"


def members(count: int, first: int = 0) -> tuple[bytes, ...]:
    """Return *count* patients as the caps count them."""
    return tuple(number.to_bytes(8, "big") for number in range(first, first + count))
