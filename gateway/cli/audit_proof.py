"""The part of ``ecluse audit verify`` that reads proofs and asks for witnesses."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.audit.checkpoint import CheckpointRefused, VerifierKey
from gateway.audit.cosignature import Cosigned, parse_witness_key
from gateway.audit.encoding import visible
from gateway.audit.proof import MAX_PROOF_BYTES, ProofFails, ProofUnreadable, check_proof, load_proof
from gateway.audit.trust import NotWitnessed, Trust, TrustRefused, parse_trust, trust_in
from gateway.audit.verify import Broken
from gateway.audit.witnessed import Witnessed, witnessed
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, fail

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def trust_options(command: Any) -> Any:
    """Add ``--witness KEY``, ``--quorum N`` and ``--policy FILE``: which cosignatures are asked for."""
    command = click.option(
        "--policy", "policy_path", type=_FILE, help="Logs, witnesses and quorum, as a C2SP tlog-policy file."
    )(command)
    command = click.option(
        "--quorum", type=click.IntRange(min=1), help="So many of the witnesses; all of them when left out."
    )(command)
    return click.option(
        "--witness", "witness_texts", multiple=True, help="Verifier key of a witness that must have cosigned."
    )(command)


def read_trust(witness_texts: Sequence[str], quorum: int | None, policy_path: Path | None) -> Trust:
    """Return the policy that the options ask for; leave with 2 when they are faulty."""
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


def verify_proof(
    proof_path: Path, entry_path: Path | None, keys: Sequence[VerifierKey], trust: Trust, *, as_json: bool
) -> int:
    """Check one proof file, without its log, and print the verdict. 0 it holds, 1 it does not, 2 unreadable."""
    try:
        with proof_path.open("rb") as file:
            proof = load_proof(file.read(MAX_PROOF_BYTES + 1))
        entry = entry_path.read_bytes().removesuffix(b"\n") if entry_path is not None else None
        signed = check_proof(proof, keys, entry)
        by = trust.check(proof.checkpoint)
    except (OSError, ProofUnreadable) as error:
        fail(f"{proof_path}: {error}", EXIT_FAULT)
    except (ProofFails, NotWitnessed, CheckpointRefused) as error:
        what = f"not witnessed as asked: {error}" if isinstance(error, NotWitnessed) else str(error)
        values: dict[str, Any] = {"holds": False, "file": str(proof_path), "what": what}
        say(values, f"FAILS   {proof_path}: {what}", as_json=as_json)
        return EXIT_REFUSED
    told = "this entry" if entry is not None else "an entry of the hash it carries"
    values = {
        "holds": True,
        "file": str(proof_path),
        "origin": signed.origin,
        "seq": proof.index,
        "size": signed.size,
        "entry_checked": entry is not None,
        "by": _witnesses(by),
    }
    line = f"holds   {signed.origin}: {told} is entry {proof.index} of {signed.size} signed{cosigned_by(by)}"
    say(values, line, as_json=as_json)
    return EXIT_DONE


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
