"""`privyseal dev` and the demonstration: up, down, up again, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from client.dev import DevEnvironment
from shared.crypto.plaintext import Plaintext
from shared.errors import Unavailable
from tests.integration.installation import Desk

ROOT = Path(__file__).resolve().parents[2]


async def test_a_folder_that_was_given_is_used_again(tmp_path: Path) -> None:
    async with DevEnvironment(tmp_path) as environment:
        account = environment.account
        async with environment.client() as client:
            await client.store("account.kept", b"value")
    async with DevEnvironment(tmp_path, delegates=3) as environment:
        assert environment.account == account
        async with environment.client() as client:
            assert await client.reveal("account.kept", selectors=["zone:c"]) == Plaintext(b"value")


async def test_a_temporary_folder_is_gone_afterwards() -> None:
    environment = DevEnvironment(delegates=0)
    async with environment:
        pid = environment.manager.pid
        assert environment.folder.is_dir()
    assert not environment.folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    environment = DevEnvironment(tmp_path, delegates=0, manager_options=["--silence", "nonsense"])
    with pytest.raises(Unavailable, match="silence"):
        await environment.start()
    await environment.stop()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux only")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    desk, log = Desk(tmp_path / "home"), tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "client.cli", "dev", "--dir", str(tmp_path / "dev")],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            env={**os.environ, "PRIVYSEAL_HOME": str(desk.home)},
        )
    until = time.monotonic() + 60
    while b"Ctrl-C" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.02)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) == 3
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    while any(map(alive, children)):
        assert time.monotonic() < until, "a child outlived its parent"
        time.sleep(0.02)


def test_the_demonstration_holds() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/demo.py"], cwd=ROOT, capture_output=True, check=False, timeout=110, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All of it held" in done.stdout
    assert "exit status 8 (Tampered)" in done.stdout
    assert re.search(r"values: nowhere in \S+ MB of files", done.stdout)
    assert re.search(r"control .* found [1-9]\d* times in files", done.stdout)
