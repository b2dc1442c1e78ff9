"""Questions to the person at the terminal: hidden values, passphrases and confirmations.

Promises: what is typed hidden is never echoed, and is typed twice where a mistake would be found too late. Must not ask
where nobody sits: then the error names the flag that answers.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from client.identities import passphrase_from
from shared.errors import Malformed, NotReady


def interactive() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends a question at once, also one that is asked while an event loop runs.

    The loop's own handler would only cancel a task, which can't run before the question is answered.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def hidden_value(what: str) -> bytes:
    """What is typed twice, hidden. Raises NotReady where nobody can be asked."""
    if not interactive():
        raise NotReady(
            "value_missing",
            f"no {what} is given and nobody can be asked",
            "pipe it in with --from-stdin, or name a file with --file",
        )
    with interruptible():
        text: str = click.prompt(what.capitalize(), hide_input=True, confirmation_prompt="Once more", err=True)
    return text.encode("utf-8", "surrogateescape")


def passphrase(name: str) -> bytes | None:
    """The passphrase of a locked identity: from the environment's file, else asked for."""
    given = passphrase_from(os.environ)
    if given is not None or not interactive():
        return given
    with interruptible():
        text: str = click.prompt(f"Passphrase of the identity {name}", hide_input=True, err=True)
    return text.encode()


def new_passphrase(without: bool) -> bytes | None:
    """A passphrase for a new identity, or None for none."""
    if without:
        return None
    given = passphrase_from(os.environ)
    if given is not None or not interactive():
        return given or None
    text: str = click.prompt(
        "Passphrase for the new identity (empty for none)",
        hide_input=True,
        confirmation_prompt="Once more",
        default="",
        show_default=False,
        err=True,
    )
    return text.encode() or None


def confirm(question: str, flag: str, given: bool) -> None:
    """Goes on when `flag` was given or the question is answered with yes. Raises NotReady, or Malformed for a no."""
    if given:
        return
    if not interactive():
        raise NotReady("confirmation_missing", "this needs a confirmation and nobody can be asked", f"add {flag}")
    with interruptible():
        agreed = click.confirm(question, err=True)
    if not agreed:
        raise Malformed("not_confirmed", "nothing was changed", f"add {flag} to answer yes")


def read_value_file(path: str, most_bytes: int) -> bytes:
    """A value's file, at most `most_bytes` and one more. Raises Malformed."""
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(most_bytes + 1)
    except OSError as why:
        raise Malformed(
            "file_unreadable", f"the file can't be read: {os.strerror(why.errno or 0)}", "check --file"
        ) from None


def read_token(path: str | None) -> str:
    """The operator's one-time token, from a file or asked for hidden. Raises Malformed, NotReady."""
    if path:
        try:
            text = Path(path).expanduser().read_text("ascii").strip()
        except (OSError, UnicodeError):
            raise Malformed("token_unreadable", "the token file can't be read", "check --token-file") from None
    elif interactive():
        text = click.prompt("One-time token (privyseal-manager account add)", hide_input=True, err=True).strip()
    else:
        raise NotReady(
            "token_missing",
            "the operator's one-time token is missing",
            "give --token-file; see privyseal-manager account add",
        )
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Malformed("token_malformed", "the one-time token is malformed", "copy it whole, in one line")
    return text
