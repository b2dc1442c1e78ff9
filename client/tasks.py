"""Tasks: what is asked of a delegate, with every document that it may act on pinned, signed and sealed.

Promises: the pins carry the whole credential chain as this client believes it now, so that a manager can neither add nor
exchange a document. Time, randomness and the reader key are arguments; nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from client.choice import Choice
from client.drafts import new_id
from client.patience import LASTING_SECONDS
from shared.aad import Aad
from shared.canonical import b64u, blob_digest, digest
from shared.command import Command, pack
from shared.crypto.identity import Identity
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey, seal
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Permission, Revisioned
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.task import LONGEST_SECONDS, REPEAT, KnownStatus, Pin, Target, TaskDocument, WantedSelector
from shared.documents.template import TemplateDocument
from shared.documents.usage import TaskUsage, check_usage
from shared.errors import Denied, NotReady
from shared.labels import INPUT
from shared.names import Reference, Scope
from shared.selectors import effective
from shared.trust.authority import Authority
from shared.trust.book import Book
from shared.trust.status import live
from shared.trust.uses import FETCH, PERMISSIONS, TEMPLATE_PERMISSIONS, fetched_resource
from shared.values import recipient_of_keyring

Operation = Literal["check", "delete", "exec", "reveal", "store"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One target with its documents; the rest is as in `Target`. `secret` is None for a connector itself, or what it reads."""

    secret: Verified[SecretDocument] | None
    connector: Verified[ConnectorDocument]
    n: int = 0
    version: str | None = None
    latest: bool = False
    excluded: bool = False
    reference: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def target(self) -> Target:
        """The task's words for it."""
        told: dict[str, Any] = {"reference": self.reference, "metadata": dict(self.metadata)}
        if self.secret is None:
            return Target(connector=self.connector.document.id, **told)
        id = self.secret.document.id
        return Target(secret=id, n=self.n, version=self.version, latest=self.latest, excluded=self.excluded, **told)


@dataclass(frozen=True, slots=True)
class SignedTask:
    """A task ready to be sent, with what is needed to verify and open its answer."""

    document: TaskDocument
    compact: str
    digest: str
    reader: SealingKey
    selectors: frozenset[str]
    conditions: frozenset[str]
    inputs: tuple[bytes, ...] = ()
    documents: tuple[str, ...] = ()
    """New documents that are published together with its outcome."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A task before it is signed, and what is sent or looked at with it."""

    document: TaskDocument
    selectors: frozenset[str]
    conditions: frozenset[str]
    inputs: tuple[bytes, ...]


def sign_task(
    book: Book,
    identity: Identity,
    op: Operation,
    subjects: Sequence[Subject],
    reader: SealingKey,
    now: int,
    *,
    values: Sequence[Plaintext] = (),
    command: Command | None = None,
    seconds: int | None = None,
    selectors: Iterable[str] = (),
    to: str | None = None,
    credentials: Sequence[Subject] = (),
    documents: Sequence[str] = (),
    lasting_seconds: int = LASTING_SECONDS,
    usage: TaskUsage | None = None,
) -> SignedTask:
    """A signed task on `subjects`, which all belong to one keyring; `values` are sealed to it, one a subject.

    `command` may run for `seconds` (exec). `credentials` are the newest versions of what their connectors name, and so on.
    `to` is the thumbprint of the one delegate for an operation that may happen once only; `usage` what all of it is for.
    Raises NotReady for an expired status, Denied where a chain doesn't hold or something is for another usage.
    """
    draft = draft_task(
        book,
        identity.kid,
        op,
        subjects,
        reader,
        now,
        values=values,
        command=command,
        seconds=seconds,
        selectors=selectors,
        to=to,
        credentials=credentials,
        lasting_seconds=lasting_seconds,
        usage=usage,
    )
    compact = identity.sign_document(draft.document)
    return SignedTask(
        draft.document,
        compact,
        digest(compact),
        reader,
        draft.selectors,
        draft.conditions,
        draft.inputs,
        tuple(documents),
    )


def draft_task(
    book: Book,
    kid: str,
    op: Operation,
    subjects: Sequence[Subject],
    reader: SealingKey,
    now: int,
    *,
    values: Sequence[Plaintext] = (),
    command: Command | None = None,
    seconds: int | None = None,
    selectors: Iterable[str] = (),
    to: str | None = None,
    credentials: Sequence[Subject] = (),
    lasting_seconds: int = LASTING_SECONDS,
    usage: TaskUsage | None = None,
) -> Draft:
    """What `sign_task` signs, for the key of that thumbprint."""
    status = live(book.status, now)
    _check_places((*subjects, *credentials))
    _check_usage((*subjects, *credentials), usage)
    keyring = keyring_of(book, subjects[0].connector)
    wanted = Choice.of(selectors)
    inputs = tuple(
        _sealed(book.id, keyring, subject, value) for subject, value in zip(subjects, values, strict=bool(values))
    )
    jti = new_id()
    if command is not None:
        place = Aad("exec", book.id, keyring.document.id, version=jti)
        inputs = (seal(recipient_of_keyring(keyring), Plaintext(pack(command)), place.encode(INPUT)).raw,)
    longest = LONGEST_SECONDS[REPEAT[op]]
    document = TaskDocument(
        v=1,
        acct=book.id,
        keyring=keyring.document.id,
        gen=keyring.document.gen,
        op=op,
        repeat="any" if REPEAT[op] == "any" else "never",
        to=to,
        targets=tuple(subject.target() for subject in subjects),
        credentials=tuple(subject.target() for subject in credentials),
        pins=_pins(book, kid, op, subjects, credentials, keyring, now, usage),
        selectors=tuple(WantedSelector(selector, wanted.origin) for selector in wanted),
        where=wanted.where,
        status=KnownStatus(status.document.rev, status.digest),
        reader=b64u(reader.public.raw),
        input=tuple(blob_digest(one) for one in inputs),
        seconds=seconds,
        usage=usage,
        jti=jti,
        iat=now,
        exp=now + min(longest, lasting_seconds),
    )
    used = [one.document for one in connectors_in_use((*subjects, *credentials))]
    return Draft(
        document,
        effective(
            ((selector, wanted.origin) for selector in wanted),
            (selector for one in used for selector in one.selectors),
        ),
        frozenset({wanted.where, *(one.where for one in used)} - {""}),
        inputs,
    )


def connectors_in_use(subjects: Iterable[Subject]) -> list[Verified[ConnectorDocument]]:
    """Those whose selectors and conditions count: all but an SSHKey's, which keeps nothing."""
    return [one.connector for one in subjects if one.secret is None or one.secret.document.type != SSH_KEY]


def _check_places(subjects: Iterable[Subject]) -> None:
    """Before anything is sealed: an id alone is no name, and who may sign below could use the id of a connector above."""
    for subject in subjects:
        place = Scope.parse(subject.connector.document.scope)
        if subject.secret is not None and not place.covers(Scope.parse(subject.secret.document.scope)):
            raise Denied(
                "connector_out_of_scope",
                "the secret's connector lives in a scope that doesn't cover the secret",
                "don't trust this manager until you know why it shows that connector",
            )


def _check_usage(subjects: Iterable[Subject], usage: TaskUsage | None) -> None:
    """As a delegate will, but before anything is sent."""
    for subject in subjects:
        if subject.secret is not None:
            secret = subject.secret.document
            check_usage(secret.usage, usage, f"the secret {secret.identifier}")
        connector = subject.connector.document
        check_usage(connector.usage, usage, f"secret manager {connector.identifier}")


def keyring_of(book: Book, connector: Verified[ConnectorDocument]) -> Verified[KeyringDocument]:
    """The keyring that serves a connector. Raises NotReady when no document of it is known."""
    keyring = book.keyrings.get(connector.document.keyring)
    if keyring is None:
        raise NotReady(
            "keyring_missing",
            f"no document of the keyring {connector.document.keyring} is known",
            "an administrator publishes it: privyseal keyring new",
        )
    return keyring


def _sealed(account: str, keyring: Verified[KeyringDocument], subject: Subject, value: Plaintext) -> bytes:
    assert subject.secret is not None
    secret = subject.secret.document
    place = Aad(
        "store", account, keyring.document.id, secret.scope, secret.id, subject.n, "", subject.connector.document.id
    )
    return seal(recipient_of_keyring(keyring), value, place.encode(INPUT)).raw


def _pins(
    book: Book,
    kid: str,
    op: Operation,
    subjects: Sequence[Subject],
    credentials: Sequence[Subject],
    keyring: Verified[KeyringDocument],
    now: int,
    usage: TaskUsage | None,
) -> tuple[Pin, ...]:
    """The account, the keyring, each secret and connector, and the grants that carry their signers and the task's.

    And those by which a connector's signer may use the secrets that the connector names.
    """
    if book.account is None:
        raise NotReady("account_documents_missing", "no account document is known yet", "sync first")
    authority = book.authority
    pins: dict[str, Pin] = {}
    for document in (book.account, keyring):
        _pin(pins, document)
    for subject in subjects:
        about = (subject.secret or subject.connector).document
        scope, resource, permissions = Scope.parse(about.scope), _resource(about), PERMISSIONS[op]
        if subject.secret is None and subject.reference:
            resource = fetched_resource(subject.connector.document, subject.reference)
            permissions += (FETCH,)
        for permission in permissions:
            _pin_chain(pins, authority, kid, permission, scope, resource, now, usage)
    for subject in (*subjects, *credentials):
        for thing in (subject.secret, subject.connector):
            if thing is not None and thing.digest not in pins:
                _pin(pins, thing)
                scope, resource = Scope.parse(thing.document.scope), _resource(thing.document)
                _pin_chain(pins, authority, thing.kid, "edit", scope, resource, now)
    templates = {
        one.document.template.id: template_of(book, one.document)
        for one in (subject.connector for subject in (*subjects, *credentials))
        if one.document.template is not None
    }
    for template in templates.values():
        _pin(pins, template)
        for permission in TEMPLATE_PERMISSIONS:
            _pin_chain(pins, authority, template.kid, permission, Scope.parse(template.document.scope), None, now)
    held = {place_of(one.secret.document): one.secret.document for one in credentials if one.secret is not None}
    connectors = {one.connector.digest: one.connector for one in (*subjects, *credentials)}.values()
    logins = {
        one.secret.digest: one.secret for one in (*subjects, *credentials) if one.secret and one.secret.document.secrets
    }
    holders: list[Verified[Any]] = [*connectors, *templates.values(), *logins.values()]
    for holder in holders:
        for place in places_of(holder.document):
            if (secret := held.get(place)) is not None:
                try:
                    _pin_chain(pins, authority, holder.kid, "use", Scope.parse(secret.scope), secret.id, now)
                except Denied as why:
                    raise Denied(
                        why.code,
                        f"whoever signed the {holder.kind} {holder.document.identifier} may not use the secret {place} that it "
                        f"names ({why.detail})",
                        "somebody who may use it signs it anew: privyseal apply",
                    ) from None
    return tuple(pins.values())


def template_of(book: Book, connector: ConnectorDocument) -> Verified[TemplateDocument]:
    """The template that a connector runs. Raises NotReady where it isn't known."""
    assert connector.template is not None
    found = book.head("template", connector.template.id)
    if found is None or not isinstance(found.document, TemplateDocument):
        raise NotReady(
            "template_missing",
            f"the template of the connector {connector.identifier} isn't known",
            "look whether it was deleted or lies outside of your grants: privyseal template list",
        )
    return cast("Verified[TemplateDocument]", found)


def _resource(document: SecretDocument | ConnectorDocument) -> str:
    return document.resource if isinstance(document, ConnectorDocument) else document.id


def place_of(document: SecretDocument | ConnectorDocument) -> Reference:
    """Where a secret or connector lives."""
    return Reference(Scope.parse(document.scope), document.identifier)


def places_of(document: ConnectorDocument | SecretDocument | TemplateDocument) -> tuple[Reference, ...]:
    """The secrets that a connector, a template or an SSHKey names."""
    here = Scope.parse(document.scope)
    named = document.content.secrets if isinstance(document, TemplateDocument) else document.secrets
    return tuple(Reference.parse(one, here) for one in named)


def _pin_chain(
    pins: dict[str, Pin],
    authority: Authority,
    kid: str,
    permission: Permission,
    scope: Scope,
    resource: str | None,
    now: int,
    usage: TaskUsage | None = None,
) -> None:
    for grant in authority.chain(kid, permission, scope, resource, now, usage).grants:
        _pin(pins, grant)


def _pin(pins: dict[str, Pin], one: Verified[Revisioned]) -> None:
    kind = one.kind
    assert kind in {"account", "keyring", "grant", "connector", "secret", "template"}
    pins.setdefault(one.digest, Pin(kind, getattr(one.document, "id", ""), one.document.rev, one.digest))  # type: ignore[arg-type]
