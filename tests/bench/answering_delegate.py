"""A delegate whose handler answers at once: `python -m tests.bench.answering_delegate` with a delegate's own options.

All else is the product's: hello, stream, credit, heartbeats, trust, the runner with its places and its line in the log. Only what
stands behind the runner (`delegate.tasks`, which verifies the task, opens and seals) is a handler that gives the manager an
answer that it can read; nobody could verify that one.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from typing import cast

import uvloop

from delegate.build import build
from delegate.configuration import PROGRAM, Configuration
from delegate.delivery import Delivery
from delegate.main import _configure_logs, version
from delegate.runner import Runner
from delegate.tasks import Course, Performed, Tasks
from shared.canonical import b64u, encode
from shared.documents.answer import AnswerDocument
from shared.documents.jws import header_bytes
from shared.messages import Result, Task

_HEADER = b64u(header_bytes("answer", "A" * 43))
_SIGNATURE = b64u(bytes(64))


class AtOnce:
    """In the place of `Tasks`."""

    def __init__(self, account: str) -> None:
        self._account = account

    async def perform(self, message: Task, _delivery: Delivery, _course: Course) -> Performed:
        """The task is done."""
        answer = AnswerDocument(v=1, acct=self._account, task=message.id, code="ok", iat=int(time.time()))
        compact = f"{_HEADER}.{b64u(encode(answer))}.{_SIGNATURE}"
        return Performed(Result(message.id, message.attempt, compact), "ok", "reveal", 1, began_at=time.monotonic())


async def serve(configuration: Configuration) -> None:
    """Until it is told to end."""
    daemon, health = build(configuration, version(), secrets.token_bytes)
    runner: Runner = daemon.runner
    runner._tasks = cast(Tasks, AtOnce(configuration.keyring.account))
    daemon.listen_to_signals()
    await daemon.run(health)


def main(arguments: list[str]) -> None:
    """Serves until the process is ended."""
    settings = PROGRAM.parse(arguments, os.environ, None)
    _configure_logs(settings, sys.stdout)
    uvloop.run(serve(Configuration.of(settings, os.environ, socket.gethostname())))


if __name__ == "__main__":
    main(sys.argv[1:])
