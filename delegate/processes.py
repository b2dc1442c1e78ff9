"""Processes: a program started in a session of its own, with pipes from it, one to it where it is given input, and nothing else.

Promises: it inherits no descriptor, no input and no variable but those given; its group can be signalled until `close`
without ever meeting a stranger's. Must not decide when it ends: `delegate.runs` does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from shared.errors import Denied, Malformed, NotFound, Overloaded, PrivySealError, Unavailable

READ_BYTES = 64 * 1024
"""What is read at once; what isn't read stays in the pipe, and makes the process wait."""


class Pipe:
    """The reading end of a pipe. Not the loop's own transport: uvloop closes a pipe's descriptor twice."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    async def read(self) -> bytes:
        """What is there, once something is; nothing at the end."""
        while True:
            with suppress(BlockingIOError):
                return os.read(self._descriptor, READ_BYTES)
            await self._filled()

    async def _filled(self) -> None:
        loop = asyncio.get_running_loop()
        filled = asyncio.Event()
        loop.add_reader(self._descriptor, filled.set)
        try:
            await filled.wait()
        finally:
            loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Nobody may be reading."""
        os.close(self._descriptor)


class Inlet:
    """The writing end of a pipe, closed once all is written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        os.set_blocking(descriptor, False)

    async def write(self, data: bytes) -> None:
        """All of it, as fast as it is read. Who reads no more misses the rest, and that is no error."""
        rest = memoryview(data)
        try:
            while rest and self._descriptor is not None:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    await self._emptied(self._descriptor)
        except BrokenPipeError:
            pass
        finally:
            self.close()

    async def _emptied(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        emptied = asyncio.Event()
        loop.add_writer(descriptor, emptied.set)
        try:
            await emptied.wait()
        finally:
            loop.remove_writer(descriptor)

    def close(self) -> None:
        """Nobody may be writing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Process:
    """A started process, its group and its pipes."""

    def __init__(self, popen: subprocess.Popen[bytes], pipes: Sequence[int], inlet: int | None) -> None:
        self._popen = popen
        self.outputs = [Pipe(pipe) for pipe in pipes]
        """Of its standard output and error."""
        self.inlet = None if inlet is None else Inlet(inlet)
        """To its standard input, where it has one."""
        self._is_reaped = False

    @staticmethod
    def start(
        program: str, argv: Sequence[str], directory: str, environment: Mapping[bytes, bytes], has_input: bool = False
    ) -> Process:
        """Starts the file `program`, which takes a millisecond. Raises NotFound, Denied, Malformed, Overloaded, Unavailable.

        Not by the event loop's own means: uvloop lets descriptors through.
        """
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for is_input in (False, False, True)[: 3 if has_input else 2]:
                reading, writing = os.pipe()
                ours.append(writing if is_input else reading)
                theirs.append(reading if is_input else writing)
            popen = subprocess.Popen(  # noqa: S603 (a program that a granted person signed, no shell)
                [text.encode() for text in argv],
                executable=program,
                cwd=directory,
                env=environment,
                stdin=theirs[2] if has_input else subprocess.DEVNULL,
                stdout=theirs[0],
                stderr=theirs[1],
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            for pipe in ours:
                os.close(pipe)
            raise _why(error) from None
        finally:
            for pipe in theirs:
                os.close(pipe)
        return Process(popen, ours[:2], ours[2] if has_input else None)

    def watch(self) -> asyncio.Future[int]:
        """Its status, negative for a signal, once it has exited; it stays a zombie until `close`."""
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[int] = loop.create_future()

        def wait() -> None:
            if hasattr(os, "waitid"):
                # Not reaped, its number can't become another's while the group is signalled.
                found = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
                assert found is not None
                status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            else:
                status = self._popen.wait()
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(exited.set_result, status)

        # A thread of its own: one of the pool would be missing for as long as the command runs.
        threading.Thread(target=wait, name=f"exec-{self._popen.pid}", daemon=True).start()
        return exited

    def signal(self, number: signal.Signals) -> None:
        """To the whole group, as long as its number is its own."""
        if not self._is_reaped:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)

    def close(self, has_exited: bool) -> None:
        """Lets go of all of it."""
        self._is_reaped = True
        if has_exited:
            self._popen.wait()
        for pipe in self.outputs:
            pipe.close()
        if self.inlet is not None:
            self.inlet.close()


def not_executable() -> PrivySealError:
    """The program's file can't be started."""
    return Denied(
        "program_not_executable",
        "the command's program may not be executed on the delegate",
        "check its mode, its owner and the first line of a script",
    )


def _why(error: OSError) -> PrivySealError:
    match error.errno:
        case errno.ENOENT:
            return NotFound(
                "program_missing",
                "the command's program, or the interpreter of its first line, isn't there on the delegate",
                "install it there",
            )
        case errno.EACCES | errno.EPERM | errno.ENOEXEC:
            return not_executable()
        case errno.E2BIG:
            return Malformed(
                "command_too_large",
                "the command, its variables and values are more than the delegate's system takes",
                "a value in a variable has at most 128 KiB",
            )
        case errno.EAGAIN | errno.ENOMEM | errno.EMFILE | errno.ENFILE:
            return Overloaded("command_refused", "the delegate's system starts no more processes", "try again later")
        case _:
            return Unavailable("command_failed", "the delegate's system can't start the command", "look at its log")
