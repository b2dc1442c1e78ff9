"""Changes: what descriptions come to against what the account has, and publishing them together.

Promises: all that is wrong with a batch is told at once; a plan's changes are published in one batch or not at all, each as the
revision after the one that the plan was made for. Must not know what a description means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from msgspec import structs

from client.drafts import next_revision
from client.manifest import Manifest, refuse_all
from client.publish import Publisher, Signable
from client.yaml_texts import unified
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.documents.template import TemplateDocument
from shared.errors import Conflict, Malformed, PrivySealError

MOST_AT_ONCE = 200


class Described(Protocol):
    """What a manifest describes."""

    @property
    def manifest(self) -> Manifest:
        """Where it is written."""

    def refused(self, path: str, detail: str, hint: str = "", *, code: str = ...) -> Malformed:
        """An error at one of its fields."""


W = TypeVar("W", bound=Described)
D = TypeVar("D", ConnectorDocument, SecretDocument, TemplateDocument)


@dataclass(frozen=True, slots=True)
class Change(ABC, Generic[W, D]):
    """What a description comes to: `before` is the document that is there, `wanted` what it is to become."""

    description: W
    before: Verified[D] | None
    wanted: D

    @property
    def action(self) -> Literal["create", "change", "none"]:
        """What would be done."""
        if self.before is None:
            return "create"
        return "none" if self.before.document == self.wanted else "change"

    @property
    def place_name(self) -> str:
        """How it is called where it lives."""
        return self.wanted.identifier

    @abstractmethod
    def text(self, document: D) -> str:
        """The YAML that a diff shows."""

    def diff(self) -> str:
        """A unified diff of the YAML, empty where nothing changes."""
        place, manifest = f"{self.wanted.scope}/{self.place_name}", self.description.manifest
        old = self.text(self.before.document) if self.before else ""
        left = f"{place} (revision {self.before.document.rev})" if self.before else "/dev/null"
        return unified(old, self.text(self.wanted), left, f"{place} ({manifest.source}:{manifest.line})")


def described(
    manifests: Sequence[Manifest],
    describe: Callable[[Manifest], W],
    key: Callable[[W], Hashable],
    field: str = "identifier",
    most: int | None = None,
) -> list[W]:
    """Every manifest's description, or all that is wrong with all of them.

    What has the `key` of one before stands twice, which is told at `field`; there may be `most` of them.
    """
    found: list[W] = []
    wrong: list[PrivySealError] = []
    places: dict[Hashable, Manifest] = {}
    for manifest in manifests:
        try:
            one = describe(manifest)
            first = places.setdefault(key(one), manifest)
            if first is not manifest:
                detail = f"the {manifest.kind} stands twice, first at {first.source}:{first.line}"
                raise one.refused(field, detail, f"keep one, or give it another {field}")
        except PrivySealError as why:
            wrong.append(why)
        else:
            found.append(one)
    if most is not None and len(found) > most:
        wrong.append(manifests[0].refused("", f"more than {most} {manifests[0].kind}s at once", "apply them in parts"))
    refuse_all(wrong)
    return found


async def publish(publisher: Publisher, changes: Sequence[Change[Any, D]], fields: Sequence[str]) -> list[Verified[D]]:
    """Publishes what they change, in one batch; the documents as they are now, in their order. `fields` are what may change.

    Raises Conflict when somebody else changed one of them meanwhile: plan again.
    """
    due = [one for one in changes if one.action != "none"]
    book = publisher.account.book

    def make(now: int) -> list[Signable]:
        for one in due:
            if one.before and book.newest(one.before.document) != (one.before.document.rev, one.before.digest):
                raise Conflict(
                    "plan_stale",
                    f"{one.wanted.scope}/{one.place_name} was changed since this was planned",
                    "look at what changed, and apply it again",
                )
        return [
            next_revision(one.before, now, **{name: getattr(one.wanted, name) for name in fields})
            if one.before
            else structs.replace(one.wanted, iat=now)
            for one in due
        ]

    published = iter(await publisher.publish(make)) if due else iter(())
    return [cast("Verified[D]", one.before if one.action == "none" else next(published)) for one in changes]
