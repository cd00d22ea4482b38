"""A witness's folder: its key, the logs it knows, and for each the last state it cosigned.

``key`` is its private key (mode 0600), ``logs`` the file of known logs, ``state/HASH/checkpoint`` the last
cosigned note of a log, HASH being the SHA-256 of its origin; ``state/HASH/refused`` keeps signed checkpoints
that did not continue it: with the last state they prove that the log rewrote its past.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from gateway.audit import files, locks
from gateway.audit.checkpoint import Checkpoint, CheckpointRefused, parse, split_note, verify
from gateway.audit.cosignature import WitnessSecret, cosign, cosignatures, parse_witness_secret
from gateway.audit.files import LogDamaged
from gateway.audit.witness import (
    AddCheckpoint,
    KnownLogs,
    Refused,
    RequestRefused,
    decide,
    origin_of,
    parse_logs,
)

KEY = "key"
LOGS = "logs"
_STATE = "state"
_REFUSED = "refused"
_MOST_REFUSED = 100
_MOST_LOGS_BYTES = 1_000_000
_KEY_BYTES = 32
_HASH = re.compile(r"[0-9a-f]{64}")
_LOGS_HEAD = (
    "# The logs this witness knows: on each line an origin and a verifier key that may sign for it, such as\n"
    "# region.example/ecluse/gateway region.example/ecluse+1a2b3c4d+AW...\n"
    "# An origin is one log's alone; several lines of it give that log several keys.\n"
    "# Changes hold from the next request on.\n"
)


class WitnessUnusable(Exception):
    """The witness's folder cannot be used. The message names the file and the mend, never a key."""


def init_witness(directory: Path, name: str, randomness: Callable[[int], bytes]) -> WitnessSecret:
    """Make the folder of a witness called *name*, with a new key and no logs. Nothing is ever overwritten.

    Raises:
        WitnessUnusable: there is one already, the name is none, or the disk refused.
    """
    try:
        secret = WitnessSecret(name, randomness(_KEY_BYTES))
        secret.public.text()
    except CheckpointRefused as error:
        raise WitnessUnusable(
            f"{error}: name it like an address without scheme, such as region.example/w1"
        ) from error
    try:
        files.make_directory(directory)
        directory.chmod(0o700)
        handle = os.open(directory / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            files.write_all(handle, secret.text().encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        files.replace_durably(directory / LOGS, _LOGS_HEAD.encode())
        files.make_directory(directory / _STATE)
    except FileExistsError:
        raise WitnessUnusable(f"{directory} holds a witness's key already: it is never overwritten") from None
    except OSError as error:
        raise WitnessUnusable(f"{error.filename or directory}: {error.strerror}") from error
    return secret


class WitnessStore:
    """One witness. Any number of threads and processes may use its folder: each log's state has a lock.

    Raises:
        WitnessUnusable: the key is missing, readable by others or no key, or the file of logs is faulty.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.secret = _read_secret(directory / KEY)
        self._logs_seen: tuple[int, int, int] | None = None
        self._logs: KnownLogs = {}
        self.logs()

    def logs(self) -> KnownLogs:
        """Return the logs that are known; the file is read again when it changed.

        Raises:
            WitnessUnusable: it is missing or faulty.
        """
        path = self.directory / LOGS
        try:
            found = path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._logs_seen:
                if found.st_size > _MOST_LOGS_BYTES:
                    raise WitnessUnusable(f"{path} is longer than {_MOST_LOGS_BYTES} bytes")
                self._logs = parse_logs(path.read_text("utf-8"))
                self._logs_seen = seen
        except OSError as error:
            raise WitnessUnusable(f"{path}: {error.strerror}: restore it, or make one") from error
        except (RequestRefused, UnicodeDecodeError) as error:
            raise WitnessUnusable(f"{path}, {error}") from error
        return self._logs

    def add_checkpoint(self, request: AddCheckpoint, at_s: int) -> str | Refused:
        """Decide on *request* at *at_s*, Unix seconds, and return the cosignature line once its state is durable.

        Raises:
            WitnessUnusable: the file of logs is faulty.
            LogDamaged: the state kept of this log is not what this witness signed.
            OSError: the disk refused: nothing was signed.
        """
        logs = self.logs()
        first = decide(request, logs, None)
        origin = origin_of(request)
        # Strangers are answered before anything is read or locked.
        if origin is None or (isinstance(first, Refused) and first.status in {400, 403, 404}):
            return first if isinstance(first, Refused) else Refused(400, "no checkpoint")
        place = self._place(origin)
        with locks.held(place):
            found = decide(request, logs, self._known(place, origin))
            if isinstance(found, Refused):
                if found.status == 422:
                    _keep_refused(place, request.note)
                return found
            text, lines = split_note(request.note)
            line = cosign(text, self.secret, at_s)
            # Signatures of others stay out: what is served is what was checked.
            own = [each for each in lines if _holds(text, each, logs, origin)]
            note = f"{text}\n{''.join(f'{each}\n' for each in own)}{line}".encode()
            files.replace_durably(place / files.CHECKPOINT, note)
        return line

    def kept(self, origin_hash: str) -> bytes | None:
        """Return the last cosigned note of the log whose origin hashes to *origin_hash*, None without one.

        Raises:
            OSError: it cannot be read.
        """
        if not _HASH.fullmatch(origin_hash):
            return None
        path = self.directory / _STATE / origin_hash / files.CHECKPOINT
        return path.read_bytes() if path.exists() else None

    def _place(self, origin: str) -> Path:
        place = self.directory / _STATE / hashlib.sha256(origin.encode()).hexdigest()
        files.make_directory(place)
        return place

    def _known(self, place: Path, origin: str) -> Checkpoint | None:
        path = place / files.CHECKPOINT
        if not path.exists():
            return None
        note = path.read_bytes()
        try:
            known = parse(note)
            if known.origin != origin or not cosignatures(note, [self.secret.public]):
                raise LogDamaged(f"{path} was not cosigned by this witness: restore its folder whole")
        except CheckpointRefused as error:
            raise LogDamaged(f"{path}: {error}: restore the witness's folder whole") from error
        return known


def _holds(text: str, line: str, logs: KnownLogs, origin: str) -> bool:
    try:
        verify(f"{text}\n{line}\n".encode(), logs[origin])
    except CheckpointRefused:
        return False
    return True


def _read_secret(path: Path) -> WitnessSecret:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise WitnessUnusable(
            f"{path}: {error.strerror}: make a witness with 'ecluse witness init'"
        ) from error
    with os.fdopen(handle, "rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise WitnessUnusable(f"{path} can be read by others: chmod 0600 {path}")
        raw = file.read(4_096)
    try:
        return parse_witness_secret(raw.decode("utf-8"))
    except (CheckpointRefused, UnicodeDecodeError) as error:
        what = str(error) if isinstance(error, CheckpointRefused) else "not a key file"
        raise WitnessUnusable(f"{path}: {what}; restore it from your backup") from None


def _keep_refused(place: Path, note: bytes) -> None:
    folder = place / _REFUSED
    files.make_directory(folder)
    path = folder / hashlib.sha256(note).hexdigest()
    if not path.exists() and len(list(folder.iterdir())) < _MOST_REFUSED:
        files.replace_durably(path, note)
