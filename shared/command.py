"""The command of an exec task, as the client seals it and the delegate opens it: canonical JSON, sealed, never shown to the manager.

    {"argv":["deploy","--now"],"directory":"/srv","env":{"STAGE":"prod"},"names":["DB_PASSWORD"]}

`names` are the environment variables that the targets' values come in, in the targets' order. What decides how a program is
found or started may not be set: who may inject a value shall not thereby choose the program.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.canonical import decode, encode
from shared.errors import Malformed

MOST_ARGUMENTS = 1_024
LONGEST_BYTES = 128 * 1024
"""All arguments and variables together, as Linux bounds them for one."""

NAME = r"^[A-Za-z_][0-9A-Za-z_]{0,127}$(?!\n)"
_name = re.compile(NAME)
_RESERVED = re.compile(
    r"(LD_.*|DYLD_.*|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_.*|GLIBC_TUNABLES|RESOLV_HOST_CONF|HOSTALIASES|"
    r"PATH|HOME|IFS|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS4|PYTHON(PATH|HOME|STARTUP|INSPECT|USERBASE)|"
    r"PERL5(OPT|LIB|DB)|PERLLIB|RUBY(OPT|LIB)|NODE_(OPTIONS|PATH)|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|CLASSPATH|"
    r"GIT_(SSH|EXEC_PATH|CONFIG.*)|TMPDIR|PRIVYSEAL_.*)\Z"
)

Text = Annotated[str, Meta(max_length=LONGEST_BYTES)]


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What to run: a program with its arguments, no shell. `directory` is where, empty for a private one of its own."""

    argv: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MOST_ARGUMENTS)]
    names: Annotated[tuple[str, ...], Meta(max_length=1_000)] = ()
    env: dict[str, Text] = {}
    directory: Annotated[str, Meta(max_length=4_096)] = ""

    def check(self) -> None:
        """Raises Malformed: command_malformed, with what is wrong and never a value."""
        names = [*self.names, *self.env]
        for name in names:
            check_variable(name)
        if len(set(names)) != len(names):
            raise _malformed("sets one variable twice", "give each name once")
        if not self.argv[0]:
            raise _malformed("names no program", "give the program and its arguments after --")
        texts = [*self.argv, *self.env, *self.env.values(), self.directory]
        if any("\0" in text for text in texts):
            raise _malformed("has a null character in an argument", "leave it out")
        if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > LONGEST_BYTES:
            raise _malformed("is longer than 128 KiB", "put the long part into a file")
        if self.directory and not self.directory.startswith("/"):
            raise _malformed("has a directory that isn't absolute", "begin it with /")


class Finished(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a command ended, as its delegate seals it to the reader: the exit status or the signal that ended it, and why.

    `chunks` counts all parts of the output, the key and the end among them; `truncated`: it wrote more than is passed on.
    """

    exit: int | None
    signal: int | None
    chunks: int
    truncated: bool
    reason: Literal["exited", "timed_out", "cancelled"]


def check_variable(name: str) -> None:
    """Raises Malformed for what is no name of a variable, or one that decides how programs start."""
    if not _name.match(name):
        raise _malformed("has a variable whose name is malformed", "a name has letters, digits and _")
    if _RESERVED.match(name):
        raise _malformed(f"sets the variable {name}, which decides how programs are started", "use another name")


def pack(command: Command) -> bytes:
    """The bytes that are sealed. Raises Malformed."""
    command.check()
    return encode(command)


def unpack(raw: bytes) -> Command:
    """The command in an opened input. Raises Malformed."""
    command = decode(raw, _decoder, "command")
    command.check()
    return command


def finished_from(raw: bytes) -> Finished:
    """How a command ended, from the item of its answer. Raises Malformed."""
    return decode(raw, _finished, "outcome of a command")


_decoder = msgspec.json.Decoder(Command)
_finished = msgspec.json.Decoder(Finished)


def _malformed(what: str, hint: str) -> Malformed:
    return Malformed("command_malformed", f"the command {what}", hint)
