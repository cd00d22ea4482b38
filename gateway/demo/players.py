"""The people of the demo check, each in a process of its own: ``python -m gateway.demo.players ROLE``.

A job comes in on standard input as JSON, what was seen goes out on standard output as JSON.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pyotp

from gateway.demo.client import Answer, Client, log_in
from gateway.demo.patients import COUNT, FIRST_ID, make_patients
from gateway.demo.recognise import Recogniser
from gateway.demo.thieves import PLACES, Thief
from gateway.vocabulary.limits import WINDOW_S, Control

Job = dict[str, Any]
_OK = 200
_STOPPED = frozenset({303, 401, 429})
"""Asked for a fresh code, or refused."""
_CONNECTIONS = 8
_TRIES_AFTER = 18
_PAUSE_S = 0.2
"""Slow enough to be stopped by the cap on patients rather than by the limit on requests."""

_DAYS_WORK = (
    ("GET", "/dossiers"),
    ("GET", "/dossiers/{id}"),
    ("GET", "/dossiers/{id}/imprimer"),
    ("HEAD", "/dossiers/{id}"),
    ("GET", "/dossiers/0{id}"),
    ("GET", "/api/dossiers?taille=20"),
    ("GET", "/api/dossiers/{id}"),
    ("GET", "/static/parcours.css"),
    ("GET", "/dossiers/9999"),
    ("GET", "/usagers?taille=50"),
    ("GET", "/recherche?q=va"),
    ("GET", "/recherche?q=zzzz"),
    ("GET", "/dossiers/{id}"),
    ("GET", "/export.csv?lot=7"),
    ("GET", "/dossiers/{other}"),
    ("GET", "/api/dossiers/{other}"),
)
"""What a professional does in a few minutes, and then a little too much."""


def _recogniser() -> Recogniser:
    return Recogniser(make_patients())


def _shown(knows: Recogniser, answer: Answer) -> list[int]:
    return sorted(knows.ids_in(answer.raw + b"\n" + answer.text.encode()))


async def _enter(client: Client, job: Job) -> None:
    code = pyotp.TOTP(job["secret"]).now()
    page = await log_in(client, job["login"], job["password"], code)
    if page.status != _OK or job["name"] not in page.text:
        raise RuntimeError(
            f"{job['login']} could not log in with password and code: last answer {page.status}"
        )


async def steal(job: Job) -> Job:
    """Try every door with a right password and no code; tell whom each door showed."""
    thief = Thief(job["gate"], job["inside"], job["login"], job["password"], tuple(job["guesses"]))
    await thief.try_everything()
    knows = _recogniser()
    return {
        "login": job["login"],
        "requests": sum(len(answers) for answers in thief.doors.values()),
        "statuses": Counter(str(answer.status) for answers in thief.doors.values() for answer in answers),
        "doors": {
            name: sorted({one for answer in answers for one in _shown(knows, answer)})
            for name, answers in thief.doors.items()
        },
    }


async def scrape(job: Job) -> Job:
    """Open records by sequential id at full speed, pay the fresh code that is asked for, and go on until stopped;
    then keep trying in every other way."""
    first = Client(job["gate"])
    await _enter(first, job)
    numbers = iter(range(FIRST_ID, FIRST_ID + COUNT))
    clients, seconds = await _race(job, first, numbers)
    if await _pay(first, job):
        more, further = await _race(job, first, numbers)
        clients, seconds = clients + more, seconds + further
    afterwards = Client(job["gate"], cookies=dict(first.cookies))
    places = (*PLACES, *(f"/dossiers/{FIRST_ID + 500 + step}" for step in range(_TRIES_AFTER)))
    for place in places:
        await asyncio.sleep(_PAUSE_S)
        await afterwards.request("GET", place)
    knows = _recogniser()
    everything = [answer for client in (first, *clients, afterwards) for _, _, answer in client.seen]
    exchanges = [shown for answer in everything if (shown := _shown(knows, answer))]
    return {
        "login": job["login"],
        "seconds": round(seconds, 3),
        "requests": len(everything),
        "refused": sum(answer.status in _STOPPED for answer in everything),
        "exchanges": exchanges,
    }


async def _race(job: Job, first: Client, numbers: Iterator[int]) -> tuple[list[Client], float]:
    """Open *numbers* over several connections in the session of *first* until one is not served; how long it took."""
    clients = [Client(job["gate"], cookies=dict(first.cookies)) for _ in range(_CONNECTIONS)]
    stopped = asyncio.Event()
    started = time.monotonic()

    async def take(client: Client) -> None:
        for number in numbers:
            answer = await client.request("GET", f"/dossiers/{number}")
            if answer.status != _OK:
                stopped.set()
            if stopped.is_set():
                return

    await asyncio.gather(*(take(client) for client in clients))
    return clients, time.monotonic() - started


async def _pay(client: Client, job: Job) -> bool:
    """Give the fresh code and the reason that a soft bound asks for; False when it asks for none."""
    page = await client.browse("GET", f"/dossiers/{FIRST_ID + COUNT - 1}")
    form, needs = page.form_with("code"), re.findall(r'<option value="([a-z-]+)"', page.text)
    if form is None or not needs:
        return False
    totp = pyotp.TOTP(job["secret"])
    # The code of this step was used to log in, and counts once.
    await asyncio.sleep(totp.interval - time.time() % totp.interval + 0.1)  # noqa: TID251 - a person's own clock
    await client.post_form(form.action, form.fields | {"need": needs[0], "code": totp.now()})
    # What was asked until now would bring the limit on requests between the scraper and the cap on patients.
    await asyncio.sleep(WINDOW_S[Control.REQUESTS])
    return True


async def work(job: Job) -> Job:
    """Do a professional's ordinary work."""
    client = Client(job["gate"])
    await _enter(client, job)
    for method, target in _DAYS_WORK:
        await client.request(method, target.format(id=job["first"], other=job["first"] + 7))
    await client.browse("GET", "/deconnexion")
    await client.request("GET", f"/dossiers/{job['first']}")
    knows = _recogniser()
    return {
        "login": job["login"],
        "requests": len(client.seen),
        "statuses": [[method, target, answer.status] for method, target, answer in client.seen],
        "exchanges": [shown for _, _, answer in client.seen if (shown := _shown(knows, answer))],
    }


async def plunder(job: Job) -> Job:
    """Take what an account can reach: records one by one, lists, searches, the interface, exports.

    *job* holds the ids to open and the addresses to call. Tells who was shown by a record, and who in any way.
    """
    client = Client(job["gate"])
    await _enter(client, job)
    knows = _recogniser()
    opened: set[int] = set()
    for target in job["records"]:
        opened.update(_shown(knows, await client.request("GET", target)))
    for target in job["places"]:
        await client.request("GET", target)
    exchanges = [shown for _, _, answer in client.seen if (shown := _shown(knows, answer))]
    await client.close()
    return {
        "login": job["login"],
        "requests": len(client.seen),
        "statuses": Counter(str(answer.status) for _, _, answer in client.seen),
        "opened": sorted(opened),
        "exchanges": exchanges,
    }


ROLES: dict[str, Callable[[Job], Awaitable[Job]]] = {
    "steal": steal,
    "scrape": scrape,
    "work": work,
    "plunder": plunder,
}


def main(arguments: list[str]) -> int:
    """Play one role."""
    job = json.load(sys.stdin)
    json.dump(asyncio.run(_play(ROLES[arguments[0]], job)), sys.stdout)
    return 0


async def _play(role: Callable[[Job], Awaitable[Job]], job: Job) -> Job:
    return await role(job)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
