"""The answer: what a delegate says a task came to, signed over the task's digest with the delegate's identity."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from shared.documents.fields import Digest, Payload, Seconds
from shared.documents.task import MOST_TARGETS

Code = Literal[
    "ok",
    "partial",
    "malformed",
    "unauthenticated",
    "denied",
    "not_found",
    "conflict",
    "not_ready",
    "stale_recipient",
    "tampered",
    "unavailable",
    "overloaded",
    "expired",
    "internal",
]
"""All that the manager learns of an outcome. `partial`: some targets failed, which ones is in the sealed part."""


class AnswerDocument(Payload, frozen=True, kw_only=True):
    """`sealed` is the digest of the output sealed to the reader, `stored` those of the records, one a target."""

    task: Digest
    code: Code
    sealed: Digest | None = None
    stored: Annotated[tuple[Digest, ...], Meta(max_length=MOST_TARGETS)] = ()
    iat: Seconds
