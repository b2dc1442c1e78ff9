"""The warrant: everything that has to be true before a task may be acted on, checked from documents alone.

The manager asks it so as not to waste a delegate's time; the delegate asks it because nobody else's word counts. The
numbered steps are those of docs/formats.md. What only the delegate can know (its keyring, selectors, local policy, which
tasks it has run) it checks itself afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Permission, Revisioned
from shared.documents.grant import GrantDocument
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.secret import SecretDocument
from shared.documents.status import StatusDocument
from shared.documents.task import LONGEST_SECONDS, REPEAT, Pin, Target, TaskDocument
from shared.errors import Conflict, Denied, Expired, Malformed, NotReady, StaleRecipient, Tampered
from shared.names import Scope
from shared.selectors import effective
from shared.trust.authority import SKEW_SECONDS, Authority
from shared.trust.book import Book
from shared.trust.status import live

D = TypeVar("D", bound=Revisioned)

PERMISSION: Mapping[str, Permission] = {"check": "use", "delete": "delete", "reveal": "reveal", "store": "edit"}
"""What an operation takes."""


@dataclass(frozen=True, slots=True)
class Use:
    """One target with the documents that say what it is; `secret` is None for a check."""

    target: Target
    secret: Verified[SecretDocument] | None
    connector: Verified[ConnectorDocument]


@dataclass(frozen=True, slots=True)
class Warrant:
    """A task that may be acted on, and exactly what it may touch."""

    task: Verified[TaskDocument]
    keyring: Verified[KeyringDocument]
    uses: tuple[Use, ...]
    selectors: frozenset[str]


def warrant(book: Book, task: Verified[TaskDocument], now: int) -> Warrant:
    """Raises the first thing that is wrong, in the order of the steps; NotReady carries the digests of missing documents."""
    document = task.document
    _check_time(document, now)  # (1)
    status = live(book.status, now)
    _check_status(document, status)  # (2)
    pinned = _Pinned(book, document.pins)  # (3)
    authority = book.authority_of(pinned.grants)
    keyring = pinned.one(KeyringDocument, document.keyring)
    if not authority.is_administrator(keyring.kid):
        raise Denied("keyring_unfounded", "the keyring is signed by nobody who is an administrator now")
    _check_generation(document, keyring, status.document)  # (4)
    uses = tuple(
        _use(document, target, pinned, authority, task.kid, status.document, now) for target in document.targets
    )
    if document.op == "store" and len({target.secret for target in document.targets}) != len(uses):
        # One place per task and secret: else a manager could give out one input's record for the other's.
        raise Malformed("task_malformed", "the task stores one secret twice")
    if len(document.input) != (len(uses) if document.op == "store" else 0):  # (9)
        raise Malformed("task_malformed", "the task has another number of inputs than its operation takes")
    selectors = effective(
        ((wanted.selector, wanted.origin) for wanted in document.selectors),
        (selector for use in uses for selector in use.connector.document.selectors),
    )
    return Warrant(task, keyring, uses, selectors)


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


def _use(
    task: TaskDocument,
    target: Target,
    pinned: _Pinned,
    authority: Authority,
    kid: str,
    status: StatusDocument,
    now: int,
) -> Use:
    secret: Verified[SecretDocument] | None = None
    if target.excluded and task.op != "reveal":  # (8)
        raise Malformed("task_malformed", "only a reveal accepts records of an excluded generation")
    if task.op == "check":
        if target.secret is not None or target.connector is None:
            raise Malformed("task_malformed", "a check is of a connector")
        if target.n or target.version is not None:
            raise Malformed("task_malformed", "a check is of no version")
        connector = pinned.one(ConnectorDocument, target.connector)
        scope, resource = Scope.parse(connector.document.scope), connector.document.id
    else:
        if target.secret is None or target.connector is not None:
            raise Malformed("task_malformed", "the task's target is not a secret")
        _check_version(task, target)
        secret = pinned.one(SecretDocument, target.secret)
        connector = pinned.one(ConnectorDocument, secret.document.connector)
        scope, resource = Scope.parse(secret.document.scope), secret.document.id
    authority.chain(kid, PERMISSION[task.op], scope, resource, now)  # (5)
    if secret is not None:
        authority.chain(secret.kid, "edit", scope, resource, now)  # (6)
        if secret.document.deleted:
            raise Conflict("secret_deleted", "the secret was deleted")
        if not Scope.parse(connector.document.scope).covers(scope):
            raise Denied(
                "connector_out_of_scope", "the secret's connector lives in a scope that doesn't cover the secret"
            )
        # A version below the floor may still be deleted, and so may the whole secret (n is 0).
        if task.op != "delete" and target.n < status.secrets.get(secret.document.id, 1):
            raise Denied("version_excluded", "the version is below the floor that the account's status sets")
    above = Scope.parse(connector.document.scope)
    authority.chain(connector.kid, "edit", above, connector.document.id, now)  # (7)
    if connector.document.deleted:
        raise Conflict("connector_deleted", "the connector was deleted")
    if connector.document.keyring != task.keyring:
        raise Denied("connector_of_other_keyring", "the connector belongs to another keyring than the task")
    return Use(target, secret, connector)


def _check_version(task: TaskDocument, target: Target) -> None:
    """(8) A store makes n from the version before it; the other operations name the version itself."""
    first = task.op == "store" and target.n == 1
    whole = task.op == "delete" and target.n == 0
    if whole:
        fits = target.version is None
    else:
        fits = target.n > 0 and (target.version is None) == first
    if not fits:
        raise Malformed("task_malformed", "the task's version doesn't fit its operation")


class _Pinned:
    """The documents that the task pins, and no others."""

    def __init__(self, book: Book, pins: Sequence[Pin]) -> None:
        found = [(pin, book.find(pin.digest)) for pin in pins]
        missing = [pin.digest for pin, one in found if one is None]
        if missing:
            raise NotReady(
                "documents_missing", "documents that the task acts on have not arrived here", missing=missing
            )
        self._things: dict[tuple[type[Revisioned], str], Verified[Revisioned]] = {}
        self.grants: list[Verified[GrantDocument]] = []
        account, stale = False, []
        for pin, one in found:
            assert one is not None
            document = one.document
            if (pin.kind, pin.id, pin.rev) != (one.kind, getattr(document, "id", ""), document.rev):
                raise Malformed("pin_malformed", "a pin of the task names another document than its digest")
            newest = book.newest(document)
            if newest is not None and newest[1] != one.digest:
                stale.append([pin.kind, pin.id])
            account = account or one.kind == "account"
            if isinstance(document, GrantDocument):
                self.grants.append(one)  # type: ignore[arg-type]
            self._things[type(document), pin.id] = one
        if stale:
            raise Conflict(
                "pin_stale",
                "the task pins documents of which there are newer revisions",
                "sync and sign again",
                stale=stale,
            )
        if not account:
            raise Malformed("pin_missing", "the task doesn't pin the account document")

    def one(self, cls: type[D], id: str) -> Verified[D]:
        found = self._things.get((cls, id))
        if found is None:
            raise Malformed("pin_missing", "the task doesn't pin a document that it acts on")
        return found  # type: ignore[return-value]
