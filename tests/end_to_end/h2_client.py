"""One HTTP/2 request, written as the test wants it: no client library would send some of these."""

import asyncio
import ssl
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamReset
from h2.exceptions import ProtocolError

PATIENCE_S = 20.0


async def ask(
    port: int,
    tls: ssl.SSLContext,
    name: str,
    lines: Sequence[tuple[str, str]],
    body: bytes = b"",
    source: str = "127.0.0.1",
    patience_s: float = PATIENCE_S,
) -> int:
    """Send *lines*, pseudo-headers among them, and *body*; return the status, 0 when there was none."""
    tls.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname=name, local_addr=(source, 0)
    )
    # Nothing is checked or put right on our side.
    config = H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
    )
    connection = H2Connection(config)
    connection.initiate_connection()
    connection.send_headers(1, lines, end_stream=not body)
    if body:
        # A body that is still on its way when the door is chosen is the harder case.
        writer.write(connection.data_to_send())
        await writer.drain()
        await asyncio.sleep(0.1)
        for start in range(0, len(body), 16_000):
            connection.send_data(1, body[start : start + 16_000], end_stream=start + 16_000 >= len(body))
    writer.write(connection.data_to_send())
    try:
        async with asyncio.timeout(patience_s):
            while data := await reader.read(65_536):
                for event in connection.receive_data(data):
                    if isinstance(event, ResponseReceived):
                        return int(dict(event.headers)[":status"])
                    if isinstance(event, StreamReset | ConnectionTerminated):
                        return 0
                writer.write(connection.data_to_send())
    except (ProtocolError, ConnectionError, ssl.SSLError, TimeoutError):
        pass
    finally:
        writer.close()
    return 0
