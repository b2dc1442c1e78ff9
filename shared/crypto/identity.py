"""Identities: the private half of an Ed25519 key. The only place that signs documents."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.canonical import b64u, encode
from shared.documents.fields import Payload
from shared.documents.jws import VerifyingKey, header_bytes, kind_of
from shared.errors import Denied, Malformed


class Identity:
    """A key pair that signs as one principal, root, keyring generation or delegate."""

    __slots__ = ("__private", "_headers", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.__private = private
        self.public = VerifyingKey(private.public_key().public_bytes_raw())
        self._headers: dict[str, bytes] = {}

    @staticmethod
    def generate() -> Identity:
        """A new one."""
        return Identity(Ed25519PrivateKey.generate())

    @staticmethod
    def from_seed(seed: bytes) -> Identity:
        """The one that 32 bytes determine (RFC 8032)."""
        return Identity(Ed25519PrivateKey.from_private_bytes(seed))

    @staticmethod
    def from_pem(pem: bytes, passphrase: bytes | None) -> Identity:
        """From PKCS#8. Raises Malformed, and Denied for a missing or wrong passphrase."""
        try:
            private = serialization.load_pem_private_key(pem, passphrase)
        except UnsupportedAlgorithm:
            raise Malformed(
                "identity_malformed", "the identity's file holds another kind of key than Ed25519"
            ) from None
        except TypeError:
            raise Denied(
                "passphrase_needed",
                "the identity is locked with a passphrase, or given one that it doesn't need",
                "set PRIVYSEAL_PASSPHRASE_FILE, or answer the prompt",
            ) from None
        except ValueError:
            raise Denied(
                "identity_unreadable",
                "the identity's file is damaged or the passphrase is wrong",
                "check the passphrase",
            ) from None
        if not isinstance(private, Ed25519PrivateKey):
            raise Malformed("identity_malformed", "the identity's file holds another kind of key than Ed25519")
        return Identity(private)

    def pem(self, passphrase: bytes | None) -> bytes:
        """PKCS#8 PEM, encrypted when there is a passphrase."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        return self.__private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    @property
    def kid(self) -> str:
        """The thumbprint that names the key."""
        return self.public.kid

    @property
    def key(self) -> str:
        """The public key in base64url."""
        return b64u(self.public.raw)

    def sign(self, message: bytes) -> bytes:
        """64 bytes of signature. For framed messages; documents go through `sign_document`."""
        return self.__private.sign(message)

    def sign_document(self, payload: Payload) -> str:
        """The compact document."""
        kind = kind_of(payload)
        header = self._headers.get(kind)
        if header is None:
            header = self._headers[kind] = b64u(header_bytes(kind, self.kid)).encode()
        signing_input = header + b"." + b64u(encode(payload)).encode()
        return f"{signing_input.decode()}.{b64u(self.sign(signing_input))}"

    def __repr__(self) -> str:
        return f"Identity({self.kid})"
