"""`privyseal help`, `completion` and `version`."""

from __future__ import annotations

import sys

import click

from client.cli.session import Leaf, session
from shared.errors import CLASSES, Malformed, Unavailable

_MEANINGS = {
    "Malformed": "the command or its input is wrong",
    "Unauthenticated": "the manager doesn't know who you are",
    "Denied": "you may not do this, or a file's mode is too open",
    "NotFound": "there is no such thing, or it lies outside of your scope",
    "Conflict": "it changed meanwhile; look and try again",
    "StaleRecipient": "sealed to an old key; try again",
    "NotReady": "something must happen first (no delegate fits, an expired status, no context)",
    "Tampered": "a signature, digest or revision doesn't fit: somebody changed something",
    "Unavailable": "try again later",
    "Overloaded": "try again more slowly",
    "Expired": "time ran out",
}
_REFERENCES = """References to secrets

  account.NAME                          in the account
  org.NAME                              in the chosen organisation (--org)
  NAME                                  in the chosen scope (--org, --project, or the context's)
  TYPE://CONNECTOR/PATH#KEY             what a connector reads, without a stored secret; takes fetch
  <+secrets.getValue("account.NAME")>   the same, as an expression; its variables by --var

TYPE: hashicorpvault, awssecretsmanager, azurevault, gcpsecretsmanager. account. or org. before it says where the connector is.

Scopes in --scope: account, org/ORG, org/ORG/project/PROJECT.
"""


def exit_codes() -> list[tuple[int, str, str]]:
    """(status, class, meaning), from the errors themselves."""
    rows = [
        (0, "", "done"),
        (1, "internal", "a fault in privyseal itself, or doctor found one, or template drift found some"),
    ]
    rows += sorted((error.exit_status, name, _MEANINGS[name]) for name, error in CLASSES.items())
    return [*rows, (130, "", "stopped by you")]


@click.command("help", cls=Leaf)
@click.argument("topic", required=False)
@click.pass_context
def help_(context: click.Context, topic: str | None) -> None:
    """Topics: exit-codes, references."""
    run = session(context)
    match topic:
        case "exit-codes":
            rows = [{"status": status, "error": name, "meaning": meaning} for status, name, meaning in exit_codes()]
            run.out.table([("STATUS", "status"), ("ERROR", "error"), ("MEANING", "meaning")], rows)
        case "references":
            print(_REFERENCES, end="")
        case None:
            print(context.find_root().get_help())
        case _:
            raise Malformed("topic_unknown", "there is no such topic", "topics: exit-codes, references")


@click.command("completion", cls=Leaf)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script: eval "$(privyseal completion bash)", or `privyseal completion fish | source`."""
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None
    try:
        print(complete(context.find_root().command, {}, "privyseal", "_PRIVYSEAL_COMPLETE").source())
    except (OSError, RuntimeError):
        raise Unavailable(
            "shell_unusable", f"{shell} isn't installed, or is too old", "bash needs version 4.4"
        ) from None


@click.command("version", cls=Leaf)
@click.pass_context
def version(context: click.Context) -> None:
    """Print the version."""
    from importlib.metadata import version as version_of

    run = session(context)
    number = version_of("privy-seal")
    if run.out.format == "table":
        print(f"privyseal {number}")
    else:
        python = ".".join(map(str, sys.version_info[:3]))
        run.out.data({"version": number, "python": python})
