"""Time-stamps of checkpoints by an authority: RFC 3161, over the SHA-256 of the signed note. Needs ``ecluse[stamp]``.

A checkpoint says what the log held, a time-stamp that it said so no later than then, by the word of an
authority that knows neither the log nor its witnesses.
"""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from cryptography.x509 import load_pem_x509_certificates

from gateway.audit.targets import fetch, request_to
from gateway.audit.witness_client import Undelivered

STAMPS = "stamps"
"""The folder beside a log that keeps its stamps: ``SIZE.checkpoint`` and ``SIZE.tsr``."""
SUFFIX = ".tsr"
MAX_STAMP_BYTES = 100_000
_QUERY_TYPE = "application/timestamp-query"
_REPLY_TYPE = "application/timestamp-reply"


class StampFails(Exception):
    """The stamp is not of this checkpoint, or not by an authority under the given roots. The message says why."""


class StampUnavailable(Exception):
    """Stamps cannot be made or read here. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an authority said: *at* in RFC 3339 (UTC, seconds), under its *policy* (OID), as number *serial*."""

    at: str
    policy: str
    serial: int


async def stamp(note: bytes, url: str, roots: bytes, ca_file: Path | None = None) -> tuple[bytes, Stamp]:
    """Return the authority's reply at *url* over *note*, and what it says, once it holds under *roots* (PEM).

    Raises:
        StampFails: the reply does not hold.
        StampUnavailable: the extra is missing, or *roots* holds no certificate.
        Undelivered: the authority does not answer.
    """
    library = _library()
    query = library.TimestampRequestBuilder().data(note).hash_algorithm(library.HashAlgorithm.SHA256)
    query = query.nonce(nonce=True).cert_request(cert_request=True).build()
    headers = {"Content-Type": _QUERY_TYPE}
    reply = await fetch(request_to(url, ca_file, method="POST", headers=headers, body=query.as_bytes()))
    if reply.status != 200 or reply.kind.partition(";")[0].strip() != _REPLY_TYPE:
        raise Undelivered(
            f"the time-stamping authority answers {reply.status} {reply.kind or 'without a type'}"
        )
    return reply.body, _check(note, reply.body, roots, query)


def check_stamp(note: bytes, raw: bytes, roots: bytes) -> Stamp:
    """Return what the stamp *raw* says of *note*, once an authority under *roots* (PEM) signed it.

    Certificates need be valid at the time of the stamp, not now.

    Raises:
        StampFails: malformed, of another checkpoint, or by somebody else.
        StampUnavailable: the extra is missing, or *roots* holds no certificate.
    """
    return _check(note, raw, roots, None)


def _check(note: bytes, raw: bytes, roots: bytes, query: Any) -> Stamp:
    library = _library()
    try:
        certificates = load_pem_x509_certificates(roots)
    except ValueError:
        raise StampUnavailable("the file of roots holds no PEM certificate") from None
    builder = library.VerifierBuilder.from_request(query) if query is not None else library.VerifierBuilder()
    for certificate in certificates:
        builder = builder.add_root_certificate(certificate)
    try:
        reply = library.decode_timestamp_response(raw)
        if reply.status != library.PKIStatus.GRANTED:
            raise StampFails(f"the authority granted nothing (status {reply.status})")
        builder.build().verify_message(reply, note)
        said = reply.tst_info
        at = said.gen_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Stamp(at, said.policy.dotted_string, said.serial_number)
    except library.VerificationError as error:
        raise StampFails(str(error)) from error
    except ValueError as error:
        raise StampFails(f"it is no time-stamp: {error}") from error


def _library() -> Any:
    try:
        import rfc3161_client  # noqa: PLC0415 - an extra: only who stamps has it
    except ImportError:
        raise StampUnavailable("time-stamps need the extra: install ecluse[stamp]") from None
    return rfc3161_client
