"""Keys for ID tokens, the same in every run, since making one takes a while. They are public: nothing may trust them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from shared.crypto.issuer import IssuerKey

_KEPT = Path(__file__).parents[1] / "vectors/kept/issuers.json"

ISSUER_KEYS: Mapping[int, IssuerKey] = {
    int(number): IssuerKey(pem.encode()) for number, pem in json.loads(_KEPT.read_text("ascii")).items()
}
"""By the generation that has it."""
