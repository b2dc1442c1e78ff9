"""Orders: publishing and cancelling one, looking at one's own, and what came of their runs."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import PROTOBUF, Endpoint, answer, authenticated
from manager.api.tasks import outcome_response, submission_of
from manager.authentication import Caller
from manager.policy import must_administer, not_found
from manager.rows import OrderRow, RunRow
from manager.runs import finished_of, output_of
from manager.services import Services
from shared.canonical import is_digest
from shared.errors import Denied, Malformed
from shared.names import is_opaque
from shared.trust.book import Book
from shared.wire import submission_pb2 as pb


class Published(msgspec.Struct):
    """An order that is kept: its id, and the digest of this revision."""

    id: str
    digest: str


class RunSummary(msgspec.Struct):
    """One run, by its id; `skipped` counts those right before it that nobody began."""

    run: str
    rev: int
    n: int
    state: str
    code: str
    delegate: str
    name: str
    started_at: int
    finished_at: int | None
    skipped: int


class OrderSummary(msgspec.Struct):
    """An order's newest revision; `overdue` counts runs whose time has come and gone since the last one that is kept."""

    order: str
    published_at: int
    overdue: int
    last: RunSummary | None


class Orders(msgspec.Struct):
    """Orders, the first published first."""

    orders: list[OrderSummary]


class Runs(msgspec.Struct):
    """Runs of an order, the newest first; only the last hundred are kept."""

    runs: list[RunSummary]


async def publish(request: Request) -> Response:
    """Keeps a signed order with its sealed input, replaces one by its next revision, or cancels it."""
    # Whoever held something once may still end what he ordered; all else his order's own warrant refuses.
    parts, _, caller = await authenticated(request, standing=False)
    submission = await submission_of(request)
    if submission.documents:
        raise Malformed("request_malformed", "an order brings no documents along", "publish them first")
    order = await parts.orders.publish(caller, submission.document, tuple(submission.inputs))
    return answer(Published(order.document.id, order.digest))


async def listing(request: Request) -> Response:
    """The caller's own orders, or with `all=1` everybody's for who administers the account."""
    parts, book, caller = await authenticated(request)
    owner = caller.kid
    if request.query_params.get("all"):
        must_administer(book.authority, caller.kid, parts.clock.now())
        owner = ""
    rows = await parts.orders.ledger.of_account(book.id, owner)
    last = await parts.orders.ledger.last_runs(book.id)
    shown = []
    for row in rows:
        run = last.get((book.id, row.order))
        overdue = parts.orders.overdue(book.id, row.order)
        shown.append(OrderSummary(row.compact, row.published_at, overdue, _summary(run) if run is not None else None))
    return answer(Orders(shown))


async def runs(request: Request) -> Response:
    """The runs of one order."""
    parts, book, caller = await authenticated(request)
    order = await _order(request, parts, book, caller)
    return answer(Runs([_summary(one) for one in await parts.orders.ledger.runs(book.id, order.order)]))


async def outcome(request: Request) -> Response:
    """What came of a run, sealed to the order's reader."""
    return outcome_response(finished_of(await _run(request)))


async def output(request: Request) -> Response:
    """What a run's command has written, as far as it is kept."""
    kept = output_of(await _run(request))
    chunks = [pb.OutputChunk(index=index, data=data, opening=opening) for index, data, opening in kept]
    return Response(pb.OutputPage(chunks=chunks, over=True).SerializeToString(), media_type=PROTOBUF)


async def _run(request: Request) -> RunRow:
    parts, book, caller = await authenticated(request)
    order = await _order(request, parts, book, caller)
    id = request.path_params["run"]
    run = await parts.orders.ledger.run(book.id, order.order, id) if is_digest(id) else None
    if run is None:
        raise not_found("run")
    return run


async def _order(request: Request, parts: Services, book: Book, caller: Caller) -> OrderRow:
    """One of the caller's own, or anybody's for who administers the account."""
    id = request.path_params["order"]
    row = await parts.orders.ledger.order(book.id, id) if is_opaque(id) else None
    if row is None:
        raise not_found("order")
    if row.owner != caller.kid:
        try:
            must_administer(book.authority, caller.kid, parts.clock.now())
        except Denied:
            raise not_found("order") from None
    return row


def _summary(row: RunRow) -> RunSummary:
    return RunSummary(
        row.run,
        row.rev,
        row.n,
        row.state,
        row.code,
        row.delegate,
        row.name,
        row.started_at,
        row.finished_at,
        row.skipped,
    )


_ORDERS = "/v1/accounts/{account}/orders"

ENDPOINTS = (
    Endpoint("POST", _ORDERS, publish, "Keep, replace or cancel a signed order", PROTOBUF, Published),
    Endpoint("GET", _ORDERS, listing, "Orders", gives=Orders, query=(("all", "1: everybody's"),)),
    Endpoint("GET", _ORDERS + "/{order}/runs", runs, "Runs of an order", gives=Runs),
    Endpoint("GET", _ORDERS + "/{order}/runs/{run}/outcome", outcome, "What came of a run", gives=PROTOBUF),
    Endpoint("GET", _ORDERS + "/{order}/runs/{run}/output", output, "What a run's command wrote", gives=PROTOBUF),
)
