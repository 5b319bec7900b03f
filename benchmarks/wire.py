"""One request and its reply: the same request is checked from Python and repeated by wrk."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.errors import BenchmarkError

#: Seconds; taking a service with all the instances of a growing round away may last.
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, apart from `Host` and `Content-Length`, which every sender adds by itself."""

    method: str
    path: str
    #: None for GET. An empty string sends `Content-Length: 0`.
    body: str | None = None
    #: A service id: who asks. The reference's own load scenes name nobody.
    consumer: str = ""
    #: A `traceparent`, as every traced client sends one, each time another.
    trace: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Only what a request needs: never a tenant, so everything happens in the default one."""
        headers = {"Content-Type": "application/json"} if self.body else {}
        headers |= {"X-ConsumerId": self.consumer} if self.consumer else {}
        return headers | ({"traceparent": self.trace} if self.trace else {})

    def rendered(self, host: str) -> bytes:
        """The bytes to send to a host."""
        headers = {"Host": host, **self.headers}
        content = (self.body or "").encode()
        if self.body is not None:
            headers["Content-Length"] = str(len(content))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + content


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    wire_bytes: int
    """Status line, headers and body as wrk counts them. Too low by the chunk marks of a chunked body."""

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Address:
        """Read `http://host:port`; nothing else is understood, because wrk is given the same address."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise BenchmarkError(f"--url must look like http://host:port, not {url!r}.")
        return cls(parts.hostname, parts.port or 80)

    @property
    def url(self) -> str:
        """The address for wrk."""
        return f"http://{self.host}:{self.port}"


def send(address: Address, request: Request, timeout_s: float = TIMEOUT_S) -> Reply:
    """Send one request on a connection of its own.

    Raises:
        OSError, http.client.HTTPException: no reply.
    """
    connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
    try:
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        body = None if request.body is None else request.body.encode()
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return _read(connection.getresponse())
    finally:
        connection.close()


def call(address: Address, request: Request) -> Reply:
    """Send one request; a missing reply ends the run."""
    try:
        return send(address, request)
    except (OSError, http.client.HTTPException) as exc:
        raise BenchmarkError(f"{request.method} {address.url}{request.path} got no reply: {exc!r}.") from exc


def _read(response: http.client.HTTPResponse) -> Reply:
    body = response.read()
    pairs = response.getheaders()
    head = len(f"HTTP/1.1 {response.status} {response.reason}\r\n\r\n")
    head += sum(len(name) + len(value) + 4 for name, value in pairs)
    return Reply(response.status, {name.lower(): value for name, value in pairs}, body, head + len(body))
