"""What a reference to a secret at Key Vault says, and the metadata of a secret there.

Promises: nothing that could be read as another path is taken, and no metadata that mean nothing. Must not call a provider.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from delegate.secret_managers.interface import SecretVersion
from shared.errors import Malformed

METADATA = frozenset({"version", "expiresOn"})
VERSION = re.compile(r"[0-9a-f]{32}\Z")
_REFERENCE = re.compile(r"(?P<name>[A-Za-z0-9\-]{1,127})(/(?P<version>[0-9a-f]{32}))?\Z")
_LATEST_DATE = 253_402_300_799_000
"""The last millisecond of the year 9999."""


def chosen(locator: str, version: str) -> tuple[str, str]:
    """Name and version of a reference; the version is "" for the newest. Raises Malformed."""
    parts = _REFERENCE.match(locator)
    version = "" if version == "latest" else version
    if parts is None or (version and not VERSION.match(version)):
        raise Malformed(
            "reference_malformed",
            "the secret's reference isn't a name at Key Vault, or its version isn't one",
            "write NAME or NAME/VERSION: up to 127 letters, digits and hyphens; a version is 32 hexadecimal digits in lower case",
        )
    if parts["version"] and version not in {"", parts["version"]}:
        raise Malformed(
            "reference_malformed",
            "the secret's reference names one version, and version in its additionalMetadata another",
            "give one of them",
        )
    return parts["name"], parts["version"] or version


def expiry(secret: SecretVersion) -> datetime | None:
    """`expiresOn` of the metadata, milliseconds since 1970. Raises Malformed, also for metadata that mean nothing."""
    told = secret.secret.metadata
    if not told.keys() <= METADATA:
        raise Malformed(
            "metadata_unknown",
            "additionalMetadata of the secret has a value that means nothing to AzureKeyVault",
            "known are " + ", ".join(sorted(METADATA)),
        )
    if not told.get("expiresOn"):
        return None
    milliseconds = told["expiresOn"]
    if not (milliseconds.isascii() and milliseconds.isdecimal() and len(milliseconds) <= 15):
        raise Malformed(*_EXPIRY_MALFORMED)
    if not 0 < int(milliseconds) <= _LATEST_DATE:
        raise Malformed(*_EXPIRY_MALFORMED)
    return datetime.fromtimestamp(int(milliseconds) // 1000, UTC)


_EXPIRY_MALFORMED = (
    "metadata_malformed",
    "expiresOn in additionalMetadata of the secret isn't a time",
    "give milliseconds since 1970, as in 1767225600000",
)
