"""The ASGI application: the table of endpoints, and one place where errors become answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from manager.api import accounts, audit, checks, documents, explanations, fleet, health, orders, resolve, tasks
from manager.api.endpoint import Endpoint, answer, problem
from manager.api.openapi import openapi
from manager.services import Services
from shared.errors import Malformed, PrivySealError

# Routes are tried in this order: what is asked for most comes first.
ENDPOINTS = (
    *tasks.ENDPOINTS,
    *accounts.ENDPOINTS,
    *documents.ENDPOINTS,
    *resolve.ENDPOINTS,
    *fleet.ENDPOINTS,
    *explanations.ENDPOINTS,
    *checks.ENDPOINTS,
    *orders.ENDPOINTS,
    *audit.ENDPOINTS,
    *health.ENDPOINTS,
)

_log = structlog.get_logger()


def application(services: Services, version: str) -> Starlette:
    """The application over these parts."""
    description = openapi(ENDPOINTS, version)

    async def describe(_: Request) -> Response:
        return answer(description)

    app = Starlette(
        routes=[
            *(Route(one.path, _guarded(one, services), methods=[one.method]) for one in ENDPOINTS),
            Route("/openapi.json", describe, methods=["GET"]),
        ],
        exception_handlers={404: _unknown, 405: _unknown},
    )
    app.state.services = services
    return app


def _guarded(endpoint: Endpoint, services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The handler with errors as problems and its time measured. An unforeseen error says nothing of itself."""

    async def serve(request: Request) -> Response:
        start = perf_counter()
        try:
            response = await endpoint.handler(request)
        except PrivySealError as why:
            response = problem(why)
        except ClientDisconnect:
            response = Response(status_code=499)
        except Exception as bug:  # noqa: BLE001 (an unforeseen error must answer too)
            _log.error("request.crashed", op=endpoint.path, error_type=type(bug).__name__, exc_info=bug)
            response = answer(
                {
                    "type": "urn:privyseal:problem:internal",
                    "title": "Internal",
                    "status": 500,
                    "code": "internal",
                    "detail": "the manager failed in a way that it shouldn't",
                    "hint": "look at its log for request.crashed",
                },
                500,
            )
        services.metrics.requests.labels(endpoint.path, str(response.status_code)).observe(perf_counter() - start)
        return response

    return serve


async def _unknown(_: Request, why: Exception) -> Response:
    status = getattr(why, "status_code", 404)
    response = problem(Malformed("operation_unknown", "there is no such operation", "see /openapi.json"))
    response.status_code = status
    return response
