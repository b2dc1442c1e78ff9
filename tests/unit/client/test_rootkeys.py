"""Root keys: the recovery key survives a printer and a keyboard, and no typing error passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.home import write_private
from client.rootkeys import load_root, parse_recovery, recovery_text
from shared.crypto.identity import Identity
from shared.errors import Denied, Malformed

seeds = st.binary(min_size=32, max_size=32)


@given(seeds)
def test_a_recovery_key_comes_back(seed: bytes) -> None:
    text = recovery_text(seed)
    assert parse_recovery(text).kid == Identity.from_seed(seed).kid
    assert parse_recovery(f"  {text.lower().replace('-', ' ')}\n").kid == Identity.from_seed(seed).kid


@given(seeds, st.integers(5, 69), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_typing_error_is_noticed(seed: bytes, at: int, character: str) -> None:
    text = recovery_text(seed)
    if text[at] in {"-", character}:
        return
    with pytest.raises(Malformed):
        parse_recovery(text[:at] + character + text[at + 1 :])


@given(st.text(max_size=80))
def test_garbage_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_recovery(text)


def test_a_root_key_is_read_from_pem_or_print(tmp_path: Path) -> None:
    seed = bytes(range(32))
    root = Identity.from_seed(seed)
    pem, text = tmp_path / "root.pem", tmp_path / "recovery.txt"
    write_private(pem, root.pem(None))
    write_private(text, f"{recovery_text(seed)}\n".encode())
    assert load_root(pem, lambda _: None).kid == load_root(text, lambda _: None).kid == root.kid
    text.chmod(0o644)
    with pytest.raises(Denied):
        load_root(text, lambda _: None)
