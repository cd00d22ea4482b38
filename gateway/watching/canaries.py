"""Decoys: patients who do not exist, and whom nobody who works has a reason to open.

Which ones they are stands in one folder that only the gateway's user may read, their numbers sealed with the
gateway's key: whoever knew them could walk around them. No answer of the application is marked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.accounts.sealing import SealBroken, seal, unseal
from gateway.audit import files, locks
from gateway.audit.question import pseudonyms
from gateway.vocabulary.keys import KeyRing, Keys

FILE = "canaries.json"
_PURPOSE = "canary"
_ID_BYTES = 4


class CanariesRefused(Exception):
    """The decoys cannot be read or changed. The message says why, and never names a patient."""


class Canary(msgspec.Struct, frozen=True):
    """One decoy: *sealed* is its number, *by* and *reason* say who set it and why."""

    id: str
    app: str
    system: str
    sealed: str
    by: str
    reason: str
    at_ms: int


class Canaries:
    """The decoys kept in *directory*, under *keys*. *entropy* makes random hex digits of so many bytes."""

    def __init__(self, directory: Path, keys: Keys, entropy: Callable[[int], str]) -> None:
        self.path = directory / FILE
        self._keys = keys
        self._entropy = entropy

    def list(self) -> tuple[Canary, ...]:
        """Return every decoy, the first set first.

        Raises:
            CanariesRefused: the file is no list of decoys, or cannot be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=tuple[Canary, ...])
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise CanariesRefused(f"{self.path} cannot be read: {error.strerror}; check its owner") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CanariesRefused(f"{self.path} is no list of decoys: restore it, or move it away") from error

    def pseudonyms(self) -> frozenset[str]:
        """Return how the log names the decoys, under every key that ever made pseudonyms.

        Raises:
            CanariesRefused: the file cannot be read, or was sealed with other keys.
        """
        return frozenset(name for each in self.list() for name in self._names(each))

    def add(self, app: str, system: str, number: str, *, by: str, reason: str, at_ms: int) -> Canary:
        """Keep *number*, as the routes of *system* fold it, as a decoy.

        Raises:
            CanariesRefused: it is one already, or the disk refused.
        """
        with self._changing():
            kept = self.list()
            if pseudonyms(self._keys.pseudonyms, system, number)[0] in self.pseudonyms():
                raise CanariesRefused("this patient is a decoy already")
            name = self._entropy(_ID_BYTES)
            sealed = seal(self._keys.sealing, number.encode(), purpose=_PURPOSE, account_id=name)
            made = Canary(name, app, system, sealed, by, reason, at_ms)
            self._keep((*kept, made))
        return made

    def remove(self, name: str) -> Canary | None:
        """Forget the decoy *name* and return it; None when there is none.

        Raises:
            CanariesRefused: the file cannot be read, or the disk refused.
        """
        with self._changing():
            kept = self.list()
            gone = next((each for each in kept if each.id == name), None)
            if gone is not None:
                self._keep(tuple(each for each in kept if each.id != name))
        return gone

    def _names(self, canary: Canary) -> tuple[str, ...]:
        ring: KeyRing = self._keys.sealing
        try:
            number = unseal(ring, canary.sealed, purpose=_PURPOSE, account_id=canary.id).decode()
        except SealBroken as error:
            raise CanariesRefused(
                f"{self.path}: decoy {canary.id} was sealed with other keys: {error}"
            ) from error
        return pseudonyms(self._keys.pseudonyms, canary.system, number)

    def _keep(self, canaries: tuple[Canary, ...]) -> None:
        files.replace_durably(self.path, msgspec.json.format(msgspec.json.encode(canaries)) + b"\n")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        folder = self.path.parent
        try:
            with locks.held_in_private(folder):
                yield
        except OSError as error:
            raise CanariesRefused(f"{folder} cannot be changed: {error.strerror}; check its owner") from error
