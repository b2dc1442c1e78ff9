"""The order: a task that is to be done again and again, or once when somebody can, signed once and for a bounded time.

It says all that a task says of what is done and by what documents, and when. Which run is due is `shared.orders`; whether
it may be done is judged for each run anew, as for a task.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from shared.condition import is_canonical
from shared.documents.fields import (
    ConditionText,
    Digest,
    Identifier,
    Name,
    Number,
    Opaque,
    Revisioned,
    SealingKey,
    Seconds,
)
from shared.documents.task import (
    LONGEST_COMMAND_SECONDS,
    MOST_CREDENTIALS,
    MOST_TARGETS,
    KnownStatus,
    Pin,
    Target,
    WantedSelector,
)
from shared.documents.usage import TaskUsage

LONGEST_ORDER_SECONDS = 90 * 86_400
"""From `iat` to `exp`: who signs an order says so again at least four times a year."""

SHORTEST_INTERVAL_SECONDS = 60
MOST_RUNS = LONGEST_ORDER_SECONDS // SHORTEST_INTERVAL_SECONDS


class OrderDocument(Revisioned, frozen=True, kw_only=True):
    """`owner` is the thumbprint of the key that signs every revision; only a deletion may be an administrator's.

    Run n, from 0, is due from `iat` + n * `interval` until the next one is; with an interval of 0 there is one, until `exp`.
    No run begins from `exp` on, nor more than `runs`. What is done is harmless twice: its signer says so by signing an order.
    `reader` is kept by the owner for as long as he wants to open what came of runs; the other fields are as in a task.
    """

    id: Opaque
    owner: Digest
    name: Name
    keyring: Identifier
    gen: Number
    op: Literal["check", "exec"]
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=MOST_TARGETS)]
    credentials: Annotated[tuple[Target, ...], Meta(max_length=MOST_CREDENTIALS)] = ()
    pins: Annotated[tuple[Pin, ...], Meta(min_length=1, max_length=4 * MOST_TARGETS)]
    selectors: Annotated[tuple[WantedSelector, ...], Meta(max_length=64)] = ()
    where: ConditionText = ""
    status: KnownStatus
    reader: SealingKey
    input: Annotated[tuple[Digest, ...], Meta(max_length=1)] = ()
    seconds: Annotated[int, Meta(ge=1, le=LONGEST_COMMAND_SECONDS)] | None = None
    usage: TaskUsage | None = None
    jti: Opaque
    exp: Seconds
    interval: Annotated[int, Meta(ge=0, le=LONGEST_ORDER_SECONDS)]
    runs: Annotated[int, Meta(ge=1, le=MOST_RUNS)]
    deleted: bool = False

    def __post_init__(self) -> None:
        if self.where and not is_canonical(self.where):
            raise ValueError("Expected a condition in its canonical form - at `$.where`")
        if not 0 < self.exp - self.iat <= LONGEST_ORDER_SECONDS:
            raise ValueError("Expected an end after the beginning, by 90 days at most - at `$.exp`")
        if 0 < self.interval < SHORTEST_INTERVAL_SECONDS:
            raise ValueError("Expected 0, or 60 seconds and more - at `$.interval`")
        if not self.interval and self.runs != 1:
            raise ValueError("Expected one run where there is no interval - at `$.runs`")
