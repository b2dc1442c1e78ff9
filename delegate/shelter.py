"""Keeps this process's memory, where keys and values are, from other programs of the same user and from crash files.

Linux: no core file is written, and nobody but root may read the memory, environment or open files through /proc or attach
a debugger (prctl(2), PR_SET_DUMPABLE). Elsewhere only the core file. Must not fail: a system that refuses is no reason to
serve nobody.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def shelter() -> None:
    """Shelters this process for the rest of its life; children that run another program aren't."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
