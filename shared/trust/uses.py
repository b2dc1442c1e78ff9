"""Uses: what a task may touch, each with the documents that say what it is and the authority of those who signed them.

The steps are those of docs/formats.md ("The warrant"). A credential is a use too, on behalf of the connector that names it:
not the task's signer but the connector's must be allowed to use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.secret import SecretDocument
from shared.documents.status import StatusDocument
from shared.documents.task import Target, TaskDocument
from shared.documents.usage import check_usage
from shared.errors import Conflict, Denied, Malformed
from shared.names import Reference, Scope
from shared.trust.authority import Authority
from shared.trust.pinned import Pinned

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "check": ("use",),
    "delete": ("delete",),
    "exec": ("exec", "reveal"),
    "reveal": ("reveal",),
    "store": ("edit",),
}
"""What an operation takes, all of it."""

LONGEST_CHAIN = 4
"""Connectors that stand on each other's secrets: one, that which holds its credentials, and so on."""


@dataclass(frozen=True, slots=True)
class Use:
    """One target or credential with the documents that say what it is; `secret` is None for a check."""

    target: Target
    secret: Verified[SecretDocument] | None
    connector: Verified[ConnectorDocument]


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges one task's uses."""

    task: TaskDocument
    kid: str
    pinned: Pinned
    keyring: Verified[KeyringDocument]
    authority: Authority
    status: StatusDocument
    now: int

    def use(self, target: Target) -> Use:
        """A target of the task. Raises Malformed, Denied, Conflict."""
        if target.excluded and self.task.op not in {"exec", "reveal"}:  # (8)
            raise Malformed("task_malformed", "only a reveal or exec accepts records of an excluded generation")
        if self.task.op == "check":
            return self._checked(target)
        if target.secret is None or target.connector is not None:
            raise Malformed("task_malformed", "the task's target is not a secret")
        self._check_version(target)
        secret = self.pinned.one(SecretDocument, target.secret)
        connector = self.pinned.one(ConnectorDocument, secret.document.connector)
        self._check_signer(Scope.parse(secret.document.scope), secret.document.id)
        # A version below the floor may still be deleted, and so may the whole secret (n is 0).
        self._check_secret(target, secret, connector, floor=self.task.op != "delete")
        self._check_connector(connector)
        return Use(target, secret, connector)

    def credentials(self, uses: Iterable[Use]) -> dict[str, dict[str, Use]]:
        """(10) The credentials of the connectors in use, and of those that hold them: connector id, reference, use.

        Raises Malformed for one that is missing, doubled, unneeded, or needed for itself, Denied where the signer of a
        connector may not use what it names.
        """
        places = self._places()
        judged: dict[Reference, Use] = {}
        found: dict[str, dict[str, Use]] = {}
        heights: dict[str, int] = {}

        def resolve(connector: Verified[ConnectorDocument], above: tuple[str, ...]) -> int:
            """How many others the connector stands on, one upon the other; each is resolved once."""
            document = connector.document
            if document.id in above:
                raise Malformed(
                    "credential_cycle",
                    f"Detected cyclic dependency in credentials of secret manager {document.identifier}",
                    "keep one of the credentials in another secret manager, such as the built-in one",
                )
            height = heights.get(document.id)
            if len(above) + (height or 0) >= LONGEST_CHAIN:
                raise Malformed(
                    "credential_chain_long",
                    f"the credentials of secret manager {document.identifier} stand on each other too deeply",
                    "keep them in the built-in secret manager",
                )
            if height is not None:
                return height
            height = 0
            for reference in document.secrets:
                place = Reference.parse(reference, Scope.parse(document.scope))
                if place not in places:
                    raise Malformed(
                        "pin_missing", f"the task doesn't name the credential {reference} of {document.identifier}"
                    )
                target, secret = places[place]
                self._check_user(connector, reference, secret)
                # Once for all connectors that name it: a task may have a thousand.
                if place not in judged:
                    judged[place] = self._credential(target, secret)
                use = judged[place]
                height = max(height, 1 + resolve(use.connector, (*above, document.id)))
                found.setdefault(document.id, {})[reference] = use
            heights[document.id] = height
            return height

        for connector in {use.connector.document.id: use.connector for use in uses}.values():
            resolve(connector, ())
        if places.keys() - judged.keys():
            raise Malformed("task_malformed", "the task names a credential that none of its connectors needs")
        return found

    def _places(self) -> dict[Reference, tuple[Target, Verified[SecretDocument]]]:
        """The credentials that the task names, by where they live."""
        places: dict[Reference, tuple[Target, Verified[SecretDocument]]] = {}
        for target in self.task.credentials:
            if target.secret is None or target.connector is not None or target.n < 1 or target.version is None:
                raise Malformed("task_malformed", "a credential of the task is not a version of a secret")
            # Neither an older credential nor one that may be forged is for the task's signer to choose: it isn't his.
            if not target.latest or target.excluded:
                raise Malformed(
                    "task_malformed", "a credential of the task is not meant to be the newest, or may be forged"
                )
            secret = self.pinned.one(SecretDocument, target.secret)
            place = Reference(Scope.parse(secret.document.scope), secret.document.identifier)
            if place in places:
                raise Malformed("task_malformed", "the task has two credentials of one name")
            places[place] = target, secret
        return places

    def _check_user(
        self, connector: Verified[ConnectorDocument], reference: str, secret: Verified[SecretDocument]
    ) -> None:
        """Whoever signed the connector, in its newest revision, may use what it names."""
        document = secret.document
        try:
            self.authority.chain(connector.kid, "use", Scope.parse(document.scope), document.id, self.now)
        except Denied as why:
            raise Denied(
                why.code,
                f"who signed secret manager {connector.document.identifier} may not use {reference}: {why.detail}",
                "somebody who may use that secret signs the connector anew",
            ) from None

    def _credential(self, target: Target, secret: Verified[SecretDocument]) -> Use:
        holder = self.pinned.one(ConnectorDocument, secret.document.connector)
        self._check_secret(target, secret, holder, floor=True)
        self._check_connector(holder)
        return Use(target, secret, holder)

    def _checked(self, target: Target) -> Use:
        if target.secret is not None or target.connector is None:
            raise Malformed("task_malformed", "a check is of a connector")
        if target.n or target.version is not None:
            raise Malformed("task_malformed", "a check is of no version")
        connector = self.pinned.one(ConnectorDocument, target.connector)
        self._check_signer(Scope.parse(connector.document.scope), connector.document.resource)
        self._check_connector(connector)
        return Use(target, None, connector)

    def _check_signer(self, scope: Scope, resource: str) -> None:
        """(5) Whoever signed the task holds all that its operation takes, for what it states."""
        for permission in PERMISSIONS[self.task.op]:
            self.authority.chain(self.kid, permission, scope, resource, self.now, self.task.usage)

    def _check_secret(
        self, target: Target, secret: Verified[SecretDocument], connector: Verified[ConnectorDocument], *, floor: bool
    ) -> None:
        """(6) The secret counts, and so does the version that is meant."""
        document = secret.document
        scope = Scope.parse(document.scope)
        self.authority.chain(secret.kid, "edit", scope, document.id, self.now)
        if document.deleted:
            raise Conflict("secret_deleted", "the secret was deleted")
        if not Scope.parse(connector.document.scope).covers(scope):
            raise Denied(
                "connector_out_of_scope", "the secret's connector lives in a scope that doesn't cover the secret"
            )
        if floor and target.n < self.status.secrets.get(document.id, 1):
            raise Denied("version_excluded", "the version is below the floor that the account's status sets")
        check_usage(document.usage, self.task.usage, f"the secret {document.identifier}")

    def _check_connector(self, connector: Verified[ConnectorDocument]) -> None:
        """(7) The connector counts, belongs to the task's keyring, and wants its delegates."""
        document = connector.document
        self.authority.chain(connector.kid, "edit", Scope.parse(document.scope), document.resource, self.now)
        if document.deleted:
            raise Conflict("connector_deleted", "the connector was deleted")
        if document.keyring != self.task.keyring:
            raise Denied("connector_of_other_keyring", "the connector belongs to another keyring than the task")
        platform = self.keyring.document.platform
        if platform and document.runs_on_delegate:
            raise Denied(
                "connector_not_for_platform",
                f"secret manager {document.identifier} is on a keyring of the platform, and doesn't say that it may be",
                "set executeOnDelegate: false in it, or choose a keyring of your own delegates",
            )
        if not platform and not document.runs_on_delegate:
            raise Denied(
                "connector_for_platform",
                f"secret manager {document.identifier} has executeOnDelegate: false and is on another keyring than the platform's",
                "choose a keyring that was made with: privyseal keyring new NAME --platform; or leave executeOnDelegate out",
            )
        check_usage(document.usage, self.task.usage, f"secret manager {document.identifier}")

    def _check_version(self, target: Target) -> None:
        """(8) A store makes n from the version before it; the other operations name the version itself."""
        first = self.task.op == "store" and target.n == 1
        if self.task.op == "delete" and target.n == 0:
            fits = target.version is None
        else:
            fits = target.n > 0 and (target.version is None) == first
        if not fits:
            raise Malformed("task_malformed", "the task's version doesn't fit its operation")
