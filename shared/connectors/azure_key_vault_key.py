"""A key of Azure Key Vault: values in the manager's database, each under a data key that the vault wraps.

The kind is ours; vault and identity are those of `AzureKeyVault`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from shared.connectors.azure_key_vault import FORMS, AzureVault
from shared.connectors.fields import Forms

MOST_PREVIOUS = 32

KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9\-]{1,127}$(?!\n)")]
KeyVersion = Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?$(?!\n)")]
PreviousKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9\-]{1,127}(/[0-9a-f]{32})?$(?!\n)")]

_NAME = "the name of a key: letters, digits and hyphens"


class AzureKeyVaultKeySettings(AzureVault, frozen=True, kw_only=True):
    """A key by its name, in one version or in whichever is current. `previousKeys`: `NAME` or `NAME/VERSION`, same vault."""

    FORMS: ClassVar[Forms] = msgspec.structs.replace(
        FORMS,
        forms={
            **FORMS.forms,
            "keyName": _NAME,
            "keyVersion": "a version of the key: 32 hexadecimal digits in lower case, or nothing for the current one",
            "previousKeys": f"at most {MOST_PREVIOUS} keys of the same vault: NAME, or NAME/VERSION",
        },
        missing={**FORMS.missing, "keyName": f"Key name cannot be empty: give {_NAME}"},
    )

    key_name: KeyName
    key_version: KeyVersion = ""
    previous_keys: Annotated[tuple[PreviousKey, ...], Meta(max_length=MOST_PREVIOUS)] = ()
