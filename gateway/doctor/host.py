"""The machine: is its clock set, may the gateway open enough files, are its certificates valid."""

import ctypes
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.doctor.findings import Finding, failed, ok, warning

LEAST_FILES = 1_024
FEW_FILES = 16_384
SOON_DAYS = 21
_DAY_MS = 86_400_000
_TIME_ERROR = 5
_TIMEX_BYTES = 256


@dataclass(frozen=True, slots=True)
class HostFacts:
    """*is_synchronised*: the kernel's clock follows a time server, None when nobody can tell. *open_files* is the
    limit of the running gateway, of this command without one."""

    is_synchronised: bool | None
    open_files: int


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate that clients see. *unreadable* says why it cannot be used. Times are Unix milliseconds."""

    setting: str
    unreadable: str | None = None
    from_ms: int = 0
    until_ms: int = 0
    names: tuple[str, ...] = ()
    is_of_key: bool = True


def gather(pid: int | None) -> HostFacts:
    """Look at the machine, and at process *pid*."""
    return HostFacts(_synchronised(), _open_files(pid))


def _synchronised() -> bool | None:
    # adjtimex(2) without modes changes nothing, and tells whether the clock is held by somebody.
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _open_files(pid: int | None) -> int:
    try:
        for line in Path(f"/proc/{pid}/limits").read_text("ascii").splitlines():
            if line.startswith("Max open files"):
                return int(line.split()[3])
    except (OSError, ValueError, IndexError):
        pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def read_certificate(setting: str, certificate: Path, key: Path) -> CertificateFacts:
    """Return what the PEM files of *setting* say."""
    try:
        found = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        private = load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        return CertificateFacts(setting, f"{error.filename}: {error.strerror}")
    except (ValueError, TypeError, IndexError):
        return CertificateFacts(setting, f"{certificate} or {key} is no PEM file of the kind")
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        hosts = ()
    return CertificateFacts(
        setting,
        None,
        round(found.not_valid_before_utc.timestamp() * 1_000),
        round(found.not_valid_after_utc.timestamp() * 1_000),
        hosts,
        found.public_key() == private.public_key(),
    )


def judge(facts: HostFacts) -> list[Finding]:
    """Return what is to be said of *facts*. Pure."""
    findings = []
    mend = "have a time service hold it (chrony, systemd-timesyncd): codes are refused when it is off by 30 s"
    if facts.is_synchronised is None:
        findings.append(warning("clock", "nobody can tell whether the clock follows a time server", mend))
    elif not facts.is_synchronised:
        findings.append(warning("clock", "the clock follows no time server", mend))
    else:
        findings.append(ok("clock", "the clock follows a time server"))
    said = f"{facts.open_files} files may be open at once"
    if facts.open_files < LEAST_FILES:
        findings.append(failed("open files", said, "set LimitNOFILE=65536 in the unit"))
    elif facts.open_files < FEW_FILES:
        findings.append(
            warning("open files", f"{said}: two for each connection", "set LimitNOFILE=65536 in the unit")
        )
    else:
        findings.append(ok("open files", said))
    return findings


def judge_certificate(facts: CertificateFacts, hosts: Sequence[str], now_ms: int) -> Finding:
    """Return what is to be said of a certificate under which *hosts* are answered for. Pure."""
    check = facts.setting
    if facts.unreadable is not None:
        return failed(check, facts.unreadable, "name the right files, readable by the gateway's user")
    if not facts.is_of_key:
        return failed(check, "certificate and key do not belong together", "name the two of one order")
    if now_ms < facts.from_ms:
        return failed(check, "the certificate is not valid yet", "look at the clock, or wait")
    days = (facts.until_ms - now_ms) // _DAY_MS
    if now_ms >= facts.until_ms:
        return failed(
            check, "the certificate has expired", "renew it, then `ecluse workers restart` or a restart"
        )
    if missing := [host for host in hosts if not any(_covers(name, host) for name in facts.names)]:
        return failed(
            check, f"the certificate is not for {', '.join(missing)}", "order one for all hosts of the apps"
        )
    if days < SOON_DAYS:
        return warning(check, f"the certificate expires in {days} days", "renew it, then restart")
    return ok(check, f"valid for {days} more days")


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return host.lower() == name.lower()
