"""The built-in kind, `Local`: keys are wrapped with the keyring itself, so it needs no provider and no network.

Who holds the keyring file holds these values; where that isn't wanted, use a kind whose keys live elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import DataKey, Randomness, SecretVersion, Surroundings
from delegate.zone import Zone
from shared.aad import Aad
from shared.connectors.kinds import settings
from shared.connectors.local import built_in_disabled
from shared.crypto import aead
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Tampered
from shared.labels import WRAP
from shared.values import Wrapped

KEY_BYTES = 32


class KeyringKeys:
    """The keyring's own key-encrypting keys, one a generation, as a key service."""

    concurrency = 1

    def __init__(self, zone: Zone, randomness: Randomness) -> None:
        self._zone = zone
        self._randomness = randomness
        self._numbers = {self._name(number): number for number in zone.keyring.numbers}

    def _name(self, number: int) -> str:
        return f"local/{self._zone.name}/{number}"

    def accepts(self, key_name: str) -> bool:
        """Those of the generations held, the excluded ones too: what they wrapped can still be asked for."""
        return key_name in self._numbers

    async def check(self) -> None:
        """Whether the file holds the account's current generation. Raises NotReady."""
        self._zone.current()

    async def generate(self, place: Aad) -> DataKey:
        """Raises NotReady where the file is older than the account."""
        generation = self._zone.current()
        key = Plaintext(self._randomness(KEY_BYTES))
        wrapped = aead.encrypt(generation.kek, key, place.encode(WRAP), self._randomness(aead.SALT_BYTES))
        return DataKey(key, self._name(generation.number), wrapped)

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """Raises Tampered."""
        number = self._numbers.get(key_name)
        if number is None:
            raise Tampered("decryption_failed", "a stored value names a key that this keyring never had")
        return aead.decrypt(self._zone.made_with(number).kek, wrapped, place.encode(WRAP))

    async def close(self) -> None:
        """Nothing is open."""


class Local(Enveloped):
    """The kind `Local`; its `spec` says what every kind's may, and whether it takes new secrets.

    Unwrapping costs no call, so that no key is kept.
    """

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        settings("Local", connector.spec)
        self._is_disabled = connector.is_disabled
        keys = KeyringKeys(surroundings.zone, surroundings.randomness)
        super().__init__(keys, surroundings.zone, surroundings.randomness)

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Wrapped:
        """As `Enveloped.store`. Raises Denied for a new secret where the connector is disabled."""
        if self._is_disabled and secret.n == 1:
            raise built_in_disabled()
        return await super().store(secret, plaintext)
