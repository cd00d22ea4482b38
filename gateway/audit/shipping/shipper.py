"""The loop that sends: from the journals to the collector, from the cursor on, again and again until it arrived."""

import heapq
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway import telemetry
from gateway.audit import files
from gateway.audit.shipping.cursors import Cursors
from gateway.audit.shipping.link import Link
from gateway.audit.shipping.spool import Spool

TURN_S = 5.0
"""How long a connection is kept: what was sent counts as arrived once it has ended."""
TURN_EVENTS = 20_000
POLL_S = 0.5
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
TELL_EVERY_S = 60.0
_BATCH_BYTES = 1_000_000
_WRITE_CHARS = 60_000

Render = Callable[[Mapping[str, Any]], list[str]]


class Shipper:
    """Sends what every writer under *audit_dir* has signed, from *cursors* on. One thread, one owner.

    *connect* makes a connection, *render* an event's messages. *now_s* is a monotonic clock, *wait* rests for so
    many seconds and returns False to stop. Memory is bounded by one batch a writer, whatever the backlog.

    An event arrives at least once, in the order of its writer's log; events of several writers are mixed by time
    within a batch. After a failure everything since the last confirmed end of a connection is sent again.
    """

    def __init__(
        self,
        audit_dir: Path,
        cursors: Cursors,
        connect: Callable[[], Link],
        render: Render,
        *,
        now_s: Callable[[], float],
        wait: Callable[[float], bool],
        turn_s: float = TURN_S,
    ) -> None:
        self._audit_dir = audit_dir
        self._cursors = cursors
        self._connect = connect
        self._render = render
        self._now_s = now_s
        self._wait = wait
        self._turn_s = turn_s
        self._spools: dict[str, Spool] = {}
        self._known = cursors.load()
        self._link: Link | None = None
        self._since_s = self._told_at_s = now_s()
        self._events = 0
        self._arrived = 0
        self._failures = 0
        self._gaps = 0

    def run(self, *, once: bool = False) -> bool:
        """Send until told to stop; with *once* until everything there is has arrived, or the first failure.

        Returns whether everything that was sent is known to have arrived.

        Raises:
            ShippingRefused, LogDamaged: a log is not the one that was sent before, or is damaged.
        """
        try:
            while True:
                try:
                    moved, backlog = self._step(once=once)
                except OSError as error:
                    delay_s = self._failed(error)
                    if once or not self._wait(delay_s):
                        return False
                    continue
                if once and not backlog:
                    return True
                if not self._wait(0.0 if moved else POLL_S):
                    return self._stop()
        finally:
            self._drop()

    def _step(self, *, once: bool) -> tuple[bool, int]:
        """Send one batch, end the connection when its turn is over; return whether any was sent, and what is left."""
        ends = {spool: spool.signed() for spool in self._find()}
        self._show(ends)
        unsent = any(spool.next < end for spool, end in ends.items())
        if unsent:
            self._send(ends)
        over = self._now_s() - self._since_s >= self._turn_s or self._events >= TURN_EVENTS
        if self._link is not None and (over or (once and not self._left(ends))):
            self._finish()
        elif self._link is None and not unsent:
            # Entries that were skipped, because they are gone, need no connection.
            self._keep()
        return unsent, self._show(ends)

    def _find(self) -> list[Spool]:
        for directory in files.log_directories(self._audit_dir):
            if directory.name not in self._spools:
                self._spools[directory.name] = Spool(directory, self._known.get(directory.name, 0))
        return list(self._spools.values())

    @staticmethod
    def _left(ends: Mapping[Spool, int]) -> bool:
        return any(spool.next < end for spool, end in ends.items())

    def _send(self, ends: Mapping[Spool, int]) -> None:
        link = self._link
        if link is None:
            link = self._link = self._connect()
            self._since_s, self._events = self._now_s(), 0
        batches = [spool.take(end, _BATCH_BYTES) for spool, end in ends.items()]
        waiting: list[str] = []
        size = 0
        for event in heapq.merge(*batches, key=lambda each: each.get("at_ms") or 0):
            messages = self._render(event)
            waiting += messages
            size += sum(map(len, messages))
            self._events += 1
            if size >= _WRITE_CHARS:
                link.send(waiting)
                waiting, size = [], 0
        if waiting:
            link.send(waiting)

    def _finish(self) -> None:
        link = self._link
        if link is not None:
            link.finish()
            self._link = None
            self._keep()
            if self._failures:
                telemetry.log().info("shipping_resumed", failures=self._failures)
                self._failures = 0

    def _keep(self) -> None:
        moved = {spool.writer: spool.next for spool in self._spools.values() if spool.next != spool.kept}
        if not moved:
            return
        self._cursors.save(moved)
        for spool in self._spools.values():
            arrived = spool.next - spool.kept
            self._arrived += arrived
            telemetry.COLLECTOR_SENT.labels(spool.writer).inc(arrived)
            spool.keep()

    def _stop(self) -> bool:
        try:
            self._finish()
        except OSError as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: OSError) -> float:
        self._drop()
        for spool in self._spools.values():
            spool.go_back()
        delay_s: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._failures, 10))
        self._failures += 1
        telemetry.COLLECTOR_FAILURES.inc()
        telemetry.log().warning(
            "shipping_interrupted",
            error=f"{type(error).__name__}: {error}",
            failures=self._failures,
            retry_s=delay_s,
        )
        return delay_s

    def _drop(self) -> None:
        if self._link is not None:
            self._link.drop()
            self._link = None

    def _show(self, ends: Mapping[Spool, int]) -> int:
        backlog = 0
        for spool, end in ends.items():
            telemetry.COLLECTOR_BACKLOG.labels(spool.writer).set(end - spool.kept)
            backlog += end - spool.kept
        gaps = sum(spool.missing + spool.unreadable for spool in ends)
        if gaps > self._gaps:
            self._gaps = gaps
            telemetry.log().error(
                "entries_not_sent",
                missing=sum(spool.missing for spool in ends),
                unreadable=sum(spool.unreadable for spool in ends),
            )
        if self._now_s() - self._told_at_s >= TELL_EVERY_S:
            self._told_at_s = self._now_s()
            telemetry.log().info("shipping", arrived=self._arrived, backlog=backlog)
        return backlog
