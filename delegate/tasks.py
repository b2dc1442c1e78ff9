"""The heart: what has to be true before a task is acted on, then the act, then the signed answer.

The numbered steps are those of docs/formats.md. Steps 1 to 4 judge by signed documents alone, 5 to 11 by what only this
delegate knows, and nothing of the task touches a key or a value before all of them. The manager that handed the task over
is believed in nothing: what it could have changed is checked against what the signer signed. Errors go to the reader,
sealed; the manager learns a code from a closed list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import structlog

from delegate.begun import Begun
from delegate.clock import Clock
from delegate.delivery import Delivery
from delegate.keychain import internal
from delegate.operations import Outcome, operate
from delegate.policy import CallLedger, LocalPolicy
from delegate.replays import Replays
from delegate.secret_managers.registry import Registry
from delegate.threads import compute
from delegate.trust import Trust
from shared.aad import Aad
from shared.canonical import blob_digest, digest
from shared.crypto.identity import Identity
from shared.crypto.output import Item, pack
from shared.crypto.seal import seal
from shared.documents.answer import AnswerDocument, Code
from shared.documents.connector import CUSTOM
from shared.documents.jws import Unverified, Verified, parse_as
from shared.documents.order import OrderDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.documents.task import EXEC, TaskDocument
from shared.errors import Denied, Malformed, PrivySealError, Tampered, Unauthenticated
from shared.labels import ANSWER
from shared.messages import Need, Result, Task
from shared.names import Scope
from shared.orders import run_id, task_of
from shared.selectors import missing
from shared.tracing import UNRECORDED, Span
from shared.trust.warrant import Warrant, standing, warrant
from shared.values import recipient_of_task

if TYPE_CHECKING:
    # Who runs no commands doesn't load what they need.
    from delegate.executor import Executor

LARGEST_BLOB_BYTES = LARGEST_VALUE_BYTES + 128 * 1024
"""A sealed input or a record: a value with everything that is put around it."""

_WORD = re.compile(r"(?<!^)(?=[A-Z])")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Performed:
    """A reply and what may be told of it: the operation and signer are known once the signature was verified.

    `began` says whether the task passed every check, so that it was acted on, and `began_at` when that was (monotonic).
    """

    reply: Result | Need
    code: str
    op: str = "unknown"
    targets: int = 0
    kid: str = ""
    began_at: float | None = None

    @property
    def began(self) -> bool:
        """Whether it was acted on."""
        return self.began_at is not None


@dataclass(slots=True)
class Course:
    """What is known of a task while it is performed, for whoever has to end it: all but `span` once its signature was verified."""

    span: Span = UNRECORDED
    op: str = "unknown"
    targets: int = 0
    kid: str = ""
    began_at: float | None = None


class Tasks:
    """Performs tasks for one zone as one identity; `tags` are the selectors that this delegate owns by itself.

    `executor` is None where the local policy allows no commands.
    """

    def __init__(
        self,
        identity: Identity,
        tags: Collection[str],
        trust: Trust,
        registry: Registry,
        policy: LocalPolicy,
        clock: Clock,
        executor: Executor | None = None,
    ) -> None:
        self._executor = executor
        self._identity = identity
        self._tags = frozenset(tags)
        self._trust = trust
        self._registry = registry
        self._policy = policy
        self._clock = clock
        self.ledger = CallLedger()
        """The calls of this delegate, whatever they are for."""
        self.observed: Callable[[Warrant, Sequence[Item]], None] = lambda _, __: None
        """Hears of each task that was acted on, and of its items."""
        self.overload: Callable[[], PrivySealError | None] = lambda: None
        """Why no new task is begun just now, for all of them."""
        self._replays = Replays()
        self._begun = Begun()

    async def perform(self, message: Task, delivery: Delivery, course: Course | None = None) -> Performed:
        """The reply to a task, whatever comes: a result with its signed answer, or what is needed to judge the task."""
        task: Verified[TaskDocument] | None = None
        course = course or Course()
        verifying = course.span.child("delegate.verify")
        try:
            unverified = self._parsed(message)  # (1)
            overload = self.overload()
            needed, refusal = self._needed(unverified.document)  # (2)
            if needed and overload is not None:
                # Not worth fetching: the code alone, since nobody vouches for a reader yet.
                raise overload
            if needed:
                verifying.end("need")
                return Performed(Need(message.id, message.attempt, needed), "need")
            # Before anything is judged, since nothing may change between the judgement and the act.
            digests = await compute(sum(map(len, message.inputs)), _digests, message.inputs)
            signed = self._verified(unverified, refusal)  # (3)
            task = _asked(signed, message.run)
            course.op, course.targets, course.kid = task.document.op, len(task.document.targets), task.kid
            if refusal is not None:
                raise refusal
            if overload is not None:
                raise overload
            granted = self._granted(signed, message.run)  # (4)
            self._check_own(granted, message, digests)  # (5) to (11)
            if message.run:
                self._begin(cast("Verified[OrderDocument]", signed), message.run)
            course.began_at = self._clock.monotonic()
            verifying.end()
            outcome = await self._acted(granted, message, delivery, course.span)
        except PrivySealError as why:
            verifying.end(why.code)
            outcome = Outcome((why,))
        except Exception as error:  # noqa: BLE001 (a bug is answered as `internal`)
            _log.error("task.crashed", task=message.id[:64], exc_info=error)
            outcome = Outcome((internal(),))
        with course.span.child("delegate.answer"):
            return await self._answered(message, task, outcome, course.began_at)

    async def _acted(self, granted: Warrant, message: Task, delivery: Delivery, span: Span) -> Outcome:
        total = len(granted.uses)

        async def operated() -> Outcome:
            outcome = await operate(
                granted, message, self._trust.zone, self._registry, lambda done: delivery.progressed(done, total), span
            )
            self.observed(granted, outcome.items)
            return outcome

        if granted.task.document.op != EXEC:
            return await operated()
        # Else the policy has refused it.
        assert self._executor is not None
        command = await self._executor.command(granted.task, message)
        values = (await operated()).items
        return Outcome((await self._executor.execute(granted.task, command, values, delivery),))

    def refused(self, message: Task, why: PrivySealError) -> Performed:
        """A reply that looked at nothing: the code alone."""
        return Performed(self._result(message, code_of(why), b"", (), []), code_of(why))

    def _parsed(self, message: Task) -> Unverified[TaskDocument | OrderDocument]:
        """(1) It is a task, or the order of which a run is handed over, and it is the one that the manager calls it."""
        unverified: Unverified[TaskDocument | OrderDocument]
        if message.run:
            unverified = parse_as(OrderDocument, message.document)
        else:
            unverified = parse_as(TaskDocument, message.document)
        if message.id != _name(message):
            raise Malformed("task_malformed", "the task is handed over under another digest than its own")
        return unverified

    def _needed(self, document: TaskDocument | OrderDocument) -> tuple[tuple[str, ...], PrivySealError | None]:
        """(2) The pinned documents that have not come. Where all have, why the first of those that are missing was refused."""
        absent = dict.fromkeys(pin.digest for pin in document.pins if self._trust.book.find(pin.digest) is None)
        refusals = {one: self._trust.refusal(one) for one in absent}
        unseen = tuple(one for one, why in refusals.items() if why is None)
        return unseen, None if unseen else next(iter(refusals.values()), None)

    def _verified(
        self, unverified: Unverified[TaskDocument | OrderDocument], refusal: PrivySealError | None
    ) -> Verified[TaskDocument | OrderDocument]:
        """(3) The task or order, its signature checked. What was refused may be the grant that would make its signer known."""
        try:
            return self._trust.book.verify(unverified)
        except Unauthenticated:
            if refusal is None:
                raise
            raise refusal from None

    def _granted(self, signed: Verified[TaskDocument | OrderDocument], run: int) -> Warrant:
        """(4) The warrant; of an order, that it is its newest revision and that this run is due by our own clock, too."""
        now = self._clock.now()
        if not run:
            return warrant(self._trust.book, cast("Verified[TaskDocument]", signed), now)
        self._trust.admit(signed.compact)
        return standing(self._trust.book, cast("Verified[OrderDocument]", signed), run - 1, now)

    def _begin(self, order: Verified[OrderDocument], run: int) -> None:
        """(11) Each run of an order begins once here, whatever the manager sends."""
        told = order.document
        self._begun.begin(told.owner, told.id, told.rev, run - 1, told.exp, self._clock.now())

    def _check_own(self, granted: Warrant, message: Task, digests: list[str]) -> None:
        task = granted.task.document
        self._trust.zone.check(granted.keyring)  # (5)
        tags = self._trust.owned(self._tags)  # (6)
        lacking = missing(granted.selectors, tags)
        if lacking:
            raise Denied(
                "selectors_missing",
                f"the delegate doesn't own the selectors {', '.join(lacking)}",
                "use a delegate that has them, or add them to the tags of this one",
                selectors=list(lacking),
            )
        for condition in granted.conditions:
            if not condition.holds(tags):
                raise Denied(
                    "condition_unmet",
                    f"the delegate's tags don't meet the condition: {condition}",
                    "use a delegate that meets it, or change the tags of this one",
                    condition=str(condition),
                )
        self._check_policy(granted)  # (7)
        self._check_blobs(task, message, digests)  # (8), (9)
        if task.repeat == "never":
            if task.to != self._identity.kid:  # (10)
                raise Denied(
                    "recipient_other",
                    "the task is for another delegate, and it must not run twice",
                    "sign it for a delegate that is connected now",
                )
            self._replays.begin(granted.task.kid, task.jti, task.exp, self._clock.now())  # (11)

    def _check_policy(self, granted: Warrant) -> None:
        """(7) The local veto, which no signature overrules."""
        task = granted.task.document
        for scope, kind in sorted((scope, kind) for scope in granted.scopes for kind in granted.kinds):
            self._policy.check(
                op=task.op, scope=Scope.parse(scope), kind=kind, keyring=task.keyring, scripts=kind == CUSTOM
            )
        # A login that is tried is a call too; as a credential it stands for those that its connector makes.
        held = [use for secrets in granted.credentials.values() for use in secrets.values() if not use.is_login]
        calls = Counter(use.connector.document.identifier for use in (*granted.uses, *held))
        for identifier, count in calls.items():
            self.ledger.spend(self._policy, identifier, count, self._clock.monotonic())

    @staticmethod
    def _check_blobs(task: TaskDocument, message: Task, digests: list[str]) -> None:
        """(8) The sealed inputs are those that the signer hashed; (9) no blob is larger or of another number than can be."""
        if any(len(blob) > LARGEST_BLOB_BYTES for blob in (*message.inputs, *message.stored, *message.credentials)):
            raise Malformed(
                "value_too_large", "an input or record is longer than a value may be", "values have at most 10 MB"
            )
        if digests != list(task.input):
            raise Tampered("input_swapped", "the sealed inputs are not those that the task's signer sent with it")
        count = len(task.targets)
        wanted = {"exec": {count}, "reveal": {count}, "delete": {0, count}}.get(task.op, {0})
        if len(message.stored) not in wanted or len(message.credentials) != len(task.credentials):
            raise Malformed("task_malformed", "the task comes with another number of records than its operation takes")

    async def _answered(
        self, message: Task, task: Verified[TaskDocument] | None, outcome: Outcome, began: float | None
    ) -> Performed:
        """The signed answer; without a verified task nobody vouches for a reader, so that nothing is sealed."""
        code = _code(outcome.items)
        if task is None:
            return Performed(self._result(message, code, b"", (), []), code)
        document = task.document
        info = Aad("answer", document.acct, document.keyring, version=task.digest).encode(ANSWER)
        stored = outcome.stored
        try:
            output = pack(outcome.items)
            sealed = (await compute(len(output), seal, recipient_of_task(task), output, info)).raw
        except Malformed:
            # The signer named a reader key that is no key; he gets no more than this.
            sealed, code, stored = b"", "malformed", ()
        digests = await compute(len(sealed) + sum(map(len, stored)), _digests, (sealed, *stored))
        result = self._result(message, code, sealed, stored, digests)
        return Performed(result, code, document.op, len(document.targets), task.kid, began)

    def _result(
        self, message: Task, code: Code, sealed: bytes, stored: tuple[bytes, ...], digests: list[str]
    ) -> Result:
        """The message with its signed answer; `digests` are those of `sealed` and of each of `stored`."""
        answer = AnswerDocument(
            v=1,
            acct=self._trust.zone.account,
            task=_name(message),
            code=code,
            sealed=digests[0] if sealed else None,
            stored=tuple(digests[1:]),
            iat=self._clock.now(),
        )
        return Result(message.id, message.attempt, self._identity.sign_document(answer), sealed, stored)


def _name(message: Task) -> str:
    """What its answer is to: the task's digest, or the run's id."""
    name = digest(message.document) if message.document.isascii() else digest("")
    return run_id(name, message.run - 1) if message.run else name


def _asked(signed: Verified[TaskDocument | OrderDocument], run: int) -> Verified[TaskDocument]:
    """What is to be done now: the task itself, or this run of the order."""
    if run:
        return task_of(cast("Verified[OrderDocument]", signed), run - 1)
    return cast("Verified[TaskDocument]", signed)


def _digests(blobs: tuple[bytes, ...]) -> list[str]:
    return [blob_digest(blob) for blob in blobs]


def code_of(error: PrivySealError) -> Code:
    """What the manager learns of an error: its class."""
    if error.code == "internal":
        return "internal"
    return cast(Code, _WORD.sub("_", type(error).__name__).lower())


def _code(items: Collection[Item]) -> Code:
    """`ok`, `partial` where some targets failed, or the class of the first error where all did."""
    errors = [item for item in items if isinstance(item, PrivySealError)]
    if not errors:
        return "ok"
    return code_of(errors[0]) if len(errors) == len(items) else "partial"
