"""Refusals: what a provider's error code means to whom it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shared.errors import PrivySealError


class Refusal(NamedTuple):
    """An error to be made of a code. Whoever asked fills in its texts: `{about}`, `{who}` and what else stands for the call's."""

    error: type[PrivySealError]
    code: str
    detail: str
    hint: str


Refusals = Mapping[int | str, Refusal]
"""By the provider's own code, or HTTP's status."""
