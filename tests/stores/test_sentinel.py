"""Whom Sentinels that disagree are believed in: the newest failover counts, and nothing older ever again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.valkey.address import read_address
from gateway.valkey.link import NotUsable
from gateway.valkey.sentinel import Sentinels

Known = tuple[int, int]
"""Configuration epoch, and the port of the primary."""


class Voice:
    """A socket that answers as a Sentinel would that knows *known*; None: it says nothing at all."""

    def __init__(self, known: Known | None) -> None:
        self.known = known
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while line := await reader.readline():
            words = [await self._word(reader) for _ in range(int(line[1:]))]
            if self.known is None:
                continue
            epoch, port = self.known
            if words[1].upper() == "MASTER":
                answer = ["name", "ecluse", "ip", "127.0.0.1", "port", str(port), "flags", "master"]
                answer += ["config-epoch", str(epoch)]
            else:
                answer = ["127.0.0.1", str(port)]
            parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in answer)
            writer.write(f"*{len(answer)}\r\n{parts}".encode())

    @staticmethod
    async def _word(reader: asyncio.StreamReader) -> str:
        length = int((await reader.readline())[1:])
        return (await reader.readexactly(length + 2))[:-2].decode()


@pytest.fixture
async def voices() -> AsyncIterator[list[Voice]]:
    made = [Voice(None) for _ in range(3)]
    yield made
    for voice in made:
        voice.stop()


async def listening(voices: list[Voice], timeout_s: float = 8.0) -> Sentinels:
    ports = [await voice.start() for voice in voices]
    url = f"sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/ecluse"
    return Sentinels(read_address(url), timeout_s)


def let_know(voices: list[Voice], *known: Known | None) -> None:
    for voice, each in zip(voices, known, strict=True):
        voice.known = each


async def test_the_newest_failover_counts_wherever_it_is_heard(voices: list[Voice]) -> None:
    sentinels = await listening(voices)
    let_know(voices, (3, 7001), (3, 7001), (3, 7001))
    assert (await sentinels.primary()).port == 7001
    let_know(voices, (3, 7001), (4, 7002), (3, 7001))
    assert (await sentinels.primary()).port == 7002
    # The one that knew is gone: those left would lead back to a primary that was replaced.
    let_know(voices, (3, 7001), (3, 7001), (3, 7001))
    with pytest.raises(NotUsable, match=r"know less than before \(epoch 3 after 4\): restart the gateway if"):
        await sentinels.primary()
    let_know(voices, (5, 7003), (3, 7001), (3, 7001))
    assert (await sentinels.primary()).port == 7003
    await sentinels.close()


async def test_silent_ones_are_not_waited_for_beyond_their_share(voices: list[Voice]) -> None:
    sentinels = await listening(voices, timeout_s=2.5)
    let_know(voices, None, (1, 7001), None)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert (await sentinels.primary()).port == 7001
    assert loop.time() - began_s >= 1.0
    let_know(voices, None, None, None)
    with pytest.raises(NotUsable, match=r"no Sentinel of sentinel://.* answers"):
        await sentinels.primary()
    let_know(voices, (2, 7002), None, None)
    assert (await sentinels.primary()).port == 7002
    await sentinels.close()
