"""The built-in kind, `Local`: keys are wrapped with the keyring itself, so it needs no provider and no network.

Who holds the keyring file holds these values; where that isn't wanted, use a kind whose keys live elsewhere.
"""

from __future__ import annotations

from delegate.secret_managers.enveloped import Enveloped
from delegate.secret_managers.interface import Randomness, Surroundings
from delegate.zone import Zone
from shared.aad import Aad
from shared.connectors.kinds import settings
from shared.crypto import aead
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Tampered
from shared.labels import WRAP


class KeyringKeys:
    """The keyring's own key-encrypting keys, one a generation, as a key service."""

    concurrency = 1

    def __init__(self, zone: Zone, randomness: Randomness) -> None:
        self._zone = zone
        self._randomness = randomness
        self._numbers = {self._name(number): number for number in zone.keyring.numbers}

    def _name(self, number: int) -> str:
        return f"local/{self._zone.name}/{number}"

    @property
    def key_name(self) -> str:
        """The current generation's."""
        return self._name(self._zone.current().number)

    def accepts(self, key_name: str) -> bool:
        """Those of the generations held, the excluded ones too: what they wrapped can still be asked for."""
        return key_name in self._numbers

    async def check(self) -> None:
        """Whether the file holds the account's current generation. Raises NotReady."""
        self._zone.current()

    async def wrap(self, key: Plaintext, place: Aad) -> bytes:
        """Raises NotReady where the file is older than the account."""
        return aead.encrypt(self._zone.current().kek, key, place.encode(WRAP), self._randomness(aead.SALT_BYTES))

    async def unwrap(self, key_name: str, wrapped: bytes, place: Aad) -> Plaintext:
        """Raises Tampered."""
        number = self._numbers.get(key_name)
        if number is None:
            raise Tampered("decryption_failed", "a stored value names a key that this keyring never had")
        return aead.decrypt(self._zone.made_with(number).kek, wrapped, place.encode(WRAP))


class Local(Enveloped):
    """The kind `Local`; its `spec` says what every kind's may, and nothing of its own."""

    def __init__(self, connector: ConnectorDocument, surroundings: Surroundings) -> None:
        settings("Local", connector.spec)
        keys = KeyringKeys(surroundings.zone, surroundings.randomness)
        super().__init__(keys, surroundings.zone, surroundings.randomness)
