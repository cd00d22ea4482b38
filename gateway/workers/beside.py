"""A command that runs beside the gateway, and is begun again, with growing pauses, whenever it ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from gateway import telemetry
from gateway.clock import spawn
from gateway.processes import Child, Pauses, ecluse

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
SOUND_AFTER_S = 60.0
STOP_S = 5.0
KEEPER_AFTER_S = 10.0
"""The keeper begins when the rush of a start is over."""
WATCHER_AFTER_S = 1.0
EDGE_KILL_AFTER_S = 15.0
"""Longer than its supervisor waits before it kills a process."""


@asynccontextmanager
async def beside(
    name: str, arguments: Sequence[str], *, after_s: float, stop_s: float | None = None
) -> AsyncIterator[None]:
    """Run ``ecluse`` with *arguments* while the block runs, from *after_s* seconds after its beginning.

    It inherits standard error for its log. One that ran for a minute is begun again after a second; one
    that ends at once after pauses that double up to a minute. At the end it is told to stop, and killed
    after *stop_s* seconds, `STOP_S` by default.
    """
    task = spawn(
        _keep_running(name, arguments, after_s, STOP_S if stop_s is None else stop_s), f"beside: {name}"
    )
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def node_processes(
    config_path: str, *, watcher: bool, keeper: bool, edge: bool, drain_s: float
) -> AsyncIterator[None]:
    """Run those processes that a node has once beside whatever serves there, while the block runs.

    *drain_s* is how long the questions of an *edge* may take to end.
    """
    where = ("--config", config_path)
    async with AsyncExitStack() as stack:
        if watcher:
            watch = beside("audit watcher", ["audit", "watch", *where], after_s=WATCHER_AFTER_S)
            await stack.enter_async_context(watch)
        if keeper:
            keep = beside("audit keeper", ["audit", "keep", *where], after_s=KEEPER_AFTER_S)
            await stack.enter_async_context(keep)
        if edge:
            check = beside("edge", ["edge", "serve", *where], after_s=0.0, stop_s=drain_s + EDGE_KILL_AFTER_S)
            await stack.enter_async_context(check)
        yield


async def _keep_running(name: str, arguments: Sequence[str], after_s: float, stop_s: float) -> None:
    await asyncio.sleep(after_s)
    loop, pauses = asyncio.get_running_loop(), Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S, SOUND_AFTER_S)
    while True:
        began_s = loop.time()
        status = await _run(name, arguments, stop_s)
        pause_s = pauses.after(loop.time() - began_s)
        telemetry.log().error("process_ended", process=name, exit_status=status, again_in_s=pause_s)
        await asyncio.sleep(pause_s)


async def _run(name: str, arguments: Sequence[str], stop_s: float) -> int | str:
    try:
        child = await Child.begin(ecluse(*arguments))
    except OSError as error:
        return error.strerror or type(error).__name__
    telemetry.log().info("process_started", process=name, pid=child.pid)
    try:
        return await child.ended()
    except asyncio.CancelledError:
        await child.stop(stop_s)
        raise
