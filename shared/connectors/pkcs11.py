"""PKCS#11: values in the manager's database, under data keys that a key in a hardware module (or SoftHSM) wraps.

All of it is ours: today's YAML has no such kind. The module's library is named, never by its path: which name stands for which
file is said by each delegate's own policy.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from msgspec import Meta

from shared.connectors.fields import Forms, Refused
from shared.connectors.model import Model
from shared.documents.fields import SecretReference

Mechanism = Literal["AES_GCM", "SHA256_HMAC"]
MECHANISMS: tuple[Mechanism, ...] = get_args(Mechanism)

LIBRARY = r"^[a-z0-9][a-z0-9_\-]{0,63}$(?!\n)"
LONGEST_TOKEN_LABEL = 32
"""Bytes of UTF-8 (PKCS #11, CK_TOKEN_INFO)."""

Library = Annotated[str, Meta(pattern=LIBRARY)]
TokenLabel = Annotated[str, Meta(max_length=32, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
TokenSerial = Annotated[str, Meta(max_length=16, pattern=r"^[!-~]*$(?!\n)")]
KeyLabel = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f#]+$(?!\n)")]
KeyId = Annotated[str, Meta(max_length=128, pattern=r"^([0-9a-f]{2})*$(?!\n)")]
PreviousKey = Annotated[str, Meta(max_length=257, pattern=r"^[^\x00-\x1f\x7f#]{1,128}(#([0-9a-f]{2}){1,64})?$(?!\n)")]

_KEY = "a key's label: at most 128 characters, no control characters and no #"


class Pkcs11Settings(Model, frozen=True, kw_only=True):
    """Which token and which of its keys. `previousKeys` are `LABEL` or `LABEL#ID`: those that older records may name."""

    FORMS: ClassVar[Forms] = Forms(
        choices={"mechanism": MECHANISMS},
        named={"mechanism": "Invalid mechanism"},
        forms={
            "library": "the name that the delegate's policy file gives a library: small letters, digits, _ and -",
            "tokenLabel": "the token's label: at most 32 bytes",
            "tokenSerial": "the token's serial number: at most 16 characters",
            "keyLabel": _KEY,
            "keyId": "the key's id (CKA_ID) in small hexadecimal digits",
            "pin": "the reference of a secret: account.NAME, org.NAME or NAME; the PIN itself goes into that secret",
            "previousKeys": f"{_KEY}; with #ID where several keys have that label",
        },
        missing={
            "library": "Library cannot be empty: give the name that the delegate's policy file has for it",
            "keyLabel": "Key label cannot be empty: give the label of a key on the token",
            "pin": "You must provide the user's PIN, as a secret",
        },
    )

    library: Library
    token_label: TokenLabel = ""
    token_serial: TokenSerial = ""
    key_label: KeyLabel
    key_id: KeyId = ""
    mechanism: Mechanism = "AES_GCM"
    pin: SecretReference
    previous_keys: Annotated[tuple[PreviousKey, ...], Meta(max_length=32)] = ()

    def __post_init__(self) -> None:
        if not self.token_label and not self.token_serial:
            raise Refused(
                "tokenLabel", "Token label cannot be empty: give the token's label, its serial number or both"
            )
        if len(self.token_label.encode()) > LONGEST_TOKEN_LABEL:
            raise Refused("tokenLabel", f"give {self.FORMS.forms['tokenLabel']}")
        if not self.delegate_selectors:
            raise Refused(
                "delegateSelectors", "DelegateSelectors cannot be Empty: name the delegates that reach the token"
            )

    @property
    def key(self) -> tuple[str, str]:
        """Label and id of the key that wraps, the id empty where it isn't given."""
        return self.key_label, self.key_id

    @property
    def older_keys(self) -> tuple[tuple[str, str], ...]:
        """The same of each previous key."""
        return tuple((label, id) for label, _, id in (one.partition("#") for one in self.previous_keys))
