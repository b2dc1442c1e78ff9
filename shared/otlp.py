"""Spans for a collector: OpenTelemetry's SDK, held to a bounded queue and to what `shared.tracing` lets a span carry.

Promises: whoever begins or ends a span never waits, whatever the collector does; what doesn't fit into the queue, or isn't
taken at the first try, is dropped and counted. Batches leave from the SDK's own thread as OTLP over HTTP (protobuf), by connections
that the program makes; no redirect is followed. No variable of OpenTelemetry's turns this on or says where to, so that nobody sends traces
unawares. Only imported where an endpoint is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import Tracer as ApiTracer

from shared.tracing import NAMES, UNRECORDED, Attribute, Parent, Span, code_of_error, parse_traceparent, told

MOST_WAITING: Final = 2_048
"""Spans that wait for the collector."""

BATCH: Final = 512
DELAY_MS: Final = 1_000
EXPORT_MS: Final = 1_000

PATH: Final = "/v1/traces"
MEDIA_TYPE: Final = "application/x-protobuf"

LARGEST_REPLY_BYTES: Final = 64 * 1024


class Reply(Protocol):
    """As `http.client.HTTPResponse`."""

    status: int

    def read(self, amt: int = ..., /) -> bytes: ...


class Connection(Protocol):
    """As `http.client.HTTPConnection`."""

    def request(self, method: str, url: str, body: bytes, headers: dict[str, str], /) -> None: ...

    def getresponse(self) -> Reply: ...

    def close(self) -> None: ...


Connect = Callable[[], Connection]
"""A connection to the collector; each of its waits ends within seconds."""

_KINDS = {"client.task": SpanKind.CLIENT, "manager.task": SpanKind.SERVER, "delegate.task": SpanKind.CONSUMER}
_FINE = frozenset({"", "need", "ok", "partial"})


class _Exporter(SpanExporter):
    """Encodes and posts; counts what was taken and what was not, from the SDK's thread alone."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.exported = 0
        self.lost = 0
        self.closing = False
        """Nobody waits at the end for a collector that has just failed: the rest is lost."""
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not (self.closing and self._failed) and self._post(encode_spans(spans).SerializeToString()):
            self._failed = False
            self.exported += len(spans)
            return SpanExportResult.SUCCESS
        self._failed = True
        self.lost += len(spans)
        return SpanExportResult.FAILURE

    def _post(self, data: bytes) -> bool:
        """Whether the collector took it."""
        try:
            connection = self._connect()
            try:
                connection.request("POST", PATH, data, {"Content-Type": MEDIA_TYPE, "User-Agent": "privyseal"})
                reply = connection.getresponse()
                reply.read(LARGEST_REPLY_BYTES)
                return 200 <= reply.status < 300
            finally:
                connection.close()
        except Exception:  # noqa: BLE001 (whatever a collector does costs no more than its spans, which are counted)
            return False


class _Bounded(SpanProcessor):
    """Lets so many spans wait, and counts those that there was no room for: the SDK would drop its oldest in silence."""

    def __init__(self, exporter: _Exporter, most: int) -> None:
        self._exporter = exporter
        self._most = most
        self._taken = 0
        self.refused = 0
        # With room for the batch that is under way, so that its own bound is never reached.
        self._batches = BatchSpanProcessor(
            exporter,
            max_queue_size=most + BATCH,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=min(BATCH, most),
            export_timeout_millis=EXPORT_MS,
        )

    def on_end(self, span: ReadableSpan) -> None:
        if self._taken - self._exporter.exported - self._exporter.lost >= self._most:
            self.refused += 1
            return
        self._taken += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        self._exporter.closing = True
        self._batches.shutdown()  # type: ignore[no-untyped-call]


class Otlp:
    """One program's tracer. `service` is the program's name."""

    def __init__(self, service: str, version: str, connect: Connect, most: int = MOST_WAITING) -> None:
        self._exporter = _Exporter(connect)
        self._bounded = _Bounded(self._exporter, most)
        provider = TracerProvider(
            # What belongs to nothing is recorded; what belongs to a trace, if that is.
            sampler=ParentBased(ALWAYS_ON),
            # Made here: else the SDK would look at variables, the machine and the process for more.
            resource=Resource({"service.name": service, "service.version": version}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attributes=32, max_events=0, max_links=0),
        )
        provider.add_span_processor(self._bounded)
        self._tracer = provider.get_tracer("privyseal", version)

    @property
    def dropped(self) -> int:
        """As `Tracer.dropped`."""
        return self._bounded.refused + self._exporter.lost

    @property
    def exported(self) -> int:
        """As `Tracer.exported`."""
        return self._exporter.exported

    def begin(self, name: str, traceparent: str = "", **attributes: Attribute) -> Span:
        """As `Tracer.begin`."""
        parent = parse_traceparent(traceparent)
        return _begun(self._tracer, name, Context() if parent is None else _context(parent), attributes)

    def close(self) -> None:
        """As `Tracer.close`."""
        self._bounded.shutdown()


class _Recorded:
    """A span that is told."""

    def __init__(self, tracer: ApiTracer, span: ApiSpan) -> None:
        self._tracer = tracer
        self._span = span
        self._ended = False

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 1:02x}"

    def child(self, name: str, **attributes: Attribute) -> Span:
        return _begun(self._tracer, name, set_span_in_context(self._span, Context()), attributes)

    def tell(self, **attributes: Attribute) -> None:
        self._span.set_attributes(told(attributes))

    def end(self, code: str = "") -> None:
        if self._ended:
            return
        self._ended = True
        if code:
            self.tell(code=code)
        if code not in _FINE:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(code_of_error(error))


def _begun(tracer: ApiTracer, name: str, context: Context, attributes: dict[str, Attribute]) -> Span:
    if name not in NAMES:
        return UNRECORDED
    kind = _KINDS.get(name, SpanKind.INTERNAL)
    # Never the context of this process: a program that we are a part of has traces of its own.
    return _Recorded(tracer, tracer.start_span(name, context, kind, told(attributes)))


def _context(parent: Parent) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    remote = SpanContext(int(parent.trace, 16), int(parent.span, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())
