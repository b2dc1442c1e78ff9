"""Connection tests on the delegate's own clock: of every connector whose secret manager it keeps, again and again.

Promises: a connector is tested only while all that let a task use it still holds (status, grants, newest revisions, selectors,
the local policy and its budget) and for at most a day after its last task; what came of a test is signed, so that the manager
can only hide it or show it late. A test reads no value and writes nothing. Must not fetch credentials: it takes a manager that
a task's own have made, or none.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import inf
from random import SystemRandom
from typing import Protocol

import structlog

from delegate.clock import Clock
from delegate.keychain import internal
from delegate.policy import CallLedger, LocalPolicy
from delegate.secret_managers.interface import SecretManager
from delegate.secret_managers.registry import MOST_MANAGERS, Registry
from delegate.tasks import code_of
from delegate.trust import Trust
from shared.condition import parsed
from shared.crypto.identity import Identity
from shared.crypto.output import Item
from shared.documents.answer import Code
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Revisioned
from shared.documents.jws import Verified
from shared.errors import Conflict, Denied, NotReady, PrivySealError, Unavailable
from shared.messages import Checked
from shared.names import Scope
from shared.selectors import missing
from shared.trust.uses import Use
from shared.trust.warrant import Warrant

WATCHED_SECONDS = 86_400.0
"""How long a connector is tested after the last task that used it: its credentials stay in memory no longer for that."""

TEST_SECONDS = 60.0
MOST_AT_ONCE = 4
LONGEST_ROUND_SECONDS = 5.0
"""How often it is looked at what is due."""

_log = structlog.get_logger()


class Outlet(Protocol):
    """Where tests are told of: the stream to the manager, if there is one."""

    @property
    def is_open(self) -> bool: ...

    def mention(self, message: Checked) -> None: ...


@dataclass(slots=True)
class Watched:
    """A connector as a task's warrant last found it, with the uses of its credentials. Times are monotonic."""

    connector: Verified[ConnectorDocument]
    uses: tuple[Use, ...]
    last_used: float
    due: float
    code: Code | None = None


class Checks:
    """One delegate's. `seconds` is the time between two tests of a connector; 0: none but those that tasks ask for."""

    def __init__(
        self,
        *,
        identity: Identity,
        tags: Collection[str],
        trust: Trust,
        registry: Registry,
        policy: LocalPolicy,
        ledger: CallLedger,
        clock: Clock,
        outlet: Outlet,
        seconds: float,
        chance: Callable[[float, float], float] | None = None,
    ) -> None:
        self._identity = identity
        self._tags = frozenset(tags)
        self._trust = trust
        self._registry = registry
        self._policy = policy
        self._ledger = ledger
        self._clock = clock
        self._outlet = outlet
        self.seconds = seconds
        self._chance = chance or SystemRandom().uniform
        self._watched: OrderedDict[str, Watched] = OrderedDict()
        self._begun: OrderedDict[str, float] = OrderedDict()
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    def observe(self, granted: Warrant, items: Sequence[Item]) -> None:
        """A task was acted on: its connectors are watched from now on, and if it was a test, it is told what came of it."""
        now = self._clock.monotonic()
        for connector in granted.connectors:
            uses = tuple(granted.credentials.get(connector.document.id, {}).values())
            known = self._watched.pop(connector.document.id, None)
            if known is None or known.connector.digest != connector.digest:
                known = Watched(connector, uses, now, now + self._chance(0.0, self.seconds))
            known.uses, known.last_used = uses, now
            self._watched[connector.document.id] = known
        while len(self._watched) > MOST_MANAGERS:
            self._watched.popitem(last=False)
        if granted.task.document.op == "check":
            for use, item in zip(granted.uses, items, strict=False):
                if use.is_login:
                    continue
                self._tell(self._watched.get(use.connector.document.id), item)

    async def run(self) -> None:
        """For ever; returns at once where nothing is to be tested."""
        while self.seconds:
            await asyncio.sleep(min(self.seconds / 4, LONGEST_ROUND_SECONDS))
            try:
                await self.round()
            except Exception as bug:  # noqa: BLE001 (a bad round mustn't end those after it)
                _log.error("check.crashed", exc_info=bug)

    async def round(self) -> None:
        """Tests what is due, a few at once; with nobody there to hear of it, nothing."""
        now = self._clock.monotonic()
        for name in [name for name, one in self._watched.items() if now - one.last_used > WATCHED_SECONDS]:
            del self._watched[name]
        # What runs a script is tested when a person asks for it.
        documents = {name: one.connector.document for name, one in self._watched.items()}
        tested = {name: self._watched[name] for name, one in documents.items() if one.is_tested and not one.template}
        # Between two tests it isn't idle, and of many the one that no task used for longest goes first.
        self._registry.hold([one.connector for one in tested.values()])
        if not self._outlet.is_open or self._trust.problem() is not None:
            return
        async with asyncio.TaskGroup() as group:
            for name, one in tested.items():
                if one.due <= now:
                    # Spread over time: after a restart they would else all come at once, for ever.
                    one.due = now + self.seconds * self._chance(0.9, 1.1)
                    group.create_task(self._test(name, one))

    async def _test(self, name: str, one: Watched) -> None:
        try:
            self._check(one)
        except PrivySealError as why:
            _log.debug("check.skipped", connector=one.connector.document.identifier, code=why.code)
            if isinstance(why, Conflict | Denied):
                # Only a task can show that it may be used again; until then its credentials aren't held for this.
                self._watched.pop(name, None)
            return
        async with self._places, self._registry.borrow(one.connector) as manager:
            if manager is None:
                self._watched.pop(name, None)
                return
            result = await self._try(one, manager)
        self._tell(one, result)

    def watched(self, connector: Verified[ConnectorDocument]) -> Watched | None:
        """That very revision of it, where a task used it within the day."""
        one = self._watched.get(connector.document.id)
        return one if one is not None and one.connector.digest == connector.digest else None

    def begun(self, connector: str) -> float:
        """When the last test of that connector began (monotonic), by its id."""
        return self._begun.get(connector, -inf)

    async def test(self, one: Watched) -> None:
        """Tests it now, and tells what came of it; nothing where its secret manager, made with credentials, is kept no longer.

        Raises Conflict, Denied, NotReady, Overloaded for what doesn't allow it, as before each of the tests on its own clock.
        """
        problem = self._trust.problem()
        if problem is not None:
            raise problem
        result: PrivySealError | None = None
        async with self._places, AsyncExitStack() as stack:
            self._check(one)
            # Nothing but a task brings credentials here.
            needs_task = bool(one.connector.document.secrets)
            if not needs_task and one.code not in {None, "ok"}:
                # It may be what it found of the delegate's own identity that failed, and has been mended since.
                self._registry.forget(one.connector)
            borrowed = self._registry.borrow if needs_task else self._registry.lend
            try:
                manager = await stack.enter_async_context(borrowed(one.connector))
            except PrivySealError as why:
                result = why
            else:
                if manager is None:
                    return
                result = await self._try(one, manager)
        self._tell(one, result)

    async def _try(self, one: Watched, manager: SecretManager) -> PrivySealError | None:
        """What is wrong, if anything is."""
        document = one.connector.document
        self._begun[document.id] = self._clock.monotonic()
        self._begun.move_to_end(document.id)
        if len(self._begun) > MOST_MANAGERS:
            self._begun.popitem(last=False)
        try:
            async with asyncio.timeout(TEST_SECONDS):
                await manager.check()
        except PrivySealError as why:
            return why
        except TimeoutError:
            return Unavailable("check_late", "the connection test took too long", "look at the provider")
        except Exception as bug:  # noqa: BLE001 (a bug is told as `internal`)
            _log.error("check.crashed", kind=document.type, exc_info=bug)
            return internal()
        return None

    def _check(self, one: Watched) -> None:
        """Whether what let the last task use it still holds. Raises Conflict, Denied, NotReady, Overloaded."""
        book, connector, now = self._trust.book, one.connector, self._clock.now()
        document, status = connector.document, book.status
        keyring = book.keyrings.get(document.keyring)
        foreign = document.keyring != self._trust.zone.name
        if foreign or keyring is None or keyring.document.platform == document.runs_on_delegate:
            raise NotReady("keyring_unknown", "the connector's keyring isn't one that may serve it")
        self._check_newest(connector)
        scope = Scope.parse(document.scope)
        book.authority.chain(connector.kid, "edit", scope, document.resource, now)
        for use in one.uses:
            assert use.secret is not None
            secret = use.secret.document
            self._check_newest(use.secret)
            self._check_newest(use.connector)
            if status is not None and use.target.n < status.document.secrets.get(secret.id, 1):
                raise Conflict("version_excluded", "a credential is below the floor that the account's status sets")
            place, holder = Scope.parse(secret.scope), use.connector.document
            book.authority.chain(connector.kid, "use", place, secret.id, now)
            book.authority.chain(use.secret.kid, "edit", place, secret.id, now)
            book.authority.chain(use.connector.kid, "edit", Scope.parse(holder.scope), holder.resource, now)
        tags = self._trust.owned(self._tags)
        if missing(document.selectors, tags):
            raise Denied("selectors_missing", "the delegate doesn't own the connector's selectors")
        if document.where and not parsed(document.where).holds(tags):
            raise Denied("condition_unmet", "the delegate's tags don't meet the connector's condition")
        self._policy.check(op="check", scope=scope, kind=document.type, keyring=document.keyring)
        self._ledger.spend(self._policy, document.identifier, 1, self._clock.monotonic())

    def _check_newest(self, one: Verified[Revisioned]) -> None:
        newest = self._trust.book.newest(one.document)
        if newest is None or newest[1] != one.digest or getattr(one.document, "deleted", False):
            raise Conflict("document_changed", "there is a newer revision of what the last task used")

    def _tell(self, one: Watched | None, result: Item | None) -> None:
        """Signs what came of a test. Where nobody hears of it, the next one will be told."""
        if one is None:
            return
        why = result if isinstance(result, PrivySealError) else None
        code: Code = "ok" if why is None else code_of(why)
        document = one.connector.document
        if code != one.code:
            known = {"connector": document.identifier, "kind": document.type, "code": why.code if why else code}
            if why is None:
                _log.info("connector.tested", **known)
            else:
                _log.warning("connector.failing", reason=why.detail, hint=why.hint, **known)
        one.code = code
        if not self._outlet.is_open:
            return
        checked = CheckedDocument(
            v=1,
            acct=self._trust.zone.account,
            connector=document.id,
            revision=one.connector.digest,
            code=code,
            iat=self._clock.now(),
        )
        self._outlet.mention(Checked(self._identity.sign_document(checked)))
