"""A delegate's memory is for nobody else: no core file, no debugger, no reading through /proc."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from delegate.main import main
import sys
sys.argv = ["privyseal-delegate", "--version"]
try:
    main()
except SystemExit:
    pass
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_delegate_leaves_no_core_file_and_lets_nobody_read_its_memory() -> None:
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "(0, 0) 0"
