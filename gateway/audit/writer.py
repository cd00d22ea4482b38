"""The gateway's journal: events in from the event loop, an answer once they are durable.

Group commit: while one batch is on its way to the disk the next one gathers, and where several write at once it is
given a moment to grow. One thread owns the files; the loop only encodes, queues and is woken once a batch.
"""

import asyncio
import os
import queue
import secrets
import shutil
import threading
import time
from pathlib import Path

from gateway.audit.crowd import Crowd
from gateway.audit.encoding import SALT_BYTES, encode
from gateway.audit.files import LogDamaged
from gateway.audit.segments import Journal, LogInUse
from gateway.clock import Clock, SystemClock
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing

CHECKPOINT_EVERY_S = 1.0
HEAL_EVERY_S = 1.0
STALLED_AFTER_S = 5.0
MAX_WAITING = 100_000

_Waiter = asyncio.Future[int]


class AuditUnavailable(Exception):
    """The event was not recorded, and must be treated as not recorded."""


class AuditWriter:
    """One log in *directory*, written by this process alone.

    *origin* names the site: the key name of its checkpoints; the log's origin is ``origin/<directory name>``.
    *ring* holds the checkpoint keys. *segment_bytes* ends a segment, and so does a new UTC
    day. Under *low_space_bytes* of free disk ``low_space`` is raised, before the disk is full. ``append`` and
    ``append_soon`` belong to one event loop; ``open`` and ``close`` block.

    ``lost`` counts events that could not be recorded since the log was opened.
    """

    def __init__(
        self,
        directory: Path,
        origin: str,
        ring: KeyRing,
        *,
        segment_bytes: int = 64_000_000,
        low_space_bytes: int = 500_000_000,
        clock: Clock | None = None,
    ) -> None:
        self.low_space = False
        self.lost = 0
        self._journal = Journal(directory, origin, ring, segment_bytes=segment_bytes)
        self._low_space_bytes = low_space_bytes
        self._clock = clock or SystemClock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        # Held for each queueing and each taking of a batch: sequence numbers follow the queue's order.
        self._mutex = threading.Lock()
        self._lines: list[bytes] = []
        self._waiters: list[_Waiter | None] = []
        self._batch: list[_Waiter | None] = []
        self._next_seq = 0
        self._last_ms = 0
        self._fault: str | None = "not opened"
        self._stopping = False
        self._ending_segment = False
        self._healing_asked = False
        self._lost_reported = 0
        self._busy_since_s: float | None = None
        self._signed_at_s = 0.0
        self._tried_at_s = 0.0
        self._crowd = Crowd()

    @property
    def healthy(self) -> bool:
        """Tell whether an event given now would be recorded, as far as is known."""
        return self.fault is None

    @property
    def fault(self) -> str | None:
        """Return why nothing can be recorded, None while all is well."""
        since_s = self._busy_since_s
        if self._fault is None and since_s is not None and time.monotonic() - since_s > STALLED_AFTER_S:
            return f"the disk has not answered for {STALLED_AFTER_S:.0f} s"
        return self._fault

    @property
    def size(self) -> int:
        """Return how many entries are durable."""
        return self._journal.size

    def open(self) -> None:
        """Recover the log and start to take events. A recovery that mended something is itself recorded.

        Raises:
            AuditUnavailable: another process writes this log, its entries are not those that were signed, or
                the disk refuses. The message says which file and what to do.
        """
        if self._thread is not None:
            raise AuditUnavailable(f"the log in {self._journal.directory} is open already")
        try:
            recovery = self._journal.open()
            if recovery.mended:
                self._record_gap(*recovery.detail())
        except (LogInUse, LogDamaged) as error:
            raise AuditUnavailable(str(error)) from error
        except OSError as error:
            self._journal.release()
            raise AuditUnavailable(_said(error, self._journal.directory)) from error
        self._fault, self._stopping, self._loop = None, False, None
        self._next_seq = self._journal.size
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    def append(self, event: AuditEvent) -> asyncio.Future[int]:
        """Record *event*; the future gives its sequence number once it is durable, or AuditUnavailable.

        Raises:
            ValueError: the event cannot be encoded; the field is named.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        waiter: _Waiter = loop.create_future()
        refused = self._queue(event, waiter)
        if refused is not None:
            waiter.set_exception(AuditUnavailable(refused))
        return waiter

    def append_soon(self, event: AuditEvent) -> None:
        """Record *event* with the next batch; nobody waits. When that fails it is counted in ``lost``.

        Raises:
            ValueError: the event cannot be encoded; the field is named.
        """
        self._queue(event, None)

    def close(self, *, end_segment: bool = False) -> None:
        """Flush, sign the last checkpoint and let go of the log. Later events are refused.

        With *end_segment* the last segment is ended too: nobody may write on here for long, and only an ended
        segment is archived, and purged when its time comes.
        """
        thread = self._thread
        if thread is None:
            return
        with self._mutex:
            self._ending_segment = end_segment
            self._stopping = True
        self._wake.put(None)
        thread.join()
        self._thread = None

    def _queue(self, event: AuditEvent, waiter: _Waiter | None) -> str | None:
        salt = os.urandom(SALT_BYTES)
        with self._mutex:
            refused = "closed" if self._stopping else self.fault
            if refused is None and len(self._lines) >= MAX_WAITING:
                refused = f"{MAX_WAITING} events wait for the disk already"
            if refused is not None:
                self.lost += 1
                self._ask_to_heal()
                return refused
            line = encode(event, seq=self._next_seq, salt=salt)
            self._next_seq += 1
            self._last_ms = event.at_ms
            self._lines.append(line)
            self._waiters.append(waiter)
            if len(self._lines) == 1:
                self._wake.put(None)
        return None

    def _ask_to_heal(self) -> None:
        now_s = time.monotonic()
        if self._fault is not None and self._thread is not None and now_s - self._tried_at_s >= HEAL_EVERY_S:
            self._tried_at_s = now_s
            self._healing_asked = True
            self._wake.put(None)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wait()
                self._step()
            self._step()
            self._finish()
        finally:
            # A bug of ours ends the thread: everybody must know that nothing is recorded any more.
            self._fail(self._fault or "the writer has stopped")
            self._journal.release()

    def _wait(self) -> None:
        timeout_s = None
        if self._fault is None and self._journal.unsigned:
            timeout_s = max(0.0, self._signed_at_s + CHECKPOINT_EVERY_S - time.monotonic())
        try:
            self._wake.get(timeout=timeout_s)
        except queue.Empty:
            return

    def _step(self) -> None:
        try:
            if self._fault is not None:
                self._heal()
                return
            pause_s = 0.0 if self._stopping else self._crowd.pause_s(time.monotonic(), len(self._lines))
            if pause_s:
                time.sleep(pause_s)
            with self._mutex:
                lines, waiters = self._lines, self._waiters
                self._lines, self._waiters = [], []
            if lines:
                self._commit(lines, waiters)
                self._crowd.took(time.monotonic(), len(lines), len(self._lines))
            self._maintain()
        except (OSError, LogDamaged) as error:
            self._fail(_said(error, self._journal.directory))
        finally:
            self._busy_since_s = None

    def _commit(self, lines: list[bytes], waiters: list[_Waiter | None]) -> None:
        self._busy_since_s = time.monotonic()
        self._batch = waiters
        first = self._journal.commit(lines)
        self._batch = []
        self._answer(waiters, first)

    def _maintain(self) -> None:
        now_s = time.monotonic()
        if self._journal.is_full or self._journal.is_of_a_day_before(self._last_ms):
            self._busy_since_s = now_s
            self._journal.rotate()
        elif self._journal.unsigned and now_s - self._signed_at_s >= CHECKPOINT_EVERY_S:
            self._busy_since_s = now_s
            self._journal.checkpoint()
            self.low_space = shutil.disk_usage(self._journal.directory).free < self._low_space_bytes
        else:
            return
        self._signed_at_s = now_s

    def _heal(self) -> None:
        if self._stopping or not self._healing_asked:
            return
        self._healing_asked = False
        fault = self._fault or ""
        self._journal.heal()
        self._record_gap(("cause", fault), ("lost", str(self.lost - self._lost_reported)))
        self._lost_reported = self.lost
        with self._mutex:
            self._next_seq = self._journal.size
            self._fault = None

    def _record_gap(self, *detail: tuple[str, str]) -> None:
        event = AuditEvent(EventKind.GAP, self._clock.now_ms(), detail=detail)
        self._journal.commit([encode(event, seq=self._journal.size, salt=secrets.token_bytes(SALT_BYTES))])
        self._journal.checkpoint()

    def _finish(self) -> None:
        try:
            if self._fault is None:
                if self._ending_segment:
                    self._journal.rotate()
                self._journal.close()
        except OSError as error:
            self._fail(_said(error, self._journal.directory))

    def _fail(self, fault: str) -> None:
        with self._mutex:
            # Before anybody is told: whoever asks again at once must find the log closed.
            self._fault = fault
            waiters = self._batch + self._waiters
            self._batch, self._lines, self._waiters = [], [], []
            self.lost += len(waiters)
            self._tried_at_s = time.monotonic()
        if waiters:
            self._answer(waiters, fault)

    def _answer(self, waiters: list[_Waiter | None], outcome: int | str) -> None:
        loop = self._loop
        if loop is None or loop.is_closed() or not any(waiters):
            return
        try:
            loop.call_soon_threadsafe(_settle, waiters, outcome)
        except RuntimeError:
            # The loop was closed this instant: nobody is left to be told.
            if not loop.is_closed():
                raise


def _settle(waiters: list[_Waiter | None], outcome: int | str) -> None:
    for position, waiter in enumerate(waiters):
        if waiter is None or waiter.done():
            continue
        if isinstance(outcome, int):
            waiter.set_result(outcome + position)
        else:
            waiter.set_exception(AuditUnavailable(outcome))


def _said(error: Exception, directory: Path) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or directory}: {error.strerror or error}: free or repair the disk"
    return str(error)
