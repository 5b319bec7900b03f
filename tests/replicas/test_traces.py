"""Traces: a request, its append and its round trips to a real Redis, in the trace that the client has begun."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec import structs
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import Message

from registry.bootstrap import Replica, build_replica, redis_store
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.operation import Operation
from registry.http_api.operations import FIND, OPERATIONS
from registry.http_api.reply import Reply
from registry.running.otel_spans import OtelSpans
from registry.settings import Settings
from tests.support.replica import Replica as Process
from tests.support.replica import replica

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01".encode()
(REGISTER,) = (operation for operation in OPERATIONS if operation.name == "register-service")
BODY = json.dumps({"service": {"appId": "shop", "serviceName": "cart", "version": "1.0.0"}}).encode()


class Traced:
    """A replica on a real Redis, whose spans are kept here."""

    def __init__(self, replica: Replica, spans: OtelSpans, exporter: InMemorySpanExporter) -> None:
        self.replica = replica
        self._spans = spans
        self._exporter = exporter

    async def ask(self, operation: Operation, body: bytes = b"", query: bytes = b"", **headers: bytes) -> Reply:
        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        path, named = {"project": "default"}, {name.encode(): value for name, value in headers.items()}
        call = Call(path, query, named, "127.0.0.1", receive, target=f"{operation.method} /there?secret=x")
        return await self.replica.door.answer(operation, call)

    async def told(self) -> Sequence[ReadableSpan]:
        """The spans since the last time, in the order in which they began."""
        await self._spans.close()
        found = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        self._exporter.clear()
        return found


@pytest.fixture
async def traced(redis_url: str) -> AsyncIterator[Traced]:
    settings = Settings(redis_url=redis_url, redis_prefix=f"traces-{uuid.uuid4().hex[:8]}:")
    exporter = InMemorySpanExporter()
    spans, store = OtelSpans("r1", exporter), redis_store(settings)
    store.round_trips.spans = spans
    replica = build_replica(settings, store, "h:1", name="r1", spans=spans)
    await store.open()
    await replica.projector.start()
    try:
        yield Traced(replica, spans, exporter)
    finally:
        await store.close()


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def parent_of(span: ReadableSpan) -> str:
    return f"{span.parent.span_id:016x}" if span.parent is not None else ""


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


async def test_write_is_told_in_the_clients_trace_down_to_the_store(traced: Traced) -> None:
    answer = await traced.ask(REGISTER, BODY, traceparent=SAMPLED, **{"x-request-id": b"mine"})
    assert answer.status == 200
    spans = await traced.told()
    request, append = spans[0], next(span for span in spans if span.name == "append")
    (commit,) = [span for span in spans if span.name == "store commit"]
    assert {trace_of(span) for span in spans} == {TRACE}
    assert (request.name, request.kind, parent_of(request)) == ("register-service", SpanKind.SERVER, PARENT)
    assert parent_of(append) == id_of(request)
    assert parent_of(commit) == id_of(append)
    attributes = dict(request.attributes or {})
    assert attributes == {
        "http.response.status_code": 200,
        "registry.tenant": "default/default",
        "registry.request_id": "mine",
        "url.path": "/there",
    }
    assert request.resource.attributes["service.name"] == "registry"
    assert request.resource.attributes["service.instance.id"] == "r1"


async def test_request_without_a_trace_begins_one_and_what_is_none_is_passed_over(traced: Traced) -> None:
    for headers in ({}, {"traceparent": b"nonsense"}, {"traceparent": b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"}):
        await traced.ask(FIND, query=b"appId=shop&serviceName=cart", **headers)
        spans = await traced.told()
        assert spans[0].name == "find-instances"
        assert parent_of(spans[0]) == ""
        assert trace_of(spans[0]) != TRACE
        assert dict(spans[0].attributes or {})["http.response.status_code"] == 400


async def test_trace_that_the_client_does_not_record_is_not_recorded(traced: Traced) -> None:
    """It has decided for all who take part."""
    await traced.ask(REGISTER, BODY, traceparent=SAMPLED[:-1] + b"0")
    assert await traced.told() == []


async def test_work_that_belongs_to_no_request_is_in_no_trace(traced: Traced) -> None:
    await traced.replica.pulses.pulse()
    assert await traced.told() == []


async def test_failure_of_ours_is_an_error(traced: Traced) -> None:
    async def broken(api: Api, call: Call) -> Reply:
        raise ValueError("ours")

    answer = await traced.ask(structs.replace(REGISTER, handler=broken), BODY, traceparent=SAMPLED)
    assert answer.status == 500
    (request,) = [span for span in await traced.told() if span.name == "register-service"]
    assert request.status.status_code is StatusCode.ERROR


NOTHING_IMPORTED = """
import sys
from registry import cli
from registry.running import replica
before = replica.say_started
def say(*arguments):
    before(*arguments)
    # redis-py imports some of it by itself where it is installed.
    ours = ("registry.running.otel_spans", "opentelemetry.exporter", "opentelemetry.sdk.trace")
    print("found", [name for name in sys.modules if name.startswith(ours)], file=sys.stderr)
replica.say_started = say
sys.exit(cli.main())
"""
NOT_INSTALLED = "import sys; sys.modules['opentelemetry'] = None; from registry import cli; sys.exit(cli.main())"


@pytest.mark.slow
def test_nothing_of_it_is_imported_without_the_setting(redis_url: str) -> None:
    one = Process("--redis-url", redis_url, "--redis-prefix", "untraced:", program=("-c", NOTHING_IMPORTED))
    try:
        one.start()
        assert "found []" in one.output()
    finally:
        one.clean_up()


@pytest.mark.slow
def test_without_the_extra_the_setting_is_answered_in_one_sentence(redis_url: str) -> None:
    one = Process("--redis-url", redis_url, "--traces", "on", program=("-c", NOT_INSTALLED))
    try:
        assert one.launch().wait() == 2
        said = one.output().splitlines()[-1]
        assert said.startswith("registry: REGISTRY_TRACES is on, but OpenTelemetry is not installed: ")
        assert said.endswith("pip install 'servicecomb-registry[otel]'")
    finally:
        one.clean_up()


@pytest.mark.slow
def test_a_collector_that_is_not_there_costs_nobody_an_answer(redis_url: str) -> None:
    """Spans are sent beside, and dropped when nobody takes them; the end waits for a moment only."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with replica("--redis-url", redis_url, "--traces", "on", environment=environment) as one:
        for _ in range(20):
            assert one.connect().request("GET", "/version").status == 200
        assert one.stop() == 0
