"""Whether the manager lives, serves, and how it does. Open to anybody who reaches the port: names and counts only."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, answer, services
from shared.errors import PrivySealError


async def healthz(_: Request) -> Response:
    """The process lives."""
    return answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    """It can write what it must write before it may answer."""
    try:
        await services(request).store.check()
    except PrivySealError as why:
        return answer({"status": "not ready", "code": why.code, "detail": why.detail}, 503)
    return answer({"status": "ready"})


async def metrics(request: Request) -> Response:
    """Prometheus text."""
    parts = services(request)
    return Response(parts.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


ENDPOINTS = (
    Endpoint("GET", "/healthz", healthz, "Whether the process lives", public=True),
    Endpoint("GET", "/readyz", readyz, "Whether it can serve", public=True),
    Endpoint("GET", "/metrics", metrics, "Prometheus metrics", gives="text/plain", public=True),
)
