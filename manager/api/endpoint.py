"""What the endpoints share: their description, the caller, bounded bodies, pages, and errors as problem+json (RFC 9457)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.authentication import Caller
from manager.policy import must_stand
from manager.services import Services
from shared.errors import Expired, Malformed, PrivySealError
from shared.task import PRIORITIES, Priority
from shared.trust.book import Book

LARGEST_JSON = 4 * 1024 * 1024
LARGEST_PROTOBUF = 16 * 1024 * 1024
BODY_SECONDS = 60
JSON = "application/json"
PROTOBUF = "application/x-protobuf"

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: route and documentation come from the same line. `query` names its parameters with their meaning."""

    method: str
    path: str
    handler: Handler
    summary: str
    takes: type | str | None = None
    gives: type | str | None = None
    status: int = 200
    query: tuple[tuple[str, str], ...] = ()
    public: bool = False


def services(request: Request) -> Services:
    """The manager's parts."""
    found: Services = request.app.state.services
    return found


async def authenticated(request: Request, *, standing: bool = True) -> tuple[Services, Book, Caller]:
    """The parts, the account's book and the caller. Nothing of the body has been read yet.

    Raises Unauthenticated, and Denied where all grants of the caller have ended. Without `standing` the latter is left to
    what he asks for, which is then refused and audited.
    """
    parts = services(request)
    book = await parts.books.book(request.path_params["account"])
    caller = parts.authentication.caller(request.headers.get("authorization"), book)
    if standing:
        must_stand(book.authority, caller.kid, parts.clock.now())
    return parts, book, caller


async def body(request: Request, limit: int, media_type: str) -> bytes:
    """The whole body. Raises Malformed when it is another type or longer than `limit` bytes, before reading more."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise Malformed(
            "media_type_wrong",
            "the request's content type is not what this operation takes",
            f"send {media_type}",
        )
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise _too_large(limit)
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                data += piece
                if len(data) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise Expired("request_slow", f"the request's body took longer than {BODY_SECONDS} seconds") from None
    return bytes(data)


def _too_large(limit: int) -> Malformed:
    return Malformed("request_too_large", f"the request is larger than {limit} bytes", "send less at once")


async def read(request: Request, cls: type[T]) -> T:
    """The JSON body as `cls`. Raises Malformed."""
    data = await body(request, LARGEST_JSON, JSON)
    try:
        return msgspec.json.decode(data, type=cls)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Malformed(
            "request_malformed", "the request's body is not what this operation takes", "see /openapi.json"
        ) from None


def page_limit(request: Request) -> int:
    """`?limit=`, 1 to 500, 100 by default. Raises Malformed."""
    return _number(request, "limit", 100, 1, 500)


def after_number(request: Request) -> int:
    """`?after=`, a number, 0 by default. Raises Malformed."""
    return _number(request, "after", 0, 0, 2**53)


def wait_seconds(request: Request, default: int) -> int:
    """`?wait=`, 0 to 300 seconds. Raises Malformed."""
    return _number(request, "wait", default, 0, 300)


def priority(request: Request) -> Priority:
    """`?priority=`, normal by default. Raises Malformed."""
    text = request.query_params.get("priority", "normal")
    for known in PRIORITIES:
        if text == known:
            return known
    raise Malformed("parameter_malformed", f"the parameter priority is one of {', '.join(PRIORITIES)}")


def first_index(request: Request) -> int:
    """`?first=`, the index of a chunk. Raises Malformed."""
    return _number(request, "first", 0, 0, 2**32 - 1)


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 16 or not least <= int(text) <= most:
        raise Malformed("parameter_malformed", f"the parameter {name} is a number from {least} to {most}")
    return int(text)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(value), status, headers, JSON)


def _retry_after(why: PrivySealError) -> int:
    seconds = why.facts.get("retry_after")
    return seconds if isinstance(seconds, int) else 1


def problem(why: PrivySealError) -> Response:
    """An error as problem+json."""
    headers = {"Retry-After": str(_retry_after(why))} if why.retryable else {}
    if why.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(why.problem()), why.http_status, headers, "application/problem+json")
