"""The checksum that Google's APIs compare, against RFC 3720's examples and another way to reckon it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.credentials.gcp_crc32c import crc32c
from tests.fakes.crc32c import crc32c as bit_by_bit


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_examples_of_the_standard(content: bytes, wanted: int) -> None:
    assert crc32c(content) == wanted


@given(st.binary(max_size=300))
def test_both_ways_to_reckon_agree(content: bytes) -> None:
    assert crc32c(content) == bit_by_bit(content)
