"""The fleet as clients see it: who is connected, who could take a task, and why not."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from manager.api.endpoint import Endpoint, answer, authenticated, read
from manager.routing import DOUBTS, PASSING, Wanted, explain, reasons
from shared.condition import LONGEST, canonical, parsed
from shared.documents.fields import Digest, Identifier, Number, ScopeText
from shared.documents.jws import Verified
from shared.messages import Use
from shared.selectors import MAXIMUM, normalise_all
from shared.session import Phase

MOST_EXPLAINED = 1_000
"""Delegates that a dry run tells of in full."""

MOST_CONNECTORS = 4_000
"""As many documents as a task may pin."""


class UseRow(msgspec.Struct):
    """What a delegate uses, in percent of what its container may have; `over` its limit it takes no new tasks. 0: no limit."""

    percent: int
    limit_percent: int
    over: bool


class DelegateRow(msgspec.Struct):
    """One delegate; `state` is connected, draining or disconnected, `delegate` the thumbprint of its identity.

    `tags` are those that it owns by its certificate and by its `group`, empty for none. `cpu` and `memory` are null where it
    measures neither or is gone. `clock` is by how many seconds its clock is ahead of the manager's (behind: negative), null where it
    doesn't say or is gone.
    """

    delegate: str
    name: str
    tags: list[str]
    keyring: str
    generations: list[int]
    kinds: list[str]
    version: str
    state: str
    connected_at: int
    last_seen: int
    capacity: int
    executing: int
    certificate: str
    cpu: UseRow | None
    memory: UseRow | None
    group: str = ""
    clock: int | None = None


class DelegateList(msgspec.Struct):
    """Those connected, then those that were within the last hour."""

    delegates: list[DelegateRow]


class Need(msgspec.Struct, forbid_unknown_fields=True):
    """What a task would need of its delegate."""

    keyring: Identifier
    gen: Number
    kinds: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=64)]
    scope: ScopeText = "account"
    """Delegates say which they take, by their own policy."""
    selectors: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=MAXIMUM)] = []
    where: Annotated[list[Annotated[str, Meta(max_length=LONGEST)]], Meta(max_length=MAXIMUM)] = []
    """Conditions, all of which must hold."""
    connectors: Annotated[list[Digest], Meta(max_length=MOST_CONNECTORS)] = []
    """The digests of the documents of those in use: failed tests of them count."""
    explain: bool = False
    """Whether each rule about each delegate is wanted, and not just who could take it."""


class Able(msgspec.Struct):
    """A delegate that could take it, with the certificate that vouches for it; `free` where it could at once."""

    delegate: str
    name: str
    certificate: str
    free: bool


class Winner(msgspec.Struct):
    """Who would get it now, and why that one."""

    delegate: str
    name: str
    why: str


class Plan(msgspec.Struct):
    """Who could take it, the least loaded first, and for each other one why not.

    `winner` would get it now; null where nobody is free, and a task would wait where there are candidates. `refused` and
    `delegates` (where explanations were asked for: all, the winner first) have each rule; those past the bound are counted by code.
    """

    candidates: list[Able]
    refused: list[dict[str, Any]]
    winner: Winner | None = None
    delegates: list[dict[str, Any]] = []
    others: dict[str, int] = {}


async def listing(request: Request) -> Response:
    """All that are known."""
    parts, book, _ = await authenticated(request)
    rows = []
    for one in parts.fleet.known(book.id, parts.clock.now()):
        state = "disconnected" if not one.online else "draining" if one.session.phase is Phase.DRAINING else "connected"
        rows.append(
            DelegateRow(
                one.kid,
                one.name,
                sorted(one.tags),
                one.certificate.document.keyring,
                sorted(one.generations),
                sorted(one.kinds),
                one.version,
                state,
                one.connected_at,
                one.last_seen,
                one.capacity,
                one.executing,
                one.certificate.compact,
                _use(one.session.heartbeat.cpu if one.online else None),
                _use(one.session.heartbeat.memory if one.online else None),
                one.group,
                one.clock if one.online else None,
            )  # fmt: skip
        )
    return answer(DelegateList(rows))


def _use(use: Use | None) -> UseRow | None:
    return None if use is None else UseRow(use.percent, use.limit_percent, use.over)


async def plan(request: Request) -> Response:
    """Which delegates could take such a task now; one that is busy or over a limit can, later."""
    parts, book, _ = await authenticated(request)
    need = await read(request, Need)
    wanted = Wanted(
        need.keyring,
        need.gen,
        frozenset(need.kinds),
        frozenset(normalise_all(need.selectors)),
        conditions=tuple(parsed(canonical(text)) for text in sorted(set(need.where))),
        scopes=frozenset({need.scope}),
        connectors=frozenset(need.connectors),
    )
    candidates = parts.fleet.candidates(book.id, parts.clock.now())
    codes = {one.delegate: {reason.code for reason in reasons(one, wanted)} for one in candidates}
    able = [one for one in candidates if codes[one.delegate] <= PASSING]
    # Who failed a test is for when there is nobody else: he tests again before he has a task. So is whose clock is wrong.
    sound = [one for one in able if not codes[one.delegate] & DOUBTS]
    able = sound or able
    able.sort(key=lambda one: (not one.free, one.load, one.order))
    certificates: dict[str, Verified[Any]] = {one.kid: one.certificate for one in parts.fleet.online(book.id)}
    told = Plan(
        [Able(one.delegate, one.name, certificates[one.delegate].compact, one.free and bool(sound)) for one in able], []
    )
    # Not a task's id: nothing is given to anybody, and no turn is taken.
    chosen = parts.fleet.choose(book.id, wanted, "")
    if chosen is not None:
        told.winner = Winner(chosen.kid, chosen.name, parts.fleet.why(chosen))
    if need.explain:
        told.delegates, told.others = explain(candidates, wanted, chosen.kid if chosen else "", MOST_EXPLAINED)
    elif not able:
        told.refused, told.others = explain(candidates, wanted)
    return answer(told)


ENDPOINTS = (
    Endpoint("GET", "/v1/accounts/{account}/delegates", listing, "Delegates", gives=DelegateList),
    Endpoint("POST", "/v1/accounts/{account}/plan", plan, "Who could take a task", Need, Plan),
)
