"""OtelSpans: spans by OpenTelemetry. It is imported with `REGISTRY_TRACES` only, for it needs the extra `otel`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from registry import __version__

#: Milliseconds that sending what is left may take at a stop.
FLUSH_WITHIN_MS: Final = 2000
#: Headers that say of which trace a request is part.
_TRACE_HEADERS: Final = ("traceparent", "tracestate")


class _Request:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def answered(self, status: int, request_id: str) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if request_id:
            self._span.set_attribute("registry.request_id", request_id)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)


class OtelSpans:
    """See `registry.tracing.Spans`.

    Args:
        replica: what it is called everywhere.
        exporter: where spans go; None: to where the `OTEL_EXPORTER_OTLP_…` variables say.
    """

    def __init__(self, replica: str, exporter: SpanExporter | None = None) -> None:
        own = {"service.name": "registry", "service.version": __version__, "service.instance.id": replica}
        # The variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count before these.
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("registry", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, operation: str, headers: Mapping[bytes, bytes], tenant: str, target: str) -> Iterator[_Request]:
        carrier = {
            name: headers[name.encode()].decode("latin-1") for name in _TRACE_HEADERS if name.encode() in headers
        }
        attributes = {"registry.tenant": tenant, "url.path": target.partition(" ")[2].partition("?")[0]}
        with self._tracer.start_as_current_span(
            operation, self._propagator.extract(carrier), SpanKind.SERVER, attributes
        ) as span:
            yield _Request(span)

    def part(self, name: str) -> AbstractContextManager[object]:
        if not trace.get_current_span().is_recording():
            return nullcontext()
        return self._tracer.start_as_current_span(name, kind=SpanKind.INTERNAL)

    def here(self) -> trace.Span | None:
        span = trace.get_current_span()
        return span if span.is_recording() else None

    def at(self, place: object | None) -> AbstractContextManager[object]:
        return trace.use_span(place) if isinstance(place, trace.Span) else nullcontext()

    async def close(self) -> None:
        """Send what is left, as far as that is possible soon."""
        await asyncio.to_thread(self._provider.force_flush, FLUSH_WITHIN_MS)
