"""The product's scripts with the time as an argument, and what they are tried with."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from gateway.valkey.library import Library, compose, read

CHARGE = """
-- What is told from args[4] on (costs, then how many patients are opened), and from args[first] on (patients).
local function timed_charge(args, first)
  local opened, listed, n = {}, {}, tonumber(args[9])
  for i = first, first + n - 1 do opened[#opened + 1] = args[i] end
  for i = first + n, #args do listed[#listed + 1] = args[i] end
  local costs = { r = tonumber(args[4]), b = tonumber(args[5]), e = tonumber(args[6]), o = tonumber(args[7]),
    s = tonumber(args[8]) }
  return costs, opened, listed
end
"""
LIMITS = ("limits/lua/patients.lua", "limits/lua/limits.lua", "limits/lua/pools.lua")
NOW_US = 1_790_000_000_000_000
numbers = itertools.count()


@contextmanager
def timed_library(store_url: str, registrations: str) -> Iterator[tuple[redis.Redis, Library]]:
    """Load the limits' scripts with more *registrations*: the product's own take their time from the server."""
    library = compose([*map(read, LIMITS), CHARGE, registrations])
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
