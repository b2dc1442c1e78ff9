"""What a connector of the kind `EncryptedFile` says. The client imports this, so nothing of the delegate is imported here."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from shared.connectors.fields import Forms, Refused
from shared.connectors.model import Model
from shared.documents.fields import SecretReference

Path = Annotated[str, Meta(max_length=1024, pattern=r"^/[^\x00-\x1f\x7f]+$(?!\n)")]


class EncryptedFileSettings(Model, frozen=True, kw_only=True):
    """Which file, and the secret that holds its passphrase."""

    FORMS: ClassVar[Forms] = Forms(
        forms={
            "path": "an absolute path on the delegate, without . and .., such as /var/lib/privyseal/values.json",
            "passphrase": "the reference of a secret: account.NAME, org.NAME or NAME",
        },
        missing={
            "path": "Path cannot be empty: give the file on the delegate",
            "passphrase": "Passphrase cannot be empty: give the secret that holds it",
        },
    )

    path: Path
    passphrase: SecretReference

    def __post_init__(self) -> None:
        if {"", ".", ".."} & set(self.path[1:].split("/")):
            raise Refused("path", f"give {self.FORMS.forms['path']}")
        if not self.delegate_selectors:
            raise Refused("delegateSelectors", "name the delegates whose machine has the file")
