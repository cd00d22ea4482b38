"""Checkpoints off the machine: cosigned by witnesses, kept at targets. Beside the gateway, never in its way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from gateway import telemetry
from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, VerifierKey, verify
from gateway.audit.cosignature import with_lines
from gateway.audit.files import LogDamaged
from gateway.audit.proving import holds, read_checkpoint
from gateway.audit.targets import Target, fetch, request_to
from gateway.audit.witness_client import Reply, Undelivered, Witness, WitnessRefused, ask_witness
from gateway.audit.witnessed import keep_cosigned

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 3_600.0
_SIZE_DIGITS = 20
_ITSELF = "the log itself"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one log's checkpoint of *size* at one destination.

    *fault* is None when it arrived. *is_alarm* tells that the destination holds another past of this log.
    """

    origin: str
    destination: str
    size: int
    fault: str | None = None
    is_alarm: bool = False


@dataclass(slots=True)
class _Standing:
    failures: int = 0
    due_s: float = 0.0


Alarm = Callable[[Outcome], Awaitable[bool]]
"""Told when a destination begins to hold another past than the log; returns whether that is on record now."""


class Publisher:
    """Brings the checkpoints of every log under *audit_dir* to *witnesses*, then, cosigned, to *targets*.

    Each destination has its own pace: every *every_s* while all is well, sooner after a failure, then less
    and less often. *keys* are those of the logs. An *alarm* that could not record what it was told is told it
    again every round until it could, even when the destination agrees with the log once more.
    """

    def __init__(
        self,
        audit_dir: Path,
        keys: Sequence[VerifierKey],
        witnesses: Sequence[Witness],
        targets: Sequence[Target],
        *,
        every_s: float,
        alarm: Alarm,
    ) -> None:
        self._audit_dir = audit_dir
        self._keys = keys
        self._witnesses = witnesses
        self._targets = targets
        self._every_s = every_s
        self._alarm = alarm
        self._standings: dict[tuple[str, str], _Standing] = {}
        self._alarmed: set[tuple[str, str]] = set()
        self._unrecorded: dict[tuple[str, str], Outcome] = {}

    @property
    def is_well(self) -> bool:
        """Tell whether every destination took the last checkpoint it was given."""
        return not self._alarmed and not any(each.failures for each in self._standings.values())

    async def round(self, now_s: float, now_ms: int) -> list[Outcome]:
        """Serve every destination that is due at *now_s*, a clock that never goes back; *now_ms* names the day.

        A log whose own checkpoint cannot be read holds up no other.

        Raises:
            OSError: the folder of the logs cannot be read.
        """
        outcomes: list[Outcome] = []
        for log in files.log_directories(self._audit_dir):
            try:
                outcomes += await self._serve(log, now_s, now_ms)
            except (LogDamaged, OSError) as error:
                outcomes.append(Outcome(log.name, _ITSELF, 0, str(error)))
        for outcome in outcomes:
            self._settle(outcome, now_s)
        for place, outcome in list(self._unrecorded.items()):
            if await self._alarm(outcome):
                del self._unrecorded[place]
        return outcomes

    def hurry(self) -> None:
        """Make every destination that failed due at the next round."""
        for standing in self._standings.values():
            if standing.failures:
                standing.due_s = 0.0

    def next_due_s(self, now_s: float) -> float:
        """Return when the next round is worth its while."""
        due = [each.due_s for each in self._standings.values()]
        return max(now_s + 1.0, min(due, default=now_s + self._every_s))

    async def _serve(self, log: Path, now_s: float, now_ms: int) -> list[Outcome]:
        path = log / files.CHECKPOINT
        if not path.exists():
            return []
        note, signed = await asyncio.to_thread(read_checkpoint, path, self._keys)
        note, outcomes = await self._cosign(log, note, signed, now_s)
        due = [target for target in self._targets if self._is_due(signed, target.label, now_s)]
        outcomes += await asyncio.gather(
            *(self._deliver(log, note, signed, target, now_ms) for target in due)
        )
        return outcomes

    async def _cosign(
        self, log: Path, note: bytes, signed: Checkpoint, now_s: float
    ) -> tuple[bytes, list[Outcome]]:
        due = [each for each in self._witnesses if self._is_due(signed, _label(each), now_s)]
        # Asked together, witnesses cosign the same state, which a policy may ask of several; those that fail
        # keep their own pace.
        if due:
            due += [
                each
                for each in self._witnesses
                if each not in due and not self._standings[signed.origin, _label(each)].failures
            ]
        found = await asyncio.gather(*(self._ask(log, note, signed, witness) for witness in due))
        lines = [line for line, _ in found if line is not None]
        if lines:
            note = with_lines(note, lines)
            await asyncio.to_thread(keep_cosigned, log, note)
        return note, [outcome for _, outcome in found]

    async def _ask(
        self, log: Path, note: bytes, signed: Checkpoint, witness: Witness
    ) -> tuple[str | None, Outcome]:
        async def post(body: bytes) -> Reply:
            url = f"{witness.url.rstrip('/')}/add-checkpoint"
            return await fetch(request_to(url, witness.ca_file, method="POST", body=body))

        def outcome(fault: str | None, *, is_alarm: bool = False) -> Outcome:
            return Outcome(signed.origin, _label(witness), signed.size, fault, is_alarm)

        try:
            line = await ask_witness(log, note, signed, witness.key, post)
        except WitnessRefused as error:
            return None, outcome(str(error), is_alarm=True)
        except (Undelivered, LogDamaged, OSError) as error:
            return None, outcome(str(error))
        return line, outcome(None)

    async def _deliver(
        self, log: Path, note: bytes, signed: Checkpoint, target: Target, now_ms: int
    ) -> Outcome:
        latest, dated = _names(signed, now_ms)
        fault, is_alarm = None, False
        try:
            kept = await target.read(latest)
            fault = None if kept is None else await asyncio.to_thread(self._other_past, log, kept, signed)
            is_alarm = fault is not None
            if fault is None:
                await target.write(dated, note, once=True)
                await target.write(latest, note, once=False)
        except (Undelivered, LogDamaged, OSError) as error:
            fault = str(error)
        return Outcome(signed.origin, target.label, signed.size, fault, is_alarm)

    def _other_past(self, log: Path, kept: bytes, signed: Checkpoint) -> str | None:
        """Return why what a target keeps is not an earlier state of *log*, None when it is."""
        try:
            before = verify(kept, self._keys)
        except CheckpointRefused as error:
            return f"what it keeps is no checkpoint of this site: {error}"
        if before.origin != signed.origin:
            return f"what it keeps is of the log {before.origin!r}"
        if before.size > signed.size:
            return f"it keeps a state of {before.size} entries, the log holds {signed.size}: it was cut or put back"
        if not holds(log, before):
            return f"the {before.size} entries it knows are not those of the log: its history was rewritten"
        return None

    def _is_due(self, signed: Checkpoint, label: str, now_s: float) -> bool:
        return now_s >= self._standings.setdefault((signed.origin, label), _Standing()).due_s

    def _settle(self, outcome: Outcome, now_s: float) -> None:
        place = (outcome.origin, outcome.destination)
        standing = self._standings.setdefault(place, _Standing())
        if outcome.fault is None:
            standing.failures, standing.due_s = 0, now_s + self._every_s
            self._alarmed.discard(place)
            self._standings.pop((Path(outcome.origin).name, _ITSELF), None)
            telemetry.PUBLISHED_ENTRIES.labels(*place).set(outcome.size)
            return
        delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**standing.failures)
        standing.failures = min(standing.failures + 1, 20)
        standing.due_s = now_s + delay_s
        telemetry.PUBLISH_FAILURES.labels(outcome.destination).inc()
        said = "checkpoint_contradicted" if outcome.is_alarm else "checkpoint_not_published"
        telemetry.log().error(
            said, origin=outcome.origin, destination=outcome.destination, what=outcome.fault, retry_s=delay_s
        )
        if outcome.is_alarm and place not in self._alarmed:
            self._alarmed.add(place)
            self._unrecorded.setdefault(place, outcome)


def _label(witness: Witness) -> str:
    return f"witness {witness.key.name}"


def _names(signed: Checkpoint, now_ms: int) -> tuple[str, str]:
    """Return the name of the last state, and one of its own that no later state takes."""
    segments = [quote(part, safe="") for part in signed.origin.split("/")]
    # What a file system would read as another place is no name of a log.
    place = "/".join(part.replace(".", "%2E") if part.strip(".") == "" else part for part in segments)
    day = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d")
    return f"{place}/checkpoint", f"{place}/{day}/{signed.size:0{_SIZE_DIGITS}d}.checkpoint"
