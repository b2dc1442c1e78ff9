"""The keyring document: the public keys of one trust zone, for the current generation and those still accepted.

Signed by an administrator. A client seals to `seal`; answers are believed when a key in `certifiers` certified their
delegate; clouds believe an ID token when a key in `oidc` signed it, which is why the issuer stands here and isn't asked of
anybody.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.documents.fields import Identifier, Key, Number, Revisioned, SealingKey

MODULUS_BITS = 3072

# The first character sets the highest bit and the last one the lowest: a modulus of exactly 3,072 bits, and odd.
Modulus = Annotated[str, Meta(pattern=r"^[g-z0-9_\-][0-9A-Za-z_\-]{510}[BDFHJLNPRTVXZbdfhjlnprtvxz13579_]$(?!\n)")]
"""The modulus of an RSA-3072 key whose exponent is 65537, 384 bytes in base64url."""

ISSUER = (
    r"^(https://[a-z0-9]([a-z0-9\-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9\-]*[a-z0-9])?)*"
    r"|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9][0-9]{0,4})?"
    r"(/[A-Za-z0-9_~\-][A-Za-z0-9_~.\-]*)*$(?!\n)"
)
"""An https URL (http for loopback) as issuers write it: no query, no fragment, no user, no slash at the end."""

LONGEST_ISSUER = 255
"""Characters that AWS takes."""

Issuer = Annotated[str, Meta(max_length=LONGEST_ISSUER, pattern=ISSUER)]


class Certifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The certifying key (Ed25519) of one generation."""

    gen: Number
    key: Key


class OidcKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key of one generation that signs ID tokens; `n` is its modulus, its exponent is always 65537."""

    gen: Number
    n: Modulus


class Oidc(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`keys` may sign for `issuer`, oldest first; an empty issuer means that there is none, and nothing is signed."""

    keys: Annotated[tuple[OidcKey, ...], Meta(min_length=1, max_length=64)]
    issuer: Issuer = ""


class KeyringDocument(Revisioned, frozen=True, kw_only=True):
    """`gen` is the current generation, `seal` its sealing key, `certifiers` the accepted ones, oldest first.

    `platform`: its delegates are the platform's own, which serve connectors with `executeOnDelegate: false` and no others.
    """

    id: Identifier
    gen: Number
    seal: SealingKey
    certifiers: Annotated[tuple[Certifier, ...], Meta(min_length=1, max_length=64)]
    platform: bool = False
    oidc: Oidc | None = None

    def __post_init__(self) -> None:
        if self.oidc is None:
            return
        gens = [one.gen for one in self.oidc.keys]
        # A generation that is no longer accepted must not speak to clouds either.
        if gens != sorted(set(gens)) or not set(gens) <= {one.gen for one in self.certifiers}:
            raise ValueError("Expected keys of accepted generations in order, each once - at `$.oidc.keys`")

    @property
    def issuer(self) -> str:
        """The URL of the OIDC issuer; empty where there is none."""
        return "" if self.oidc is None else self.oidc.issuer
