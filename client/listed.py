"""What the manager lists: documents, and whether they are believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.documents.fields import Revisioned
from shared.documents.jws import Unverified, Verified
from shared.errors import PrivySealError

D_co = TypeVar("D_co", bound=Revisioned, covariant=True)


@dataclass(frozen=True, slots=True)
class Listed(Generic[D_co]):
    """A document as it is listed; `refused` says why it isn't believed, and then nothing in it counts."""

    shown: Verified[D_co] | Unverified[D_co]
    refused: PrivySealError | None = None

    @property
    def document(self) -> D_co:
        """What it says, believed or not."""
        return self.shown.document

    @property
    def verified(self) -> Verified[D_co] | None:
        """The document, where it is believed."""
        return self.shown if isinstance(self.shown, Verified) else None

    @property
    def signer(self) -> str:
        """The thumbprint of the key that signed it; empty where it isn't believed."""
        return self.verified.kid if self.verified else ""
