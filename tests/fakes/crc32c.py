"""CRC32C bit by bit, as RFC 3720 defines it, so that the program's table is held against something else."""

from __future__ import annotations


def crc32c(content: bytes) -> int:
    """Of some bytes."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF
