"""What people do within a session: each act checks all that it got."""

from collections.abc import Awaitable, Callable

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from loadtest.endurance import content
from loadtest.endurance.content import Asked
from loadtest.endurance.line import Line, download, give_up, upload
from loadtest.endurance.person import Person

Act = Callable[[Person, Line], Awaitable[None]]
_SMALL_BYTES, _LARGE_BYTES = 200_000, 12_000_000


def _any_patient(person: Person) -> int:
    return person.chance.randrange(content.FIRST_ID, content.FIRST_ID + content.COUNT)


async def _record(person: Person, line: Line) -> None:
    asked, one = person.number(), _any_patient(person)
    if person.chance.random() < 0.5:
        target, text = f"/dossiers/{one}", content.record_html(asked, one)
    else:
        target, text = f"/api/dossiers/{one}", content.record_json(asked, one)
    await person.get(line, f"{target}?n={asked.number}", text, (one,))


async def _list(person: Person, line: Line) -> None:
    asked, rows = person.number(), person.chance.randint(1, content.MOST_ROWS)
    page = person.chance.randint(1, content.COUNT // rows)
    shown = content.page_of(page, rows)
    if person.chance.random() < 0.5:
        target, text = "/usagers", content.list_html(asked, shown)
    else:
        target, text = "/api/dossiers", content.list_json(asked, shown)
    await person.get(line, f"{target}?page={page}&taille={rows}&n={asked.number}", text, tuple(shown))


async def _search(person: Person, line: Line) -> None:
    asked, words = person.number(), str(person.chance.randint(100, 9_999))
    shown = content.found_by(words)
    await person.get(
        line, f"/recherche?q={words}&n={asked.number}", content.list_html(asked, shown), tuple(shown)
    )


async def _export(person: Person, line: Line) -> None:
    asked, rows = person.number(), content.EXPORT_ROWS
    page = person.chance.randint(1, content.COUNT // rows)
    shown = content.page_of(page, rows)
    target = f"/export.csv?page={page}&taille={rows}&n={asked.number}"
    await person.get(line, target, content.export_csv(asked, shown), tuple(shown))


async def _absent(person: Person, line: Line) -> None:
    await person.get(
        line, f"/dossiers/{content.RESERVED.stop + person.chance.randint(0, 99)}", content.ABSENT, status=404
    )


async def _help(person: Person, line: Line) -> None:
    asked = person.number()
    await person.get(line, f"/aide?n={asked.number}", content.home(asked))


async def _static(person: Person, line: Line) -> None:
    size = person.chance.randint(1, _SMALL_BYTES)
    got = await line.request("GET", f"/static/{size}")
    right = got.status == 200 and got.body == b"".join(content.blocks(str(size), size))
    person.check(f"GET /static/{size}", got, right)


async def _download(person: Person, line: Line) -> None:
    asked, size = person.number(), person.chance.randint(1_000_000, _LARGE_BYTES)
    fault = await download(line, f"/pieces/{size}?n={asked.number}", asked.words, size)
    _judge(person, fault)


async def _upload(person: Person, line: Line) -> None:
    asked, size = person.number(), person.chance.randint(1_000, _LARGE_BYTES)
    chunked = person.chance.random() < 0.5
    _judge(person, await upload(line, f"/envois?n={asked.number}", asked, size, chunked=chunked))


def _judge(person: Person, fault: str | None) -> None:
    told = None if fault is None else f"{person.site.name} {person.login} {fault}"
    person.tally.judge(told, came=fault is None or "Error" not in fault)


async def _give_up(person: Person, line: Line) -> None:
    """Hang up at the request, at the answer's first bytes, or in the midst of a large one."""
    asked = person.number()
    one = person.chance.choice(content.RESERVED)
    target, after = person.chance.choice([
        (f"/dossiers/{one}?n={asked.number}", 0),
        (f"/api/dossiers/{one}?n={asked.number}", 20),
        (f"/pieces/{_LARGE_BYTES}?n={asked.number}", 300_000),
    ])  # fmt: skip
    await give_up(line, target, after)
    person.tally.requests += 1


async def _socket(person: Person, line: Line) -> None:
    socket = await open_socket(person, line)
    fault = None
    for _ in range(person.chance.randint(1, 5)):
        asked = person.number()
        await socket.write_message(asked.number)
        said = await socket.read_message()
        if said != asked.words:
            fault = f"{person.site.name} {person.login} was told {said!r}"
    socket.close()
    person.tally.judge(fault)


async def open_socket(person: Person, line: Line) -> WebSocketClientConnection:
    """Open the app's WebSocket with the cookies of this browser."""
    cookies = "; ".join(f"{name}={value}" for name, value in line.cookies.items())
    where = person.site.origin.replace("http", "ws", 1) + "/fil"
    headers = {"Cookie": cookies, "Origin": person.site.origin}
    return await websocket_connect(HTTPRequest(where, headers=headers, ssl_options=person.site.tls))


ACTS: dict[str, tuple[int, Act]] = {
    "record": (34, _record),
    "list": (18, _list),
    "search": (8, _search),
    "export": (3, _export),
    "absent": (3, _absent),
    "help": (8, _help),
    "static": (8, _static),
    "download": (2, _download),
    "upload": (3, _upload),
    "give up": (6, _give_up),
    "socket": (3, _socket),
}
"""How often each is done, of a hundred or so."""

_NAMES = tuple(ACTS)
_WEIGHTS = tuple(weight for weight, _ in ACTS.values())


async def act(person: Person, line: Line) -> None:
    """Do one thing, by chance."""
    name = person.chance.choices(_NAMES, _WEIGHTS)[0]
    try:
        await ACTS[name][1](person, line)
    except Exception as error:  # noqa: BLE001 - an exchange that broke is counted, and the others go on
        told = f"{person.site.name} {person.login} {name}: {type(error).__name__} {error}"
        person.tally.judge(told, came=False)
    person.tally.acts[name] += 1


__all__ = ["ACTS", "Asked", "act", "open_socket"]
