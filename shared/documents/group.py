"""The group document: tags that an administrator gives to all delegates that say they are of the group.

Signed by an administrator, as a keyring is. A delegate says in its own certificate which group it is of; what that brings it
is written here alone. A group that was deleted brings nothing, and may be made again: its name is its id.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from shared.documents.fields import Revisioned, Selector

MOST_TAGS = 64


class GroupDocument(Revisioned, frozen=True, kw_only=True):
    """`id` is the group's name, which is a tag of its delegates too; `tags` are sorted, each once, and none in a deleted one."""

    id: Selector
    tags: Annotated[tuple[Selector, ...], Meta(max_length=MOST_TAGS)] = ()
    deleted: bool = False

    def __post_init__(self) -> None:
        # Two revisions that say the same should look the same, also to who compares texts.
        if list(self.tags) != sorted(set(self.tags)):
            raise ValueError("Expected tags in order, each once - at `$.tags`")
        if self.deleted and self.tags:
            raise ValueError("Expected no tags in a group that is deleted - at `$.tags`")
