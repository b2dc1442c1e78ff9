"""A kind of Google's brings its own library into the process, and nobody else's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.source import ROOT

LOADED = """
import sys
from delegate.secret_managers.registry import BUILT_IN
before = {name for name in sys.modules if name.startswith("google.cloud")}
assert not before, before
BUILT_IN[sys.argv[1]].load()
print("\\n".join(sys.modules))
"""
OTHERS = (
    "aiobotocore",
    "boto3",
    "botocore",
    "hvac",
    "azure",
    "msal",
    "delegate.credentials.aws",
    "delegate.credentials.vault",
)


@pytest.mark.parametrize(
    ("kind", "own", "other"),
    [
        ("GcpKms", "google.cloud.kms_v1", "google.cloud.secretmanager_v1"),
        ("GcpSecretManager", "google.cloud.secretmanager_v1", "google.cloud.kms_v1"),
    ],
)
def test_a_delegate_that_uses_one_kind_loads_no_other_library(kind: str, own: str, other: str) -> None:
    command = [sys.executable, "-I", "-W", "error", "-c", LOADED, kind]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert own in modules
    wrong = [one for one in modules if any(one == name or one.startswith(f"{name}.") for name in (other, *OTHERS))]
    assert wrong == []
