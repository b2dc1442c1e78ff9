"""The check: what came of a connection test that a delegate made by itself, signed with the delegate's identity."""

from __future__ import annotations

from shared.documents.answer import Code
from shared.documents.fields import Digest, Opaque, Payload, Seconds


class CheckedDocument(Payload, frozen=True, kw_only=True):
    """`connector` is the connector's id, `revision` the digest of the document that was tested."""

    connector: Opaque
    revision: Digest
    code: Code
    iat: Seconds
