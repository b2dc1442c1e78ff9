"""Uses: what a task may touch, each with the documents that say what it is and the authority of those who signed them.

The steps are those of docs/formats.md ("The warrant"). What its connectors stand on is `shared.trust.credentials`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.status import StatusDocument
from shared.documents.task import EXEC, Target, TaskDocument
from shared.documents.template import TemplateDocument, TemplateUse, content_digest
from shared.documents.usage import check_usage
from shared.errors import Conflict, Denied, Malformed
from shared.names import Reference, Scope, has_path_form
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

TEMPLATE_PERMISSIONS: tuple[Permission, ...] = ("edit", "exec")
"""What who signs a template holds over its scope."""

FETCH: Permission = "fetch"
"""What it takes besides to have a connector read what no secret document names."""

DIRECT_METADATA = frozenset({"version"})
"""What may be said besides the path of what is fetched directly: a grant is for a path, so nothing that leads elsewhere."""


@dataclass(frozen=True, slots=True)
class Use:
    """One target or credential with the documents that say what it is; `secret` is None for a connector itself."""

    target: Target
    secret: Verified[SecretDocument] | None
    connector: Verified[ConnectorDocument]

    @property
    def is_login(self) -> bool:
        """Whether it is an SSHKey, whose connector only says whose delegates it is for."""
        return self.secret is not None and self.secret.document.type == SSH_KEY


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges one task's uses; `templates` are those of the connectors that it has judged, by the connectors' ids."""

    task: TaskDocument
    kid: str
    pinned: Pinned
    keyring: Verified[KeyringDocument]
    authority: Authority
    status: StatusDocument
    now: int
    templates: dict[str, Verified[TemplateDocument]] = field(default_factory=dict)

    def use(self, target: Target) -> Use:
        """A target of the task. Raises Malformed, Denied, Conflict."""
        if target.excluded and self.task.op not in {"exec", "reveal"}:  # (8)
            raise Malformed("task_malformed", "only a reveal or exec accepts records of an excluded generation")
        if self.task.op == "check":
            return self._checked(target)
        if target.reference and self.task.op in {EXEC, "reveal"}:
            return self._fetched(target)
        if target.secret is None or target.connector is not None or target.reference or target.metadata:
            raise Malformed("task_malformed", "the task's target is not a secret")
        self._check_version(target)
        secret = self.pinned.one(SecretDocument, target.secret)
        connector = self.pinned.one(ConnectorDocument, secret.document.connector)
        if secret.document.type == SSH_KEY:
            raise Malformed("task_malformed", "an SSHKey has no value", "it is for connectors: name it in connectorRef")
        self._check_signer(Scope.parse(secret.document.scope), secret.document.id)
        # A version below the floor may still be deleted, and so may the whole secret (n is 0).
        self.check_secret(target, secret, connector, floor=self.task.op != "delete")
        self.check_connector(connector)
        return Use(target, secret, connector)

    def _checked(self, target: Target) -> Use:
        if target.n or target.version is not None or target.metadata:
            raise Malformed("task_malformed", "a check is of no version")
        if target.secret is not None:
            return self._checked_login(target, target.secret)
        if target.connector is None or target.reference:
            raise Malformed("task_malformed", "a check is of a connector")
        connector = self.pinned.one(ConnectorDocument, target.connector)
        self._check_signer(Scope.parse(connector.document.scope), connector.document.resource)
        self.check_connector(connector)
        return Use(target, None, connector)

    def _checked_login(self, target: Target, id: str) -> Use:
        """A check of an SSHKey at the host that the target names."""
        if target.connector is not None or not target.reference:
            raise Malformed("task_malformed", "a check of an SSHKey names a host")
        secret = self.pinned.one(SecretDocument, id)
        if secret.document.type != SSH_KEY:
            raise Malformed("task_malformed", "a check is of a connector or of an SSHKey")
        holder = self.pinned.one(ConnectorDocument, secret.document.connector)
        self._check_signer(Scope.parse(secret.document.scope), secret.document.id)
        self.check_secret(target, secret, holder, floor=False)
        self.check_connector(holder)
        return Use(target, secret, holder)

    def _fetched(self, target: Target) -> Use:
        """What a connector is to read without a secret document, by whoever is granted that over the path."""
        if target.secret is not None or target.connector is None or target.n or target.version or target.latest:
            raise Malformed("task_malformed", "what is fetched directly is read by a connector, in no version of ours")
        if target.excluded or target.metadata.keys() - DIRECT_METADATA:
            raise Malformed(
                "task_malformed", "what is fetched directly has no record, and only a version besides its path"
            )
        connector = self.pinned.one(ConnectorDocument, target.connector)
        resource = fetched_resource(connector.document, target.reference)
        self._check_signer(Scope.parse(connector.document.scope), resource, FETCH)
        self.check_connector(connector)
        return Use(target, None, connector)

    def _check_signer(self, scope: Scope, resource: str, *besides: Permission) -> None:
        """(5) Whoever signed the task holds all that its operation takes, for what it states."""
        for permission in (*PERMISSIONS[self.task.op], *besides):
            self.authority.chain(self.kid, permission, scope, resource, self.now, self.task.usage)

    def check_secret(
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

    def check_connector(self, connector: Verified[ConnectorDocument]) -> None:
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
        if document.template is not None and document.id not in self.templates:
            self.templates[document.id] = self._template(document, document.template)

    def _template(self, connector: ConnectorDocument, wanted: TemplateUse) -> Verified[TemplateDocument]:
        """What the connector runs: by those who may make it run, and what the connector's signer has seen."""
        template = self.pinned.one(TemplateDocument, wanted.id)
        document, scope = template.document, Scope.parse(template.document.scope)
        for permission in TEMPLATE_PERMISSIONS:
            self.authority.chain(template.kid, permission, scope, None, self.now)
        if document.deleted:
            raise Conflict("template_deleted", f"the template of secret manager {connector.identifier} was deleted")
        if content_digest(document) != wanted.content:
            raise Denied(
                "template_changed",
                f"the template {document.identifier} isn't the one that who signed secret manager {connector.identifier} has seen",
                "somebody looks at it and signs the connector anew: privyseal template reconcile",
            )
        here = Scope.parse(connector.scope)
        if not scope.covers(here):
            raise Denied("template_out_of_scope", "the connector's template lives in a scope that doesn't cover it")
        named = {Reference.parse(one, here) for one in connector.secrets}
        if not named.issuperset(Reference.parse(one, scope) for one in document.content.secrets):
            raise Malformed(
                "template_secret_unnamed",
                f"secret manager {connector.identifier} doesn't name every secret that its template needs",
                "sign the connector anew: privyseal apply",
            )
        return template

    def _check_version(self, target: Target) -> None:
        """(8) A store makes n from the version before it; the other operations name the version itself."""
        first = self.task.op == "store" and target.n == 1
        if self.task.op == "delete" and target.n == 0:
            fits = target.version is None
        else:
            fits = target.n > 0 and (target.version is None) == first
        if not fits:
            raise Malformed("task_malformed", "the task's version doesn't fit its operation")


def fetched_resource(connector: ConnectorDocument, reference: str) -> str:
    """What a grant has to cover for a connector to read `reference`: the connector and the path; its key counts for nothing.

    Inputs of a script are no path, so that they take the whole connector. Raises Malformed for a path that could lead elsewhere.
    """
    path = reference.partition("#")[0]
    if connector.type == CUSTOM:
        return connector.resource
    if not has_path_form(path):
        raise Malformed(
            "path_malformed",
            "the path of what is fetched directly has an empty part, . or .., or a control character",
            "write it as the provider does: a/b/c, without a slash at its beginning or end",
        )
    return f"{connector.resource}/{path}"
