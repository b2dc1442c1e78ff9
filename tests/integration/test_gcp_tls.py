"""TLS to Google: whom the gRPC library trusts is what an operator's variable says, which it reads once in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.fakes.authority import Authority

USE = """
import asyncio, sys
from pathlib import Path
from delegate.endpoints import Endpoints
from shared.errors import PrivySealError
from tests.fakes.google import Google
from tests.fakes.google_stage import Stage

async def use(google):
    stage = Stage(google, call_seconds=10.0)
    urls = google.endpoints.replace(f"cloudkms=http://127.0.0.1:{google.port}", f"cloudkms=https://{sys.argv[2]}:{google.secure_port}")
    keys = stage.keys(surroundings=stage.surroundings(gcp_endpoints=Endpoints.parse(urls, "gcp_endpoints")))
    try:
        made = await keys.generate(stage.place())
        assert await keys.unwrap(made.key_name, made.wrapped, stage.place()) == made.key
        print("opened")
    except PrivySealError as why:
        print(why.code)
    await stage.close()

folder = Path(sys.argv[1])
with Google(tls=((folder / "key").read_bytes(), (folder / "certificate").read_bytes())) as google:
    asyncio.run(use(google))
"""


@pytest.mark.parametrize(
    ("trusted", "names", "host", "wanted"),
    [
        (True, ("127.0.0.1",), "127.0.0.1", "opened"),
        (True, ("localhost",), "localhost", "opened"),
        (True, ("cloudkms.googleapis.com",), "127.0.0.1", "gcp_unreachable"),
        (False, ("127.0.0.1",), "127.0.0.1", "gcp_unreachable"),
    ],
    ids=["an address", "a name", "somebody else's certificate", "another authority"],
)
def test_only_a_certificate_of_a_trusted_authority_for_that_host_is_believed(
    trusted: bool, names: tuple[str, ...], host: str, wanted: str, tmp_path: Path
) -> None:
    authority, other = Authority(), Authority("another")
    for name, content in zip(("key", "certificate"), authority.issue(*names), strict=True):
        (tmp_path / name).write_bytes(content)
    roots = tmp_path / "roots"
    roots.write_bytes((authority if trusted else other).certificate)
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path), host],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == [wanted], done.stderr[-2000:]
