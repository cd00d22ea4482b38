"""The port for Prometheus and probes, over real sockets."""

import asyncio

import pytest

from gateway import telemetry


async def ask(port: int, sent: bytes) -> bytes:
    """Send *sent* and return everything that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_listener_answers_probes_and_survives_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_HEAD_TIMEOUT_S", 0.2)
    ready = False
    server = await telemetry.serve_metrics("127.0.0.1", 0, lambda: ready)
    port = server.sockets[0].getsockname()[1]
    try:
        # A silent client, an endless head and half a request get nothing, and hold up nobody.
        silent = asyncio.ensure_future(ask(port, b"GET /metr"))
        assert await ask(port, b"X" * 100_000) == b""
        assert (await ask(port, b"GET /readyz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        ready = True
        answer = await ask(port, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Cache-Control: no-store" in answer
        metrics = await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        head, _, body = metrics.partition(b"\r\n\r\n")
        assert b"# TYPE ecluse_requests_total counter" in body
        assert f"Content-Length: {len(body)}".encode() in head
        assert await silent == b""
    finally:
        server.close()
        await server.wait_closed()
