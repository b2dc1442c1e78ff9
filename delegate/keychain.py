"""The keychain: the secret managers of one task, each made with the credentials that its connector names.

Promises: a connector gets the values of exactly the secrets that its signed document names, in the versions that the task's
signer named, as the warrant found them; they come from their own secret managers, which may stand on credentials in turn.
Values stay in the manager that was made of them, no longer than the registry keeps that. Must not be asked for anything that
the warrant didn't find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from math import inf

import structlog

from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings, stored_value
from delegate.secret_managers.registry import Registry
from delegate.ssh import bundle_of
from shared.aad import Aad
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.documents.task import TaskDocument
from shared.errors import Malformed, NotFound, PrivySealError, Tampered, Unavailable
from shared.trust.uses import Use
from shared.trust.warrant import Warrant
from shared.values import Stored

REFERENCE_SECONDS = 300.0
"""How long the value of a credential that refers to a secret elsewhere is used before it is asked for anew."""

_log = structlog.get_logger()


class Keychain:
    """One task's; managers are borrowed until `stack` ends. `records` are those of the task's credentials."""

    def __init__(self, granted: Warrant, records: Sequence[bytes], registry: Registry, stack: AsyncExitStack) -> None:
        self._task = granted.task.document
        self._credentials = granted.credentials
        self._templates = granted.templates
        self._records = {one.secret: raw for one, raw in zip(self._task.credentials, records, strict=True)}
        self._registry = registry
        self._stack = stack
        self._lent: dict[str, SecretManager | PrivySealError] = {}

    @property
    def surroundings(self) -> Surroundings:
        """What the managers may use of the delegate."""
        return self._registry.surroundings

    async def manager(self, connector: Verified[ConnectorDocument]) -> SecretManager | PrivySealError:
        """The manager of a connector in use, or why there is none; each is asked for once."""
        known = self._lent.get(connector.digest)
        if known is None:
            known = self._lent[connector.digest] = await self._borrow(connector)
        return known

    async def _borrow(self, connector: Verified[ConnectorDocument]) -> SecretManager | PrivySealError:
        document = connector.document
        uses, owner = self._credentials.get(document.id, {}), f"the connector {document.identifier}"

        async def secrets() -> Mapping[str, Plaintext]:
            return {reference: await self._value(owner, reference, use) for reference, use in uses.items()}

        versions = self._versions(uses)
        # Who rotates a secret at its provider makes no new version of ours.
        lasts = (
            REFERENCE_SECONDS if any(use.secret and use.secret.document.reference for use in self._all(uses)) else inf
        )
        template = self._templates.get(document.id)
        try:
            return await self._stack.enter_async_context(
                self._registry.lend(connector, versions, secrets, lasts, template.document if template else None)
            )
        except PrivySealError as why:
            return why
        except Exception as error:  # noqa: BLE001 (a bug is answered as `internal`)
            _log.error("connector.crashed", kind=connector.document.type, exc_info=error)
            return internal()

    def _versions(self, uses: Mapping[str, Use]) -> list[str]:
        """What the uses mean now, in words of which each says one of them."""
        versions = []
        for reference, use in sorted(uses.items()):
            assert use.secret is not None
            # The number too: it is held against the floor, and the task's signer says which version has it.
            versions.append(f"{reference} {use.target.secret} {use.target.n} {use.target.version}")
            if use.is_login:
                versions += [use.secret.digest, *self._versions(self._below(use))]
        return versions

    def _below(self, login: Use) -> Mapping[str, Use]:
        """The uses of what an SSHKey names."""
        return self._credentials.get(login.target.secret or "", {})

    def _all(self, uses: Mapping[str, Use]) -> Iterator[Use]:
        for use in uses.values():
            yield use
            yield from self._all(self._below(use))

    async def login(self, use: Use) -> Plaintext:
        """An SSHKey with the values that it names (`shared.ssh`). Raises its error, which says whose credential it is."""
        assert use.secret is not None
        document = use.secret.document
        values = {
            reference: await self._value(f"the SSHKey {document.identifier}", reference, held)
            for reference, held in self._below(use).items()
        }
        return bundle_of(document.spec, values)

    async def _value(self, owner: str, reference: str, use: Use) -> Plaintext:
        """A credential's value. Raises its error, which says whose credential it is."""
        if use.is_login:
            return await self.login(use)
        try:
            holder = await self.manager(use.connector)
            if isinstance(holder, PrivySealError):
                raise holder
            raw = self._records[use.target.secret]
            if not raw:
                raise NotFound("version_missing", "the manager has no record of it", "store the credential again")
            return await holder.fetch(version_of(self._task, use, use.target.version or ""), read_stored(raw))
        except PrivySealError as why:
            detail = f"the credential {reference} of {owner} can't be had: {why.detail}"
            raise type(why)(why.code, detail, why.hint, **why.facts) from None


def internal() -> PrivySealError:
    """What anybody learns of a bug."""
    return Unavailable("internal", "the delegate failed unexpectedly", "its log says where: look for task.crashed")


def read_stored(raw: bytes) -> Stored:
    """A stored value that the manager handed over. Raises Tampered for what isn't one."""
    try:
        return stored_value(raw)
    except Malformed:
        raise Tampered("record_forged", "a stored record isn't one that this keyring made for this place") from None


def version_of(task: TaskDocument, use: Use, version: str) -> SecretVersion:
    """The version of a secret that a use means; `version` is its store task's digest, empty in an input's place."""
    assert use.secret is not None
    target = use.target
    return SecretVersion(
        use.secret.document, use.connector.document, target.n, place_of(task, use, version), target.excluded
    )


def place_of(task: TaskDocument, use: Use, version: str) -> Aad:
    """Where a value of that version belongs."""
    assert use.secret is not None
    secret, connector = use.secret.document, use.connector.document
    return Aad("store", task.acct, task.keyring, secret.scope, secret.id, use.target.n, version, connector.id)


def fetched(task: TaskDocument, use: Use) -> SecretVersion:
    """What a connector is to read without a secret document, in the words of one; its id is the task's, and nothing is kept."""
    connector = use.connector.document
    secret = SecretDocument(
        v=1,
        acct=task.acct,
        id=task.jti,
        scope=connector.scope,
        identifier="direct",
        name="direct",
        type="SecretText",
        connector=connector.id,
        reference=use.target.reference,
        metadata=use.target.metadata,
        rev=1,
        iat=task.iat,
    )
    place = Aad("store", task.acct, task.keyring, connector.scope, task.jti, 0, "", connector.id)
    return SecretVersion(secret, connector, 0, place)
