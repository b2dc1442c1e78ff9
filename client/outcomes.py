"""Outcomes: what came back, believed only as far as it is signed.

    certificate <- keyring document    answer <- certified identity    sealed <- answer    items <- reader key

Promises: an answer for another task, by another delegate, or with another sealed part is refused as Tampered; a code
counts only inside a signed answer. Pure: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from client.tasks import SignedTask
from shared.aad import Aad
from shared.canonical import blob_digest
from shared.condition import parsed
from shared.crypto.output import Item, unpack
from shared.documents.answer import AnswerDocument
from shared.documents.certificate import CertificateDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as, thumbprint
from shared.documents.keyring import KeyringDocument
from shared.documents.status import StatusDocument
from shared.documents.task import EXEC, TaskDocument
from shared.errors import CLASSES, Malformed, NotReady, PrivySealError, Tampered, Unavailable
from shared.labels import ANSWER
from shared.selectors import missing
from shared.trust.certificate import check_certificate
from shared.trust.group import NO_GROUPS, Groups, check_group, tags_of
from shared.values import Sealed

FINAL_STATES = frozenset({"done", "failed", "unknown", "cancelled", "expired"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """As the manager relays it. Only what `answer` signs counts; `state` and `code` are the manager's word."""

    task: str
    state: str
    code: str
    answer: str
    certificate: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified outcome: the delegate (thumbprint and name) and one item a target."""

    delegate: str
    name: str
    code: str
    items: tuple[Item, ...]


def open_outcome(
    outcome: Outcome,
    task: SignedTask,
    keyring: Verified[KeyringDocument],
    status: StatusDocument | None,
    now: int,
    groups: Groups = NO_GROUPS,
) -> Opened:
    """What a delegate of `keyring` answered to `task`. Raises Tampered for anything else, and the task's own error.

    A Tampered with the fact `group` is one that newer documents of `groups` may turn into an answer.

    Errors of single targets are among the items; an error of the whole task is raised.
    """
    answer, delegate, name = _verified(outcome, task, keyring, status, now, groups)
    document = answer.document
    if (document.sealed is None) != (not outcome.sealed):
        raise _forged("the sealed part of an answer is missing, or isn't covered by it")
    if document.sealed is None:
        if document.code in {"ok", "partial"}:
            raise _forged("an answer says that all went well, and seals nothing")
        raise _plain(document.code)
    if document.sealed != blob_digest(outcome.sealed):
        raise _forged("the sealed part isn't the one that the answer signs")
    place = Aad("answer", task.document.acct, task.document.keyring, version=task.digest)
    items = unpack(task.reader.open(Sealed(outcome.sealed), place.encode(ANSWER)))
    return Opened(delegate, name, document.code, _fitting(items, document.code, _count(task.document)))


def _verified(
    outcome: Outcome,
    task: SignedTask,
    keyring: Verified[KeyringDocument],
    status: StatusDocument | None,
    now: int,
    groups: Groups,
) -> tuple[Verified[AnswerDocument], str, str]:
    """(1) the keyring certifies the delegate, (2) it may have the task by its tags, (3) it is the named one, (4) it signed this."""
    certificate = check_certificate(outcome.certificate, keyring, status, now)
    key = certificate.document.key
    _check_tags(task, certificate.document, status, groups)
    if task.document.to is not None and task.document.to != thumbprint(key):
        raise _forged("the answer comes from another delegate than the task names")
    answer = parse_as(AnswerDocument, outcome.answer).verified_by(VerifyingKey.of(key))
    if answer.document.acct != task.document.acct or answer.document.task != task.digest:
        raise _forged("the answer is to another task")
    return answer, thumbprint(key), certificate.document.name


def _check_tags(
    task: SignedTask, certificate: CertificateDocument, status: StatusDocument | None, groups: Groups
) -> None:
    """(2), by the delegate's own tags and those of its group."""
    why, tags = "", tags_of(certificate, groups)
    try:
        check_group(certificate.group, groups, status)
    except NotReady:
        why = "whose group isn't known in its newest form"
    if missing(task.selectors, tags):
        why = "that doesn't carry the task's selectors"
    elif not all(parsed(one).holds(tags) for one in task.conditions):
        why = "that doesn't meet the task's conditions"
    if why:
        raise _forged(
            f"the answer comes from a delegate {why}", **({"group": certificate.group} if certificate.group else {})
        )


def raise_first(opened: Opened) -> None:
    """Raises the first error among the items."""
    for item in opened.items:
        if isinstance(item, PrivySealError):
            raise item


def _count(task: TaskDocument) -> int:
    """Items of an answer: a command has one outcome, whatever it uses."""
    return 1 if task.op == EXEC else len(task.targets)


def _fitting(items: list[Item], code: str, count: int) -> tuple[Item, ...]:
    failed = [item for item in items if isinstance(item, PrivySealError)]
    if code == "ok" and not failed and len(items) == count:
        return tuple(items)
    if code == "partial" and failed and len(items) == count:
        return tuple(items)
    if code not in {"ok", "partial"} and failed and len(failed) == len(items):
        # One problem for all, or one for each target: a task that failed altogether.
        if len(items) == 1:
            raise failed[0]
        if len(items) == count:
            return tuple(items)
    raise Malformed(
        "output_malformed", "a delegate's output doesn't fit its task", "update the delegate or this client"
    )


def _plain(code: str) -> PrivySealError:
    """A signed refusal without reasons: the delegate couldn't know whom to tell them."""
    name = "".join(part.capitalize() for part in code.split("_"))
    error = CLASSES.get(name, Unavailable)
    return error(
        code, f"a delegate refused the task ({code}) and could not seal the reason to this client", "see its log"
    )


def _forged(detail: str, **facts: str) -> Tampered:
    hint = "nothing of it was believed; find out what the manager does with answers"
    return Tampered("answer_forged", detail, hint, **facts)
