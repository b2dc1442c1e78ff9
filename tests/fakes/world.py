"""A world: one small account with everything that a task needs, made with real keys and real signatures.

    world = World()                                      # root, administrator, keyring, connector, status, delegate
    reader = world.identity("reader")                    # the same name gives the same key, in every run
    world.grant(reader, ["reveal"], scope="org/acme")    # signed by the administrator, and known to the world
    secret = world.secret("password", scope="org/acme")
    version = world.store(secret, b"hunter2")            # store task, sealed input, and the record that it becomes
    task = world.reveal([version], reader)               # signed, with the right pins and credentials
    warrant(world.book(), task, world.now)
    world.store(world.secret("key"), b"AKIA...")         # a credential, in the built-in secret manager
    kms = world.connector_with("kms", ["account.key"])   # a connector that names it
    login = world.login("login", ["key"])                # an SSHKey that does
    template = world.template("script")                  # and a custom secret manager, which runs a template
    custom = world.custom("custom", template, ["account.login"])
    task = world.fetch(custom, "a/b", reader)            # what a connector reads without a secret

`publish` signs a document and makes it part of the world: `book()` admits it and tasks pin it. `sign` only signs, for
forgeries. `revise` makes the next revision. Every task method takes `**changes`, fields of the TaskDocument that are
then other than right. Time is `world.now`, a number that a test may change. No I/O, no clock, no randomness but the
encapsulations of sealed values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from msgspec import structs

from shared.aad import Aad
from shared.canonical import b64u, blob_digest, encode
from shared.command import Command
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey, seal
from shared.documents.account import AccountDocument, Administrator, account_id
from shared.documents.certificate import CertificateDocument
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.fields import Payload, Permission, Revisioned
from shared.documents.grant import DAY, PERMISSIONS, GrantDocument
from shared.documents.jws import Verified, parse_as, thumbprint
from shared.documents.keyring import KeyringDocument
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.status import DEFAULT_SECONDS, StatusDocument
from shared.documents.task import REPEAT, KnownStatus, Pin, Target, TaskDocument
from shared.documents.template import TemplateDocument, TemplateUse, content_digest
from shared.labels import INPUT
from shared.names import Reference, Scope
from shared.trust.book import Book
from shared.values import Sealed, Wrapped, recipient_of_keyring
from tests.fakes.papers import KEYRING, NOW, Papers
from tests.fakes.records import make_record, open_record

__all__ = ["KEYRING", "NOW", "Execution", "Version", "World", "pins_of"]

P = TypeVar("P", bound=Payload)
R = TypeVar("R", bound=Revisioned)


@dataclass(frozen=True, slots=True)
class Version:
    """Version `n` of a secret: the store task that makes it, the sealed input that goes with it, the record it becomes."""

    secret: Verified[SecretDocument]
    n: int
    task: Verified[TaskDocument]
    input: Sealed
    record: Wrapped

    def target(self, **changes: Any) -> Target:
        """This version as the target of a reveal or delete."""
        return structs.replace(Target(secret=self.secret.document.id, n=self.n, version=self.task.digest), **changes)


@dataclass(frozen=True, slots=True)
class Execution:
    """A command that runs on this world's delegate: its task, and the sealed input that goes with it."""

    task: Verified[TaskDocument]
    input: Sealed


class World(Papers):
    """One account, seen from everywhere at once."""

    def __init__(self, now: int = NOW, name: str = "world") -> None:
        self.now = now
        self.name = name
        self.root = self.identity("root")
        self.administrator = self.identity("administrator")
        self.delegate = self.identity("delegate")
        self.reader = SealingKey(self.seed("reader"))
        """Opens answers: the tasks of this world name its public half."""
        self._tasks = 0
        self.documents: list[str] = []
        """All that was published, compact, in an order in which a book can take it in."""
        self._heads: dict[tuple[str, str], Verified[Any]] = {}
        self._versions: dict[str, Version] = {}
        first = AccountDocument(
            v=1,
            acct="",
            name=name,
            roots=(self.root.key,),
            administrators=(Administrator("administrator", self.administrator.key),),
            rev=1,
            iat=now,
        )
        self.id = account_id(first)
        self.publish(structs.replace(first, acct=self.id), self.root)
        self.keyring = Keyring(self.id, KEYRING, [(1, self.seed("generation 1"))])
        self.publish(self.keyring.document(1, None, now), self.administrator)
        self.publish(
            StatusDocument(v=1, acct=self.id, id="status", rev=1, iat=now, exp=now + DEFAULT_SECONDS),
            self.administrator,
        )
        self.connector = self.publish(
            ConnectorDocument(
                v=1,
                acct=self.id,
                id=self.opaque("connector local"),
                scope="account",
                identifier="local",
                name="local",
                type="Local",
                keyring=KEYRING,
                rev=1,
                iat=now,
            ),
            self.administrator,
        )

    def sign(self, payload: P, signer: Identity) -> Verified[P]:
        """The document, signed by whomever, and not part of the world."""
        return parse_as(type(payload), signer.sign_document(payload)).verified_by(signer.public)

    def publish(self, payload: R, signer: Identity | None = None) -> Verified[R]:
        """The document, signed (by the administrator unless said otherwise) and part of the world."""
        return self.keep(self.sign(payload, signer or self.administrator))

    def keep(self, signed: Verified[R]) -> Verified[R]:
        """A signed document becomes part of the world."""
        self.documents.append(signed.compact)
        self._heads[signed.kind, getattr(signed.document, "id", "")] = signed
        return signed

    def next(self, old: Verified[R], signer: Identity | None = None, **changes: Any) -> Verified[R]:
        """The revision after `old`, signed and not part of the world."""
        followed: dict[str, Any] = {"rev": old.document.rev + 1, "prev": old.digest, "iat": self.now}
        return self.sign(structs.replace(old.document, **{**followed, **changes}), signer or self.administrator)

    def revise(self, old: Verified[R], signer: Identity | None = None, **changes: Any) -> Verified[R]:
        """The revision after `old`, part of the world."""
        return self.keep(self.next(old, signer, **changes))

    @property
    def account_document(self) -> Verified[AccountDocument]:
        """The newest one."""
        return self._heads["account", "account"]

    @property
    def keyring_document(self) -> Verified[KeyringDocument]:
        """The newest one."""
        return self._heads["keyring", KEYRING]

    @property
    def status(self) -> Verified[StatusDocument]:
        """The newest one."""
        return self._heads["status", "status"]

    def revise_status(self, signer: Identity | None = None, **changes: Any) -> Verified[StatusDocument]:
        """The next status: `grants`, `keys`, `secrets`, `keyrings`, `exp`, `base`."""
        return self.revise(self.status, signer, **{"exp": self.now + DEFAULT_SECONDS, "base": None, **changes})

    def rotate(self, floor: int = 1) -> Verified[KeyringDocument]:
        """A further generation of the keyring, and its document, with the certifiers from `floor` on."""
        old = self.keyring_document
        self.keyring = self.keyring.rotated(self.seed(f"generation {self.keyring.newest.number + 1}"))
        return self.publish(self.keyring.document(old.document.rev + 1, old.digest, self.now, floor))

    def grant(
        self,
        to: Identity,
        permissions: Sequence[Permission] = PERMISSIONS,
        scope: str = "account",
        signer: Identity | None = None,
        **changes: Any,
    ) -> Verified[GrantDocument]:
        """A published grant. Signed by another than the administrator, it needs `parent`, the id of the signer's own."""
        return self.publish(self.grant_document(to, permissions, scope, **changes), signer)

    def connector_with(
        self,
        identifier: str,
        secrets: Sequence[str],
        scope: str = "account",
        signer: Identity | None = None,
        **changes: Any,
    ) -> Verified[ConnectorDocument]:
        """A published connector whose kind gets the values of `secrets`, references as in its scope."""
        named = {"type": "AwsKms", "secrets": tuple(sorted(secrets)), **changes}
        return self.publish(self.connector_document(identifier, scope, **named), signer)

    def template(
        self, identifier: str, scope: str = "account", signer: Identity | None = None, **changes: Any
    ) -> Verified[TemplateDocument]:
        """A published template."""
        return self.publish(self.template_document(identifier, scope, **changes), signer)

    def custom(
        self,
        identifier: str,
        template: Verified[TemplateDocument],
        secrets: Sequence[str] = (),
        scope: str = "account",
        signer: Identity | None = None,
        **changes: Any,
    ) -> Verified[ConnectorDocument]:
        """A published custom secret manager that runs that template as it is; the first of `secrets` is its connectorRef."""
        runs = TemplateUse(id=template.document.id, content=content_digest(template.document))
        spec = {"connectorRef": secrets[0]} if secrets else {}
        fields = {"type": CUSTOM, "template": runs, "spec": spec, **changes}
        return self.connector_with(identifier, secrets, scope, signer, **fields)

    def secret(
        self, identifier: str, scope: str = "account", signer: Identity | None = None, **changes: Any
    ) -> Verified[SecretDocument]:
        """A published secret without a version."""
        return self.publish(self.secret_document(identifier, scope, **changes), signer)

    def login(
        self,
        identifier: str,
        secrets: Sequence[str] = (),
        scope: str = "account",
        signer: Identity | None = None,
        **changes: Any,
    ) -> Verified[SecretDocument]:
        """A published SSHKey that names those secrets."""
        named = {"type": SSH_KEY, "spec": {"auth": {"type": "SSH"}}, "secrets": tuple(sorted(secrets)), **changes}
        return self.secret(identifier, scope, signer, **named)

    def certificate(self, certifier: Identity | None = None, **changes: Any) -> Verified[CertificateDocument]:
        """The delegate's certificate for six days, by the newest generation's certifying key unless said otherwise."""
        document = CertificateDocument(
            v=1,
            acct=self.id,
            keyring=KEYRING,
            gen=self.keyring.newest.number,
            key=self.delegate.key,
            name="delegate",
            tags=("delegate",),
            iat=self.now,
            exp=self.now + 6 * DAY,
        )
        return self.sign(structs.replace(document, **changes), certifier or self.keyring.newest.certifying)

    def book(self, now: int | None = None) -> Book:
        """A new book that has admitted everything published; raises the first refusal."""
        book = Book(self.id)
        for compact in self.documents:
            book.admit(compact, self.now if now is None else now)
        return book

    def credentials(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """The newest versions of what the connectors of `targets` name, and theirs in turn; none for what has none."""
        live = [one for (kind, _), one in self._heads.items() if kind == "secret" and not one.document.deleted]
        by_place = {Reference(Scope.parse(one.document.scope), one.document.identifier): one for one in live}
        found: dict[str, Target] = {}
        waiting = [one for target in targets for one in self._naming(target)]
        while waiting:
            naming = waiting.pop().document
            for reference in naming.secrets:
                secret = by_place.get(Reference.parse(reference, Scope.parse(naming.scope)))
                target = self._newest_of(secret) if secret is not None else None
                if target is not None and target.secret is not None and target.secret not in found:
                    found[target.secret] = target
                    waiting += self._naming(target)
        return tuple(found.values())

    def _newest_of(self, secret: Verified[SecretDocument]) -> Target | None:
        """Its newest version as a credential; an SSHKey has none, and is one."""
        if secret.document.type == SSH_KEY:
            return Target(secret=secret.document.id, latest=True)
        version = self._versions.get(secret.document.id)
        return version.target(latest=True) if version else None

    def _naming(self, target: Target) -> list[Verified[Any]]:
        """What names the secrets that the target stands on: its connector, or itself where it is an SSHKey."""
        secret = self._heads.get(("secret", target.secret or ""))
        if secret is not None and secret.document.type == SSH_KEY:
            return [secret]
        return [one for one in self._of(target) if one.kind == "connector"]

    def _of(self, target: Target) -> list[Verified[Any]]:
        """The secret, where there is one, the connector, and what that runs; as far as the world knows them."""
        secret = self._heads.get(("secret", target.secret or ""))
        id = target.connector if secret is None else secret.document.connector
        connector = self._heads.get(("connector", id or ""))
        runs = connector.document.template if connector is not None else None
        template = self._heads.get(("template", runs.id)) if runs is not None else None
        return [one for one in (secret, connector, template) if one is not None]

    def pins(
        self, targets: Sequence[Target], signer: Identity, credentials: Sequence[Target] | None = None
    ) -> tuple[Pin, ...]:
        """Everything that a task of `signer` about `targets` acts on, as the world knows it."""
        held = self.credentials(targets) if credentials is None else credentials
        things = [thing for target in (*targets, *held) for thing in self._of(target)]
        signers = {signer.kid, *(thing.kid for thing in things)}
        grants = (grant for kid in sorted(signers) for grant in self.chain(kid))
        return pins_of([self.account_document, self.keyring_document, *things, *grants])

    def chain(self, kid: str) -> list[Verified[GrantDocument]]:
        """The grants to that key, and those that they stand on."""
        grants: dict[str, Verified[GrantDocument]] = {}
        waiting = [
            one
            for (kind, _), one in self._heads.items()
            if kind == "grant" and thumbprint(one.document.principal.key) == kid
        ]
        while waiting:
            grant = waiting.pop()
            if grant.document.id not in grants:
                grants[grant.document.id] = grant
                parent = self._heads.get(("grant", grant.document.parent or ""))
                waiting += [parent] if parent else []
        return list(grants.values())

    def task(
        self, op: str, targets: Sequence[Target], signer: Identity | None = None, **changes: Any
    ) -> Verified[TaskDocument]:
        """A signed task that may start for a minute from now; `changes` are fields that are other than right."""
        signer = signer or self.administrator
        repeat = REPEAT[op]
        credentials = changes["credentials"] if "credentials" in changes else self.credentials(targets)
        self._tasks += 1
        fields: dict[str, Any] = {
            "v": 1,
            "acct": self.id,
            "keyring": KEYRING,
            "gen": self.keyring.newest.number,
            "op": op,
            "repeat": repeat,
            "to": self.delegate.kid if repeat == "never" else None,
            "targets": tuple(targets),
            "credentials": credentials,
            "pins": self.pins(targets, signer, credentials) if "pins" not in changes else (),
            "status": KnownStatus(self.status.document.rev, self.status.digest),
            "reader": b64u(self.reader.public.raw),
            "seconds": 60 if op == "exec" else None,
            "jti": self.opaque(f"task {self._tasks}"),
            "iat": self.now,
            "exp": self.now + 60,
        }
        return self.sign(TaskDocument(**{**fields, **changes}), signer)

    def store(
        self,
        secret: Verified[SecretDocument],
        value: bytes,
        signer: Identity | None = None,
        after: Version | None = None,
        **changes: Any,
    ) -> Version:
        """The version after `after` (None: the first), with the record that a delegate makes of it."""
        n = after.n + 1 if after else 1
        info = self.place(secret, n, "").encode(INPUT)
        sealed = seal(recipient_of_keyring(self.keyring_document), Plaintext(value), info)
        target = Target(secret=secret.document.id, n=n, version=after.task.digest if after else None)
        task = self.task("store", [target], signer, **{"input": (blob_digest(sealed.raw),), **changes})
        version = Version(secret, n, task, sealed, self.record(value, self.place(secret, n, task.digest)))
        if secret.document.id not in self._versions or n >= self._versions[secret.document.id].n:
            self._versions[secret.document.id] = version
        return version

    def reveal(
        self, versions: Sequence[Version], signer: Identity | None = None, **changes: Any
    ) -> Verified[TaskDocument]:
        """A task that asks for these versions."""
        return self.task("reveal", [version.target() for version in versions], signer, **changes)

    def fetch(
        self,
        connector: Verified[ConnectorDocument],
        reference: str,
        signer: Identity | None = None,
        metadata: dict[str, str] | None = None,
        **changes: Any,
    ) -> Verified[TaskDocument]:
        """A task that asks for what the connector reads there, without a secret document."""
        target = Target(connector=connector.document.id, reference=reference, metadata=metadata or {})
        return self.task("reveal", [target], signer, **changes)

    def exec(
        self,
        versions: Sequence[Version | Target],
        signer: Identity | None = None,
        argv: Sequence[str] = ("true",),
        names: Sequence[str] | None = None,
        env: dict[str, str] | None = None,
        directory: str = "",
        **changes: Any,
    ) -> Execution:
        """A task that runs a command on this world's delegate, with these versions in its environment as `names`."""
        names = [f"SECRET_{at}" for at in range(1, len(versions) + 1)] if names is None else names
        jti = changes.pop("jti", self.opaque(f"task {self._tasks + 1}"))
        command = Command(argv=tuple(argv), names=tuple(names), env=env or {}, directory=directory)
        info = Aad("exec", self.id, KEYRING, version=jti).encode(INPUT)
        sealed = seal(recipient_of_keyring(self.keyring_document), Plaintext(encode(command)), info)
        fields = {"input": (blob_digest(sealed.raw),), "jti": jti, **changes}
        targets = [one.target() if isinstance(one, Version) else one for one in versions]
        return Execution(self.task("exec", targets, signer, **fields), sealed)

    def delete(
        self,
        secret: Verified[SecretDocument],
        version: Version | None = None,
        signer: Identity | None = None,
        **changes: Any,
    ) -> Verified[TaskDocument]:
        """A task that deletes one version, or (None) the whole secret, on this world's delegate."""
        target = version.target() if version else Target(secret=secret.document.id)
        return self.task("delete", [target], signer, **changes)

    def check(
        self, connector: Verified[ConnectorDocument], signer: Identity | None = None, **changes: Any
    ) -> Verified[TaskDocument]:
        """A task that probes a connector."""
        return self.task("check", [Target(connector=connector.document.id)], signer, **changes)

    def check_login(
        self, login: Verified[SecretDocument], host: str = "host", signer: Identity | None = None, **changes: Any
    ) -> Verified[TaskDocument]:
        """A task that tries an SSHKey at a host."""
        return self.task("check", [Target(secret=login.document.id, reference=host)], signer, **changes)

    # Stored values, as the built-in secret manager of a delegate makes and opens them.

    def place(self, secret: Verified[SecretDocument], n: int, version: str) -> Aad:
        """Where a record of that version belongs."""
        document = secret.document
        return Aad("store", self.id, KEYRING, document.scope, document.id, n, version, document.connector)

    def record(self, value: bytes, place: Aad) -> Wrapped:
        """The record of `value` at `place`."""
        key, salt = self.seed(f"key {place.version}"), self.seed(f"salt {place.version}")
        return make_record(self.keyring.newest, place, value, key, salt)

    def open(self, wrapped: Wrapped, place: Aad) -> Plaintext:
        """The value of a record at `place`. Raises Malformed, Tampered, NotReady."""
        return open_record(self.keyring, place, wrapped)


def pins_of(documents: Sequence[Verified[Any]]) -> tuple[Pin, ...]:
    """A pin for each of them, without doubles."""
    pins = {
        one.digest: Pin(cast(Any, one.kind), getattr(one.document, "id", ""), one.document.rev, one.digest)
        for one in documents
    }
    return tuple(pins.values())
