"""Ports of loopback for programs that are yet to be started.

Promises: while a port is held, nobody else who asks the system for any port is given it; the program that it is for may listen
on it meanwhile, and again when it was started anew. Must not listen itself: who connects too early is refused.
"""

from __future__ import annotations

import socket
import sys
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"

# Elsewhere a socket keeps its port from the very program that it is for, even if it doesn't listen.
_CAN_HOLD = sys.platform == "linux"


class HeldPorts:
    """Any number; between looking for a free one and listening on it there is no gap, nor while its program is down."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        # Whoever forgets to let go of them leaves no open sockets behind.
        weakref.finalize(self, _close, self._sockets)

    def take(self, count: int) -> list[int]:
        """So many that nobody listens on, or holds."""
        return self._all([0] * count)

    def hold(self, ports: Sequence[int]) -> bool:
        """Those that were taken in an earlier run; False, and none of them, where somebody listens on one now."""
        try:
            self._all(ports)
        except OSError:
            return False
        return True

    def let_go(self) -> None:
        """Of all; may be called again."""
        _close(self._sockets)

    def _all(self, ports: Sequence[int]) -> list[int]:
        before = len(self._sockets)
        try:
            numbers = [self._held(port) for port in ports]
        except OSError:
            _close(self._sockets, before)
            raise
        if not _CAN_HOLD:
            self.let_go()
        return numbers

    def _held(self, port: int) -> int:
        one = socket.socket()
        self._sockets.append(one)
        # By this the program that it is for may listen on it, since we don't.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((LOOPBACK, port))
        return int(one.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()


def _close(sockets: list[socket.socket], first: int = 0) -> None:
    while len(sockets) > first:
        sockets.pop().close()
