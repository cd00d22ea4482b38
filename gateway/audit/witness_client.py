"""Asking a witness to cosign: C2SP tlog-witness, the log's side."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, split_note
from gateway.audit.cosignature import WitnessKey, check_answer
from gateway.audit.proving import prove_growth
from gateway.audit.witness import SIZE_TYPE, AddCheckpoint
from gateway.audit.witnessed import last_seen

_MOST_TRIES = 3
_LONGEST_SIZE = 19


class WitnessRefused(Exception):
    """The witness says that the log does not continue what it saw before: an alarm, not a fault of the network."""


class Undelivered(Exception):
    """A checkpoint did not get where it should this time. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an HTTP server answered."""

    status: int
    kind: str
    body: bytes


Post = Callable[[bytes], Awaitable[Reply]]
"""Posts a body to the witness's ``add-checkpoint``. Raises Undelivered when there is no answer."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness to ask. *url* is its submission prefix, *ca_file* the authorities of its certificate, if its own."""

    url: str
    key: WitnessKey
    ca_file: Path | None = None


async def ask_witness(log: Path, note: bytes, signed: Checkpoint, key: WitnessKey, post: Post) -> str:
    """Return the cosignature line, without line end, of the witness of *key* on *note*, the state of *log*.

    Raises:
        WitnessRefused: the witness saw another past, or a longer log.
        Undelivered: no answer, or none that can be used.
        LogDamaged: the growth cannot be proven from the log's files.
        OSError: they cannot be read.
    """
    old = await asyncio.to_thread(last_seen, log, key)
    for _ in range(_MOST_TRIES):
        if old > signed.size:
            raise WitnessRefused(
                f"{key.name} saw {old} entries of {signed.origin}, it now holds {signed.size}: it was cut or put back"
            )
        proof = await asyncio.to_thread(prove_growth, log, old, signed)
        reply = await post(AddCheckpoint(old, tuple(proof), note).dump())
        if reply.status != 409:
            return _line(reply, note, signed, key)
        seen = _size(reply)
        if seen is None or seen == old:
            raise Undelivered(f"{key.name} answers 409 without saying which size it saw: is this a witness?")
        old = seen
    raise Undelivered(
        f"{key.name} saw another size at each try: somebody else submits this log, or try again"
    )


def _line(reply: Reply, note: bytes, signed: Checkpoint, key: WitnessKey) -> str:
    match reply.status:
        case 200:
            pass
        case 422:
            raise WitnessRefused(f"{key.name} saw another past of {signed.origin}: its history was rewritten")
        case 403:
            raise Undelivered(
                f"{key.name} does not know the key that signs {signed.origin}: its operator must add it"
            )
        case 404:
            raise Undelivered(f"{key.name} does not know the log {signed.origin}: its operator must add it")
        case status:
            raise Undelivered(f"{key.name} answers {status}")
    text, _ = split_note(note)
    try:
        found = check_answer(text, reply.body.decode("utf-8"), [key])
    except (CheckpointRefused, UnicodeDecodeError) as error:
        raise Undelivered(f"the answer of {key.name} is refused: {error}") from error
    if not found:
        raise Undelivered(
            f"the answer bears no cosignature of {key.name} by the key configured: check the key"
        )
    return found[0].line


def _size(reply: Reply) -> int | None:
    text = reply.body.decode("ascii", "replace").removesuffix("\n")
    is_size = reply.kind.partition(";")[0].strip() == SIZE_TYPE
    if not is_size or not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_SIZE:
        return None
    return int(text)
