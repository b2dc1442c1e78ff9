"""Tasks: submitting one and waiting for it, looking at those that are over, giving one up."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import (
    LARGEST_PROTOBUF,
    PROTOBUF,
    Endpoint,
    answer,
    authenticated,
    body,
    first_index,
    page_limit,
    priority,
    services,
    wait_seconds,
)
from manager.authentication import Caller
from manager.outcomes import Finished
from manager.policy import must_administer, not_found
from manager.rows import TaskRow
from manager.services import Services
from manager.tasks import Submitted
from shared.canonical import is_digest
from shared.documents.task import MOST_TARGETS
from shared.errors import Denied, Malformed, PrivySealError
from shared.task import State
from shared.tracing import account_hash
from shared.trust.book import Book
from shared.wire import submission_pb2 as pb


class TaskSummary(msgspec.Struct):
    """A task's metadata; never a value."""

    task: str
    op: str
    state: str
    code: str
    principal: str
    delegate: str
    name: str
    attempts: int
    submitted_at: int
    finished_at: int | None
    keyring: str
    targets: list[str]


class TaskPage(msgspec.Struct):
    """Tasks, the newest first."""

    tasks: list[TaskSummary]
    next: str | None = None


async def submit(request: Request) -> Response:
    """Runs a signed task; waits `wait` seconds for its outcome, then answers 202 while it goes on.

    One that may wait in the queue is durable when 202 is answered, which is at once where no delegate can take it.
    """
    # Whoever held something once is refused by his task's own warrant, and that is audited.
    # Spans that don't end are never sent: of who isn't known there is no trace.
    span = services(request).tracer.begin("manager.task", request.headers.get("traceparent", ""))
    authenticating = span.child("manager.authenticate")
    parts, _, caller = await authenticated(request, standing=False)
    authenticating.end()
    span.tell(account=account_hash(caller.account))
    try:
        wait, served, may_wait = wait_seconds(request, 60), priority(request), request.query_params.get("queue") == "1"
        submission = await submission_of(request)
    except PrivySealError as why:
        span.end(why.code)
        raise
    submitted = Submitted(
        submission.document, tuple(submission.inputs), tuple(submission.documents), span, served, may_wait
    )
    if may_wait:
        return _standing(await parts.tasks.submit_lasting(caller, submitted, wait))
    running = await parts.tasks.submit(caller, submitted)
    return await _outcome(running, wait, submitted.task)


async def submission_of(request: Request) -> pb.Submission:
    """The body of a request that brings sealed inputs. Raises Malformed."""
    submission = pb.Submission()
    try:
        submission.ParseFromString(await body(request, LARGEST_PROTOBUF, PROTOBUF))
    except DecodeError:
        raise Malformed(
            "request_malformed", "the request's body is not a Submission", "see proto/shared/wire"
        ) from None
    if max(len(submission.inputs), len(submission.documents)) > MOST_TARGETS:
        raise Malformed("request_malformed", f"a Submission has at most {MOST_TARGETS} inputs and documents")
    return submission


async def _outcome(running: asyncio.Task[Finished], wait: float, task: str) -> Response:
    """Waits without taking the task along when the waiting ends."""
    try:
        async with asyncio.timeout(wait):
            finished = await asyncio.shield(running)
    except TimeoutError:
        return outcome_response(Finished(task, "running", ""), 202)
    return _standing(finished)


def _standing(finished: Finished) -> Response:
    """200 for an outcome, 202 for what has none yet."""
    return outcome_response(finished, 202 if finished.state in {"running", State.QUEUED.value} else 200)


def outcome_response(finished: Finished, status: int = 200) -> Response:
    """A task's or run's end as an Outcome."""
    outcome = pb.Outcome(
        task=finished.task,
        state=finished.state,
        code=finished.code,
        answer=finished.answer,
        certificate=finished.certificate,
        sealed=finished.sealed,
    )
    return Response(outcome.SerializeToString(), status, media_type=PROTOBUF)


async def listing(request: Request) -> Response:
    """The caller's own tasks, or with `all=1` everybody's for who administers the account."""
    parts, book, caller = await authenticated(request)
    principal = caller.kid
    if request.query_params.get("all"):
        must_administer(book.authority, caller.kid, parts.clock.now())
        principal = ""
    await parts.tasks.settled(book.id)
    page = await parts.store.tasks(
        book.id, principal=principal, before=request.query_params.get("after", ""), limit=page_limit(request)
    )
    running = _running(parts, book, principal)
    # What may not run twice has its row before it runs.
    under_way = {one.task for one in running}
    over = [_summary(row) for row in page.items if row.task not in under_way]
    return answer(TaskPage([*([] if request.query_params.get("after") else running), *over], page.next or None))


def _running(parts: Services, book: Book, principal: str) -> list[TaskSummary]:
    """Those that are under way, then those that are kept and wait."""
    under_way = parts.dispatcher.running(book.id)
    waiting = [one for one in parts.tasks.deferred.queue.of(book.id) if one.task not in under_way]
    return _under_way(parts, book, principal) + [
        TaskSummary(
            one.task, one.op, one.state, one.code, one.principal, "", "", one.attempts, one.submitted_at, None, one.keyring, [],
        )
        for one in waiting
        if principal in {"", one.principal}
    ]  # fmt: skip


def _under_way(parts: Services, book: Book, principal: str) -> list[TaskSummary]:
    return [
        TaskSummary(
            one.id,
            one.op,
            one.life.state.value,
            one.life.code,
            one.principal,
            one.life.delegate,
            one.name,
            one.life.attempt,
            one.submitted_at,
            None,
            one.wanted.keyring,
            [],
        )  # fmt: skip
        for one in parts.dispatcher.running(book.id).values()
        if principal in {"", one.principal}
    ]


def _summary(row: TaskRow) -> TaskSummary:
    extra: dict[str, Any] = msgspec.json.decode(row.summary) if row.summary else {}
    return TaskSummary(
        row.task, row.op, row.state, row.code, row.principal, row.delegate, str(extra.get("name", "")), row.attempts,
        row.submitted_at, row.finished_at, row.keyring, [one for one in str(extra.get("targets", "")).split(",") if one],
    )  # fmt: skip


async def show(request: Request) -> Response:
    """One task's metadata."""
    parts, book, caller = await authenticated(request)
    row = await _row(request, parts, book, caller)
    if row is None:
        raise not_found("task")
    return answer(row)


async def _row(request: Request, parts: Services, book: Book, caller: Caller) -> TaskSummary | None:
    id = request.path_params["task"]
    if not is_digest(id):
        return None
    running = next((one for one in _running(parts, book, "") if one.task == id), None)
    await parts.tasks.settled(book.id)
    stored = await parts.store.task(book.id, id) if running is None else None
    row = _summary(stored) if stored is not None else running
    if row is None or row.principal == caller.kid:
        return row
    try:
        must_administer(book.authority, caller.kid, parts.clock.now())
    except Denied:
        return None
    return row


async def outcome(request: Request) -> Response:
    """The outcome of a task of the caller's own, waited for; kept for a short while after its end."""
    parts, _, caller = await authenticated(request)
    id = request.path_params["task"]
    if not is_digest(id):
        raise not_found("task")
    deferred = parts.tasks.deferred
    waiting = deferred.find(caller, id)
    if waiting is not None:
        return _standing(await deferred.told(waiting, wait_seconds(request, 60)))
    running = parts.tasks.running(caller, id)
    if running is not None:
        return await _outcome(running, wait_seconds(request, 60), id)
    kept = parts.tasks.kept(caller, id)
    if kept is None:
        await parts.tasks.settled(caller.account)
        row = await parts.store.task(caller.account, id)
        # Of one that came to nothing there is no more to be kept than that.
        if row is None or row.principal != caller.kid or row.state in {State.DONE.value, State.QUEUED.value}:
            raise not_found("task")
        kept = Finished(row.task, row.state, row.code)
    return outcome_response(kept)


async def output(request: Request) -> Response:
    """What a command of the caller's own has written since, waited for; what comes before `first` is let go."""
    parts, _, caller = await authenticated(request)
    id = request.path_params["task"]
    first, wait = first_index(request), wait_seconds(request, 60)
    page = await parts.dispatcher.outputs.read(caller.account, id, caller.kid, first, wait)
    if page is None:
        raise not_found("task")
    chunks = [pb.OutputChunk(index=one.index, data=one.data, opening=one.opening) for one in page.chunks]
    return Response(pb.OutputPage(chunks=chunks, over=page.over).SerializeToString(), media_type=PROTOBUF)


async def cancel(request: Request) -> Response:
    """Gives a task up. What may not run twice may have happened all the same: then it ends as unknown."""
    parts, _, caller = await authenticated(request)
    if not await parts.tasks.cancel(caller, request.path_params["task"]):
        raise not_found("task")
    return Response(status_code=204)


_TASK = "/v1/accounts/{account}/tasks"

ENDPOINTS = (
    Endpoint(
        "POST",
        _TASK,
        submit,
        "Run a signed task",
        PROTOBUF,
        PROTOBUF,
        query=(
            ("wait", "seconds, 0 to 300"),
            ("priority", "high, normal or low: how it is served among those that wait"),
            ("queue", "1: it may wait for a delegate until its time to start is over"),
        ),
    ),
    Endpoint(
        "GET",
        _TASK,
        listing,
        "Tasks, the newest first",
        gives=TaskPage,
        query=(("all", "1: everybody's"), ("after", "`next` of the page before"), ("limit", "1 to 500")),
    ),  # fmt: skip
    Endpoint("GET", _TASK + "/{task}", show, "One task", gives=TaskSummary),
    Endpoint(
        "GET",
        _TASK + "/{task}/outcome",
        outcome,
        "A task's outcome",
        gives=PROTOBUF,
        query=(("wait", "seconds, 0 to 300"),),
    ),
    Endpoint(
        "GET",
        _TASK + "/{task}/output",
        output,
        "What a command writes",
        gives=PROTOBUF,
        query=(("first", "the index that is wanted next, 0 at the beginning"), ("wait", "seconds, 0 to 300")),
    ),
    Endpoint("DELETE", _TASK + "/{task}", cancel, "Give a task up", status=204),
)
