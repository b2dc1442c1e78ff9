"""The kind `KubernetesSecrets`: values in the Secret objects of one namespace, ours or those of others by reference.

Promises: nothing outside of the connector's namespace is asked for; what doesn't carry the labels of exactly this secret is
neither overwritten nor deleted, and what carries any secret's isn't read by reference; a write replaces only what it has looked
at (resourceVersion), and a deletion too; an answer about another object is none. A Secret has one value and no history: the
newest version is read, an earlier one is told to be gone. Must not keep a value longer than the call. Format: `v1/Secret`,
type Opaque, the value's bytes under the key `value`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from delegate.credentials.kubernetes import Cluster
from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.rest import encoded
from delegate.secret_managers.direct import Direct, Found
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.kubernetes_object import KEY, Object, name_of, new, replaced
from delegate.secret_managers.ownership import check_owner, check_referable, inline_name, is_ours, is_own
from shared.connectors.kinds import settings
from shared.connectors.kubernetes_secrets import KubernetesSecretsSettings, is_object_name
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError, Tampered

CONCURRENCY = 8
LONGEST_VALUE = 1_048_576
"""Bytes: MaxSecretSize, over all values of one Secret."""
WRITES = 4

_KEY = re.compile(r"(?!\.\.?\Z)(?!\.\.)[A-Za-z0-9\-._]{1,253}\Z")


class _Allowed(msgspec.Struct, frozen=True):
    allowed: bool


class _Review(msgspec.Struct, frozen=True):
    """The answer to a SelfSubjectAccessReview."""

    kind: Literal["SelfSubjectAccessReview"]
    status: _Allowed


class KubernetesObjects:
    """The Secrets of one namespace, as a secret store."""

    concurrency = CONCURRENCY
    longest_value = LONGEST_VALUE

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("KubernetesSecrets", connector.spec)
        assert isinstance(told, KubernetesSecretsSettings)
        self._settings = told
        self._cluster = Cluster(told, surroundings, secrets)

    @property
    def read_only(self) -> bool:
        """As the connector says."""
        return self._settings.read_only

    def locator(self, secret: SecretVersion) -> str:
        """`NAMESPACE/NAME`, the name by `name_of`."""
        return f"{self._settings.namespace}/{name_of(inline_name(secret, '.'))}"

    async def check(self) -> None:
        """Whether the API server knows us, and would allow what the connector uses: it is asked, and nothing is touched."""
        names: tuple[str, ...] = self._settings.test_names
        needed = [("get", name) for name in names or ("",)]
        if not self._settings.read_only:
            needed += [("create", ""), ("update", ""), ("delete", "")]
        for verb, name in needed:
            if not await self._reviewed(verb, name):
                raise Denied(
                    "kubernetes_denied",
                    f"the API server wouldn't allow {self._about(verb, name)}",
                    "allow that verb to the service account by a Role and a RoleBinding of the namespace; where single Secrets are "
                    "allowed (resourceNames), list them in testNames, and use readOnly: true",
                )

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """The value of ours, if it is that version; or the bytes that others keep under the key that the reference names."""
        if not secret.secret.reference:
            return Found(self._own_value(await self._got(_name_in(locator)), secret), "")
        _check_metadata(secret)
        name, _, key = locator.partition("/")
        if not is_object_name(name) or ("/" in locator and not _KEY.match(key)):
            raise Malformed(
                "reference_unfit",
                "the reference isn't one to a Secret of the connector's namespace",
                "write NAME/KEY, or NAME where the Secret has one key: a name has lower-case letters, digits, - and .",
            )
        found = await self._got(name)
        check_referable(found.labels)
        return Found(self._decoded(found, key or _only_key(found)), "")

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """Create the Secret, or replace the one that was looked at, unless this store task did before."""
        _check_metadata(secret)
        name = _name_in(locator)
        for _ in range(WRITES):
            whole = await self._whole(name)
            if whole is None:
                body = new(name, self._settings.namespace, secret, value)
                method, path, refusals = "POST", self._path(), _CREATING
            else:
                found = self._parsed(whole, name, self._about("get", name))
                if self._is_kept(found, secret):
                    return ""
                body = replaced(whole, secret, value)
                method, path, refusals = "PUT", self._path(name), {}
            about = self._about("create" if method == "POST" else "update", name)
            try:
                answer = await self._cluster.ask(about, method, path, msgspec.json.encode(body), refusals)
            except Conflict as why:
                # Somebody was faster: look at what is there now, since it may be ours, by an answer that was lost.
                if why.code != _CHANGED:
                    raise
            except NotFound as why:
                # What was looked at has been deleted meanwhile.
                if why.code != _MISSING:
                    raise
            else:
                if not self._parsed(self._cluster.parsed(answer, dict[str, Any], about), name, about).is_of(secret):
                    raise self._cluster.garbled(about)
                return ""
        raise _busy(secret)

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Delete the Secret, if it is this secret's, and where one version is meant, if it is that one."""
        name = _name_in(locator)
        for _ in range(WRITES):
            try:
                found = await self._got(name)
                if not is_own(secret, found.labels):
                    if not is_ours(found.labels) and found.note:
                        # With our annotation and no labels: somebody took the labels off.
                        check_owner(secret, {})
                    return
                if secret.n and not found.is_of(secret):
                    return
                seen = {"uid": found.metadata.uid, "resourceVersion": found.metadata.resource_version}
                body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": seen}
                await self._cluster.ask(
                    self._about("delete", name), "DELETE", self._path(name), msgspec.json.encode(body)
                )
            except NotFound:
                return
            except Conflict as why:
                if why.code != _CHANGED:
                    raise
            else:
                return
        raise _busy(secret)

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()

    def _is_kept(self, found: Object, secret: SecretVersion) -> bool:
        """Whether this very store task wrote it. Raises Conflict for what others own, can't be changed, or is newer."""
        if found.is_of(secret):
            return True
        check_owner(secret, found.labels)
        if found.n >= secret.n:
            raise Conflict(
                "version_superseded",
                f"a version as new as {secret.n} of the secret {secret.secret.identifier} has been stored by another task",
                "store the secret again",
            )
        if found.metadata.deletion_timestamp:
            raise Conflict(
                "kubernetes_deleting",
                f"the Secret of {secret.secret.identifier} is being deleted, and a finalizer holds it",
                "wait until it is gone, or take the finalizer off",
            )
        if found.immutable:
            raise Conflict(
                "kubernetes_immutable",
                f"somebody has made the Secret of {secret.secret.identifier} immutable: its value can't be replaced",
                "delete the Secret in Kubernetes, and store again",
            )
        return False

    def _own_value(self, found: Object, secret: SecretVersion) -> Plaintext:
        if found.is_of(secret):
            return self._decoded(found, KEY)
        if is_own(secret, found.labels) and found.n > secret.n:
            raise NotFound(
                "version_replaced",
                f"version {secret.n} of the secret {secret.secret.identifier} was replaced: a Secret of Kubernetes keeps the "
                "newest value alone",
                "read the newest version",
            )
        if is_own(secret, found.labels):
            raise Tampered(
                "value_replaced",
                f"what Kubernetes has under the name of the secret {secret.secret.identifier} isn't what was stored there",
                "store it again",
            )
        raise NotFound(
            "secret_not_found",
            f"what Kubernetes has under the name of the secret {secret.secret.identifier} isn't this secret's any more",
            "it was deleted and made anew, or somebody took its labels off: store the secret again",
        )

    def _decoded(self, found: Object, key: str) -> Plaintext:
        content = (found.data or {}).get(key)
        if content is None:
            raise NotFound(
                "kubernetes_key_missing",
                f"the Secret {found.metadata.name} has no key {key}",
                "compare it with: kubectl describe secret",
            )
        try:
            return Plaintext(base64.b64decode(content, validate=True))
        except (binascii.Error, ValueError):
            raise self._cluster.garbled(self._about("get", found.metadata.name)) from None

    async def _got(self, name: str) -> Object:
        whole = await self._whole(name)
        if whole is None:
            raise NotFound(
                _MISSING,
                f"there is no Secret {name} in the namespace {self._settings.namespace}",
                "look at the name and at namespace of the connector; store the secret again where it was ours",
            )
        return self._parsed(whole, name, self._about("get", name))

    async def _whole(self, name: str) -> dict[str, Any] | None:
        """The Secret with all its fields, None where there is none."""
        about = self._about("get", name)
        try:
            answer = await self._cluster.ask(about, "GET", self._path(name))
        except NotFound:
            return None
        found: dict[str, Any] = self._cluster.parsed(answer, dict[str, Any], about)
        return found

    def _parsed(self, whole: dict[str, Any], name: str, about: str) -> Object:
        try:
            found = msgspec.convert(whole, Object)
        except msgspec.ValidationError:
            raise self._cluster.garbled(about) from None
        if (found.metadata.name, found.metadata.namespace) != (name, self._settings.namespace):
            raise self._cluster.garbled(about)
        return found

    async def _reviewed(self, verb: str, name: str) -> bool:
        attributes = {"namespace": self._settings.namespace, "verb": verb, "version": "v1", "resource": "secrets"}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, **({"name": name} if name else {})}},
        }
        about = "create on selfsubjectaccessreviews.authorization.k8s.io"
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = await self._cluster.ask(about, "POST", path, msgspec.json.encode(body))
        return self._cluster.parsed(answer, _Review, about).status.allowed

    def _path(self, *name: str) -> str:
        return "/api/v1" + encoded("namespaces", self._settings.namespace, "secrets", *name)

    def _about(self, verb: str, name: str) -> str:
        return f"{verb} on {f'secrets/{name}' if name else 'secrets'} in the namespace {self._settings.namespace}"


class KubernetesSecrets(Direct):
    """The kind `KubernetesSecrets`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(KubernetesObjects(connector, surroundings, secrets), surroundings.zone)


def _name_in(locator: str) -> str:
    return locator.partition("/")[2]


def _only_key(found: Object) -> str:
    keys = list(found.data or {})
    if len(keys) != 1:
        raise Malformed(
            "kubernetes_key_needed",
            f"the Secret {found.metadata.name} has {len(keys)} keys, and the reference names none",
            "write NAME/KEY",
        )
    return keys[0]


def _check_metadata(secret: SecretVersion) -> None:
    if secret.secret.metadata:
        raise Malformed(
            "metadata_unknown", "additionalMetadata of the secret means nothing to KubernetesSecrets", "leave it out"
        )


def _busy(secret: SecretVersion) -> PrivySealError:
    return Conflict(
        _CHANGED, f"others keep changing the Secret of {secret.secret.identifier} at the same time", "try again later"
    )


_CHANGED, _MISSING = "kubernetes_changed", "kubernetes_missing"
_CREATING: Refusals = {
    404: Refusal(
        NotFound,
        "kubernetes_namespace_missing",
        "there is no such namespace: {about}",
        "kubectl create namespace, or look at namespace of the connector",
    )
}
