"""The opening of an output: a delegate vouches for the key under which it encrypts what a command writes."""

from __future__ import annotations

from shared.documents.fields import Digest, Payload, Seconds


class OutputDocument(Payload, frozen=True, kw_only=True):
    """`sealed` is the digest of the key, sealed to the task's reader."""

    task: Digest
    sealed: Digest
    iat: Seconds
