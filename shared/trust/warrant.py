"""The warrant: everything that has to be true before a task may be acted on, checked from documents alone.

The manager asks it so as not to waste a delegate's time; the delegate asks it because nobody else's word counts. The
numbered steps are those of docs/formats.md. What only the delegate can know (its keyring, selectors, local policy, which
tasks it has run) it checks itself afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.condition import Condition, parsed
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.order import OrderDocument
from shared.documents.status import StatusDocument
from shared.documents.task import LONGEST_SECONDS, REPEAT, TaskDocument
from shared.documents.template import TemplateDocument
from shared.errors import Conflict, Denied, Expired, Malformed, NotReady, StaleRecipient, Tampered
from shared.orders import check_run, due, task_of
from shared.selectors import effective
from shared.trust.authority import SKEW_SECONDS
from shared.trust.book import Book
from shared.trust.credentials import Credentials
from shared.trust.pinned import Pinned
from shared.trust.status import live
from shared.trust.uses import Judge, Use


@dataclass(frozen=True, slots=True)
class Warrant:
    """A task that may be acted on, and exactly what it may touch.

    `credentials` are the uses that the secrets of each connector and SSHKey stand for: its id, reference, use; `templates` are
    what connectors run, by the connectors' ids. The other fields follow from these.
    """

    task: Verified[TaskDocument]
    keyring: Verified[KeyringDocument]
    uses: tuple[Use, ...]
    credentials: Mapping[str, Mapping[str, Use]]
    templates: Mapping[str, Verified[TemplateDocument]]

    connectors: tuple[Verified[ConnectorDocument], ...] = field(init=False)
    """All that are used, those that hold credentials included, each once."""

    selectors: frozenset[str] = field(init=False)
    """What a delegate has to carry, all of it."""

    conditions: tuple[Condition, ...] = field(init=False)
    """What a delegate's tags have to fulfil besides: of the task, and of every connector that is used."""

    scopes: frozenset[str] = field(init=False)
    """Where what it is about lives."""

    kinds: frozenset[str] = field(init=False)
    """What a delegate has to know. An SSHKey is for the hosts of custom secret managers."""

    def __post_init__(self) -> None:
        document = self.task.document
        held = (use for secrets in self.credentials.values() for use in secrets.values())
        used = {one.connector.digest: one.connector for one in (*self.uses, *held) if not one.is_login}
        connectors = tuple(used.values())
        selectors = effective(
            ((wanted.selector, wanted.origin) for wanted in document.selectors),
            (selector for connector in connectors for selector in connector.document.selectors),
        )
        texts = {document.where, *(one.document.where for one in connectors)} - {""}
        logins = {CUSTOM for use in self.uses if use.is_login}
        found = {
            "connectors": connectors,
            "selectors": selectors,
            "conditions": tuple(parsed(text) for text in sorted(texts)),
            "scopes": frozenset((use.secret or use.connector).document.scope for use in self.uses),
            "kinds": frozenset({connector.document.type for connector in connectors} | logins),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)


def warrant(book: Book, task: Verified[TaskDocument], now: int) -> Warrant:
    """Raises the first thing that is wrong, in the order of the steps; NotReady carries the digests of missing documents."""
    _check_time(task.document, now)  # (1)
    return _judged(book, task, now)


def standing(book: Book, order: Verified[OrderDocument], n: int | None, now: int) -> Warrant:
    """The same for run `n` of an order, which the book has taken in; for None whether it may be done at all, be it due or not.

    Raises besides: Conflict for an order of which a newer revision is known, or that was cancelled, Denied for one that its
    owner didn't sign, and as `shared.orders.check_run`.
    """
    newest = book.newest(order.document)
    if newest is None or newest[1] != order.digest:
        raise Conflict("order_superseded", "there is a newer revision of the order", "the newest one counts")
    check_run(order.document, (due(order.document, now) or 0) if n is None else n, now)  # (1)
    if order.kid != order.document.owner:
        raise Denied(
            "order_of_another", "the order is signed by another key than its owner's", "make an order of your own"
        )
    return _judged(book, task_of(order, n or 0), now)


def _judged(book: Book, task: Verified[TaskDocument], now: int) -> Warrant:
    document = task.document
    status = live(book.status, now)
    _check_status(document, status)  # (2)
    pinned = Pinned(book, document.pins)  # (3)
    authority = book.authority_of(pinned.grants)
    keyring = pinned.one(KeyringDocument, document.keyring)
    if not authority.is_administrator(keyring.kid):
        raise Denied("keyring_unfounded", "the keyring is signed by nobody who is an administrator now")
    _check_generation(document, keyring, status.document)  # (4)
    judge = Judge(document, task.kid, pinned, keyring, authority, status.document, now)
    uses = tuple(judge.use(target) for target in document.targets)  # (5) to (8)
    if document.op == "store" and len({target.secret for target in document.targets}) != len(uses):
        # One place per task and secret: else a manager could give out one input's record for the other's.
        raise Malformed("task_malformed", "the task stores one secret twice")
    if len(document.input) != {"store": len(uses), "exec": 1}.get(document.op, 0):  # (9)
        raise Malformed("task_malformed", "the task has another number of inputs than its operation takes")
    if (document.seconds is None) == (document.op == "exec"):
        raise Malformed("task_malformed", "a time limit is for a command, and a command has one")
    credentials = Credentials(judge, uses).found  # (10)
    return Warrant(task, keyring, uses, credentials, judge.templates)


def _check_time(task: TaskDocument, now: int) -> None:
    if task.repeat != REPEAT[task.op] or (task.to is None) != (task.repeat == "any"):
        raise Malformed("task_malformed", "the task's repeat or recipient doesn't fit its operation")
    if task.exp - task.iat > LONGEST_SECONDS[task.repeat] or task.exp < task.iat:
        raise Denied("task_too_long", "the task may start for longer than its operation allows")
    if task.iat > now + SKEW_SECONDS:
        raise Denied(
            "clock_skew",
            f"the task was signed {task.iat - now} seconds in the future by this clock",
            "compare the clocks of both machines",
        )
    if task.exp <= now:
        raise Expired(
            "task_expired", "the task's time to start has run out", "sign a new one; if this is at once, compare clocks"
        )


def _check_status(task: TaskDocument, status: Verified[StatusDocument]) -> None:
    if status.document.rev < task.status.serial:
        raise NotReady(
            "status_behind", "the task knows a newer status than has arrived here", "try again when it has arrived"
        )
    if status.document.rev == task.status.serial and status.digest != task.status.digest:
        raise Tampered("status_forked", "the task's signer was shown another status with the same serial")


def _check_generation(task: TaskDocument, keyring: Verified[KeyringDocument], status: StatusDocument) -> None:
    if task.gen < status.keyrings.get(task.keyring, 1):
        raise StaleRecipient(
            "generation_excluded", "the task is for an excluded generation of the keyring", "sync and try again"
        )
    if task.gen != keyring.document.gen:
        raise StaleRecipient(
            "generation_stale",
            "the task is for another generation than the keyring's current one",
            "sync and try again",
        )
