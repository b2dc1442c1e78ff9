"""The form of every document: compact JWS (RFC 7515), Ed25519 (RFC 8037), one header, canonical JSON payload.

    BASE64URL(header) . BASE64URL(payload) . BASE64URL(signature)

The header is exactly `{"alg":"EdDSA","kid":THUMBPRINT,"typ":"privyseal-KIND+jws"}`. What is verified is what is parsed:
the same bytes. There is no second algorithm, no key in the header and nothing optional, so nothing can be negotiated.
Verifying only; signing is `shared.crypto.identity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.canonical import b64u, decode, digest, encode, sha256, unb64u
from shared.documents.account import AccountDocument
from shared.documents.answer import AnswerDocument
from shared.documents.certificate import CertificateDocument
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Digest, Payload
from shared.documents.grant import GrantDocument
from shared.documents.group import GroupDocument
from shared.documents.keyring import KeyringDocument
from shared.documents.order import OrderDocument
from shared.documents.output import OutputDocument
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SecretDocument
from shared.documents.status import StatusDocument
from shared.documents.task import TaskDocument
from shared.documents.template import TemplateDocument
from shared.errors import Malformed, Tampered

P = TypeVar("P", bound=Payload)
P_co = TypeVar("P_co", bound=Payload, covariant=True)

KINDS: Mapping[str, type[Payload]] = {
    "account": AccountDocument,
    "answer": AnswerDocument,
    "certificate": CertificateDocument,
    "checked": CheckedDocument,
    "connector": ConnectorDocument,
    "grant": GrantDocument,
    "group": GroupDocument,
    "keyring": KeyringDocument,
    "order": OrderDocument,
    "output": OutputDocument,
    "scope": ScopeDocument,
    "secret": SecretDocument,
    "status": StatusDocument,
    "task": TaskDocument,
    "template": TemplateDocument,
}
RESERVED = frozenset({"binding", "definition"})
"""Kinds that have a name but no form yet; they are refused."""

LARGEST_CHARACTERS = 1_048_576

_decoders: Mapping[str, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(cls) for kind, cls in KINDS.items()}
_kind_of: Mapping[type[Payload], str] = {cls: kind for kind, cls in KINDS.items()}


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: Digest
    typ: str


_header_decoder = msgspec.json.Decoder(_Header)


# The y coordinates, of the points whose order divides eight, in every encoding that decodes to one (p and p + 1 are not
# canonical); the sign bit is left out. Under such a key a signature can fit any message (as in libsodium's list).
_SMALL_ORDER = frozenset(
    bytes.fromhex(y)
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


class VerifyingKey:
    """An Ed25519 public key, 32 bytes, with the thumbprint (RFC 7638) that names it. Raises Malformed for a small order."""

    __slots__ = ("_key", "kid", "raw")

    def __init__(self, raw: bytes) -> None:
        if raw[:31] + bytes([raw[31] & 0x7F]) in _SMALL_ORDER:
            raise Malformed("key_weak", "a public key is one under which anybody can sign", "make a key of its own")
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.raw = raw
        self.kid = thumbprint(b64u(raw))

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(text: str) -> VerifyingKey:
        """The key that 43 characters of base64url stand for. Raises Malformed."""
        return VerifyingKey(unb64u(text, 32))

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises Tampered unless `signature` is this key's over `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise Tampered("signature_invalid", "a signature doesn't fit what it signs") from None


@lru_cache(maxsize=4096)
def thumbprint(key: str) -> str:
    """RFC 7638 thumbprint, base64url, of an Ed25519 public key given in base64url."""
    return b64u(sha256(b'{"crv":"Ed25519","kty":"OKP","x":"' + key.encode("ascii") + b'"}'))


@dataclass(frozen=True, slots=True)
class Unverified(Generic[P_co]):
    """A parsed document that nobody vouches for yet: only `kid` may be looked at, to find the key."""

    kind: str
    kid: str
    document: P_co
    compact: str
    signing_input: bytes
    signature: bytes

    def verified_by(self, key: VerifyingKey) -> Verified[P_co]:
        """The document, vouched for by `key`. Raises Tampered."""
        if key.kid != self.kid:
            raise Tampered("signature_invalid", f"the {self.kind} document names another key than it is checked with")
        key.verify(self.signature, self.signing_input)
        return Verified(self.kind, self.kid, self.document, self.compact, digest(self.compact))


@dataclass(frozen=True, slots=True)
class Verified(Generic[P_co]):
    """A document whose signature was checked against `kid`. Whether that key may sign it is another question."""

    kind: str
    kid: str
    document: P_co
    compact: str
    digest: str


@lru_cache(maxsize=4096)
def _header(text: str) -> tuple[str, str]:
    """(kind, kid) of an encoded header, which must be exactly ours."""
    raw = unb64u(text)
    header = decode(raw, _header_decoder, "document header")
    kind = header.typ.removeprefix("privyseal-").removesuffix("+jws")
    if raw != header_bytes(kind, header.kid):
        raise Malformed("document_malformed", "the header of a document has another form than it must have")
    if kind in RESERVED:
        raise Malformed("document_kind_reserved", "the document is of a kind that this version doesn't know yet")
    if kind not in KINDS:
        raise Malformed("document_kind_unknown", "the document is of an unknown kind")
    return kind, header.kid


def header_bytes(kind: str, kid: str) -> bytes:
    """The one header of a document of that kind, signed by that key."""
    return encode({"alg": "EdDSA", "kid": kid, "typ": f"privyseal-{kind}+jws"})


def kind_of(payload: Payload) -> str:
    """The kind whose payload this is."""
    return _kind_of[type(payload)]


def peek_kind(compact: str) -> str:
    """The kind that a document's header claims. Raises Malformed."""
    return _header(compact.partition(".")[0])[0]


def parse(compact: str) -> Unverified[Payload]:
    """A compact document, parsed and not verified. Raises Malformed."""
    if len(compact) > LARGEST_CHARACTERS or not compact.isascii():
        raise Malformed("document_malformed", "a document is too long or has other characters than base64url")
    parts = compact.split(".")
    if len(parts) != 3:
        raise Malformed("document_malformed", "a document has three parts, divided by two points")
    kind, kid = _header(parts[0])
    document: Payload = decode(unb64u(parts[1]), _decoders[kind], f"{kind} document")
    signature = unb64u(parts[2], 64)
    return Unverified(kind, kid, document, compact, compact[: -len(parts[2]) - 1].encode("ascii"), signature)


def parse_as(cls: type[P], compact: str) -> Unverified[P]:
    """A compact document of one expected kind. Raises Malformed, also for another kind."""
    parsed = parse(compact)
    if not isinstance(parsed.document, cls):
        raise Malformed("document_malformed", f"a {_kind_of[cls]} document is expected here, not a {parsed.kind}")
    return parsed  # type: ignore[return-value]
