"""`privyseal exec`: runs a command on a delegate, with secrets in its environment that never come here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from client.choice import Choice
from client.cli.delegates import choosing
from client.cli.pairs import pairs
from client.cli.running import running
from client.cli.session import Leaf, Session, session
from client.cli.usage import stated, stating
from client.cli.variables import variables_of, varying
from client.cli.waiting import urgent
from client.meanings import meaning
from shared.errors import PrivySealError

if TYPE_CHECKING:
    from client.commands import Ran
    from client.sdk import Client
    from shared.documents.usage import TaskUsage

FAILED = 125
"""Exit status where Privy Seal itself failed, so that it can't be taken for the command's (as docker and env have it)."""

TIMED_OUT = 124
CANCELLED = 130
_SIGNALLED = 128


@click.command("exec", cls=Leaf, context_settings={"allow_interspersed_args": False})
@click.option(
    "--secret", "secrets", multiple=True, required=True, metavar="NAME=REFERENCE", help="a secret as a variable"
)
@running("how long it may run")
@choosing
@varying
@stating
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_context
@urgent
def exec_(
    context: click.Context,
    secrets: tuple[str, ...],
    plain: tuple[str, ...],
    directory: str,
    timeout: int,
    delegates: Choice,
    variables: tuple[str, ...],
    application: str | None,
    environment: str | None,
    command: tuple[str, ...],
) -> int:
    """Run a command on a delegate, with secrets in its environment.

    The values never leave the delegate: what the command writes is masked there, sealed to you and shown as it comes. The
    manager sees neither the command nor its output. It runs once: if the delegate is lost, what became of it is unknown.
    No shell is started; name one to have one: -- sh -c '...'. The delegate's owner has to allow it (exec in its policy file).

    The exit status is the command's; 128 and the signal's number if a signal ended it, 124 if its time ran out, 125 if
    Privy Seal failed.
    """
    run = session(context)
    try:
        usage, given = stated(application, environment), pairs("--secret", secrets)
        named = variables_of(variables)
        return _run(run, given, pairs("--env", plain), directory, timeout, delegates, usage, command, named)
    except PrivySealError as why:
        run.out.error(why)
        return FAILED


def _run(
    run: Session,
    secrets: dict[str, str],
    plain: dict[str, str],
    directory: str,
    timeout: int,
    delegates: Choice,
    usage: TaskUsage | None,
    command: tuple[str, ...],
    variables: dict[str, str],
) -> int:
    for reference in secrets.values():
        meaning(reference, run.here(), variables)
    gathers = run.output in {"json", "yaml"}
    gathered = {1: bytearray(), 2: bytearray()}

    def write(stream: int, data: bytes) -> None:
        if gathers:
            gathered[stream] += data
            return
        file = sys.stdout.buffer if stream == 1 else sys.stderr.buffer
        file.write(data)
        file.flush()

    async def act(client: Client) -> Ran:
        return await client.commands.run(
            command,
            secrets,
            write,
            env=plain,
            directory=directory,
            seconds=timeout,
            selectors=delegates,
            usage=usage,
            variables=variables,
        )

    ran = run.run(act)
    if gathers:
        run.out.data(_for_programs(ran, bytes(gathered[1]), bytes(gathered[2])))
    if ran.finished.truncated:
        run.out.warning("the command wrote more than a delegate passes on: the rest is left out")
    if ran.finished.reason == "timed_out":
        run.out.warning(f"the command was ended after {timeout} seconds: give it more with --timeout")
        return TIMED_OUT
    if ran.finished.reason == "cancelled":
        run.out.warning("the command was ended before its time")
        return CANCELLED
    if ran.finished.exit is not None:
        return ran.finished.exit
    return _SIGNALLED + (ran.finished.signal or 0)


def _for_programs(ran: Ran, out: bytes, errors: bytes) -> dict[str, Any]:
    finished = ran.finished
    return {
        "exit": finished.exit,
        "signal": finished.signal,
        "reason": finished.reason,
        "truncated": finished.truncated,
        "delegate": ran.name,
        "stdout": _text(out),
        "stderr": _text(errors),
    }


def _text(raw: bytes) -> str:
    """As text, what is none replaced: a command's output is for people."""
    return raw.decode("utf-8", "replace")
