"""Which versions of the packages below us the gateway runs on: those with known faults refuse to start.

A requirement in a package's metadata holds when it is installed; this holds when it runs, whatever came since.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from packaging.version import InvalidVersion, Version


@dataclass(frozen=True, slots=True)
class Wanted:
    """*least* is the first version that is taken, *below* the first that is not, None for no bound; *why* each."""

    package: str
    least: str
    why: str
    below: str | None = None

    @property
    def range(self) -> str:
        """Return the range as a requirement has it."""
        return f">={self.least}" + (f",<{self.below}" if self.below is not None else "")


WANTED: Final = (
    Wanted("mitmproxy", "12.2.2", "the door overrides private parts that were measured on these versions", "12.3"),
    Wanted("h11", "0.16", "older ones take malformed chunks, which smuggles requests (CVE-2025-43859)"),
    Wanted("h2", "4.3", "older ones take line breaks in header values (CVE-2025-57804)"),
    Wanted("cryptography", "44.0.1", "older ones carry an OpenSSL with known faults (CVE-2024-12797)"),
    Wanted("pyjwt", "2.10.1", "older ones compare the issuer of a token in part (CVE-2024-53861)"),
    Wanted("jinja2", "3.1.6", "older ones let a template out of its sandbox (CVE-2025-27516)"),
    Wanted("tornado", "6.5", "older ones can be stopped by one malformed form (CVE-2025-47287)"),
)  # fmt: skip
"""Each is a dependency of the gateway, or of one; none that only tests need."""


class DependenciesRefused(Exception):
    """Packages of versions that the gateway does not run on. The message names each, found and wanted, and the mend."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


def fault(wanted: Wanted, found: str | None) -> str | None:
    """Return what is wrong with version *found* of a package, None when nothing. Pure."""
    mend = f"install {wanted.package}{wanted.range}, as requirements.lock of this version of ecluse has it"
    if found is None:
        return f"{wanted.package} is not installed: {mend}"
    try:
        is_taken = Version(found) >= Version(wanted.least) and (
            wanted.below is None or Version(found) < Version(wanted.below)
        )
    except InvalidVersion:
        is_taken = False
    if is_taken:
        return None
    return f"{wanted.package} {found} is installed, wanted is {wanted.range} ({wanted.why}): {mend}"


def installed(package: str) -> str | None:
    """Return the version of *package* that is imported here, None when there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def faults(find: Callable[[str], str | None] = installed) -> list[str]:
    """Return what is wrong with the packages that *find* finds."""
    return [said for wanted in WANTED if (said := fault(wanted, find(wanted.package))) is not None]


def refuse_known_faults() -> None:
    """Let a process go on that runs on good versions.

    Raises:
        DependenciesRefused: it does not.
    """
    if said := faults():
        raise DependenciesRefused(said)
