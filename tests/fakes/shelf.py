"""A provider of secrets in memory that keeps the rules of `SecretStore`: names, tags of origin, versions, a limit.

`kept` is what it has, as a provider's console would show it; `calls` are the verbs that reached it. What others keep there
is put in with `place`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from delegate.secret_managers.direct import Found
from delegate.secret_managers.interface import SecretVersion
from delegate.secret_managers.ownership import check_owner, check_referable, inline_name, tags_of
from delegate.secret_managers.texts import foreign, text_or_bytes, value_of
from shared.crypto.plaintext import Plaintext
from shared.errors import NotFound


@dataclass
class Kept:
    """A secret at the provider: its tags, and its versions, oldest first, by id."""

    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str | bytes] = field(default_factory=dict)


class Shelf:
    """The provider."""

    concurrency = 8

    def __init__(self, prefix: str = "shelf/", longest_value: int = 65_536, *, read_only: bool = False) -> None:
        self.prefix = prefix
        self.longest_value = longest_value
        self.read_only = read_only
        self.kept: dict[str, Kept] = {}
        self.calls: list[str] = []
        self.closed = 0

    def place(self, name: str, value: str | bytes, **tags: str) -> None:
        """Others keep a version there."""
        kept = self.kept.setdefault(name, Kept(tags))
        kept.versions[str(len(kept.versions) + 1)] = value

    def locator(self, secret: SecretVersion) -> str:
        """Prefix and name."""
        return self.prefix + inline_name(secret, ".")

    async def check(self) -> None:
        """It is there."""
        self.calls.append("check")

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """As `SecretStore.read`; `version` in the metadata chooses."""
        self.calls.append("read")
        kept = self.kept.get(locator, Kept())
        reference = secret.secret.reference
        if reference:
            check_referable(kept.tags)
        wanted = version or secret.secret.metadata.get("version") or next(reversed(kept.versions), "")
        if wanted not in kept.versions:
            raise NotFound("secret_not_found", f"there is no {locator}, or not that version", "")
        value = kept.versions[wanted]
        return Found(foreign(value) if reference else value_of(value), wanted)

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """As `SecretStore.write`: the version's id is the store task's."""
        self.calls.append("write")
        kept = self.kept.setdefault(locator, Kept(tags_of(secret)))
        check_owner(secret, kept.tags)
        kept.versions.setdefault(secret.aad.version, text_or_bytes(value))
        return secret.aad.version

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """As `SecretStore.remove`."""
        self.calls.append("remove")
        kept = self.kept.get(locator)
        if kept is None:
            return
        check_owner(secret, kept.tags)
        if version:
            kept.versions.pop(version, None)
        else:
            del self.kept[locator]

    async def close(self) -> None:
        """Count it."""
        self.closed += 1
