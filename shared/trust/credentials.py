"""Credentials: the secrets that a task's connectors stand on, and those that these stand on in turn.

A credential is a use on behalf of what names it: not the task's signer but that of the connector, of its template or of the
SSHKey must be allowed to use it. The step is (10) of docs/formats.md ("The warrant").
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SSH_KEY, SecretDocument
from shared.documents.task import Target
from shared.errors import Denied, Malformed
from shared.names import Reference, Scope
from shared.trust.uses import Judge, Use

LONGEST_CHAIN = 4
"""Connectors that stand on each other's secrets: one, that which holds its credentials, and so on."""


class Credentials:
    """Those of one task. `found` has them by the id of the connector or SSHKey that names them, and by the reference."""

    def __init__(self, judge: Judge, uses: Iterable[Use]) -> None:
        """Raises Malformed for one that is missing, doubled, unneeded, unfit or needed for itself; Denied for one that isn't
        for whoever names it.
        """
        self.found: dict[str, dict[str, Use]] = {}
        self._judge = judge
        self._places = self._named()
        self._judged: dict[Reference, Use] = {}
        self._heights: dict[str, int] = {}
        self._logins: dict[str, int] = {}
        for use in {one.connector.document.id: one for one in uses if not one.is_login}.values():
            self._resolve(use.connector, ())
        for use in {one.secret.document.id: one for one in uses if one.secret is not None and one.is_login}.values():
            self._resolve_login(use, ())
        if self._logins.keys() & self._heights.keys():
            # What each gets is found by its id: a connector that was given an SSHKey's would else get what that names.
            raise Malformed("task_malformed", "an SSHKey and a connector of the task have one id")
        if self._places.keys() - self._judged.keys():
            raise Malformed("task_malformed", "the task names a credential that none of its connectors needs")

    def _named(self) -> dict[Reference, tuple[Target, Verified[SecretDocument]]]:
        """The credentials that the task names, by where they live."""
        places: dict[Reference, tuple[Target, Verified[SecretDocument]]] = {}
        for target in self._judge.task.credentials:
            if target.secret is None or target.connector is not None or target.reference or target.metadata:
                raise Malformed("task_malformed", "a credential of the task is not a version of a secret")
            secret = self._judge.pinned.one(SecretDocument, target.secret)
            is_bare, is_whole = target.n == 0 and target.version is None, target.n > 0 and target.version is not None
            if not (is_bare if secret.document.type == SSH_KEY else is_whole):
                raise Malformed("task_malformed", "a credential of the task is not a version of a secret")
            # Neither an older credential nor one that may be forged is for the task's signer to choose: it isn't his.
            if not target.latest or target.excluded:
                raise Malformed(
                    "task_malformed", "a credential of the task is not meant to be the newest, or may be forged"
                )
            place = Reference(Scope.parse(secret.document.scope), secret.document.identifier)
            if place in places:
                raise Malformed("task_malformed", "the task has two credentials of one name")
            places[place] = target, secret
        return places

    def _resolve(self, connector: Verified[ConnectorDocument], above: tuple[str, ...]) -> int:
        """How many others the connector stands on, one upon the other; each is resolved once."""
        document = connector.document
        if document.id in above:
            raise Malformed(
                "credential_cycle",
                f"Detected cyclic dependency in credentials of secret manager {document.identifier}",
                "keep one of the credentials in another secret manager, such as the built-in one",
            )
        height = self._heights.get(document.id)
        if len(above) + (height or 0) >= LONGEST_CHAIN:
            raise _too_long(f"secret manager {document.identifier}")
        if height is not None:
            return height
        height, what, below = 0, f"secret manager {document.identifier}", (*above, document.id)
        for reference in document.secrets:
            use = self._use(connector.kid, what, reference, Scope.parse(document.scope))
            if not use.is_login:
                height = max(height, 1 + self._resolve(use.connector, below))
            elif document.type == CUSTOM and document.spec.get("connectorRef") == reference:
                height = max(height, self._resolve_login(use, below))
            else:
                raise _unfit(reference, what)
            self.found.setdefault(document.id, {})[reference] = use
        self._check_template(document)
        self._heights[document.id] = height
        return height

    def _resolve_login(self, login: Use, above: tuple[str, ...]) -> int:
        """The same of what an SSHKey names; it is none of those that are counted."""
        assert login.secret is not None
        document = login.secret.document
        what, height = f"the SSHKey {document.identifier}", self._logins.get(document.id)
        if height is not None:
            if len(above) + height > LONGEST_CHAIN:
                raise _too_long(what)
            return height
        height = 0
        for reference in document.secrets:
            use = self._use(login.secret.kid, what, reference, Scope.parse(document.scope))
            if use.is_login:
                raise _unfit(reference, what)
            height = max(height, 1 + self._resolve(use.connector, above))
            self.found.setdefault(document.id, {})[reference] = use
        self._logins[document.id] = height
        return height

    def _check_template(self, connector: ConnectorDocument) -> None:
        """Who signed the connector's template may use what it names; that the connector names it too was judged before."""
        template = self._judge.templates.get(connector.id)
        if template is None:
            return
        for reference in template.document.content.secrets:
            what = f"the template {template.document.identifier}"
            if self._use(template.kid, what, reference, Scope.parse(template.document.scope)).is_login:
                # A script would be given its private key.
                raise _unfit(reference, what)

    def _use(self, kid: str, what: str, reference: str, here: Scope) -> Use:
        """The use of a secret that something (`what`, signed by `kid`, at `here`) names."""
        place = Reference.parse(reference, here)
        if place not in self._places:
            raise Malformed("pin_missing", f"the task doesn't name the credential {reference} of {what}")
        target, secret = self._places[place]
        self._check_user(kid, what, reference, secret.document)
        # Once for all that name it: a task may have a thousand connectors.
        if place not in self._judged:
            self._judged[place] = self._credential(target, secret)
        return self._judged[place]

    def _check_user(self, kid: str, what: str, reference: str, secret: SecretDocument) -> None:
        """Whoever signed it, in its newest revision, may use what it names."""
        judge = self._judge
        try:
            judge.authority.chain(kid, "use", Scope.parse(secret.scope), secret.id, judge.now)
        except Denied as why:
            raise Denied(
                why.code,
                f"who signed {what} may not use {reference}: {why.detail}",
                "somebody who may use that secret signs it anew",
            ) from None

    def _credential(self, target: Target, secret: Verified[SecretDocument]) -> Use:
        holder = self._judge.pinned.one(ConnectorDocument, secret.document.connector)
        self._judge.check_secret(target, secret, holder, floor=secret.document.type != SSH_KEY)
        self._judge.check_connector(holder)
        return Use(target, secret, holder)


def _unfit(reference: str, what: str) -> Malformed:
    return Malformed(
        "credential_unfit",
        f"{reference}, which {what} names, is an SSHKey",
        f"only the connectorRef of a {CUSTOM} names one",
    )


def _too_long(what: str) -> Malformed:
    return Malformed(
        "credential_chain_long",
        f"the credentials of {what} stand on each other too deeply",
        "keep them in the built-in secret manager",
    )
