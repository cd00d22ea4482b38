"""Places away from the machine where checkpoints are kept: a directory, an HTTPS server, an S3 bucket."""

import asyncio
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from gateway.audit import files
from gateway.audit.witness_client import Reply, Undelivered

MAX_ANSWER_BYTES = 200_000
_CONNECT_TIMEOUT_S = 5.0
_REQUEST_TIMEOUT_S = 20.0
_DONE = range(200, 300)
_NOT_SHOWN = frozenset({401, 403, 404, 405, 410})
"""Answers that last: nothing is there, or the server takes checkpoints and shows none."""


class Target(Protocol):
    """One place. Names are relative paths of safe segments; contents are checkpoints of some hundred bytes."""

    @property
    def label(self) -> str:
        """Return how logs and metrics call it: no secret."""
        ...

    async def read(self, name: str) -> bytes | None:
        """Return what it keeps as *name*, None when it keeps none or does not let us see.

        Raises:
            Undelivered: it cannot be reached, or does not tell now.
        """
        ...

    async def write(self, name: str, data: bytes, *, once: bool) -> None:
        """Keep *data* as *name*, whole or not at all; with *once*, what is there already stays.

        Raises:
            Undelivered: it was not kept.
        """
        ...


async def fetch(request: HTTPRequest) -> Reply:
    """Send *request*, follow no redirect, and return the answer.

    Raises:
        Undelivered: there is none in time, or the server's certificate is not trusted.
    """
    client = AsyncHTTPClient(force_instance=True, max_body_size=MAX_ANSWER_BYTES)
    host = urlsplit(request.url).netloc
    try:
        found = await client.fetch(request, raise_error=False)
    except ssl.SSLCertVerificationError as error:
        raise Undelivered(
            f"{host}: its certificate is not trusted ({error.verify_message}): see ca_file"
        ) from error
    except (HTTPClientError, OSError, ValueError) as error:
        raise Undelivered(f"{host} does not answer: {error}") from error
    finally:
        client.close()
    if found.code == 599:
        raise Undelivered(f"{host} does not answer: {found.error}")
    return Reply(found.code, found.headers.get("Content-Type", ""), found.body)


def request_to(url: str, ca_file: Path | None, **more: Any) -> HTTPRequest:
    """Return a request to *url* that believes *ca_file*, or the system's authorities when None."""
    return HTTPRequest(
        url,
        ca_certs=str(ca_file) if ca_file is not None else None,
        connect_timeout=_CONNECT_TIMEOUT_S,
        request_timeout=_REQUEST_TIMEOUT_S,
        follow_redirects=False,
        user_agent="ecluse",
        **more,
    )


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, usually of another machine: it is never made, so that a share that is not mounted is noticed."""

    path: Path

    @property
    def label(self) -> str:
        """Return how logs and metrics call it."""
        return f"directory {self.path}"

    async def read(self, name: str) -> bytes | None:
        """Return the file *name*, None when there is none."""
        return await asyncio.to_thread(self._read, name)

    async def write(self, name: str, data: bytes, *, once: bool) -> None:
        """Keep *data* as the file *name*, durably."""
        await asyncio.to_thread(self._write, name, data, once)

    def _read(self, name: str) -> bytes | None:
        try:
            if not self.path.is_dir():
                raise Undelivered(f"{self.path} is not there: mount it, or make it")
            path = self.path / name
            return path.read_bytes() if path.exists() else None
        except OSError as error:
            raise Undelivered(f"{error.filename or self.path}: {error.strerror}") from error

    def _write(self, name: str, data: bytes, once: bool) -> None:
        path = self.path / name
        try:
            if not self.path.is_dir():
                raise Undelivered(f"{self.path} is not there: mount it, or make it")
            if once and path.exists():
                return
            files.make_directory(path.parent)
            files.replace_durably(path, data)
        except OSError as error:
            raise Undelivered(f"{error.filename or path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class HttpsPut:
    """A server that takes PUT under *url*; *token* goes as a bearer token, and never into a log."""

    url: str
    ca_file: Path | None = None
    token: str | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Return how logs and metrics call it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    async def read(self, name: str) -> bytes | None:
        """Return what the server shows under *name*; many only take, and show nothing."""
        reply = await fetch(request_to(self._at(name), self.ca_file, headers=self._headers()))
        if reply.status in _NOT_SHOWN:
            return None
        if reply.status != 200:
            raise Undelivered(
                f"{self.label} answers {reply.status} to GET: what it keeps is not compared, and not replaced"
            )
        return reply.body

    async def write(self, name: str, data: bytes, *, once: bool) -> None:
        """Put *data* under *name*; with *once*, on the condition that nothing is there."""
        headers = {**self._headers(), "Content-Type": "text/plain; charset=utf-8"}
        if once:
            headers["If-None-Match"] = "*"
        reply = await fetch(
            request_to(self._at(name), self.ca_file, method="PUT", headers=headers, body=data)
        )
        if reply.status not in _DONE and not (once and reply.status == 412):
            raise Undelivered(f"{self.label} answers {reply.status} to PUT: check its address and the token")

    def _at(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{quote(name)}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """A bucket of S3, or of a server that speaks it at *endpoint*. Needs the extra ``ecluse[s3]``.

    Object lock and versions are the bucket's own affair, and what makes it a place nobody rewrites.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret: str | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Return how logs and metrics call it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    async def read(self, name: str) -> bytes | None:
        """Return the object *name*, None when there is none or it may not be seen."""
        store, exceptions = self._store()
        try:
            return bytes(await (await store.get_async(name)).bytes_async())
        except (FileNotFoundError, exceptions.NotFoundError, exceptions.PermissionDeniedError):
            return None
        except exceptions.BaseError as error:
            raise Undelivered(f"{self.label}: {_first_line(error)}") from error

    async def write(self, name: str, data: bytes, *, once: bool) -> None:
        """Put the object *name*; with *once*, on the condition that nothing is there."""
        store, exceptions = self._store()
        try:
            await store.put_async(name, data, mode="create" if once else "overwrite")
        except exceptions.AlreadyExistsError as error:
            if not once:
                raise Undelivered(f"{self.label}: {_first_line(error)}") from error
        except (exceptions.BaseError, OSError) as error:
            raise Undelivered(f"{self.label}: {_first_line(error)}") from error

    def _store(self) -> tuple[Any, Any]:
        try:
            from obstore import exceptions  # noqa: PLC0415 - an extra: only who publishes to S3 has it
            from obstore.store import S3Store  # noqa: PLC0415
        except ImportError:
            raise Undelivered(f"{self.label} needs the extra: install ecluse[s3]") from None
        given: dict[str, Any] = {"endpoint": self.endpoint} if self.endpoint is not None else {}
        if self.access_key_id is not None and self.secret is not None:
            given |= {"access_key_id": self.access_key_id, "secret_access_key": self.secret}
        elif not any(name in os.environ for name in ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")):
            raise Undelivered(f"{self.label}: give access_key_id and secret_file, or set AWS_ACCESS_KEY_ID")
        is_plain = self.endpoint is not None and self.endpoint.startswith("http://")
        store = S3Store(
            self.bucket,
            prefix=self.prefix or None,
            region=self.region,
            client_options={"allow_http": is_plain, "timeout": "20s", "connect_timeout": "5s"},
            retry_config={"max_retries": 1},
            **given,
        )
        return store, exceptions


def _first_line(error: BaseException) -> str:
    # The library's messages go on with the whole request.
    return str(error).partition("\n")[0][:200]
