"""The package of `docs/secret-managers/writing-one.md`, installed as its users install it: built, into a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "deploy/examples/plugin"
KIND = "EncryptedFile"


def install(folder: Path) -> Path:
    """Installs it into `folder`, which then belongs on the path: metadata with entry points included. Nothing is downloaded."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--no-build-isolation",
    ]
    done = subprocess.run(
        [*command, "--python", sys.executable, "--target", str(folder), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return folder
