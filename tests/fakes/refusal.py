"""How an attack has to end: with exactly this error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.errors import PrivySealError


@contextmanager
def refused(error: type[PrivySealError], code: str) -> Iterator[None]:
    """What is done inside fails with that class and code, no other and no subclass."""
    with pytest.raises(PrivySealError) as caught:
        yield
    assert (type(caught.value), caught.value.code) == (error, code)
