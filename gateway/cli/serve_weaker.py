"""A serving process beside the rule that nothing weakens unseen: what it began with, what a reload would weaken."""

from gateway import telemetry
from gateway.assembly.services import note
from gateway.configuration import Loaded, Settings
from gateway.configuration.in_force import (
    ConfigurationWeakens,
    InForce,
    InForceUnread,
    compare,
    detail,
    of_loaded,
    read_in_force,
    running,
)
from gateway.engine.services import Services
from gateway.policy.policy import Policy
from gateway.policy.weakening import Change, weakenings
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.workers.acceptance import Acceptance


def beginnings(services: Services, settings: Settings) -> list[AuditEvent]:
    """Return the entries that tell with which policy this process begins, and what that weakens.

    A start is the choice of whoever may start it, and is therefore recorded and not refused.
    """
    fresh = InForce.of(services.policy, settings)
    after = ("after", fresh.policy.policy_id)
    try:
        held = read_in_force(settings.in_force_file)
    except InForceUnread as error:
        telemetry.log().info("in_force_before_unknown", reason=str(error))
        return [note(services, EventKind.CONFIG_LOADED, ("before", "unknown"), after)]
    ids, changes = (("before", held.policy.policy_id), after), compare(held, fresh)
    entries = [note(services, EventKind.CONFIG_LOADED, *ids)]
    if weaker := weakenings(changes):
        telemetry.log().warning("began_weaker", weaker=len(weaker), policy_id=after[1])
        entries.append(note(services, EventKind.CONFIG_WEAKENED, *ids, *detail(weaker)))
    return entries


def weigh(
    policy: Policy, settings: Settings, fresh: Loaded, accepted: Acceptance | None, now_ms: int
) -> tuple[Change, ...]:
    """Return in what *fresh* weakens what a process with *policy* and *settings* has in force.

    Raises:
        ConfigurationWeakens: it does, and *accepted* is not for exactly this change, or is not fresh at *now_ms*.
    """
    old, new = running(policy, settings), of_loaded(fresh)
    weaker = weakenings(compare(old, new))
    if weaker and (accepted is None or not accepted.holds(old.id, new.id, now_ms)):
        raise ConfigurationWeakens(weaker)
    return weaker


def keep(held: InForce, settings: Settings) -> None:
    """Note what is in force; without the note the next start cannot tell what it weakens, and says so."""
    try:
        held.write(settings.in_force_file)
    except OSError as error:
        telemetry.log().error("in_force_not_kept", error=error.strerror)
