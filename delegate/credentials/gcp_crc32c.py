"""CRC32C (Castagnoli), the checksum that Google's APIs compare: RFC 3720, section 12.1 and appendix B.4. It guards nothing
against anybody who means harm."""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78
"""Reflected."""


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))


def crc32c(content: bytes) -> int:
    """Of some bytes: 0 to 2**32 - 1."""
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
