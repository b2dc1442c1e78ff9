"""What a task acts on and leaves behind in the store: the records it opens, its credentials, the versions it makes.

Records are opaque here. What decides is that they are those that the signed task names, and none newer was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from manager.assignment import Assignment
from manager.rows import StoredVersion
from manager.store import Store
from shared.canonical import blob_digest
from shared.documents.answer import AnswerDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.documents.task import Target, TaskDocument
from shared.errors import Conflict, Malformed, NotFound, Unavailable
from shared.messages import Result
from shared.trust.warrant import Warrant

LARGEST_TOGETHER = LARGEST_VALUE_BYTES + 4_096
"""All values of one task together."""

SMALL_BYTES = 16 * 1024
"""Records that are read along with their rows; larger ones only when it is known what all of them weigh."""

_SEALED_OVERHEAD, _RECORD_OVERHEAD = 2_048, 1_024


def check_inputs(document: TaskDocument, inputs: tuple[bytes, ...]) -> None:
    """Raises Malformed unless these are the sealed inputs that the task was signed over, and not too large."""
    if sum(map(len, inputs)) > LARGEST_TOGETHER + _SEALED_OVERHEAD * len(inputs):
        raise Malformed("value_too_large", "the values are larger than 10 MB together", "store fewer or smaller values")
    if tuple(blob_digest(one) for one in inputs) != document.input:
        raise Malformed("input_foreign", "the sealed inputs are not those that the task was signed over")


class Records:
    """Loads records and answers which version is the newest."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def opened(self, account: str, task: str, document: TaskDocument) -> tuple[bytes, ...]:
        """The records that the task (named by its digest) opens, one a target.

        Of a delete they say where the provider has it: the newest version's for a whole secret, empty for a large one.

        Raises Conflict where it means another newest version than there is, NotFound for one that isn't there.
        """
        match document.op:
            case "store":
                await self._check_next(account, task, document)
                return ()
            case "exec" | "reveal":
                return await self._named(account, document.targets)
            case "delete":
                return await self._doomed(account, document)
        return ()

    async def credentials(self, account: str, document: TaskDocument) -> tuple[bytes, ...]:
        """The records of the task's credentials, in order. Raises as `opened`."""
        return await self._named(account, document.credentials) if document.credentials else ()

    async def _doomed(self, account: str, document: TaskDocument) -> tuple[bytes, ...]:
        places = [(target.secret or "", target.n) for target in document.targets if target.n]
        versions = await self._store.version_many(account, places, SMALL_BYTES)
        whole = [target.secret or "" for target in document.targets if not target.n]
        newest = await self._store.latest_many(account, whole, SMALL_BYTES)
        records: list[bytes] = []
        for target in document.targets:
            secret = target.secret or ""
            version = versions.get((secret, target.n)) if target.n else newest.get(secret)
            if target.n and (version is None or version.digest != target.version):
                raise _no_version()
            records.append((version.record if version else None) or b"")
        return tuple(records)

    async def newest(self, account: str, secrets: list[str]) -> dict[str, dict[str, int | str]]:
        """The newest version of each secret that has one, for the facts of a Conflict."""
        rows = await self._store.latest_many(account, secrets, SMALL_BYTES)
        return {secret: {"n": row.n, "digest": row.digest} for secret, row in rows.items()}

    async def _check_next(self, account: str, task: str, document: TaskDocument) -> None:
        secrets = [target.secret or "" for target in document.targets]
        latest = await self._store.latest_many(account, secrets, SMALL_BYTES)
        for target, secret in zip(document.targets, secrets, strict=True):
            newest = latest.get(secret)
            # The same task again, whose answer was lost on its way, may run again: its version stays the first one.
            if newest is not None and newest.digest == task:
                continue
            if (target.n, target.version) != ((newest.n + 1, newest.digest) if newest else (1, None)):
                raise _other_newest("version_exists", newest, secret)

    async def _named(self, account: str, targets: Sequence[Target]) -> tuple[bytes, ...]:
        """The records of versions; what is no version of ours, an SSHKey or what a connector reads directly, has an empty one."""
        ours = iter(await self._versions(account, [one for one in targets if one.n]))
        return tuple(next(ours) if one.n else b"" for one in targets)

    async def _versions(self, account: str, targets: Sequence[Target]) -> tuple[bytes, ...]:
        secrets = [one.secret or "" for one in targets if one.latest]
        latest = await self._store.latest_many(account, secrets, SMALL_BYTES)
        places = [(one.secret or "", one.n) for one in targets if not one.latest]
        versions = await self._store.version_many(account, places, SMALL_BYTES)
        named: list[StoredVersion] = []
        for target in targets:
            secret = target.secret or ""
            version = latest.get(secret) if target.latest else versions.get((secret, target.n))
            if target.latest and version is not None and version.n > target.n:
                raise _other_newest("version_newer", version, secret)
            if (
                version is None
                or (version.n, version.digest) != (target.n, target.version)
                or version.deleted_at is not None
            ):
                raise _no_version()
            named.append(version)
        # Before the large ones are read: a thousand of them wouldn't fit into memory.
        if sum(version.size for version in named) > LARGEST_TOGETHER + _RECORD_OVERHEAD * len(named):
            raise Malformed("records_too_large", "the values asked for are too large together", "ask for fewer at once")
        large = [(version.secret, version.n) for version in named if version.record is None]
        whole = await self._store.version_many(account, large) if large else {}
        records = [
            version.record or getattr(whole.get((version.secret, version.n)), "record", None) for version in named
        ]
        if None in records:
            raise _no_version()  # deleted meanwhile
        return tuple(cast("list[bytes]", records))


def _no_version() -> NotFound:
    return NotFound("version_not_found", "there is no such version, or it was deleted", "privyseal secret versions")


def _other_newest(code: str, newest: StoredVersion | None, secret: str) -> Conflict:
    latest = {secret: {"n": newest.n if newest else 0, "digest": newest.digest if newest else ""}}
    return Conflict(code, "there is another newest version than the task means", "sync and sign again", latest=latest)


def versions_of(
    allowed: Warrant, assignment: Assignment, result: Result, answer: AnswerDocument, now: int
) -> list[StoredVersion]:
    """The versions that a store made, none for another operation; an empty record is a target that failed."""
    task = allowed.task
    if task.document.op != "store":
        return []
    if len(result.stored) != len(allowed.uses) or tuple(blob_digest(one) for one in result.stored) != answer.stored:
        raise Unavailable(
            "answer_malformed", "the delegate's records are not those that it signed", "update the delegate"
        )
    if sum(map(len, result.stored)) > LARGEST_TOGETHER + _RECORD_OVERHEAD * len(result.stored):
        raise Unavailable(
            "answer_malformed", "the delegate's records are larger than values can be", "update the delegate"
        )
    return [
        StoredVersion(
            secret=use.target.secret or "",
            n=use.target.n,
            digest=task.digest,
            prev=use.target.version or "",
            size=len(record),
            keyring=task.document.keyring,
            generation=task.document.gen,
            connector=use.connector.document.id,
            signer=task.kid,
            stored_at=now,
            delegate=assignment.life.delegate,
            deleted_at=None,
            compact=task.compact,
            record=record,
        )
        for use, record in zip(allowed.uses, result.stored, strict=True)
        if record
    ]
