"""The part of ``ecluse audit verify`` that reads proofs and asks for witnesses and time-stamps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.audit.checkpoint import CheckpointRefused, VerifierKey
from gateway.audit.cosignature import Cosigned, parse_witness_key
from gateway.audit.encoding import visible
from gateway.audit.proof import MAX_PROOF_BYTES, ProofFails, ProofUnreadable, check_proof, load_proof
from gateway.audit.stamp import MAX_STAMP_BYTES, StampFails, StampUnavailable, check_stamp
from gateway.audit.trust import NotWitnessed, Trust, TrustRefused, parse_trust, trust_in
from gateway.audit.verify import Broken
from gateway.audit.witnessed import Witnessed, witnessed
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, fail

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_BEFORE: dict[type[Exception], str] = {
    NotWitnessed: "not witnessed as asked: ",
    StampFails: "the time-stamp does not hold: ",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What ``verify`` is asked beside the logs: a proof, its entry, a time-stamp and its roots (PEM), a policy."""

    proof_path: Path | None
    entry_path: Path | None
    stamp_path: Path | None
    roots: bytes
    trust: Trust


def asked_options(command: Any) -> Any:
    """Add the options of ``Asked``."""
    options = (
        click.option(
            "--proof", "proof_path", type=_FILE, help="Check this proof of one entry, without the log."
        ),
        click.option(
            "--entry", "entry_path", type=_FILE, help="The entry that --proof is about, as one line."
        ),
        click.option(
            "--witness",
            "witness_texts",
            multiple=True,
            help="Verifier key of a witness that must have cosigned.",
        ),
        click.option(
            "--quorum",
            type=click.IntRange(min=1),
            help="So many of the witnesses; all of them when left out.",
        ),
        click.option(
            "--policy",
            "policy_path",
            type=_FILE,
            help="Logs, witnesses and quorum, as a C2SP tlog-policy file.",
        ),
        click.option(
            "--stamp",
            "stamp_path",
            type=_FILE,
            help="Time-stamp SIZE.tsr of the checkpoint beside it, or of the proof's.",
        ),
        click.option(
            "--roots", "roots_path", type=_FILE, help="PEM file of the roots of --stamp's authority."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_asked(
    *,
    proof_path: Path | None,
    entry_path: Path | None,
    witness_texts: Sequence[str],
    quorum: int | None,
    policy_path: Path | None,
    stamp_path: Path | None,
    roots_path: Path | None,
) -> Asked:
    """Return what the options ask; leave with 2 when they contradict each other or name faulty files."""
    if entry_path is not None and proof_path is None:
        raise click.UsageError("--entry is the entry of a proof: give --proof too.")
    if (stamp_path is None) != (roots_path is None):
        raise click.UsageError("--stamp and --roots belong together.")
    roots = roots_path.read_bytes() if roots_path is not None else b""
    trust = _read_trust(witness_texts, quorum, policy_path)
    return Asked(proof_path, entry_path, stamp_path, roots, trust)


def verify_proof(asked: Asked, keys: Sequence[VerifierKey], *, as_json: bool) -> int:
    """Check one proof file, without its log, and print the verdict. 0 it holds, 1 it does not, 2 unreadable."""
    path = asked.proof_path
    if path is None:
        raise ValueError("no proof was asked for")
    entry, stamped = None, None
    try:
        with path.open("rb") as file:
            proof = load_proof(file.read(MAX_PROOF_BYTES + 1))
        if asked.entry_path is not None:
            entry = asked.entry_path.read_bytes().removesuffix(b"\n")
        signed = check_proof(proof, keys, entry)
        by = asked.trust.check(proof.checkpoint)
        if asked.stamp_path is not None:
            stamped = check_stamp(proof.checkpoint, _stamp_of(asked.stamp_path), asked.roots)
    except (OSError, ProofUnreadable, StampUnavailable) as error:
        fail(f"{path}: {error}", EXIT_FAULT)
    except (ProofFails, NotWitnessed, CheckpointRefused, StampFails) as error:
        what = f"{_BEFORE.get(type(error), '')}{error}"
        values: dict[str, Any] = {"holds": False, "file": str(path), "what": what}
        say(values, f"FAILS   {path}: {what}", as_json=as_json)
        return EXIT_REFUSED
    told = "this entry" if entry is not None else "an entry of the hash it carries"
    values = {
        "holds": True,
        "file": str(path),
        "origin": signed.origin,
        "seq": proof.index,
        "size": signed.size,
        "entry_checked": entry is not None,
        "by": _witnesses(by),
    }
    line = f"holds   {signed.origin}: {told} is entry {proof.index} of {signed.size} signed{cosigned_by(by)}"
    if stamped is not None:
        values["stamped_at"] = stamped.at
        line += f", stamped at {stamped.at}"
    say(values, line, as_json=as_json)
    return EXIT_DONE


def stamped_checkpoint(asked: Asked, *, as_json: bool) -> tuple[Path, ...]:
    """Return the checkpoint that ``--stamp`` is of, to be held against its log; leave with 1 when it is of another."""
    path = asked.stamp_path
    if path is None:
        return ()
    beside = path.with_suffix(".checkpoint")
    try:
        stamped = check_stamp(beside.read_bytes(), _stamp_of(path), asked.roots)
    except (OSError, StampUnavailable) as error:
        fail(f"{path}: {error}", EXIT_FAULT)
    except StampFails as error:
        fail(f"{path}: {_BEFORE[StampFails]}{error}", EXIT_REFUSED)
    values = {"stamped": True, "file": str(beside), "at": stamped.at, "serial": str(stamped.serial)}
    say(values, f"stamped {beside} at {stamped.at}", as_json=as_json)
    return (beside,)


def _read_trust(witness_texts: Sequence[str], quorum: int | None, policy_path: Path | None) -> Trust:
    if policy_path is not None and (witness_texts or quorum is not None):
        raise click.UsageError("--policy says it all: give it without --witness and --quorum.")
    if quorum is not None and not witness_texts:
        raise click.UsageError("--quorum counts witnesses: give their keys with --witness.")
    try:
        if policy_path is not None:
            return parse_trust(policy_path.read_bytes())
        return trust_in([parse_witness_key(text) for text in witness_texts], quorum)
    except (TrustRefused, CheckpointRefused) as error:
        raise click.BadParameter(str(error), param_hint="--policy" if policy_path else "--witness") from None


def _stamp_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_STAMP_BYTES + 1)


def witnessed_logs(
    logs: Iterable[Path], keys: Sequence[VerifierKey], trust: Trust, *, as_json: bool
) -> tuple[list[Witnessed], list[Broken]]:
    """Return the cosigned state of each of *logs*, and those without one as *trust* asks. Prints the former."""
    found, missing = [], []
    for log in logs if trust.quorum is not None else ():
        state = witnessed(log, keys, trust)
        if isinstance(state, Broken):
            missing.append(state)
            continue
        found.append(state)
        origin, size = state.checkpoint.origin, state.checkpoint.size
        values = {"witnessed": True, "origin": origin, "size": size, "by": _witnesses(state.by)}
        say(values, f"seen    {origin}: {size} entries{cosigned_by(state.by)}", as_json=as_json)
    return found, missing


def cosigned_by(by: Sequence[Cosigned]) -> str:
    """Return who cosigned, and when, to stand at the end of a sentence."""
    told = [f"{each.key.name} at {_moment(each.at_s)}" for each in by]
    return f", cosigned by {' and '.join(told)}" if told else ""


def say(values: dict[str, Any], line: str, *, as_json: bool) -> None:
    """Print *values* as JSON, or *line*, harmless to a terminal."""
    click.echo(msgspec.json.encode(values).decode() if as_json else visible(line, 2_000))


def _witnesses(by: Sequence[Cosigned]) -> list[dict[str, str]]:
    return [{"witness": each.key.name, "at": _moment(each.at_s)} for each in by]


def _moment(at_s: int) -> str:
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"second {at_s}"
