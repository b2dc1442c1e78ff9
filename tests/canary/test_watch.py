"""The search can find: each form of each kind of value, wherever it lies, and nothing where nothing is."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from tests.canary.watch import PIECE_BYTES, Watch, files, held, memory

VALUES = {
    "text": b"correct horse battery staple 42",
    "binary": bytes(range(160, 200)) + os.urandom(8),
    "awkward": 'quo"te \\ slash\n tab\t & ü € 😀 <tag>'.encode(),
    "long": os.urandom(5_000),
}

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda value: value,
    "base64": base64.b64encode,
    "base64 behind one byte": lambda value: base64.b64encode(b"x" + value + b"y"),
    "base64 behind two": lambda value: base64.b64encode(b"xy" + value + b"z"),
    "base64url": base64.urlsafe_b64encode,
    "base64url behind one byte": lambda value: base64.urlsafe_b64encode(b"x" + value),
    "base64url behind two, unpadded": lambda value: base64.urlsafe_b64encode(b"xy" + value).rstrip(b"="),
    "hex": lambda value: value.hex().encode(),
    "HEX": lambda value: value.hex().upper().encode(),
    "url": lambda value: quote_from_bytes(value, safe="").encode(),
    "utf-16-le": lambda value: _text(value).encode("utf-16-le"),
    "utf-16-be": lambda value: _text(value).encode("utf-16-be"),
    "json": lambda value: json.dumps({"value": _text(value)}).encode(),
    "json, wide": lambda value: json.dumps({"value": _text(value)}, ensure_ascii=False).encode(),
}


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_found_in_every_form_and_place(value: str, encoder: str) -> None:
    encoded = ENCODERS[encoder](VALUES[value])
    for before in (0, 1, 2, 3, 1_000):
        watch = Watch()
        watch.secret("value", VALUES[value])
        watch.surface("here", held(os.urandom(before) + encoded + os.urandom(77)))
        with pytest.raises(AssertionError, match="must not be"):
            watch.search().insist()


def test_a_value_is_found_across_the_pieces_in_which_a_surface_is_read() -> None:
    value = os.urandom(40)
    watch = Watch()
    watch.secret("value", value)
    watch.surface("here", held(bytes(PIECE_BYTES - 17) + value + bytes(100)))
    assert [one.form for one in watch.search().leaks] == ["raw"]


def test_half_of_a_long_value_is_found() -> None:
    value = os.urandom(100_000)
    for half in (value[:60_000], value[45_000:]):
        watch = Watch()
        watch.secret("value", value)
        watch.surface("here", held(half))
        assert watch.search().leaks


def test_nothing_is_found_where_nothing_is() -> None:
    watch = Watch()
    for name, value in VALUES.items():
        watch.secret(name, value)
    watch.surface("here", held(os.urandom(1_000_000)))
    watch.search().insist()


def test_a_marker_that_is_not_found_fails_the_search() -> None:
    watch = Watch()
    watch.marker("name", b"something that isn't there", "here")
    watch.surface("here", held(b"something else"))
    with pytest.raises(AssertionError, match="blind"):
        watch.search().insist()


def test_a_marker_on_a_surface_that_was_never_searched_fails_the_search() -> None:
    watch = Watch()
    watch.marker("name", b"something that is there", "elsewhere")
    watch.surface("here", held(b"something that is there"))
    with pytest.raises(AssertionError, match="blind"):
        watch.search().insist()


def test_what_is_found_is_not_printed() -> None:
    value = secrets.token_urlsafe(20)
    watch = Watch()
    watch.secret("the token", value.encode())
    watch.surface("here", held(value))
    with pytest.raises(AssertionError) as caught:
        watch.search().insist()
    assert "the token" in str(caught.value) and value not in str(caught.value)


def test_a_file_anywhere_below_a_folder_is_searched(tmp_path: Path) -> None:
    value = os.urandom(30)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file-wal").write_bytes(os.urandom(10_000) + value)
    watch = Watch()
    watch.secret("value", value)
    watch.surface("folder", files(lambda: [tmp_path]))
    assert watch.search().leaks


@pytest.mark.skipif(sys.platform != "linux", reason="memory is searched on Linux only")
async def test_a_value_in_another_processs_memory_is_found() -> None:
    """The child makes the value from two halves, so that it is nowhere but in its memory."""
    left, right = secrets.token_hex(16), secrets.token_hex(16)
    script = "import sys; value = sys.argv[1] + '-' + sys.argv[2]; print('ready', flush=True); sys.stdin.read()"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, left, right, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        await child.stdout.readline()
        watch = Watch()
        watch.secret("joined", f"{left}-{right}".encode())
        watch.secret("never there", os.urandom(32))
        watch.surface("memory", memory(lambda: child.pid))
        assert {one.canary for one in watch.search().leaks} == {"joined"}
    finally:
        child.kill()
        await child.wait()
