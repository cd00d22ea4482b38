"""How the gateway stands among the others: proxies, alerts, checkpoints elsewhere, packages, the policy in force."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.configuration import Loaded
from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.policy.policy import Network
from gateway.policy.weakening import Change, weakenings

_WIDEST = {4: 16, 6: 48}


@dataclass(frozen=True, slots=True)
class RunningFacts:
    """The running gateway. *changes* lead from what it has in force to the files, None when nobody can tell."""

    pid: int | None
    why_not: str = ""
    changes: tuple[Change, ...] | None = None


def judge_proxies(trusted: Sequence[Network], address: str, *, has_tls: bool, has_edge: bool) -> Finding:
    """Say whether the addresses of clients can be believed. Pure."""
    check, local = "trusted proxies", ip_address(address).is_loopback
    wide = [str(network) for network in trusted if network.prefixlen < _WIDEST[network.version]]
    if wide:
        said = f"whoever stands in {', '.join(wide)} may claim any address"
        return failed(check, said, "name the proxies' own addresses under gateway.trusted_proxies")
    if trusted:
        return ok(check, f"{len(trusted)} networks may say which address a client has")
    if local or has_edge:
        said = "none is named: everybody seems to come from the proxy in front"
        return warning(check, said, "name its address under gateway.trusted_proxies, such as 127.0.0.1/32")
    if not has_tls:
        said = f"the gateway speaks plain HTTP on {address}, and no proxy in front is named"
        return failed(check, said, "write gateway.listen.tls, or put a proxy in front and name it")
    return ok(check, "none: clients come themselves")


def judge_watch(loaded: Loaded) -> list[Finding]:
    """Say whether somebody is told, and whether the log is witnessed. Pure."""
    settings = loaded.settings
    alerts = settings.alerts
    channels = [name for name in ("mail", "webhook", "syslog") if getattr(alerts, name) is not None]
    findings = [
        ok("alerts", f"sent by {', '.join(channels)}; `ecluse alerts test` tries them")
        if channels
        else warning(
            "alerts", "nobody is told at once what looks wrong", "write alerts: mail, webhook or syslog"
        )
    ]
    if not settings.watcher:
        findings.append(warning("watcher", "the log is not judged as it grows", "write signals.watcher: on"))
    places = len(settings.publish) + len(settings.witnesses)
    findings.append(
        ok("checkpoints elsewhere", f"brought to {places} places by `ecluse audit publish`")
        if places
        else warning(
            "checkpoints elsewhere",
            "whoever owns this machine could put the log back to an old state unseen",
            "write audit.publish or audit.witnesses, and run ecluse-publish.service",
        )
    )
    return findings


def judge_packages(faults: Sequence[str]) -> list[Finding]:
    """Say whether the gateway would start on what is installed; *faults* end with their mend. Pure."""
    if not faults:
        return [ok("packages", "none with known faults, and the door has what it relies on")]
    findings = []
    for fault in faults:
        said, _, mend = fault.rpartition(": ")
        findings.append(failed("packages", said or fault, mend if said else "install requirements.lock"))
    return findings


def judge_running(facts: RunningFacts) -> Finding:
    """Say whether the files are what is in force. Pure."""
    check = "policy in force"
    if facts.pid is None:
        return warning(check, facts.why_not, "start it: `systemctl start ecluse`")
    if facts.changes is None:
        return warning(
            check, "nobody can tell what the running gateway has in force", "`ecluse config reload`"
        )
    if weaker := weakenings(facts.changes):
        said = f"the files would weaken what is in force in {len(weaker)} ways"
        return warning(
            check, said, "see `ecluse config diff`; undo it, or `ecluse config reload --accept-weakening`"
        )
    if facts.changes:
        said = f"the files differ from what is in force in {len(facts.changes)} ways"
        return warning(check, said, "see `ecluse config diff`, then `ecluse config reload`")
    return ok(check, "the files are what the gateway has in force")
