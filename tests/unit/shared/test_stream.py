"""The output stream: chunks open in their order, whole, at their task, for their reader; nothing else does."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shared.aad import Aad
from shared.canonical import lp
from shared.crypto import stream
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey, seal
from shared.crypto.stream import CHUNK_BYTES, OVERHEAD_BYTES, STDERR, STDOUT, OutputOpener, OutputSealer
from shared.errors import Tampered
from shared.labels import OUTPUT
from shared.values import Recipient

READER = SealingKey(b"r" * 32)
ACCOUNT, KEYRING, TASK = "account", "main", "T" * 43
WRITTEN = ((STDOUT, b"one\n"), (STDERR, b"oh\n"), (STDOUT, b"x" * CHUNK_BYTES), (STDOUT, b"2"))


def sealer() -> OutputSealer:
    return OutputSealer(Recipient(READER.public), ACCOUNT, KEYRING, TASK, os.urandom)


def opener(key: bytes, reader: SealingKey = READER, task: str = TASK, keyring: str = KEYRING) -> OutputOpener:
    return OutputOpener(reader, ACCOUNT, keyring, task, key)


def sealed() -> tuple[bytes, list[bytes]]:
    """A key and the chunks of WRITTEN, the last one included."""
    one = sealer()
    return one.key.raw, [*(one.chunk(number, data) for number, data in WRITTEN), one.last()]


def refusal(opening: OutputOpener, chunk: bytes) -> tuple[str, str]:
    with pytest.raises(Tampered) as caught:
        opening.open(chunk)
    return caught.value.code, caught.value.detail


def test_an_output_opens_in_its_order_to_its_end() -> None:
    key, chunks = sealed()
    opening = opener(key)
    assert [opening.open(chunk) for chunk in chunks] == [*((*one, False) for one in WRITTEN), (0, b"", True)]
    assert opening.is_over and opening.count == len(chunks) + 1
    assert len(chunks[0]) == len(WRITTEN[0][1]) + OVERHEAD_BYTES


def test_an_output_without_its_last_chunk_is_not_over() -> None:
    key, chunks = sealed()
    opening = opener(key)
    for chunk in chunks[:-1]:
        opening.open(chunk)
    assert not opening.is_over


@given(st.data())
def test_a_changed_chunk_does_not_open_and_the_true_one_still_does(data: st.DataObject) -> None:
    key, chunks = sealed()
    opening = opener(key)
    changed = bytearray(chunks[0])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    refusal(opening, bytes(changed))
    assert opening.open(chunks[0])[1] == WRITTEN[0][1]


@given(st.binary(max_size=64))
def test_bytes_that_nobody_encrypted_do_not_open(raw: bytes) -> None:
    refusal(opener(sealed()[0]), raw)


def test_chunks_left_out_doubled_moved_or_cut_fail_in_the_same_words() -> None:
    key, chunks = sealed()
    said = {refusal(opener(key), chunk) for chunk in (*chunks[1:], b"", chunks[0][:-1], chunks[0] + b"x")}
    doubled = opener(key)
    doubled.open(chunks[0])
    said.add(refusal(doubled, chunks[0]))
    other_key, others = sealed()
    said.add(refusal(opener(key), others[0]))
    said.add(refusal(opener(other_key), chunks[0]))
    assert said == {("opening_failed", "a part of a command's output doesn't open: it was changed, left out or moved")}


def test_nothing_opens_after_the_end() -> None:
    one = sealer()
    opening = opener(one.key.raw)
    last = one.last()
    assert opening.open(last)[2]
    refusal(opening, last)
    with pytest.raises(ValueError, match="over"):
        one.chunk(STDOUT, b"more")
    with pytest.raises(ValueError, match="over"):
        one.last()


@pytest.mark.parametrize(
    "other",
    [{"task": "U" * 43}, {"keyring": "other"}, {"reader": SealingKey(b"o" * 32)}],
    ids=["task", "zone", "reader"],
)
def test_the_key_opens_at_its_place_for_its_reader_alone(other: dict[str, object]) -> None:
    with pytest.raises(Tampered):
        opener(sealed()[0], **other)  # type: ignore[arg-type]


def test_a_key_of_another_length_is_none() -> None:
    place = Aad("answer", ACCOUNT, KEYRING, version=TASK).encode(OUTPUT)
    short = seal(Recipient(READER.public), Plaintext(b"k" * 16), place)
    with pytest.raises(Tampered):
        opener(short.raw)


@pytest.mark.parametrize("plaintext", [b"\x00", b"\x01", b"\x03x", b"\x00x", b"\x01" + b"x" * (CHUNK_BYTES + 1)])
def test_a_chunk_that_no_sealer_makes_is_refused_although_it_decrypts(plaintext: bytes) -> None:
    key = b"k" * 32
    place = Aad("answer", ACCOUNT, KEYRING, version=TASK).encode(OUTPUT)
    opening = opener(seal(Recipient(READER.public), Plaintext(key), place).raw)
    cipher, nonce = AESGCM(key), (1).to_bytes(12, "big")
    for last in (b"\x00", b"\x01"):
        aad = lp(OUTPUT, TASK.encode(), (1).to_bytes(8, "big"), last)
        if (plaintext, last) != (b"\x00", b"\x01"):
            refusal(opening, cipher.encrypt(nonce, plaintext, aad))


def test_a_sealer_takes_no_other_stream_and_no_empty_or_long_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    one = sealer()
    for number, data in ((0, b"x"), (3, b"x"), (STDOUT, b""), (STDOUT, b"x" * (CHUNK_BYTES + 1))):
        with pytest.raises(ValueError, match="a chunk belongs"):
            one.chunk(number, data)
    monkeypatch.setattr(stream, "MOST_CHUNKS", 1)
    with pytest.raises(ValueError, match="over"):
        one.chunk(STDOUT, b"x")


def test_no_stream_is_printed_with_its_key() -> None:
    one = sealer()
    assert repr(one) == "OutputSealer(1)" and repr(opener(one.key.raw)) == "OutputOpener(1)"
