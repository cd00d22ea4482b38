"""A check that says yes to everything, for uvicorn: what is left of ours without what it decides."""

from collections.abc import Awaitable, Callable
from typing import Any

_HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
_BODY = {"type": "http.response.body", "body": b""}


async def answer(
    scope: dict[str, Any],  # noqa: ARG001 - ASGI's signature
    receive: Callable[[], Awaitable[Any]],  # noqa: ARG001 - likewise
    send: Callable[[Any], Awaitable[None]],
) -> None:
    """Answer 200 without a body."""
    await send(_HEAD)
    await send(_BODY)
