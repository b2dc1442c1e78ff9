"""What the store keeps of orders: the newest revision of each with its sealed input, and the last runs with what came of them.

Promises: a run is written down before it is sent; of each order the last `MOST_RUNS` runs are kept, and of all together no more
bytes than there is room for: the oldest outcomes of whoever has most go first, their rows stay. Must not look into an input or outcome.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
from sqlalchemy import and_, delete, func, insert, or_, select, update

from manager.books import row_of
from manager.metrics import ManagerMetrics
from manager.rows import OrderRow, RunRow, TaskRow
from manager.runs import REFUSED
from manager.store import Store, Transaction
from manager.tables import documents, orders, runs
from shared.documents.jws import Verified
from shared.documents.order import OrderDocument
from shared.errors import Overloaded

MOST_RUNS = 100
"""Of one order, that are kept."""

ORDER_BYTES = 16 * 1024 * 1024
ACCOUNT_BYTES = 256 * 1024 * 1024
"""What outcomes of one order, and of all orders of an account, take together."""

MOST_ORDERS = 1_000
"""Of one account, that haven't ended; one principal has half of them at most."""

INPUT_BYTES = 256 * 1024 * 1024
"""What runs of an account's orders take in together, sealed, as long as these haven't ended; one principal has half of it."""

MOST_AT_ONCE = 500

Entry = Mapping[str, str | int]

_LISTED = [runs.c[name] for name in RunRow.__struct_fields__ if name not in {"outcome", "output"}]


class Ledger:
    """All accounts'."""

    def __init__(self, store: Store, metrics: ManagerMetrics | None = None) -> None:
        """`metrics` count what is written of runs."""
        self._store = store
        self._metrics = metrics

    async def publish(
        self, account: str, order: Verified[OrderDocument], sealed: bytes | None, now: int, audit: Sequence[Entry]
    ) -> None:
        """Keeps a revision and its audit entries, or nothing. Raises Conflict, and Overloaded for one too many."""
        document = order.document
        row = OrderRow(
            document.id,
            document.owner,
            document.rev,
            now,
            document.exp,
            document.deleted,
            order.compact,
            None if document.deleted else sealed,
        )

        def run(transaction: Transaction) -> None:
            transaction.publish(account, [row_of(order)])
            place = (orders.c.account == account, orders.c.order == row.order)
            values, connection = msgspec.structs.asdict(row), transaction.connection
            before = connection.execute(select(orders.c.exp, orders.c.deleted).where(*place)).first()
            if not row.deleted and (before is None or before.deleted or before.exp <= now):
                _check_room(transaction, account, row.owner, now)
            if row.input:
                _check_bytes(transaction, account, row, now)
            if before is None:
                connection.execute(insert(orders).values(account=account, **values))
            else:
                connection.execute(update(orders).where(*place).values(values))
            _forget_revisions(transaction, account, row.order, row.rev)
            _forget_past(transaction, account, row.owner, now)

        await self._store.write(run, account=account, audit=audit, size=len(order.compact) + len(sealed or b""))

    async def standing(self) -> list[tuple[str, OrderRow]]:
        """All that were not cancelled, of every account, with the account; without their inputs."""
        columns = [orders.c[name] for name in OrderRow.__struct_fields__ if name != "input"]
        rows = await self._store.rows(select(orders.c.account, *columns).where(orders.c.deleted.is_(False)))
        return [(account, OrderRow(*row)) for account, *row in rows]

    async def of_account(self, account: str, owner: str = "") -> list[OrderRow]:
        """An account's orders, or one owner's, cancelled and ended ones too; without their inputs."""
        columns = [orders.c[name] for name in OrderRow.__struct_fields__ if name != "input"]
        query = select(*columns).where(orders.c.account == account).order_by(orders.c.published_at, orders.c.order)
        if owner:
            query = query.where(orders.c.owner == owner)
        return [OrderRow(*row) for row in await self._store.rows(query)]

    async def order(self, account: str, order: str) -> OrderRow | None:
        """One order with its input."""
        columns = [orders.c[name] for name in OrderRow.__struct_fields__]
        found = await self._store.rows(select(*columns).where(orders.c.account == account, orders.c.order == order))
        return OrderRow(*found[0]) if found else None

    async def put_run(
        self,
        account: str,
        run: RunRow,
        task: TaskRow | None,
        audit: Sequence[Entry],
        instead: tuple[int, int] | None = None,
    ) -> None:
        """Writes a run as it stands, its row among the tasks and its audit entries; `instead` of another, (revision, n)."""

        def write(transaction: Transaction) -> None:
            for rev, n in {(run.rev, run.n), instead or (run.rev, run.n)}:
                place = (runs.c.account == account, runs.c.order == run.order, runs.c.rev == rev, runs.c.n == n)
                transaction.connection.execute(delete(runs).where(*place))
            transaction.connection.execute(insert(runs).values(account=account, **msgspec.structs.asdict(run)))
            if task is not None:
                transaction.put_task(account, task)
            _make_room(transaction, account, run.order)

        await self._store.write(write, account=account, audit=audit, size=run.size)
        if self._metrics is not None:
            self._count(self._metrics, run, instead)

    @staticmethod
    def _count(metrics: ManagerMetrics, run: RunRow, instead: tuple[int, int] | None) -> None:
        if run.finished_at is None:
            metrics.runs_begun.inc()
        elif run.state == REFUSED:
            metrics.runs_refused.labels(metrics.bounded(run.code)).inc()
        else:
            metrics.runs_ended.labels(run.state).inc()
            return
        # Of the refusals that one row has together, only those since the last one.
        metrics.runs_skipped.inc(run.skipped if instead is None else run.n - instead[1] - 1)

    async def runs(self, account: str, order: str) -> list[RunRow]:
        """The runs of an order that are kept, the newest first, without what came of them."""
        query = select(*_LISTED).where(runs.c.account == account, runs.c.order == order)
        rows = await self._store.rows(query.order_by(runs.c.rev.desc(), runs.c.n.desc()))
        return [RunRow(*row) for row in rows]

    async def last_runs(self, account: str = "") -> dict[tuple[str, str], RunRow]:
        """The newest run of each order, by account and order."""
        newest = func.row_number().over(
            partition_by=(runs.c.account, runs.c.order), order_by=(runs.c.rev.desc(), runs.c.n.desc())
        )
        place = select(runs.c.account, *_LISTED, newest.label("place"))
        ranked = (place.where(runs.c.account == account) if account else place).subquery()
        # A hundred rows of each order would keep the loop from everything else.
        columns = [ranked.c[name] for name in ("account", *(column.name for column in _LISTED))]
        query = select(*columns).where(ranked.c.place == 1)
        return {(of, row[0]): RunRow(*row) for of, *row in await self._store.rows(query)}

    async def run(self, account: str, order: str, run: str) -> RunRow | None:
        """A run by its id, with what came of it."""
        columns = [runs.c[name] for name in RunRow.__struct_fields__]
        query = select(*columns).where(runs.c.account == account, runs.c.order == order, runs.c.run == run)
        found = await self._store.rows(query)
        return RunRow(*found[0]) if found else None

    async def lose(self, now: int) -> int:
        """After a restart: what was under way has an unknown outcome; how many runs that is."""
        lost = {"state": "unknown", "code": "manager_restarted", "finished_at": now}

        def write(transaction: Transaction) -> int:
            statement = update(runs).where(runs.c.finished_at.is_(None)).values(lost)
            return int(transaction.connection.execute(statement).rowcount)

        count = await self._store.write(write, account="")
        if self._metrics is not None and count:
            self._metrics.runs_ended.labels("unknown").inc(count)
        return count

    async def prune(self, before: int) -> int:
        """Removes some orders that ended before that second, with their runs; how many."""
        ended = select(orders.c.account, orders.c.order).where(orders.c.exp < before).limit(MOST_AT_ONCE)
        doomed = await self._store.rows(ended)

        def write(transaction: Transaction) -> None:
            for account, order in doomed:
                _drop(transaction, account, order)

        if doomed:
            await self._store.write(write, account="")
        return len(doomed)


def _check_room(transaction: Transaction, account: str, owner: str, now: int) -> None:
    live = (orders.c.account == account, orders.c.exp > now, orders.c.deleted.is_(False))
    count = select(func.count()).select_from(orders)
    together = transaction.connection.execute(count.where(*live)).scalar_one()
    own = transaction.connection.execute(count.where(*live, orders.c.owner == owner)).scalar_one()
    if together >= MOST_ORDERS or own >= MOST_ORDERS // 2:
        raise Overloaded(
            "orders_too_many",
            f"an account has at most {MOST_ORDERS} orders, and one principal half of them",
            "cancel some: privyseal order list",
            retry_after=60,
        )


def _check_bytes(transaction: Transaction, account: str, row: OrderRow, now: int) -> None:
    others = (orders.c.account == account, orders.c.exp > now, orders.c.deleted.is_(False), orders.c.order != row.order)
    held = select(func.coalesce(func.sum(func.length(orders.c.input)), 0)).where(*others)
    together = transaction.connection.execute(held).scalar_one() + len(row.input or b"")
    own = transaction.connection.execute(held.where(orders.c.owner == row.owner)).scalar_one() + len(row.input or b"")
    if together > INPUT_BYTES or own > INPUT_BYTES // 2:
        raise Overloaded(
            "orders_too_large",
            "the commands of an account's orders have 256 MiB together, and those of one principal half of it",
            "cancel some: privyseal order list",
            retry_after=60,
        )


def _forget_past(transaction: Transaction, account: str, owner: str, now: int) -> None:
    """Of an owner's orders that are over, as many are kept as may stand: who gives and cancels them all day fills no disk."""
    past = (orders.c.account == account, orders.c.owner == owner, or_(orders.c.deleted, orders.c.exp <= now))
    newest = (orders.c.published_at.desc(), orders.c.order)
    doomed = select(orders.c.order).where(*past).order_by(*newest).limit(MOST_AT_ONCE).offset(MOST_ORDERS // 2)
    for (order,) in transaction.connection.execute(doomed).all():
        _drop(transaction, account, order)


def _drop(transaction: Transaction, account: str, order: str) -> None:
    for table in (runs, orders):
        transaction.connection.execute(delete(table).where(table.c.account == account, table.c.order == order))
    _forget_revisions(transaction, account, order)


def _forget_revisions(transaction: Transaction, account: str, order: str, before: int | None = None) -> None:
    """The signed texts that nobody asks for any more: whoever renews all day fills no disk either. That there were such revisions stays."""
    place = (documents.c.account == account, documents.c.kind == "order", documents.c.id == order)
    older = () if before is None else (documents.c.rev < before,)
    transaction.connection.execute(delete(documents).where(*place, *older))


def _make_room(transaction: Transaction, account: str, order: str) -> None:
    """Lets the oldest runs of the order go, then the account's outcomes: of whom most is kept, the oldest first."""
    place = (runs.c.account == account, runs.c.order == order)
    newest = select(runs.c.rev, runs.c.n, runs.c.size).where(*place).order_by(runs.c.rev.desc(), runs.c.n.desc())
    held = 0
    for at, (rev, n, size) in enumerate(transaction.connection.execute(newest).all()):
        held += size
        this = (*place, runs.c.rev == rev, runs.c.n == n)
        if at >= MOST_RUNS:
            transaction.connection.execute(delete(runs).where(*this))
        elif at and size and held > ORDER_BYTES:
            transaction.connection.execute(update(runs).where(*this).values(_EMPTY))
    of_account = (runs.c.account == account, runs.c.size > 0)
    total = transaction.connection.execute(select(func.sum(runs.c.size)).where(*of_account)).scalar_one() or 0
    if total <= ACCOUNT_BYTES:
        return
    owned = and_(orders.c.account == runs.c.account, orders.c.order == runs.c.order)
    columns = (func.coalesce(orders.c.owner, ""), runs.c.order, runs.c.rev, runs.c.n, runs.c.size)
    oldest = select(*columns).outerjoin(orders, owned).where(*of_account).order_by(runs.c.started_at)
    theirs: dict[str, deque[tuple[str, int, int, int]]] = {}
    held_by: Counter[str] = Counter()
    for owner, *found in transaction.connection.execute(oldest).all():
        theirs.setdefault(owner, deque()).append(cast("tuple[str, int, int, int]", tuple(found)))
        held_by[owner] += found[-1]
    while total > ACCOUNT_BYTES:
        most = max(held_by, key=held_by.__getitem__)
        other, rev, n, size = theirs[most].popleft()
        this = (runs.c.account == account, runs.c.order == other, runs.c.rev == rev, runs.c.n == n)
        transaction.connection.execute(update(runs).where(*this).values(_EMPTY))
        total -= size
        held_by[most] -= size


_EMPTY = {"size": 0, "outcome": None, "output": None}
