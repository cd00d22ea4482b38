"""Which checkpoints are good enough: the logs one knows, and the witnesses one asks for. C2SP tlog-policy. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.audit.checkpoint import CheckpointRefused, VerifierKey, parse_verifier_key
from gateway.audit.cosignature import Cosigned, WitnessKey, cosignatures, parse_witness_key

MAX_POLICY_BYTES = 200_000
_NONE = "none"
_QUORUM = "_quorum"
_LEAST_PRINTABLE = " "


class TrustRefused(ValueError):
    """A policy file is malformed. The message names the line."""


class NotWitnessed(Exception):
    """The checkpoint is not cosigned as the policy asks. The message says by whom it is."""


@dataclass(frozen=True, slots=True)
class Group:
    """*least* of *members*, each a witness or another group by its name in the policy."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """A policy: *logs* that may sign, *witnesses* and *groups* by name, and the *quorum*, a name of these.

    *quorum* is None when no cosignature is asked for.
    """

    logs: tuple[VerifierKey, ...] = ()
    witnesses: dict[str, WitnessKey] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None

    def check(self, note: bytes) -> list[Cosigned]:
        """Return who cosigned the checkpoint *note*, once that is enough.

        Raises:
            NotWitnessed: it is not.
            CheckpointRefused: *note* is no checkpoint, or a cosignature does not hold.
        """
        found = cosignatures(note, self.witnesses.values())
        public = {each.key.public for each in found}
        by = {name for name, key in self.witnesses.items() if key.public in public}
        if self.quorum is not None and not self._holds(self.quorum, by):
            raise NotWitnessed(f"cosigned by {', '.join(sorted(by)) or 'nobody'}: {self._wanted()}")
        return found

    def _holds(self, name: str, by: set[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in by
        return sum(self._holds(member, by) for member in group.members) >= group.least

    def _wanted(self) -> str:
        group = self.groups.get(self.quorum or "")
        if group is None:
            return f"{self.quorum} is asked for"
        return f"{group.least} of {', '.join(group.members)} are asked for"


def trust_in(witnesses: Sequence[WitnessKey], least: int | None = None) -> Trust:
    """Return the policy that asks for *least* of *witnesses*, all of them when None.

    Raises:
        TrustRefused: *least* is more than there are, or a key is given twice.
    """
    if not witnesses:
        return Trust()
    wanted = least if least is not None else len(witnesses)
    if not 1 <= wanted <= len(witnesses):
        raise TrustRefused(f"{wanted} of {len(witnesses)} witnesses cannot be asked for")
    if len({key.public for key in witnesses}) != len(witnesses):
        raise TrustRefused("a witness is given twice")
    named: dict[str, WitnessKey] = {}
    for key in witnesses:
        named[key.name if key.name not in named else f"{key.name}+{key.key_id.hex()}"] = key
    return Trust((), named, {_QUORUM: Group(wanted, tuple(named))}, _QUORUM)


def parse_trust(raw: bytes) -> Trust:
    """Read a policy file.

    Log keys follow this project's naming: a key named ``site`` signs for ``site/writer`` too.

    Raises:
        TrustRefused: the line that is wrong is named.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise TrustRefused(f"longer than {MAX_POLICY_BYTES} bytes: no policy")
    # Octets above 127 are opaque and may be no UTF-8: surrogateescape keeps each as it was.
    reading = _Reading()
    for number, line in enumerate(raw.decode("utf-8", "surrogateescape").split("\n"), 1):
        if any(char < _LEAST_PRINTABLE and char != "\t" for char in line) or "\x7f" in line:
            raise TrustRefused(f"line {number}: holds a control character")
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            reading.take(words)
        except (TrustRefused, CheckpointRefused) as error:
            raise TrustRefused(f"line {number}: {error}") from None
    if not reading.has_quorum:
        raise TrustRefused("there is no 'quorum' line: write 'quorum none' to ask for no witness")
    return Trust(tuple(reading.logs), reading.witnesses, reading.groups, reading.quorum)


@dataclass(slots=True)
class _Reading:
    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, WitnessKey] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None
    has_quorum: bool = False
    members: set[str] = field(default_factory=set)

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", key] | ["log", key, _]:
                self._log(parse_verifier_key(key))
            case ["witness", name, key] | ["witness", name, key, _]:
                self._witness(name, parse_witness_key(key))
            case ["group", name, count, *members] if members:
                self._group(name, count, members)
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise TrustRefused(
                    "expected 'log KEY', 'witness NAME KEY', 'group NAME all|any|K NAME...' or 'quorum NAME'"
                )

    def _log(self, key: VerifierKey) -> None:
        if any(known.public == key.public for known in self.logs):
            raise TrustRefused("this log's key is given twice")
        self.logs.append(key)

    def _witness(self, name: str, key: WitnessKey) -> None:
        self._new(name)
        if any(known.public == key.public for known in self.witnesses.values()):
            raise TrustRefused("this witness's key is given twice")
        self.witnesses[name] = key

    def _group(self, name: str, count: str, members: list[str]) -> None:
        self._new(name)
        self._known(members)
        twice = [member for member in members if member in self.members or members.count(member) > 1]
        if twice:
            raise TrustRefused(f"{twice[0]} is a member already: each name counts once")
        match count:
            case "any":
                least = 1
            case "all":
                least = len(members)
            case _ if count.isascii() and count.isdigit() and len(count) <= len(str(len(members))):
                least = int(count)
            case _:
                least = 0
        if not 1 <= least <= len(members):
            raise TrustRefused(f"{count!r} is not all, any, or a number from 1 to {len(members)}")
        self.members.update(members)
        self.groups[name] = Group(least, tuple(members))

    def _quorum(self, name: str) -> None:
        if self.has_quorum:
            raise TrustRefused("there is a second 'quorum' line")
        self.has_quorum = True
        if name != _NONE:
            self._known([name])
            self.quorum = name

    def _new(self, name: str) -> None:
        if name == _NONE or name in self.witnesses or name in self.groups:
            raise TrustRefused(f"the name {name!r} is taken")

    def _known(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.witnesses and name not in self.groups:
                raise TrustRefused(f"{name!r} is no witness and no group of a line above")
