"""Secret Manager as "Secret Manager API v1" documents it: versions with states, etags, labels, annotations, checksums, and
names with the project's number in answers."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.cloud.secretmanager_v1.types import (
    AccessSecretVersionRequest,
    AccessSecretVersionResponse,
    AddSecretVersionRequest,
    CreateSecretRequest,
    DeleteSecretRequest,
    DestroySecretVersionRequest,
    GetSecretRequest,
    Secret,
    SecretPayload,
    SecretVersion,
    UpdateSecretRequest,
)
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from tests.fakes.crc32c import crc32c
from tests.fakes.google import NUMBER, PROJECT, Call, Refused

if TYPE_CHECKING:
    from tests.fakes.google import Google

LARGEST = 65_536
LARGEST_ANNOTATIONS = 16 * 1024
_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}\Z")
_LABEL, _LABELLED = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z"), re.compile(r"[a-z0-9_-]{0,63}\Z")
_ANNOTATION = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?\Z")


@dataclass
class Kept:
    """A secret: what Get answers, and its versions' values and states by number."""

    secret: Secret
    values: dict[int, bytes] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)


class Secrets:
    """The service."""

    NAME = "google.cloud.secretmanager.v1.SecretManagerService"
    SCOPES = frozenset({"https://www.googleapis.com/auth/cloud-platform"})

    def __init__(self, google: Google) -> None:
        self._google = google
        self.kept: dict[str, Kept] = {}

    def methods(self) -> Mapping[str, tuple[Any, Callable[[Call], Any]]]:
        """By name: the request's type, and what serves it."""
        return {
            "GetSecret": (GetSecretRequest, self._get),
            "CreateSecret": (CreateSecretRequest, self._create),
            "UpdateSecret": (UpdateSecretRequest, self._update),
            "DeleteSecret": (DeleteSecretRequest, self._delete),
            "AddSecretVersion": (AddSecretVersionRequest, self._add),
            "AccessSecretVersion": (AccessSecretVersionRequest, self._access),
            "DestroySecretVersion": (DestroySecretVersionRequest, self._destroy),
        }

    def put(self, name: str, *values: bytes, **fields: Any) -> Kept:
        """A secret that others made."""
        secret = Secret(name=_by_number(name), etag=_etag(), **fields)
        self.kept[_by_number(name)] = Kept(
            secret, dict(enumerate(values, 1)), dict.fromkeys(range(1, len(values) + 1), "ENABLED")
        )
        return self.kept[_by_number(name)]

    def of(self, name: str) -> Kept:
        """What is kept under a name."""
        return self.kept[_by_number(name)]

    def _get(self, call: Call) -> Secret:
        return self._found(call, "secretmanager.secrets.get", call.request.name).secret

    def _create(self, call: Call) -> Secret:
        asked: CreateSecretRequest = call.request
        self._google.check(call, "secretmanager.secrets.create", asked.parent)
        if not _ID.match(asked.secret_id):
            raise Refused(StatusCode.INVALID_ARGUMENT, "The provided Secret ID does not match the expected format.")
        if "replication" not in asked.secret:
            raise Refused(StatusCode.INVALID_ARGUMENT, "secret.replication: must be set.")
        _check_words(asked.secret)
        name = _by_number(f"{asked.parent}/secrets/{asked.secret_id}")
        if name in self.kept:
            raise Refused(StatusCode.ALREADY_EXISTS, f"Secret [{name}] already exists.")
        made = Secret(asked.secret)
        made.name, made.etag = name, _etag()
        self.kept[name] = Kept(made)
        return made

    def _update(self, call: Call) -> Secret:
        asked: UpdateSecretRequest = call.request
        kept = self._found(call, "secretmanager.secrets.update", asked.secret.name)
        _check_etag(asked.secret.etag, kept)
        if set(asked.update_mask.paths) - {"annotations", "labels"}:
            raise Refused(StatusCode.INVALID_ARGUMENT, "update_mask: a field can't be updated.")
        _check_words(asked.secret)
        changed = Secret(kept.secret)
        for path in asked.update_mask.paths:
            setattr(changed, path, dict(getattr(asked.secret, path)))
        changed.etag = _etag()
        kept.secret = changed
        return changed

    def _delete(self, call: Call) -> Empty:
        kept = self._found(call, "secretmanager.secrets.delete", call.request.name)
        _check_etag(call.request.etag, kept)
        del self.kept[kept.secret.name]
        return Empty()

    def _add(self, call: Call) -> SecretVersion:
        asked: AddSecretVersionRequest = call.request
        kept = self._found(call, "secretmanager.versions.add", asked.parent)
        payload: SecretPayload = asked.payload
        if not payload.data:
            raise Refused(StatusCode.INVALID_ARGUMENT, "Secret Payload cannot be empty.")
        if len(payload.data) > LARGEST:
            raise Refused(StatusCode.INVALID_ARGUMENT, "The payload is larger than 65536 bytes.")
        if payload.data_crc32c is not None and payload.data_crc32c != crc32c(payload.data):
            raise Refused(StatusCode.INVALID_ARGUMENT, "The payload's checksum does not match data_crc32c.")
        number = max(kept.values, default=0) + 1
        kept.values[number], kept.states[number] = payload.data, "ENABLED"
        return SecretVersion(
            name=f"{kept.secret.name}/versions/{number}",
            state=SecretVersion.State.ENABLED,
            client_specified_payload_checksum=payload.data_crc32c is not None,
            etag=_etag(),
        )

    def _access(self, call: Call) -> AccessSecretVersionResponse:
        name, _, version = call.request.name.partition("/versions/")
        kept = self._found(call, "secretmanager.versions.access", name)
        number = max(kept.values, default=0) if version == "latest" else int(version)
        full = f"{kept.secret.name}/versions/{number}"
        if number not in kept.values:
            raise Refused(StatusCode.NOT_FOUND, f"Secret Version [{full}] not found.")
        if kept.states[number] != "ENABLED":
            raise Refused(StatusCode.FAILED_PRECONDITION, f"Secret Version [{full}] is in {kept.states[number]} state.")
        data = kept.values[number]
        return AccessSecretVersionResponse(name=full, payload=SecretPayload(data=data, data_crc32c=crc32c(data)))

    def _destroy(self, call: Call) -> SecretVersion:
        name, _, version = call.request.name.partition("/versions/")
        kept = self._found(call, "secretmanager.versions.destroy", name)
        number = int(version)
        if number not in kept.values:
            raise Refused(StatusCode.NOT_FOUND, f"Secret Version [{call.request.name}] not found.")
        if kept.states[number] == "DESTROYED":
            raise Refused(
                StatusCode.FAILED_PRECONDITION, f"Secret Version [{call.request.name}] is in DESTROYED state."
            )
        kept.values[number], kept.states[number] = b"", "DESTROYED"
        return SecretVersion(name=f"{kept.secret.name}/versions/{number}", state=SecretVersion.State.DESTROYED)

    def _found(self, call: Call, permission: str, name: str) -> Kept:
        self._google.check(call, permission, name)
        kept = self.kept.get(_by_number(name))
        if kept is None:
            raise Refused(StatusCode.NOT_FOUND, f"Secret [{_by_number(name)}] not found.")
        return kept


def _by_number(name: str) -> str:
    return name.replace(f"projects/{PROJECT}/", f"projects/{NUMBER}/", 1)


def _etag() -> str:
    return f'"{secrets.token_hex(7)}"'


def _check_etag(etag: str, kept: Kept) -> None:
    """ "Use entity tags for optimistic concurrency control"."""
    if etag and etag != kept.secret.etag:
        raise Refused(StatusCode.FAILED_PRECONDITION, "The etag provided in the request does not match the resource.")


def _check_words(secret: Secret) -> None:
    """The forms of labels and annotations, as the API's reference gives them."""
    right = all(_LABEL.match(key) and _LABELLED.match(value) for key, value in secret.labels.items())
    right = right and all(_ANNOTATION.match(key) for key in secret.annotations)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in secret.annotations.items())
    if not right or size >= LARGEST_ANNOTATIONS:
        raise Refused(StatusCode.INVALID_ARGUMENT, "Labels or annotations are malformed.")
