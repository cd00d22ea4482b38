"""Every open door of this machine reads its configuration again, and answers for itself."""

import json
import signal

import click
import msgspec

from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, fail
from gateway.cli.reload_answer import AnswerUnread, ReloadAnswer, read_answer
from gateway.cli.running import NotRunning, Running
from gateway.configuration import Settings
from gateway.vocabulary.running import Door

Answers = dict[Door, ReloadAnswer]


def open_doors(settings: Settings) -> list[Running]:
    """Return the doors that are open here, the inspector first; say why and leave with 2 when none is."""
    doors = [Running.of(settings, Door.INSPECTOR)]
    if settings.edge is not None:
        doors.append(Running.of(settings, Door.EDGE))
    found, faults = [], []
    for running in doors:
        try:
            running.find()
        except NotRunning as why:
            faults.append(str(why))
        else:
            found.append(running)
    if not found:
        fail("; ".join(faults), EXIT_FAULT)
    return found


def reload_doors(doors: list[Running], wait_s: float) -> Answers:
    """Have each of *doors* reload, one after the other, and return what each answered.

    Leaves with 2 when one gives no answer within *wait_s* seconds.
    """
    return {running.door: _ask(running, wait_s) for running in doors}


def show_answers(answers: Answers, *, as_json: bool) -> int:
    """Print what each door answered; return 0 when all have it in force, else 1."""
    everywhere = all(answer.loaded for answer in answers.values())
    if as_json:
        told = {door.value: msgspec.to_builtins(answer) for door, answer in answers.items()}
        # What the first one answers stands at the top, as where there is no other.
        first = next(iter(told.values()))
        click.echo(json.dumps(first | {"loaded": everywhere, "doors": told}, ensure_ascii=False))
    else:
        for door, answer in answers.items():
            _show(door, answer, named=len(answers) > 1)
    return EXIT_DONE if everywhere else EXIT_REFUSED


def _ask(running: Running, wait_s: float) -> ReloadAnswer:
    running.tell(signal.SIGHUP, running.files.reload, wait_s)
    try:
        return read_answer(running.files.reload)
    except AnswerUnread as error:
        fail(str(error), EXIT_FAULT)


def _show(door: Door, answer: ReloadAnswer, *, named: bool) -> None:
    if answer.loaded:
        where = f" at {door.words}" if named else ""
        click.echo(f"The configuration is in force{where}: policy {answer.policy_id}.")
        return
    for fault in answer.faults:
        click.echo(fault, err=True)
    kept = f": policy {answer.policy_id}" if answer.policy_id else ""
    click.echo(f"ecluse: {door.words} refused the configuration and keeps the old one{kept}", err=True)
