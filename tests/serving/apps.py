"""Applications as others write them, by Starlette: what they can rely on with any ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from registry import __file__ as SOME_FILE

#: What happened, in order.
happened: list[str] = []


async def echo(request: Request) -> Response:
    body = await request.body()
    text = f"{request.method} {request.url.path} {request.url.query} {len(body)} ".encode() + body[:100]
    return Response(text, headers={"X-Case-Kept": "yes"})


async def chunks(request: Request) -> Response:
    """How many body messages there were, and their bytes."""
    sizes = [len(chunk) async for chunk in request.stream()]
    return PlainTextResponse(f"{sum(sizes)}")


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"part %d\n" % number
            await asyncio.sleep(0)

    return StreamingResponse(parts(), media_type="text/plain")


class Endless(StreamingResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            happened.append("stream ended")


async def endless(request: Request) -> Response:
    """Server-sent events until the client goes."""

    async def events() -> AsyncIterator[bytes]:
        while True:
            yield b"data: x\n\n"
            await asyncio.sleep(0.01)

    return Endless(events(), media_type="text/event-stream")


async def waits(request: Request) -> Response:
    """Answers nobody: it waits for the client to go."""
    while not await request.is_disconnected():  # noqa: ASYNC110  # the way in which Starlette's users ask
        await asyncio.sleep(0.01)
    happened.append("client gone")
    return PlainTextResponse("too late")


async def late(request: Request) -> Response:
    """Answers once `go` has happened."""
    while "go" not in happened:  # noqa: ASYNC110  # tests tell it from another thread
        await asyncio.sleep(0.01)
    return PlainTextResponse("late")


async def file(request: Request) -> Response:
    return FileResponse(Path(SOME_FILE))


async def early(request: Request) -> Response:
    """An answer before the body was read."""
    return PlainTextResponse("early")


async def afterwards(request: Request) -> Response:
    return PlainTextResponse("first", background=BackgroundTask(happened.append, "second"))


async def broken(request: Request) -> Response:
    raise ZeroDivisionError


async def broken_stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begun"
        raise ZeroDivisionError

    return StreamingResponse(parts())


async def big(request: Request) -> Response:
    return Response(BIG)


BIG = b"0123456789" * 1_000_000


async def nothing(request: Request) -> Response:
    return Response(status_code=204)


async def elsewhere(request: Request) -> Response:
    return RedirectResponse("/echo")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol="b" if "b" in websocket["subprotocols"] else None, headers=[(b"X-Extra", b"1")])
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                happened.append(f"closed {message['code']}")
                return
            if message.get("text") == "bye":
                await websocket.close(4002, "as you wish")
                return
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        happened.append("gone")


async def refusing_socket(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("not here", status_code=418))


async def closing_socket(websocket: WebSocket) -> None:
    await websocket.close()


async def late_socket(websocket: WebSocket) -> None:
    """As another one, once `go` has happened."""
    while "go" not in happened:  # noqa: ASYNC110  # tests tell it from another thread
        await asyncio.sleep(0.01)
    others = {"accepted": socket, "refused": refusing_socket, "closed": closing_socket}
    await others[websocket.path_params["other"]](websocket)


async def broken_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ZeroDivisionError


METHODS = ["GET", "POST", "PUT", "DELETE"]
app = Starlette(
    routes=[
        *(
            Route(f"/{endpoint.__name__}", endpoint, methods=METHODS)
            for endpoint in (echo, chunks, stream, endless, waits, file, early, afterwards, broken, broken_stream, big)
        ),
        Route("/late", late),
        Route("/chunks/heartbeats", chunks, methods=METHODS),
        Route("/nothing", nothing),
        Route("/elsewhere", elsewhere),
        WebSocketRoute("/socket", socket),
        WebSocketRoute("/refusing_socket", refusing_socket),
        WebSocketRoute("/closing_socket", closing_socket),
        WebSocketRoute("/broken_socket", broken_socket),
        WebSocketRoute("/late_socket/{other}", late_socket),
    ]
)
