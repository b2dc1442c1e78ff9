"""Orders in time: which run is due, what a run is called, and the task that one run is.

A run is a task that nobody signed by itself: the order was signed, and each party makes the same task of it. `task_of` is the
only place where a verified document is made of another one, and takes nothing from anybody but the order. Pure; time is an
argument. Whether a run may be acted on is `shared.trust.warrant`.
"""

from __future__ import annotations

from shared.canonical import b64u, lp, sha256
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument
from shared.documents.task import TaskDocument
from shared.errors import Conflict, Denied, Expired
from shared.labels import RUN
from shared.trust.authority import SKEW_SECONDS


def run_id(order: str, n: int) -> str:
    """What run `n` (from 0) of the order revision with that digest is called: a digest, as a task's."""
    return b64u(sha256(lp(RUN, order.encode("ascii"), n.to_bytes(8, "big"))))


def start_of(order: OrderDocument, n: int) -> int:
    """From when run `n` is due."""
    return order.iat + n * order.interval


def end_of(order: OrderDocument, n: int) -> int:
    """Until when run `n` may begin: until the next one is due, or the order ends."""
    return min(start_of(order, n + 1), order.exp) if order.interval else order.exp


def due(order: OrderDocument, now: int) -> int | None:
    """The run whose time it is by this clock; None before the first, after the last, and of a deleted order."""
    if order.deleted or not order.iat <= now < order.exp:
        return None
    n = (now - order.iat) // order.interval if order.interval else 0
    return n if n < order.runs else None


def next_start(order: OrderDocument, now: int) -> int | None:
    """When the next run after `now` becomes due, if there is one."""
    if order.deleted or now >= order.exp:
        return None
    if now < order.iat:
        return order.iat
    if not order.interval:
        return None
    n = (now - order.iat) // order.interval + 1
    return start_of(order, n) if n < order.runs and start_of(order, n) < order.exp else None


def planned(order: OrderDocument) -> int:
    """How many runs there will be, if each is begun."""
    if not order.interval:
        return 1
    return min(order.runs, -(-(order.exp - order.iat) // order.interval))


def check_run(order: OrderDocument, n: int, now: int) -> None:
    """Raises unless run `n` may begin at `now`, by a clock that may be some way from the signer's and the manager's.

    Raises Conflict for a deleted order, Denied for a run that isn't there, from the future, or before its time, Expired after it.
    """
    if order.deleted:
        raise Conflict("order_deleted", "the order was cancelled", "make a new one: privyseal order create")
    if n >= order.runs or start_of(order, n) >= order.exp:
        raise Denied("run_beyond_budget", "the order has fewer runs", "sign it anew: privyseal order renew")
    if start_of(order, n) > now + SKEW_SECONDS:
        raise Denied(
            "run_early",
            f"the run isn't due for {start_of(order, n) - now} seconds by this clock",
            "compare the clocks of both machines",
        )
    if order.exp <= now:
        raise Expired("order_expired", "the order's time is over", "sign it anew: privyseal order renew")
    if end_of(order, n) + SKEW_SECONDS <= now:
        raise Expired(
            "run_late", "the run's time is over by this clock", "compare clocks; the next run has its own time"
        )


def task_of(order: Verified[OrderDocument], n: int) -> Verified[TaskDocument]:
    """Run `n` as a task, vouched for by the order's signer: it may happen twice, and its digest is the run's id."""
    told = order.document
    task = TaskDocument(
        v=1,
        acct=told.acct,
        keyring=told.keyring,
        gen=told.gen,
        op=told.op,
        repeat="any",
        targets=told.targets,
        credentials=told.credentials,
        pins=told.pins,
        selectors=told.selectors,
        where=told.where,
        status=told.status,
        reader=told.reader,
        input=told.input,
        seconds=told.seconds,
        usage=told.usage,
        jti=told.jti,
        iat=start_of(told, n),
        exp=end_of(told, n),
    )
    return Verified("task", order.kid, task, order.compact, run_id(order.digest, n))
