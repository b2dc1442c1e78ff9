"""Runs a program that ends with whoever started it, so that a killed `privyseal dev` leaves nothing behind.

    python -m client.leash PARENT_PID PROGRAM [ARGUMENT...]

Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere it just runs the program.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Becomes the program; ends at once where the parent is gone already."""
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606 (no shell, as intended)


if __name__ == "__main__":
    main()
