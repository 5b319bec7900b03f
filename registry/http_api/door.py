"""The door: every request passes here, by either way, and every rule that holds for all operations stands here.

In this order: refuse what no operation may see; find the operation; read who asks (`Call`), and whether it may
(`Admission`); wait for the position that the client wants included; check the durability that it asks for; call the
handler, which reads the body within its limit; confirm the durability; put errors into the API's shape; and observe
what came of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, aclosing, closing, nullcontext
from time import perf_counter

from starlette.types import Receive, Scope, Send

from registry.domain.errors import AnswerTooLarge, Forbidden, InvalidParams, RegistryError
from registry.domain.tenant import ACCOUNTS
from registry.http_api import reply, target
from registry.http_api.api import Api
from registry.http_api.call import Call, ClientGone, target_of
from registry.http_api.load import Share
from registry.http_api.operation import Kind, Operation
from registry.http_api.operations import NEVER_REFUSED, OPERATIONS, Routes
from registry.http_api.reply import Droppable, Header, Reply, StreamReply
from registry.http_api.sockets import EXTENSION

logger = logging.getLogger(__name__)


class Door:
    """The application: plain ASGI in front, `answer` behind, which the hot way calls too.

    Args:
        otherwise: what is answered where there is no operation; None: that there is nothing.
    """

    def __init__(
        self,
        api: Api,
        operations: Sequence[Operation] = OPERATIONS,
        otherwise: Callable[[Scope], Reply | None] = lambda scope: None,
    ) -> None:
        self._api = api
        self._otherwise = otherwise
        self._routes = Routes(operations)

    # -- ASGI ----------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            answer = await self._answer_http(scope, receive, send)
            if answer is not None:
                await _send(send, answer, self._api.origins.lines(scope["headers"]))
        elif scope["type"] == "websocket":
            await self._answer_websocket(scope, receive, send)

    async def _answer_http(self, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        """The answer, or None when it has been sent, or nobody is left for it."""
        method: str = scope["method"]
        found = self._find(scope)
        if isinstance(found, Reply):
            return self._said(scope, (self._otherwise(scope) or found) if found is _NOT_FOUND else found)
        operations, path = found
        operation = operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            allow = sorted({*operations, *(("HEAD",) if "GET" in operations else ())})
            return self._said(scope, reply.text(405, "Method Not Allowed\n", (b"Allow", ", ".join(allow).encode())))
        try:
            call = Call.of_scope(scope, path, receive, self._api.body_max_bytes)
        except RegistryError as error:
            return self._said(scope, reply.error(error))
        try:
            answer = await self.answer(operation, call)
        except ClientGone:
            return None
        if not isinstance(answer, StreamReply):
            return answer
        with closing(answer.source):
            if method == "HEAD":
                return Reply(answer.status, answer.headers)
            await self._stream(operation, call, answer, scope, send)
        return None

    def _said(self, scope: Scope, answer: Reply) -> Reply:
        """The answer to what is no operation, or may not be read: such requests are in the access log only."""
        log = self._api.access_log
        if log is not None and log.wants(answer.status, 0.0):
            peer = str((scope.get("client") or ("",))[0])
            client = self._api.proxies.client_address(peer, scope["headers"])
            log.say("", None, target_of(scope), client, answer.status, 0.0, 0, len(answer.body))
        return answer

    async def _stream(self, operation: Operation, call: Call, answer: StreamReply, scope: Scope, send: Send) -> None:
        """Send what comes until there is no more, or the client or its right to it has gone."""
        with self._session(operation, call, answer.source):
            headers = [*answer.headers, *self._api.origins.lines(scope["headers"])]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async with aclosing(answer.chunks):
                async for chunk in answer.chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    def _session(self, operation: Operation, call: Call, source: Droppable) -> AbstractContextManager[None]:
        """While it is open, it is looked whether the token still has the right to it."""
        access = self._api.access
        if access is None:
            return nullcontext()
        return access.sessions.open(operation.name, operation.access, call, source)

    async def _answer_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        found = self._find({**scope, "method": "GET"})
        operation = None if isinstance(found, Reply) else found[0].get("GET")
        socket = scope.get("extensions", {}).get(EXTENSION)
        if isinstance(found, Reply) or operation is None or operation.socket is None or socket is None:
            await _refuse_socket(send, found if isinstance(found, Reply) else _NOT_FOUND)
            return
        try:
            if not self._api.origins.may_connect(scope["headers"]):
                raise Forbidden("no websocket for a page of this origin (REGISTRY_CORS_ORIGINS)")
            call = Call.of_scope(scope, found[1], receive, self._api.body_max_bytes)
            call.come_through(self._api.proxies)
            await self._admit(operation, call)
            with self._session(operation, call, socket):
                await operation.socket(self._api, call, socket, receive, send)
        except RegistryError as error:
            await _refuse_socket(send, reply.error(error, *_more(error)))

    def _find(self, scope: Scope) -> Reply | tuple[dict[str, Operation], dict[str, str]]:
        """The operations at the path, with the path's parameters, or what is said instead."""
        raw: bytes = scope.get("raw_path") or target.encoded(scope["path"])
        preflight = self._api.origins.preflight(scope["headers"]) if scope["method"] == "OPTIONS" else ()
        refused = target.refusal(scope["method"], raw, scope["query_string"], preflight)
        if refused is not None:
            return refused
        try:
            segments = target.segments(raw)
        except InvalidParams as error:
            return reply.error(error)
        return (self._routes.find(segments) if segments is not None else None) or _NOT_FOUND

    # -- every way -----------------------------------------------------------------------------------------------------

    async def answer(self, operation: Operation, call: Call) -> Reply:
        """Answer one call. Everything that happens comes back in the API's shape, and our failures as ours.

        Raises:
            ClientGone: nobody is left to be answered.
        """
        if self._api.spans is None:
            return await self._answer_call(operation, call)
        with self._api.spans.request(operation.name, call.headers, str(call.tenant), call.target) as span:
            answer = await self._answer_call(operation, call)
            span.answered(answer.status, call.named)
            return answer

    async def _answer_call(self, operation: Operation, call: Call) -> Reply:
        began = perf_counter()
        call.come_through(self._api.proxies)
        call.new_id = self._api.request_ids
        call.share = Share(self._api.load, operation.name in NEVER_REFUSED)
        try:
            call.share.take()
            answer = await self._handle(operation, call)
            if answer.size > self._api.answer_max_bytes:
                raise AnswerTooLarge(answer.size, self._api.answer_max_bytes)
        except RegistryError as error:
            answer = self._refused(call, error)
        except ClientGone:
            self._count(operation, call, 499, perf_counter() - began, 0)
            raise
        except Exception:
            fields = {"operation": operation.name, "tenant": str(call.tenant), "request_id": call.request_id}
            logger.exception("%s failed", operation.name, extra={"action": "request_failed", **fields})
            answer = self._refused(call, RegistryError("the registry failed; its log says why"))
        finally:
            call.share.give_back()
        if call.tenant in self._api.aside.tenants:
            answer = reply.set_aside(answer, self._api.aside.seconds(call.tenant))
        # What changes nothing and succeeds needs no name: nobody will look for it.
        request_id = call.request_id if operation.appends or answer.status >= 400 else call.named
        if request_id:
            answer = reply.named(answer, request_id)
        self._count(operation, call, answer.status, perf_counter() - began, answer.size)
        return answer

    def _count(self, operation: Operation, call: Call, status: int, seconds: float, sent: int) -> None:
        self._api.observer.tally(operation.name).add(call.tenant, status, seconds, call.received, sent)
        log = self._api.access_log
        if log is not None and log.wants(status, seconds):
            log.say(
                *(operation.name, call.tenant, call.target, call.address, status, seconds, call.received, sent),
                call.named,
            )

    async def _handle(self, operation: Operation, call: Call) -> Reply:
        api = self._api
        if operation.is_admin and not api.admin_from.include(call.address):
            raise Forbidden(f"/admin may not be used from {call.address or 'here'} (REGISTRY_ADMIN_FROM)")
        past = operation.kind is Kind.PAST or (operation.as_of and call.asks_past)
        await self._admit(operation, call, past)
        if operation.request is None and operation.kind in (Kind.WRITE, Kind.BEAT):
            await call.body()  # nobody needs it, but half a request changes nothing
        wanted = call.wanted_position
        if wanted is not None and not operation.of_accounts:
            await api.discovery.await_position(call.tenant, wanted)
        if past:
            answer = await api.ask_past(operation, call)
            told = any(name == reply.POSITION for name, _ in answer.headers)
            return answer if told else Reply(answer.status, [*answer.headers, api.position(call.tenant)], answer.body)
        if not operation.appends:
            return await operation.handler(api, call)
        named = call.header(b"x-registry-durability").decode("latin-1")
        durability = api.durable.wanted(named)
        await api.durable.check(call.tenant, durability, bool(named))
        answer = await operation.handler(api, call)
        await api.durable.confirm(call.tenant, durability)
        return answer

    async def _admit(self, operation: Operation, call: Call, past: bool = False) -> None:
        if operation.of_accounts:
            call.tenant = ACCOUNTS
        if self._api.access is not None:
            await self._api.access.admission.admit(operation.name, operation.access, call, past)

    def _refused(self, call: Call, error: RegistryError) -> Reply:
        self._api.alarms.observe(error)
        headers: tuple[Header, ...] = _more(error)
        if error.code // 1000 < 500 and error.code // 1000 != 401:
            headers = (*headers, self._api.position(call.tenant))
        return reply.error(error, *headers)


def _more(error: RegistryError) -> tuple[Header, ...]:
    """What HTTP wants said beside some refusals."""
    if error.code // 1000 == 401:
        return ((b"WWW-Authenticate", b"Bearer"),)
    return ()


_NOT_FOUND = reply.text(404, "404 page not found\n")


async def _send(send: Send, answer: Reply, more: list[Header]) -> None:
    headers = [*answer.headers, *more] if more else answer.headers
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    *parts, last = answer.body, *answer.more
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": last})


async def _refuse_socket(send: Send, answer: Reply) -> None:
    """Answer a handshake as an ordinary request."""
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
