"""Child processes of a measurement: a log of their own, their figures from /proc, and an end in any case.

Promises: only processes that it started are ended. Linux only; a figure that can't be read raises `Unmeasured`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

STOP_SECONDS = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Unmeasured(Exception):
    """A figure couldn't be had; the text says why."""


class Child:
    """One program, started with this interpreter as `python -m ...`; `began` is when, on the monotonic clock."""

    def __init__(self, arguments: list[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self.log = log
        self.arguments = arguments
        with log.open("ab") as out:
            self.began = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {})},
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, in steps of a clock tick (10 ms)."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        """Resident memory, exact (smaps_rollup; the counters in `status` lag behind)."""
        for line in self._proc("smaps_rollup").splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise Unmeasured("the kernel doesn't tell resident memory")

    def _proc(self, name: str) -> str:
        try:
            return Path(f"/proc/{self.pid}/{name}").read_text(encoding="ascii")
        except OSError:
            raise Unmeasured(f"{self.arguments[0]} has ended, or this isn't Linux: {self._tail()}") from None

    async def settled_bytes(self, seconds: float = 30.0) -> int:
        """Resident memory once it has changed by less than 1 % within two seconds."""
        until = time.monotonic() + seconds
        before = self.resident_bytes()
        while time.monotonic() < until:
            await asyncio.sleep(2.0)
            now = self.resident_bytes()
            if abs(now - before) < 0.01 * before:
                return now
            before = now
        return before

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = 30.0) -> float:
        """Waits; the monotonic time at which it held. Raises Unmeasured when it doesn't in time, or the child ended."""
        until = time.monotonic() + seconds
        while not holds():
            if self._process.poll() is not None:
                raise Unmeasured(f"{self.arguments[0]} ended before {what}: {self._tail()}")
            if time.monotonic() > until:
                raise Unmeasured(f"{self.arguments[0]}: not {what} within {seconds:.0f} s: {self._tail()}")
            await asyncio.sleep(0.005)
        return time.monotonic()

    async def stop(self) -> None:
        """SIGTERM and, when that isn't enough, SIGKILL."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self._process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)

    def kill(self) -> None:
        """SIGKILL, and its end."""
        self._process.kill()
        self._process.wait()

    def _tail(self) -> str:
        return " | ".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


def busy_percent(seconds: float) -> float:
    """How much of the machine others use now: on a busy one the figures say little."""

    def read() -> tuple[int, int]:
        fields = [int(one) for one in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
        return sum(fields[:8]), fields[3] + fields[4]

    whole, idle = read()
    time.sleep(seconds)
    whole_after, idle_after = read()
    return 100.0 * (1 - (idle_after - idle) / max(1, whole_after - whole))


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str, ca_file: str = "") -> bool:
    """Whether GET gives 200."""
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    try:
        with urllib.request.urlopen(url, timeout=2.0, context=context) as response:  # noqa: S310 (loopback)
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
