"""Certificates: which delegate identities belong to a keyring now."""

from __future__ import annotations

from functools import lru_cache

from shared.documents.certificate import LIFETIME_SECONDS, CertificateDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as, thumbprint
from shared.documents.keyring import KeyringDocument
from shared.documents.status import StatusDocument
from shared.errors import Denied, Tampered, Unauthenticated
from shared.trust.authority import SKEW_SECONDS


def check_certificate(
    compact: str, keyring: Verified[KeyringDocument], status: StatusDocument | None, now: int
) -> Verified[CertificateDocument]:
    """The certificate, if the keyring vouches for it now.

    Raises Malformed, Tampered, Unauthenticated for a certifier that the keyring doesn't list, Denied for a generation
    below the floor, a revoked key, or outside its time.
    """
    verified = _certified(compact, keyring)
    recheck_certificate(verified, status, now)
    return verified


@lru_cache(maxsize=1024)
def _certified(compact: str, keyring: Verified[KeyringDocument]) -> Verified[CertificateDocument]:
    """What stays true of a certificate and a keyring document for ever; each is verified once."""
    certificate = parse_as(CertificateDocument, compact)
    document = certificate.document
    certifier = next((one for one in keyring.document.certifiers if thumbprint(one.key) == certificate.kid), None)
    if certifier is None or document.keyring != keyring.document.id or document.acct != keyring.document.acct:
        raise Unauthenticated(
            "certifier_unknown",
            "the delegate is certified by a key that its keyring doesn't list",
            "give the delegate the keyring file of this account, in its newest generation",
        )
    verified = certificate.verified_by(VerifyingKey.of(certifier.key))
    if certifier.gen != document.gen:
        raise Tampered("certificate_forged", "the certificate claims another generation than that which signed it")
    return verified


def recheck_certificate(certificate: Verified[CertificateDocument], status: StatusDocument | None, now: int) -> None:
    """What may change while a certificate is in use. Raises Denied."""
    document = certificate.document
    if document.iat > now + SKEW_SECONDS or document.exp <= now or document.exp - document.iat > LIFETIME_SECONDS:
        raise Denied(
            "certificate_expired",
            "the delegate's certificate is outside its time",
            "compare the clocks of both machines",
        )
    if status is not None:
        if document.gen < status.keyrings.get(document.keyring, 1):
            raise Denied(
                "generation_excluded",
                "the delegate holds a generation of the keyring that is excluded",
                "give the delegate the newest keyring file",
            )
        if thumbprint(document.key) in status.keys or certificate.kid in status.keys:
            raise Denied(
                "delegate_revoked", "the delegate's identity is revoked", "restart the delegate to make a new one"
            )
