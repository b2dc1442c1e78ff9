"""Why a task went where it did: its trail, for its signer and for administrators, also while it is under way.

Must not tell anybody else that there is such a task: for him it is unknown, as any other is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, answer, authenticated
from manager.assignment import Assignment
from manager.policy import must_administer, not_found
from manager.queue import Entry
from manager.routing import explain
from manager.rows import TaskRow
from manager.services import Services
from manager.trail import wanted_of
from shared.canonical import is_digest
from shared.errors import Denied


class TaskExplanation(msgspec.Struct):
    """What the task needs of a delegate (`wanted`), and in `steps` what happened to it, the earliest first.

    While it waits, `delegates` tells of each one each rule as it is now; those past the bound are counted by code in `others`.
    """

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
    wanted: dict[str, Any]
    steps: list[dict[str, Any]]
    delegates: list[dict[str, Any]] = []
    others: dict[str, int] = {}


async def show(request: Request) -> Response:
    """One task's, of the caller's own or, for who administers the account, of anybody's."""
    parts, book, caller = await authenticated(request)
    id = request.path_params["task"]
    if not is_digest(id):
        raise not_found("task")
    assignment = parts.dispatcher.running(book.id).get(id)
    row = None
    if assignment is None:
        await parts.tasks.settled(book.id)
        row = await parts.store.task(book.id, id)
    waiting = parts.tasks.deferred.queue.find(book.id, id) if assignment is None and row is None else None
    found = None
    if assignment is not None:
        found = _running(parts, assignment)
    elif row is not None:
        found = _over(row)
    elif waiting is not None:
        found = _waiting(parts, waiting)
    if found is not None and found.principal != caller.kid:
        try:
            must_administer(book.authority, caller.kid, parts.clock.now())
        except Denied:
            found = None
    if found is None:
        raise not_found("task")
    return answer(found)


def _running(parts: Services, one: Assignment) -> TaskExplanation:
    found = TaskExplanation(
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
        wanted_of(one.wanted),
        one.trail.told(),
    )
    if one.seat is not None:
        candidates = parts.fleet.candidates(one.account, parts.clock.now(), one.id)
        found.delegates, found.others = explain(candidates, replace(one.wanted, tried=frozenset(one.tried)))
    return found


def _waiting(parts: Services, one: Entry) -> TaskExplanation:
    """Of what is kept: nothing has happened to it yet, and after a restart it isn't known at once what it needs."""
    told = TaskExplanation(
        one.task,
        one.op,
        one.state,
        one.code,
        one.principal,
        "",
        "",
        one.attempts,
        one.submitted_at,
        one.ended_at,
        wanted_of(one.wanted) if one.wanted is not None else {},
        [],
    )
    if one.wanted is not None:
        candidates = parts.fleet.candidates(one.account, parts.clock.now(), one.task)
        told.delegates, told.others = explain(candidates, one.wanted)
    return told


def _over(row: TaskRow) -> TaskExplanation:
    kept: dict[str, Any] = msgspec.json.decode(row.summary) if row.summary else {}
    return TaskExplanation(
        row.task,
        row.op,
        row.state,
        row.code,
        row.principal,
        row.delegate,
        str(kept.get("name", "")),
        row.attempts,
        row.submitted_at,
        row.finished_at,
        kept.get("wanted", {}),
        kept.get("steps", []),
    )


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/accounts/{account}/tasks/{task}/explanation",
        show,
        "Why a task went where it did",
        gives=TaskExplanation,
    ),
)
