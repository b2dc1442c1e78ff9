"""A program of ours as a child process: started, waited for, stopped, killed and started again.

Promises: ends only what it started; what the program says is in its log file; a start that fails tells the log's last
lines. Must not pass on variables that were meant for the parent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from shared.errors import Unavailable

START_SECONDS = 30.0
STOP_SECONDS = 25.0
_POLL_SECONDS = 0.03

Probe = Callable[[], Awaitable[bool]]


def command(name: str, module: str) -> list[str]:
    """How to run a program of ours: the script beside this Python, else its module."""
    script = Path(sys.executable).with_name(name)
    return [str(script)] if script.exists() else [sys.executable, "-m", module]


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Without settings for this or another program of ours."""
    return {name: text for name, text in environ.items() if not name.startswith(("PRIVYSEAL_", "DELEGATE_"))}


class Program:
    """One child; `probe` answers whether it is ready, `environ` are variables beside those of this process."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, probe: Probe, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._probe = probe
        self._environ = dict(environ or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id. Raises Unavailable when it isn't running."""
        if not self.running:
            raise Unavailable("program_down", f"{self.name} isn't running", "start it first")
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and hasn't ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, *, wait: bool = True) -> None:
        """Starts it and waits until it is ready. Raises Unavailable with the end of its log."""
        if self.running:
            return
        argv = [sys.executable, "-m", "client.leash", str(os.getpid()), *self.argv]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**clean_environment(os.environ), **self._environ},
                # A Ctrl-C at the terminal is for us; we then stop the children in order.
                start_new_session=True,
            )
        if wait:
            await self.ready()

    async def ready(self, seconds: float = START_SECONDS) -> None:
        """Waits until its probe says so. Raises Unavailable when it ends or takes too long."""
        try:
            async with asyncio.timeout(seconds):
                while not await self._probe():
                    if not self.running:
                        raise self._failed("ended while it was starting")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise self._failed(f"wasn't ready within {seconds:.0f} seconds") from None

    async def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Asks it to end (SIGTERM), then insists; its exit status, negative for a signal."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                return await self.ended()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """Ends it at once (SIGKILL)."""
        self._signal(signal.SIGKILL)
        return await self.ended()

    async def restart(self) -> None:
        """Stops it and starts it again."""
        await self.stop()
        await self.start()

    def suspend(self) -> None:
        """Stops its clock without ending it (SIGSTOP), as a machine that hangs does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    async def ended(self) -> int:
        """Waits for its end; its exit status."""
        return 0 if self._process is None else await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            assert self._process is not None
            self._process.send_signal(number)

    def last_lines(self, count: int = 5) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-count:])
        except OSError:
            return ""

    def _failed(self, what: str) -> Unavailable:
        return Unavailable(
            "program_failed", f"{self.name} {what}: {self.last_lines()}", f"see {self.log}", log=str(self.log)
        )
