"""Orders: signed once, done again and again on delegates, and what came of each run opened here.

Promises: an order is believed as every document is; what came of a run counts only where the delegate that the keyring certified
then signed it for this very run, in its time. The reader key of an order never leaves this client's folder: without it nobody
opens what came of its runs. Must not believe the manager's list of runs for more than a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from msgspec import structs

from client.account import Account
from client.choice import Choice
from client.directory import Directory
from client.drafts import new_id, next_revision
from client.meanings import NOTHING, Meaning, meaning
from client.order_keys import Kept, OrderKeys
from client.relayed import submission
from client.run_outcomes import OpenedRun, Run, open_run
from client.sources import sources_of
from client.tasks import Draft, Subject, draft_task
from client.transport import Reply
from shared.command import Command
from shared.documents.jws import Verified, parse_as
from shared.documents.order import LONGEST_ORDER_SECONDS, MOST_RUNS, SHORTEST_INTERVAL_SECONDS, OrderDocument
from shared.documents.usage import TaskUsage
from shared.errors import Conflict, Malformed, NotFound, PrivySealError, Tampered, Unavailable
from shared.names import Reference, Scope, check_name, is_opaque
from shared.orders import next_start, planned, start_of

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order that is believed, and what the manager tells of it: when it was published, runs overdue, and the last one."""

    order: Verified[OrderDocument]
    published_at: int
    overdue: int
    last: Run | None

    def state(self, now: int) -> str:
        """`standing`, `ended` or `cancelled`."""
        document = self.order.document
        if document.deleted:
            return "cancelled"
        last = start_of(document, planned(document) - 1)
        over = now >= document.exp or (
            document.interval and next_start(document, now) is None and now >= last + document.interval
        )
        return "ended" if over else "standing"


@dataclass(frozen=True, slots=True)
class Timing:
    """When runs are due: every `interval` seconds, 0 for once; for `lasting` seconds from now, `runs` times at most."""

    interval: int
    lasting: int
    runs: int | None = None

    def check(self) -> None:
        """Raises Malformed for what no order can be."""
        if not 0 < self.lasting <= LONGEST_ORDER_SECONDS:
            raise Malformed("order_too_long", "an order lasts 90 days at most", "give it less, and renew it in time")
        if self.interval and not SHORTEST_INTERVAL_SECONDS <= self.interval <= LONGEST_ORDER_SECONDS:
            raise Malformed("interval_out_of_range", "runs are 60 seconds to 90 days apart", "give another --every")
        if not self.interval and self.runs not in {None, 1}:
            raise Malformed("runs_out_of_range", "without an interval there is one run", "give --every")
        if self.runs is not None and not 1 <= self.runs <= MOST_RUNS:
            raise Malformed("runs_out_of_range", f"an order has 1 to {MOST_RUNS} runs", "give another --runs")

    @property
    def budget(self) -> int:
        """The most runs: all that have their time in the window, unless fewer were asked for."""
        if not self.interval:
            return 1
        return min(-(-self.lasting // self.interval), self.runs or MOST_RUNS, MOST_RUNS)


class Orders:
    """One account's. `here` is where bare names live."""

    def __init__(self, account: Account, directory: Directory, keys: OrderKeys, here: Scope) -> None:
        self._account = account
        self._directory = directory
        self._keys = keys
        self.here = here

    # Giving orders.

    async def command(
        self,
        name: str,
        timing: Timing,
        argv: Sequence[str],
        secrets: Mapping[str, str],
        *,
        env: Mapping[str, str] | None = None,
        directory: str = "",
        seconds: int = 600,
        selectors: Sequence[str] = (),
        usage: TaskUsage | None = None,
        variables: Mapping[str, str] = NOTHING,
    ) -> Verified[OrderDocument]:
        """Has `argv` run at each time on one delegate that allows it; arguments are `Commands.run`'s.

        Who orders a command says that it does no harm when it runs twice. Raises as that, and Conflict for a name that is taken.
        """
        if not secrets:
            raise Malformed("command_without_secret", "the command uses no secret", "name one: --secret NAME=REFERENCE")
        command = Command(argv=tuple(argv), names=tuple(secrets), env=dict(env or {}), directory=directory)
        command.check()
        places = [meaning(text, self.here, variables) for text in secrets.values()]
        kept = Kept(
            meanings=list(secrets.values()),
            variables=dict(variables),
            command=command,
            seconds=seconds,
            **_chosen(selectors),
        )
        return await self._publish(name, timing, kept, await self._subjects(places), usage)

    async def check(
        self,
        name: str,
        timing: Timing,
        connectors: Sequence[str],
        *,
        selectors: Sequence[str] = (),
        usage: TaskUsage | None = None,
    ) -> Verified[OrderDocument]:
        """Has secret managers tested at each time, by one delegate each time."""
        if not connectors:
            raise Malformed("connector_missing", "the order tests no secret manager", "name one")
        kept = Kept(connectors=list(connectors), **_chosen(selectors))
        return await self._publish(name, timing, kept, await self._tested(connectors), usage)

    async def renew(self, name: str, days: int | None = None, runs: int | None = None) -> Verified[OrderDocument]:
        """Signs an order anew from now on, about the newest revisions and versions of what it names; its reader stays.

        It lasts as long as before, or `days`. Raises NotFound where this client doesn't keep what it is about.
        """
        found = await self.find(name)
        before = found.order.document
        kept = self._keys.load(before.id)
        lasting = days * DAY if days is not None else before.exp - before.iat
        every = before.runs if runs is None and lasting == before.exp - before.iat else runs
        timing = Timing(before.interval, lasting, every)
        if kept.command is not None:
            places = [meaning(text, Scope.parse(kept.here), kept.variables) for text in kept.meanings]
            subjects = await self._subjects(places)
        else:
            subjects = await self._tested(kept.connectors, Scope.parse(kept.here))
        return await self._sign(found.order, before.name, timing, kept, subjects, before.usage)

    async def cancel(self, name: str) -> Verified[OrderDocument]:
        """Ends an order: a last revision, of which every connected delegate is told. An administrator ends anybody's."""
        found = await self.find(name, everybodys=self._account.is_administrator)
        ended = next_revision(found.order, max(self._account.clock(), found.order.document.iat), deleted=True)
        if ended.iat >= ended.exp:
            raise Conflict("order_ended", "the order has ended by itself", "there is nothing to cancel")
        return await self._send(self._account.identity.sign_document(ended), ())

    # Looking at them.

    async def all(self, *, everybodys: bool = False) -> list[Ordered]:
        """One's own orders, or everybody's for who administers the account. Raises Tampered for one that isn't as it was seen."""
        # Who was granted something since may have given one.
        await self._account.sync(force=True)
        reply = await self._account.ask("GET", "orders", query={"all": 1} if everybodys else None, repeatable=True)
        told = _read(reply, _Listing).orders
        own = self._account.identity.kid
        found = [Ordered(self._believed(one.order), one.published_at, one.overdue, one.last) for one in told]
        return [one for one in found if everybodys or one.order.document.owner == own]

    async def find(self, name: str, *, everybodys: bool = False) -> Ordered:
        """One's own order by its name or id. Raises NotFound, and Conflict where a name is several orders'."""
        known = await self.all(everybodys=everybodys)
        found = [one for one in known if one.order.document.id == name] if is_opaque(name) else []
        if not found:
            named = [one for one in known if one.order.document.name == name]
            found = [one for one in named if not one.order.document.deleted] or named[-1:]
        if not found:
            raise NotFound("order_not_found", "there is no such order of yours", "see privyseal order list")
        if len(found) > 1:
            raise Conflict("order_ambiguous", "several orders have that name", "give the id: privyseal order list")
        return found[0]

    async def runs(self, name: str) -> tuple[Ordered, list[Run]]:
        """An order's runs, the newest first, by the manager's word."""
        found = await self.find(name)
        reply = await self._account.ask("GET", f"orders/{found.order.document.id}/runs", repeatable=True)
        return found, _read(reply, _Runs).runs

    async def open(self, name: str, n: int | None = None) -> OpenedRun:
        """What came of run `n`, by default of the last one: signed for that run, and opened with the order's reader key.

        Of a number that runs of several revisions have, the newest. Raises NotFound for a run that isn't kept, NotReady for one that
        is under way, Tampered, or the error it ended with.
        """
        found, runs = await self.runs(name)
        kept = self._keys.load(found.order.document.id)
        mine = [one for one in runs if n in {None, one.n}]
        order = self._revision(found.order, kept, mine[0].rev) if mine else None
        if order is None:
            raise NotFound("run_not_found", "there is no such run of the order", "see: privyseal order runs")
        return await open_run(self._account, kept, order, mine[0])

    def _revision(self, newest: Verified[OrderDocument], kept: Kept, rev: int) -> Verified[OrderDocument] | None:
        """One that was signed here, whatever the manager says of it; None for one that isn't remembered."""
        if rev == newest.document.rev:
            return newest
        compact = kept.signed.get(str(rev))
        return self._account.book.verify(parse_as(OrderDocument, compact)) if compact is not None else None

    # What they stand on.

    async def _subjects(self, places: Sequence[Meaning]) -> list[Subject]:
        await self._account.sync()
        stored = [one for one in places if isinstance(one, Reference)]
        found = await self._directory.find(stored, fresh=True)
        subjects = []
        for one in await sources_of(self._directory, places, dict(zip(stored, found, strict=True))):
            if isinstance(one, PrivySealError):
                raise one
            subjects.append(one.subject(self._directory))
        return subjects

    async def _tested(self, connectors: Sequence[str], here: Scope | None = None) -> list[Subject]:
        await self._account.sync()
        places = [Reference.parse(one, here or self.here) for one in connectors]
        return [Subject(None, await self._directory.connector(place)) for place in places]

    async def _publish(
        self, name: str, timing: Timing, kept: Kept, subjects: Sequence[Subject], usage: TaskUsage | None
    ) -> Verified[OrderDocument]:
        check_name(name, "name")
        known = await self.all()
        if any(one.order.document.name == name and one.state(self._account.clock()) == "standing" for one in known):
            raise Conflict(
                "name_taken", "an order of yours has that name", "cancel it, renew it, or choose another name"
            )
        kept = structs.replace(kept, here=str(self.here))
        return await self._sign(None, name, timing, kept, subjects, usage)

    async def _sign(
        self,
        before: Verified[OrderDocument] | None,
        name: str,
        timing: Timing,
        kept: Kept,
        subjects: Sequence[Subject],
        usage: TaskUsage | None,
    ) -> Verified[OrderDocument]:
        timing.check()
        account, now = self._account, self._account.clock()
        draft = draft_task(
            account.book,
            account.identity.kid,
            "check" if kept.command is None else "exec",
            subjects,
            kept.key,
            now,
            command=kept.command,
            seconds=kept.seconds,
            selectors=kept.choice,
            credentials=self._directory.credentials(one.connector for one in subjects),
            usage=usage,
        )
        order = _order(before, account.identity.kid, name, timing, draft, now)
        kept.revisions[str(order.rev)] = (sorted(draft.selectors), sorted(draft.conditions))
        compact = account.identity.sign_document(order)
        kept.sign(order.rev, compact)
        # First the key: an order whose reader was lost would run, and nobody open what came of it.
        self._keys.keep(order.id, kept)
        return await self._send(compact, draft.inputs)

    async def _send(self, compact: str, inputs: tuple[bytes, ...]) -> Verified[OrderDocument]:
        account = self._account
        # First by our own rules: what we wouldn't believe ourselves is not sent.
        account.book.draft().admit(compact, account.clock())
        await account.ask("POST", "orders", data=submission(compact, inputs), repeatable=True)
        sent = self._believed(compact)
        account.state.save()
        return sent

    def _believed(self, compact: str) -> Verified[OrderDocument]:
        found = self._account.believe(compact)
        if not isinstance(found.document, OrderDocument):
            raise Unavailable("manager_faulty", "the manager shows something else as an order", "check the URL")
        newest = self._account.book.newest(found.document)
        if newest is not None and newest[1] != found.digest:
            raise Tampered(
                "revision_rolled_back",
                f"the manager shows revision {found.document.rev} of an order; revision {newest[0]} was seen before",
                "don't trust this manager until you know why",
            )
        return cast("Verified[OrderDocument]", found)


def _order(
    before: Verified[OrderDocument] | None, owner: str, name: str, timing: Timing, draft: Draft, now: int
) -> OrderDocument:
    task = draft.document
    told: dict[str, Any] = {
        one: getattr(task, one)
        for one in set(OrderDocument.__struct_fields__) & set(task.__struct_fields__) - {"iat", "exp"}
    }
    return OrderDocument(
        id=before.document.id if before is not None else new_id(),
        rev=before.document.rev + 1 if before is not None else 1,
        prev=before.digest if before is not None else None,
        owner=owner,
        name=name,
        iat=now,
        exp=now + timing.lasting,
        interval=timing.interval,
        runs=timing.budget,
        **told,
    )


def _chosen(selectors: Sequence[str]) -> dict[str, Any]:
    choice = Choice.of(selectors)
    return {"selectors": list(choice), "origin": choice.origin, "where": choice.where}


class _Told(msgspec.Struct):
    order: str
    published_at: int
    overdue: int
    last: Run | None = None


class _Listing(msgspec.Struct):
    orders: list[_Told]


class _Runs(msgspec.Struct):
    runs: list[Run]


def _read(reply: Reply, cls: type[Any]) -> Any:
    try:
        return msgspec.convert(reply.json(), cls)
    except msgspec.ValidationError:
        raise Unavailable(
            "manager_faulty", "the manager answered with something that is no list", "check the URL"
        ) from None
