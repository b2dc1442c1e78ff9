"""The key of a keyring's generation that signs ID tokens: RSA-3072, since RS256 is what every cloud takes.

It isn't derived from the generation's seed: RSA keys have no derivation that two implementations would agree on. Promises:
a damaged key never signs (its factors would leak). Must not make a token: `delegate.tokens` does.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.canonical import b64u
from shared.documents.keyring import MODULUS_BITS, Modulus
from shared.errors import Malformed

EXPONENT = 65537


class IssuerKey:
    """A private key; `n` is its modulus, as documents have it."""

    __slots__ = ("__dict__", "__pem", "n")

    def __init__(self, pem: bytes) -> None:
        """From PKCS#8 PEM, exactly as `pem` writes it. Raises Malformed for everything else."""
        self.__pem = pem
        # The factors are checked when something is to be signed: that takes a tenth of a second, which most never need.
        key = _load(pem, checked=False)
        self.n = b64u(key.public_key().public_numbers().n.to_bytes(MODULUS_BITS // 8, "big"))
        if key.public_key().public_numbers().e != EXPONENT or _pem(key) != pem:
            raise _malformed()
        try:
            msgspec.convert(self.n, Modulus)
        except msgspec.ValidationError:
            raise _malformed() from None

    @staticmethod
    def generate() -> IssuerKey:
        """A new one. Takes some tenths of a second: not for an event loop."""
        return IssuerKey(_pem(rsa.generate_private_key(EXPONENT, MODULUS_BITS)))

    @property
    def pem(self) -> bytes:
        """PKCS#8, unencrypted. It is secret."""
        return self.__pem

    @cached_property
    def private(self) -> rsa.RSAPrivateKey:
        """The key itself, for what signs tokens. Takes a tenth of a second the first time. Raises Malformed."""
        return _load(self.__pem, checked=True)

    def __repr__(self) -> str:
        return "IssuerKey()"


def _load(pem: bytes, *, checked: bool) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=not checked)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _malformed() from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != MODULUS_BITS:
        raise _malformed()
    return key


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _malformed() -> Malformed:
    return Malformed(
        "keyring_malformed",
        "the OIDC key of a generation in the keyring file is damaged, or is no RSA key of 3,072 bits",
        "restore the file's backup, or rotate the keyring: privyseal keyring rotate",
    )
