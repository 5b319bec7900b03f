"""The yardstick: what does uvicorn itself cost, for a reply of this size?

An ASGI app that reads the request's content and answers constant bytes. No routing, no parsing, no state: what a
registry loses against it is its own work, what it wins comes from doing less than ASGI asks for. One process,
httptools, uvloop, no access log.
"""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope


def constant_app(status: int, size: int, content_type: str) -> ASGI3Application:
    """An app whose every answer is the same."""
    headers = [] if status == 304 else [(b"content-length", str(size).encode())]
    headers += [(b"content-type", content_type.encode())] if content_type else []
    start: Any = {"type": "http.response.start", "status": status, "headers": headers, "trailers": False}
    body: Any = {"type": "http.response.body", "body": b"x" * size, "more_body": False}

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        if scope["method"] != "GET":
            await _read_content(receive)
        await send(start)
        await send(body)

    return app


async def _read_content(receive: ASGIReceiveCallable) -> None:
    while True:
        message = await receive()
        if message["type"] != "http.request" or not message["more_body"]:
            return


def main() -> None:
    """Serve until SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--size", type=int, default=0, help="bytes in the body (default 0)")
    parser.add_argument("--content-type", default="", help="empty leaves the header out")
    options = parser.parse_args()
    uvicorn.run(
        constant_app(options.status, options.size, options.content_type),
        host="127.0.0.1",
        port=options.port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
