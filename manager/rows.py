"""The rows that the store takes and gives: frozen, without behaviour.

Times are seconds since 1970. Digests, ids and thumbprints are text that the store compares and never reads. `record`
is wrapped or a reference, opaque here; nothing in this file can be opened by the manager.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from shared.audit import Link

T = TypeVar("T")


class AccountRow(msgspec.Struct, frozen=True):
    """An account that a token was redeemed for."""

    account: str
    created: int
    name: str


class StoredDocument(msgspec.Struct, frozen=True):
    """One revision of a signed document; `prev` is "" for the first, `scope` and `identifier` "" for what has no name."""

    kind: str
    id: str
    rev: int
    digest: str
    prev: str
    scope: str
    identifier: str
    signer: str
    parent: str
    iat: int
    deleted: bool
    compact: str


class StoredVersion(msgspec.Struct, frozen=True):
    """A version of a secret: its store task (`digest`, `compact`) and record of `size` bytes.

    `record` is None in listings, and for good once `deleted_at` is set.
    """

    secret: str
    n: int
    digest: str
    prev: str
    size: int
    keyring: str
    generation: int
    connector: str
    signer: str
    stored_at: int
    delegate: str
    deleted_at: int | None
    compact: str
    record: bytes | None


class TaskRow(msgspec.Struct, frozen=True):
    """What became of a task (named by its digest); `summary` is JSON of metadata, "" for none."""

    task: str
    op: str
    principal: str
    state: str
    code: str = ""
    delegate: str = ""
    attempts: int = 0
    submitted_at: int = 0
    finished_at: int | None = None
    jti: str = ""
    keyring: str = ""
    scope: str = ""
    summary: str = ""


class CheckRow(msgspec.Struct, frozen=True):
    """A connector's newest test by one delegate: its signed document, made `at`, and the certificate it needs until `expires`."""

    connector: str
    delegate: str
    revision: str
    at: int
    expires: int
    compact: str
    certificate: str


class QueuedRow(msgspec.Struct, frozen=True):
    """A task that waits for a delegate, or did: `state` is `queued` until `ended_at`; `size` is in bytes, of what is kept of it.

    `submission` is what was submitted, None once it has ended; `outcome` what came of it then. Both are None in lists.
    """

    task: str
    principal: str
    priority: str
    op: str
    keyring: str
    submitted_at: int
    exp: int
    size: int
    state: str = "queued"
    code: str = ""
    ended_at: int | None = None
    submission: bytes | None = None
    outcome: bytes | None = None


class Sight(msgspec.Struct, frozen=True):
    """What a list may show: all at or below one of `below`, all exactly at one of `at`, and single things, (scope, id)."""

    below: tuple[str, ...] = ()
    at: tuple[str, ...] = ()
    things: tuple[tuple[str, str], ...] = ()


class AuditRow(Link, frozen=True):
    """A link of the account's audit chain; `at` repeats the entry's."""

    at: int


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some rows, and the `next` to ask for the following ones with ("" at the end)."""

    items: list[T]
    next: str = ""


class OrderRow(msgspec.Struct, frozen=True):
    """The newest revision of an order, and the sealed input of its runs: None where its operation takes none."""

    order: str
    owner: str
    rev: int
    published_at: int
    exp: int
    deleted: bool
    compact: str
    input: bytes | None = None


class RunRow(msgspec.Struct, frozen=True):
    """Run `n` of a revision of an order; `skipped` counts those right before it that nobody began; `size` is of what is kept.

    `outcome` and `output` are as `manager.runs` packs them; both are None in lists, and where there is none.
    """

    order: str
    rev: int
    n: int
    run: str
    state: str
    code: str = ""
    delegate: str = ""
    name: str = ""
    started_at: int = 0
    finished_at: int | None = None
    skipped: int = 0
    size: int = 0
    outcome: bytes | None = None
    output: bytes | None = None
