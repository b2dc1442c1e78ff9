"""The kind `GcpSecretManager`: values live in Google Secret Manager, under names of ours or under names that others gave.

Promises: nothing is overwritten, deleted or read there for an inline secret that doesn't carry the labels of exactly this
secret, and what carries any secret's labels isn't read by reference; which store task made which version stands in an
annotation, so that a task that is done again adds none, also after a newer one; payloads are checked by CRC32C both ways. Must
not keep a value longer than the call. Formats: Secret Manager API v1, `projects.secrets` and `projects.secrets.versions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcAsyncIOTransport,
)
from google.cloud.secretmanager_v1.types import (
    AccessSecretVersionRequest,
    AccessSecretVersionResponse,
    AddSecretVersionRequest,
    CreateSecretRequest,
    DeleteSecretRequest,
    DestroySecretVersionRequest,
    GetSecretRequest,
    Replication,
    Secret,
    SecretPayload,
    UpdateSecretRequest,
)
from grpc import StatusCode, aio

from delegate.credentials import gcp
from delegate.credentials.gcp_calls import CONNECTIONS, Refusals, astray, corrupted
from delegate.credentials.gcp_crc32c import crc32c
from delegate.credentials.gcp_identities import OwnIdentity, ServiceAccount
from delegate.credentials.gcp_tokens import CLOUD_PLATFORM
from delegate.credentials.refusals import Refusal
from delegate.pair import both
from delegate.secret_managers.direct import Direct, Found, value_too_long
from delegate.secret_managers.gcp_entry import (
    CHECKED,
    NAME,
    OWN_PROJECT,
    TASKS,
    check_metadata,
    chosen,
    is_named,
    labels_of,
    number_of,
    project_of,
    regions_of,
    tasks_of,
    tasks_with,
)
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.ownership import check_owner, check_referable, inline_name, is_ours, is_own
from delegate.secret_managers.texts import foreign, text_or_bytes, value_of
from shared.connectors.gcp_secret_manager import GcpSecretManagerSettings
from shared.connectors.kinds import settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady

LONGEST_VALUE = 65_536
"""Bytes: quotas of Secret Manager, "Secret version payload"."""
NOTES = 5
"""How often the annotation is tried to be written while others write theirs."""


class GcpSecrets:
    """The secrets of one project, as a secret store."""

    concurrency = CONNECTIONS
    read_only = False
    longest_value = LONGEST_VALUE

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        told = settings("GcpSecretManager", connector.spec)
        assert isinstance(told, GcpSecretManagerSettings)
        who = gcp.identity(told.identity(), CLOUD_PLATFORM, connector, surroundings, secrets)
        self._project = told.project_id or told.credential.gcp_project_id
        if not self._project:
            self._project = who.own_project if isinstance(who, ServiceAccount) else OWN_PROJECT
        self._calls = gcp.calls("secretmanager", _client, who, surroundings, _REFUSALS)

    def locator(self, secret: SecretVersion) -> str:
        """`projects/PROJECT/secrets/` and `ID`, `ORG-ID` or `ORG-PROJECT-ID`. Raises Malformed."""
        return self._located(secret, inline_name(secret, "-"))

    async def check(self) -> None:
        """A secret that can't be there is asked for; that Google doesn't find it is the answer that is wanted."""
        resource = await self._resource(f"projects/{self._named(self._project)}/secrets/{CHECKED}")
        for ask in (self._described, self._accessed):
            try:
                await ask(resource)
            except NotFound:
                pass

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """Of ours exactly that version; of others' the one that the metadata say, the newest where they say none."""
        reference = bool(secret.secret.reference)
        if reference:
            check_metadata(secret)
            locator, version = self._located(secret, locator), chosen(secret)
        resource = await self._resource(locator)
        described, found = await both(self._described(resource), self._accessed(resource, version))
        number, data = number_of(found.name, resource) or "", found.payload.data
        if reference:
            check_referable(described.labels)
            return Found(foreign(data), number)
        if not is_own(secret, described.labels):
            # Versions are numbered anew in a secret that was made anew: the number alone doesn't tell whose value it is.
            raise NotFound(
                "secret_not_found",
                f"what Google has under the name of the secret {secret.secret.identifier} isn't this secret's any more",
                "it was deleted and made anew, or somebody took its labels off: store the secret again",
            )
        return Found(value_of(_text_or_bytes(data)), number)

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """Create the secret where there is none, and add a version to it unless this task did before."""
        check_metadata(secret)
        kept = text_or_bytes(value)
        data = kept if isinstance(kept, bytes) else kept.encode()
        if len(data) > LONGEST_VALUE:
            raise value_too_long(secret, LONGEST_VALUE)
        resource, regions = await self._resource(locator), regions_of(secret)
        described = await self._made(resource, secret, regions)
        check_owner(secret, described.labels)
        if regions and regions != _regions(described):
            raise Conflict(
                "replication_fixed",
                f"Google keeps the secret {secret.secret.identifier} in other regions than its document names now",
                "Google doesn't change them: delete the secret and store it again, or change the regions back",
            )
        version = tasks_of(described.annotations).get(secret.aad.version)
        if version is None:
            version = await self._noted(described, resource, secret.aad.version, await self._added(resource, data))
        return version

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Delete the secret, or destroy one version. What is another's under that name isn't ours."""
        resource = await self._resource(locator)
        try:
            described = await self._described(resource)
        except NotFound:
            return
        if not is_own(secret, described.labels):
            # With our annotation and no labels: somebody took the labels off.
            if not is_ours(described.labels) and TASKS in described.annotations:
                check_owner(secret, {})
            return
        try:
            if version:
                await self._ask("destroy", resource, DestroySecretVersionRequest(name=f"{resource}/versions/{version}"))
            else:
                await self._ask("delete", resource, DeleteSecretRequest(name=resource, etag=described.etag), _CHANGING)
        except NotFound:
            pass
        except NotReady as why:
            if why.code != UNUSABLE:
                raise

    async def close(self) -> None:
        """Close the channel; the access token is forgotten."""
        await self._calls.close()

    async def _made(self, resource: str, secret: SecretVersion, regions: tuple[str, ...]) -> Secret:
        """The secret, which is created where it isn't there."""
        # The first version costs one call where nothing stands in its way; a later one is of a secret that is there.
        if secret.n > 1:
            try:
                return await self._described(resource)
            except NotFound:
                pass
        parent, _, name = resource.partition("/secrets/")
        wanted = Secret(replication=_replication(regions), labels=labels_of(secret))
        try:
            made: Secret = await self._ask(
                "create", resource, CreateSecretRequest(parent=parent, secret_id=name, secret=wanted)
            )
        except Conflict:
            return await self._described(resource)
        return made

    async def _added(self, resource: str, data: bytes) -> str:
        def check(answer: Any) -> None:
            if not answer.client_specified_payload_checksum:
                raise corrupted("secretmanager.versions.add")
            if number_of(answer.name, resource) is None:
                raise astray("secretmanager.versions.add")

        payload = SecretPayload(data=data, data_crc32c=crc32c(data))
        answer = await self._ask(
            "add", resource, AddSecretVersionRequest(parent=resource, payload=payload), _FULL, check
        )
        return str(number_of(answer.name, resource))

    async def _noted(self, described: Secret, resource: str, task: str, version: str) -> str:
        """Which version the task made, once that is written down; another's, where that did the same task meanwhile."""
        for _ in range(NOTES):
            secret = Secret(
                name=resource, etag=described.etag, annotations=tasks_with(described.annotations, task, version)
            )
            request = UpdateSecretRequest(secret=secret, update_mask={"paths": ["annotations"]})
            try:
                await self._ask("update", resource, request, _CHANGING)
            except Conflict:
                described = await self._described(resource)
                before = tasks_of(described.annotations).get(task)
                if before is not None:
                    return before
            else:
                return version
        raise Conflict("secret_changing", "the secret is being changed by others at Google", "store it again")

    async def _described(self, resource: str) -> Secret:
        def check(answer: Secret) -> None:
            if not is_named(answer.name, resource):
                raise astray("secretmanager.secrets.get")

        found: Secret = await self._ask("get", resource, GetSecretRequest(name=resource), check=check)
        return found

    async def _accessed(self, resource: str, version: str = "latest") -> AccessSecretVersionResponse:
        def check(answer: AccessSecretVersionResponse) -> None:
            number = number_of(answer.name, resource)
            if number is None or version not in {"latest", number}:
                raise astray("secretmanager.versions.access")
            if answer.payload.data_crc32c != crc32c(answer.payload.data):
                raise corrupted("secretmanager.versions.access")

        request = AccessSecretVersionRequest(name=f"{resource}/versions/{version}")
        found: AccessSecretVersionResponse = await self._ask("access", resource, request, check=check)
        return found

    async def _ask(
        self, verb: str, resource: str, request: Any, refusals: Refusals | None = None, check: Any = lambda _: None
    ) -> Any:
        method, permission = _METHODS[verb]
        return await self._calls.ask(method, permission, f"the secret {resource}", request, check, refusals)

    def _located(self, secret: SecretVersion, name: str) -> str:
        if not NAME.match(name):
            raise Malformed(
                "name_unfit",
                "a name of Google Secret Manager has up to 255 letters, digits, - and _, and this secret's hasn't",
                "choose shorter identifiers; a reference is a name, without its project: that goes into gcp_project_id "
                "of additionalMetadata",
            )
        return f"projects/{self._named(project_of(secret) or self._project)}/secrets/{name}"

    @staticmethod
    def _named(project: str) -> str:
        if not project:
            raise Malformed(
                "project_missing",
                "neither the connector nor the service account's key names a project",
                "give projectId in the connector, or gcp_project_id in additionalMetadata of the secret",
            )
        return project

    async def _resource(self, locator: str) -> str:
        """The resource's name; the delegate's own project is asked for where none is named."""
        own = f"projects/{OWN_PROJECT}/"
        if not locator.startswith(own):
            return locator
        project = await self._calls.identity.project()
        if not project:
            raise NotReady(
                "project_missing",
                f"neither the connector nor {OwnIdentity.who} names a project",
                "give projectId in the connector, or set GCP_PROJECT on the delegate",
            )
        return f"projects/{project}/{locator.removeprefix(own)}"


class GcpSecretManager(Direct):
    """The kind `GcpSecretManager`."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        super().__init__(GcpSecrets(connector, surroundings, secrets), surroundings.zone)


def _client(channel: aio.Channel, host: str) -> Any:
    return SecretManagerServiceAsyncClient(
        transport=SecretManagerServiceGrpcAsyncIOTransport(channel=channel, host=host)
    )


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _replication(regions: tuple[str, ...]) -> Replication:
    if not regions:
        return Replication(automatic=Replication.Automatic())
    replicas = [Replication.UserManaged.Replica(location=one) for one in regions]
    return Replication(user_managed=Replication.UserManaged(replicas=replicas))


def _regions(described: Secret) -> tuple[str, ...]:
    return tuple(sorted(one.location for one in described.replication.user_managed.replicas))


UNUSABLE = "version_unusable"
_PAGE = "docs/secret-managers/gcp-secret-manager.md"

# The SDK's method, and the permission that it needs.
_METHODS = {
    "access": ("access_secret_version", "secretmanager.versions.access"),
    "add": ("add_secret_version", "secretmanager.versions.add"),
    "create": ("create_secret", "secretmanager.secrets.create"),
    "delete": ("delete_secret", "secretmanager.secrets.delete"),
    "destroy": ("destroy_secret_version", "secretmanager.versions.destroy"),
    "get": ("get_secret", "secretmanager.secrets.get"),
    "update": ("update_secret", "secretmanager.secrets.update"),
}

# What the status codes of Secret Manager mean.
_REFUSALS: Refusals = {
    StatusCode.PERMISSION_DENIED: Refusal(
        Denied,
        "gcp_denied",
        "Google doesn't allow {permission} on {about} to {who}, or there is no such project",
        "grant a role with {permission}, on the project or under a condition on the name: " + _PAGE,
    ),
    StatusCode.NOT_FOUND: Refusal(
        NotFound,
        "secret_not_found",
        "Google doesn't have {about}, or not the version of it that is asked for",
        "look at its name and project, and at the versions: gcloud secrets versions list",
    ),
    StatusCode.FAILED_PRECONDITION: Refusal(
        NotReady,
        UNUSABLE,
        "the version of {about} that is asked for is disabled or destroyed, or its encryption key can't be used",
        "see it: gcloud secrets versions list; a disabled one can be enabled: gcloud secrets versions enable",
    ),
    StatusCode.ALREADY_EXISTS: Refusal(
        Conflict, "name_taken", "Google has something under the name of {about}", "take another identifier"
    ),
    StatusCode.INVALID_ARGUMENT: Refusal(
        Malformed,
        "gcp_invalid",
        "Google doesn't take what it was asked about {about}",
        "look at regions and gcp_project_id in additionalMetadata, and at the organisation's policy on locations",
    ),
}
_CHANGING: Refusals = {
    StatusCode.FAILED_PRECONDITION: Refusal(
        Conflict, "secret_changing", "{about} is being changed by others, at {permission}", "do it again"
    )
}
_FULL: Refusals = {
    StatusCode.FAILED_PRECONDITION: Refusal(
        NotReady,
        "secret_full",
        "Google takes no more versions of {about}, or its encryption key can't be used",
        "look at its versions and its key: gcloud secrets describe",
    )
}
