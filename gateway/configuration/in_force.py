"""What a gateway has in force, as other processes read it; and the rule that a reload may not weaken it unseen."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.configuration.oversight import DIRECTIONS, Oversight, oversight_of
from gateway.configuration.settings import Loaded, Settings
from gateway.policy.plain import NotPlain, digest, identify, plain, restore
from gateway.policy.policy import Policy
from gateway.policy.weakening import Change, Effect, compare_policies, in_order, weakenings
from gateway.policy.weakening.changes import compare_fields

_TOLD = 20
MEND = "undo that, or have it accepted: ecluse config reload --accept-weakening"


class InForceUnread(Exception):
    """What is in force cannot be told. The message names the file and why."""


class ConfigurationWeakens(ValueError):
    """A configuration would weaken what is in force, and nobody accepted that. *changes* are those that weaken."""

    def __init__(self, changes: tuple[Change, ...]) -> None:
        super().__init__(f"weakens what is in force in {len(changes)} ways: {MEND}")
        self.changes = changes

    @property
    def faults(self) -> list[str]:
        """Return each weakening in words, and the mend."""
        return [*map(str, self.changes), f"this would weaken what is in force: {MEND}"]


@dataclass(frozen=True, slots=True)
class InForce:
    """The rules, and what keeps watch over them."""

    policy: Policy
    oversight: Oversight

    @property
    def id(self) -> str:
        """Return what tells two of them apart: the policy's id, and a digest of the rest."""
        return f"{self.policy.policy_id}.{digest(self.oversight)}"

    @classmethod
    def of(cls, policy: Policy, settings: Settings) -> "InForce":
        """Return what a process with *policy* and *settings* has in force."""
        return cls(policy, oversight_of(settings))

    def write(self, path: Path) -> None:
        """Put this in place of the file *path* at once, for its owner alone. It holds no secret.

        Raises:
            OSError: it cannot be written.
        """
        told = {
            "policy_id": self.policy.policy_id,
            "policy": plain(self.policy),
            "oversight": plain(self.oversight),
        }
        fresh = path.with_suffix(f".{os.getpid()}.new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(told, file)
        fresh.replace(path)


def read_in_force(path: Path) -> InForce:
    """Return what the file *path* says is in force.

    Raises:
        InForceUnread: there is none, it cannot be read, was changed, or is another version's.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
        found = InForce(restore(Policy, told["policy"]), restore(Oversight, told["oversight"]))
    except OSError as error:
        raise InForceUnread(f"{path} cannot be read: {error.strerror}") from error
    except (NotPlain, ValueError, TypeError, KeyError) as error:
        raise InForceUnread(f"{path} does not hold what is in force, or that of another version") from error
    if identify(found.policy) != found.policy.policy_id:
        raise InForceUnread(f"{path} was changed: the policy in it is not the one it names")
    return found


def compare(old: InForce, new: InForce) -> tuple[Change, ...]:
    """Return every difference in effect, those that weaken first. Pure."""
    watch = compare_fields(old.oversight, new.oversight, DIRECTIONS)
    return in_order([*compare_policies(old.policy, new.policy), *watch])


def running(policy: Policy, settings: Settings) -> InForce:
    """Return what a process has in force that decides by *policy*, and was begun with *settings*.

    What keeps watch may have been reloaded since; then the file beside it tells.
    """
    try:
        return InForce(policy, read_in_force(settings.in_force_file).oversight)
    except InForceUnread:
        return InForce.of(policy, settings)


def of_loaded(loaded: Loaded) -> InForce:
    """Return what *loaded* would put in force."""
    return InForce.of(loaded.policy, loaded.settings)


def no_weaker(loaded: Loaded) -> tuple[Loaded, tuple[Change, ...]]:
    """Return *loaded*, or where its policy is weaker than the one in force, the same with that; and what weakens.

    For processes that are begun again beside a gateway that runs: what ends one of them is no reload.
    """
    try:
        held = read_in_force(loaded.settings.in_force_file).policy
    except InForceUnread:
        return loaded, ()
    weaker = weakenings(compare_policies(held, loaded.policy))
    return (Loaded(held, loaded.settings), weaker) if weaker else (loaded, ())


def follow(policy: Policy, fresh: Loaded) -> None:
    """Let a process with *policy* take *fresh*, if that weakens nothing or is what the gateway has in force.

    Raises:
        ConfigurationWeakens: neither.
    """
    weaker = weakenings(compare_policies(policy, fresh.policy))
    if not weaker:
        return
    try:
        held = read_in_force(fresh.settings.in_force_file).policy.policy_id
    except InForceUnread:
        held = ""
    if held != fresh.policy.policy_id:
        raise ConfigurationWeakens(weaker)


def detail(changes: tuple[Change, ...]) -> tuple[tuple[str, str], ...]:
    """Return *changes* for an entry of the log: how many weaken, and the first of them with their values."""
    weaker = [change for change in changes if change.effect is Effect.WEAKER]
    lines = [
        (str(at), f"{one.where}: {one.before} -> {one.after}") for at, one in enumerate(weaker[:_TOLD], 1)
    ]
    return (("weaker", str(len(weaker))), *lines)
