"""The task: one thing that a principal asks of a delegate, with everything that it may act on pinned.

`pins` name each document by kind, id, revision and digest; what isn't pinned is ignored. `input` holds the digest of each
sealed input, since HPKE's base mode doesn't prove its sender.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.condition import is_canonical
from shared.documents.fields import (
    ConditionText,
    Count,
    Digest,
    Identifier,
    Number,
    Opaque,
    Payload,
    SealingKey,
    Seconds,
    Selector,
    Tags,
)
from shared.documents.usage import TaskUsage

OPERATIONS = ("check", "delete", "exec", "reveal", "store")
REPEAT = {"check": "any", "delete": "never", "exec": "never", "reveal": "any", "store": "any"}
"""`any`: harmless twice, since sealed to the reader or stored conditionally. `never`: for one named delegate, once."""

EXEC = "exec"
"""The operation that a delegate's owner has to allow; one that does says so beside its kinds."""

LONGEST_SECONDS = {"any": 86_400, "never": 120}
"""How long after `iat` a task may start."""

MOST_TARGETS = 1_000
MOST_CREDENTIALS = 256
LONGEST_COMMAND_SECONDS = 86_400


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What the task is about, or needs as a credential: version `n` of a secret, a connector, or what a connector can read.

    A check is of a connector, or of an SSHKey at the host that `reference` names. A reveal or exec of a connector is of what
    `reference` (PATH or PATH#KEY) and `metadata` mean to it, without a secret document: it takes `fetch` besides. Among
    credentials an SSHKey has n = 0 and no version.

    `version` is the digest of the store task that made version n; for a store, of the one before n. `latest` says that the
    signer meant the newest version, so that a manager that knows a newer one answers Conflict. `excluded` (only for reveal)
    says that the signer accepts a record of a generation that the status excludes, and knows that it may be forged.
    """

    secret: Opaque | None = None
    connector: Opaque | None = None
    reference: Annotated[str, Meta(max_length=2_048)] = ""
    metadata: Tags = {}
    n: Count = 0
    version: Digest | None = None
    latest: bool = False
    excluded: bool = False


class Pin(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`[kind, id, rev, sha256]` of a document that the task acts on."""

    kind: Literal["account", "keyring", "grant", "connector", "secret", "template"]
    id: Annotated[str, Meta(max_length=128)]
    rev: Number
    digest: Digest


class WantedSelector(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`[selector, origin]`."""

    selector: Selector
    origin: Literal["step", "stepGroup", "stage", "pipeline"]


class KnownStatus(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`[serial, sha256]` of the newest status that the signer knows."""

    serial: Number
    digest: Digest


class TaskDocument(Payload, frozen=True, kw_only=True):
    """`to` is the thumbprint of the one delegate that may run it (only with `repeat` never).

    `credentials` are versions of the secrets that the connectors in use name, and theirs in turn; `seconds` (only for exec)
    is how long the command may run; `usage` what all of it is for. `where` is a condition over the delegate's tags, in its
    canonical form; those of the connectors in use hold besides.
    """

    keyring: Identifier
    gen: Number
    op: Literal["check", "delete", "exec", "reveal", "store"]
    repeat: Literal["any", "never"]
    to: Digest | None = None
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=MOST_TARGETS)]
    credentials: Annotated[tuple[Target, ...], Meta(max_length=MOST_CREDENTIALS)] = ()
    pins: Annotated[tuple[Pin, ...], Meta(min_length=1, max_length=4 * MOST_TARGETS)]
    selectors: Annotated[tuple[WantedSelector, ...], Meta(max_length=64)] = ()
    where: ConditionText = ""
    status: KnownStatus
    reader: SealingKey
    input: Annotated[tuple[Digest, ...], Meta(max_length=MOST_TARGETS)] = ()
    seconds: Annotated[int, Meta(ge=1, le=LONGEST_COMMAND_SECONDS)] | None = None
    usage: TaskUsage | None = None
    jti: Opaque
    iat: Seconds
    exp: Seconds

    def __post_init__(self) -> None:
        if self.where and not is_canonical(self.where):
            raise ValueError("Expected a condition in its canonical form - at `$.where`")
