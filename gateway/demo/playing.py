"""Other programs of ours, run to their end by a check of the demo: players, commands, measurements."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from gateway.demo.children import ChildError
from gateway.processes import bound_to_us

_PLAY_S = 300.0

Job = dict[str, Any]
"""What a player is told, and what it tells."""


async def play(role: str, job: Job) -> Job:
    """Have a player (``gateway.demo.players``) play *role*, and return what it saw.

    Raises:
        ChildError: it failed or took too long.
    """
    output = await python(["-m", "gateway.demo.players", role], json.dumps(job).encode(), _PLAY_S)
    played: Job = json.loads(output)
    return played


async def python(arguments: Sequence[str], given: bytes, within_s: float) -> bytes:
    """Run ``python ARGUMENTS`` with *given* on standard input and return its standard output.

    Raises:
        ChildError: it left with something else than 0, or took more than *within_s* seconds.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=bound_to_us(),
    )
    try:
        async with asyncio.timeout(within_s):
            output, words = await process.communicate(given)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ChildError(f"{' '.join(arguments)} took more than {within_s:g} s") from None
    if process.returncode != 0:
        raise ChildError(f"{' '.join(arguments)} failed: {words.decode(errors='replace')[-2_000:]}")
    return output
