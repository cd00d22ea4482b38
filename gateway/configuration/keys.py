"""Key files: made once, read at start, never shown."""

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.vocabulary.keys import KeyRing, Keys

PURPOSES = tuple(item.name for item in fields(Keys))
KEY_BYTES = 32
ROTATED = ("session", "binding", "sealing", "pseudonyms", "assertion", "checkpoint")
"""The rings that take a new key beside the old ones. Under another key of names nobody would be found again."""
DROPPED = ("session", "binding", "sealing", "assertion")
"""The rings whose old keys can be taken out: the log needs those of its patients and signatures while it is kept."""
_MAX_FILE_BYTES = 65_536
_FINGERPRINTED = b"ecluse key check v1"
_LEAST_DISTINCT_BYTES = 8
_KEY_ID_LONGEST = 32
_IDENTITY = re.compile(r"[0-9a-f]{64}\Z")


class KeysRefused(Exception):
    """The keys cannot be used. The message names the file and the mend, never a key."""


def init_keys(directory: Path, randomness: Callable[[int], bytes] = secrets.token_bytes) -> list[Path]:
    """Make one key file per purpose in *directory* and return them.

    The directory gets mode 0700, each file 0600. Nothing is ever overwritten; all files are made or none.

    Raises:
        KeysRefused: a key file exists already, or the directory holds other things or cannot be written.
    """
    paths = [directory / f"{purpose}.json" for purpose in PURPOSES]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = [path.name for path in paths if path.exists() or path.is_symlink()]
        if present:
            raise KeysRefused(
                f"{directory} already holds {', '.join(present)}: keys are never overwritten; "
                "choose another keys_dir, or move these files away if nothing was ever sealed with them"
            )
        # Closing a folder that others use, such as /etc, would do harm.
        if any(directory.iterdir()) and stat.S_IMODE(directory.stat().st_mode) & 0o077:
            raise KeysRefused(f"{directory} holds other things: choose a folder for the keys alone")
        directory.chmod(0o700)
        _make_all(paths, randomness)
        _sync_directory(directory)
    except OSError as error:
        raise KeysRefused(
            f"keys cannot be made in {directory}: {error.strerror}; check its owner and mode"
        ) from error
    return paths


def prepared(ring: KeyRing) -> str | None:
    """Return the id of the key that was put into *ring* for later, None when there is none."""
    later = list(ring.keys)[list(ring.keys).index(ring.current) + 1 :]
    return later[-1] if later else None


def rotate_key(
    directory: Path,
    purpose: str,
    kid: str,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
    *,
    make_current: bool = True,
) -> None:
    """Make the key *kid* the current one of the ring of *purpose*; the old ones stay.

    A key of that id that was prepared is taken; else one is made. Without *make_current* it is only prepared:
    every node can read what it makes before any node makes something with it. The file is replaced at once
    and durably, with the owner it had. A gateway takes the ring up at its next start.

    Raises:
        KeysRefused: the ring cannot be read or written, or has an older key of that id.
    """
    path = directory / f"{purpose}.json"
    ring = _read_ring(path, purpose)
    if kid in ring.keys and (kid != prepared(ring) or not make_current):
        raise KeysRefused(f"{path} has a key {kid} already: try again, another id is drawn")
    keys = ring.keys if kid in ring.keys else {**ring.keys, kid: randomness(KEY_BYTES)}
    _replace_ring(path, KeyRing(purpose, kid if make_current else ring.current, keys, ring.identity))


def drop_key(directory: Path, purpose: str, kid: str) -> None:
    """Take the old key *kid* out of the ring of *purpose*: what it made is worth nothing from the next start on.

    The ring stays the one that the store was made with.

    Raises:
        KeysRefused: the ring cannot be read or written, has no such key, or *kid* is the current one.
    """
    path = directory / f"{purpose}.json"
    ring = _read_ring(path, purpose)
    if kid not in ring.keys:
        raise KeysRefused(f"{path} has no key {kid}: see 'ecluse keys show'")
    if kid == ring.current:
        raise KeysRefused(f"{kid} is the current key of {path}: run 'ecluse keys rotate {purpose}' first")
    keys = {each: key for each, key in ring.keys.items() if each != kid}
    _replace_ring(path, KeyRing(purpose, ring.current, keys, _identity(ring)))


def _replace_ring(path: Path, ring: KeyRing) -> None:
    encoded = {each: base64.b64encode(key).decode() for each, key in ring.keys.items()}
    content = {"purpose": ring.purpose, "current": ring.current, "keys": encoded}
    if ring.identity is not None:
        content["identity"] = ring.identity
    draft = path.with_suffix(".new")
    try:
        owner = path.stat()
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(json.dumps(content) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise KeysRefused(f"{path} cannot be replaced: {error.strerror}; check its owner and mode") from error


def load_keys(directory: Path) -> Keys:
    """Read every key ring of *directory*.

    Raises:
        KeysRefused: a file is missing, readable by others, somebody else's, or holds no good key.
    """
    try:
        found = directory.lstat()
    except FileNotFoundError:
        raise KeysRefused(f"no keys at {directory}: make them with 'ecluse keys init'") from None
    except OSError as error:
        raise KeysRefused(f"keys at {directory} cannot be read: {error.strerror}") from error
    _check_private(directory, found, stat.S_ISDIR, 0o700)
    rings = {purpose: _read_ring(directory / f"{purpose}.json", purpose) for purpose in PURPOSES}
    by_key: dict[bytes, str] = {}
    for purpose, ring in rings.items():
        for key in ring.keys.values():
            if by_key.setdefault(key, purpose) != purpose:
                raise KeysRefused(
                    f"{directory}: {by_key[key]}.json and {purpose}.json share a key: "
                    "make new ones with 'ecluse keys init'"
                )
    return Keys(**rings)


def fingerprint(keys: Keys) -> str:
    """Return 64 hex digits that change with the first key of any ring and reveal none.

    The store keeps it, so that a gateway started with other keys is refused before it does harm. A ring that
    took a new key beside its old ones, or gave an old one up, is still the same ring.
    """
    digest = hashlib.sha256()
    for purpose in PURPOSES:
        digest.update(bytes.fromhex(_identity(getattr(keys, purpose))))
    return digest.hexdigest()


def _identity(ring: KeyRing) -> str:
    if ring.identity is not None:
        return ring.identity
    first = next(iter(ring.keys.values()))
    return hmac.digest(first, _FINGERPRINTED + b"|" + ring.purpose.encode(), "sha256").hex()


def public_key(ring: KeyRing) -> bytes:
    """Return the 32 raw bytes of the Ed25519 public key of *ring*'s current key."""
    return Ed25519PrivateKey.from_private_bytes(ring.key()).public_key().public_bytes_raw()


def _make_all(paths: list[Path], randomness: Callable[[int], bytes]) -> None:
    made: list[Path] = []
    try:
        for purpose, path in zip(PURPOSES, paths, strict=True):
            kid, key = randomness(4).hex(), randomness(KEY_BYTES)
            ring = {"purpose": purpose, "current": kid, "keys": {kid: base64.b64encode(key).decode()}}
            _write_new(path, ring)
            made.append(path)
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def _write_new(path: Path, content: object) -> None:
    # Written aside and linked: a crash leaves no half key, and link refuses to replace a file.
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(json.dumps(content) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_private(path: Path, found: os.stat_result, is_kind: Callable[[int], bool], mode: int) -> None:
    if not is_kind(found.st_mode):
        raise KeysRefused(f"{path} is not a plain file or directory: put the keys there themselves, no link")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeysRefused(
            f"{path} can be read by others (mode {stat.S_IMODE(found.st_mode):04o}): chmod {mode:04o} {path}"
        )
    if found.st_uid not in {os.geteuid(), 0}:
        raise KeysRefused(
            f"{path} belongs to another user (uid {found.st_uid}): chown it to the user who runs the gateway"
        )


def _read_ring(path: Path, purpose: str) -> KeyRing:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeysRefused(
            f"{path} is missing: restore it from your backup, or make all keys with 'ecluse keys init'"
        ) from None
    except OSError as error:
        raise KeysRefused(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        _check_private(path, os.fstat(file.fileno()), stat.S_ISREG, 0o600)
        raw = file.read(_MAX_FILE_BYTES + 1)
    try:
        return _parse_ring(raw, purpose)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        # Only our own sentences pass on: a parser's message may quote the file.
        why = error.args[0] if isinstance(error, _BadRing) else "not a key file"
        raise KeysRefused(f"{path}: {why}; restore it from your backup") from None


class _BadRing(ValueError):
    """What is wrong with a ring, in words that quote no key."""


def _parse_ring(raw: bytes, purpose: str) -> KeyRing:
    content = json.loads(raw)
    if content["purpose"] != purpose:
        raise _BadRing(f"made for another purpose than {purpose}")
    keys: dict[str, bytes] = {}
    for kid, text in content["keys"].items():
        if not kid.isascii() or not kid.isalnum() or len(kid) > _KEY_ID_LONGEST:
            raise _BadRing("a key id is not a short word of letters and digits")
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise _BadRing(f"key {kid} is not base64") from None
        if len(key) != KEY_BYTES:
            raise _BadRing(f"key {kid} has {len(key)} bytes instead of {KEY_BYTES}")
        if len(set(key)) < _LEAST_DISTINCT_BYTES or _looks_counted(key):
            raise _BadRing(f"key {kid} is an example, not a random key")
        keys[kid] = key
    if content["current"] not in keys:
        raise _BadRing("'current' names a key that is not there")
    identity = content.get("identity")
    if identity is not None and not _IDENTITY.match(identity):
        raise _BadRing("'identity' is not 64 hex digits")
    return KeyRing(purpose, content["current"], keys, identity)


def _looks_counted(key: bytes) -> bool:
    # 32 random bytes are all ASCII once in 4 * 10^9 keys; typed passphrases and examples always are.
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    return len(steps) == 1 or key.isascii()
