"""Where this program's traces go: nowhere unless an endpoint is configured.

Promises: OpenTelemetry is imported only then; the collector is spoken to directly (no proxy, no redirect, no `.netrc`), over TLS
unless it is on loopback, and each wait for it ends. What a span may carry is `shared.tracing`.
"""

from __future__ import annotations

from typing import Final

from shared.errors import NotReady
from shared.origin import Origin
from shared.tracing import Tracer, Untraced

ENDPOINT: Final = "PRIVYSEAL_OTLP_ENDPOINT"
"""The variable that says where to."""

SECONDS: Final = 2.0
"""How long one wait for the collector may take; it is the exporter's thread that waits."""


def tracer(endpoint: str) -> Tracer:
    """The tracer for a collector's origin, `/v1/traces` of it (OTLP over HTTP). Raises Malformed, NotReady without OpenTelemetry."""
    if not endpoint:
        return Untraced()
    origin = Origin.parse(endpoint, "variable PRIVYSEAL_OTLP_ENDPOINT")
    try:
        from shared.otlp import Otlp
    except ImportError:
        raise NotReady(
            "otel_missing",
            "traces are wanted, and what sends them isn't installed",
            "pip install 'privy-seal[otel]', or leave out PRIVYSEAL_OTLP_ENDPOINT",
        ) from None
    import ssl
    from http.client import HTTPConnection, HTTPSConnection
    from importlib.metadata import version

    context = None
    if origin.scheme == "https":
        # Not `create_default_context`: it writes the session's keys to wherever SSLKEYLOGFILE says.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_default_certs()

    def connect() -> HTTPConnection:
        if context is None:
            return HTTPConnection(origin.host, origin.port, timeout=SECONDS)
        return HTTPSConnection(origin.host, origin.port, timeout=SECONDS, context=context)

    return Otlp("privyseal", version("privy-seal"), connect)
