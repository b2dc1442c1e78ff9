"""Whether the manager lives, serves, and how it does. Open to anybody who reaches the port: names and counts only."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, answer, services


async def healthz(_: Request) -> Response:
    """The process lives."""
    return answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    """It can write what it must write before it may answer, and is reached; else each part that fails, the gravest first.

    `store_seconds` is how long ago the database answered last; null if it never has.
    """
    condition = services(request).condition
    faults = await condition.faults()
    seconds = condition.store_seconds
    told = {"failing": faults, "store_seconds": None if seconds is None else round(seconds, 1)}
    if faults:
        first = faults[0]
        return answer({"status": "not ready", "code": first.code, "detail": first.detail, **told}, 503)
    return answer({"status": "ready", **told})


async def metrics(request: Request) -> Response:
    """Prometheus text."""
    parts = services(request)
    return Response(parts.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


ENDPOINTS = (
    Endpoint("GET", "/healthz", healthz, "Whether the process lives", public=True),
    Endpoint("GET", "/readyz", readyz, "Whether it can serve", public=True),
    Endpoint("GET", "/metrics", metrics, "Prometheus metrics", gives="text/plain", public=True),
)
