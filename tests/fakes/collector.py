"""A collector of traces on loopback: takes OTLP over HTTP, parses the protobuf, keeps every span and every byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WITHIN_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it arrived; ids are hexadecimal, attributes plain values, times nanoseconds."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    kind: int
    failed: bool
    begun: int
    ended: int
    attributes: dict[str, Any]


@dataclass(slots=True)
class Collector:
    """What has arrived so far. `status` is what it answers with; while `held` is clear it answers nothing."""

    url: str = ""
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    spans: list[Seen] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def take(self, body: bytes) -> None:
        """One request's. Raises DecodeError for what isn't OTLP."""
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {one.key: one.value.string_value for one in group.resource.attributes}
            self.resources.append(resource)
            for scope in group.scope_spans:
                for one in scope.spans:
                    values = {each.key: _plain(each.value) for each in one.attributes}
                    self.spans.append(
                        Seen(
                            resource["service.name"],
                            one.name,
                            one.trace_id.hex(),
                            one.span_id.hex(),
                            one.parent_span_id.hex(),
                            one.kind,
                            one.status.code == 2,
                            one.start_time_unix_nano,
                            one.end_time_unix_nano,
                            values,
                        )  # fmt: skip
                    )

    def named(self, name: str) -> list[Seen]:
        """The spans of that name."""
        return [one for one in self.spans if one.name == name]

    def wait_for(self, name: str, count: int = 1) -> list[Seen]:
        """Those of that name, once there are so many."""
        until = time.monotonic() + WITHIN_SECONDS
        while len(self.named(name)) < count:
            assert time.monotonic() < until, f"{len(self.named(name))} spans {name} came, not {count}"
            time.sleep(0.01)
        return self.named(name)


def _plain(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def collector() -> Iterator[Collector]:
    """It, listening."""
    found = Collector()
    found.held.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            found.asked += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.held.wait()
            if found.status == 200:
                assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
                found.take(body)
            self.send_response(found.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the name is http.server's)
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        found.held.set()
        server.shutdown()
        server.server_close()
        serving.join()
