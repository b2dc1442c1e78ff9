"""The root of the command line: the nouns, loaded when they are used, and one place where errors become exit statuses.

Promises: every error ends as `error:` and `hint:` on standard error with the exit status of its class (`privyseal help
exit-codes`). Must not load an HTTP client or ciphers to show help.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import click

from client.cli.session import Session, options
from shared.errors import Malformed, PrivySealError


class Noun(NamedTuple):
    """Where a command lies and what it is for."""

    module: str
    attribute: str
    summary: str


NOUNS: Mapping[str, Noun] = {
    "init": Noun("client.cli.init", "init", "make an account: keys, first documents, context"),
    "dev": Noun("client.cli.dev", "dev", "a manager and delegates on this machine, to try things out"),
    "doctor": Noun("client.cli.doctor", "doctor", "check keys, clocks, trust, delegates and the audit"),
    "secret": Noun("client.cli.secret", "secret", "set, list and delete secrets"),
    "reveal": Noun("client.cli.reveal", "reveal", "open secrets' values here"),
    "exec": Noun("client.cli.exec", "exec_", "run a command on a delegate, with secrets in its environment"),
    "order": Noun("client.cli.order", "order", "have commands and tests run again and again, with nobody there"),
    "connector": Noun("client.cli.connector", "connector", "secret managers: make, list, test and delete connectors"),
    "template": Noun(
        "client.cli.template", "template", "scripts of custom secret managers: make, list, test and delete"
    ),
    "apply": Noun("client.cli.apply", "apply", "make what YAML files describe, or show what would change"),
    "export": Noun("client.cli.apply", "export", "print templates, connectors and secrets as YAML that apply takes"),
    "identity": Noun("client.cli.identity", "identity", "make and show identities"),
    "context": Noun("client.cli.context", "context", "which account, at which manager, as whom"),
    "account": Noun("client.cli.account", "account", "show the account, change its administrators"),
    "org": Noun("client.cli.scope", "org", "organisations"),
    "project": Noun("client.cli.scope", "project", "projects"),
    "grant": Noun("client.cli.grant", "grant", "who may do what"),
    "status": Noun("client.cli.status", "status", "the account's status: what no longer counts, and until when"),
    "keyring": Noun("client.cli.keyring", "keyring", "make, rotate and show keyrings"),
    "group": Noun("client.cli.group", "group", "tags for all delegates of a group"),
    "oidc": Noun("client.cli.oidc", "oidc", "issuers of ID tokens, which clouds trust instead of stored credentials"),
    "delegate": Noun("client.cli.delegate", "delegate", "list and revoke delegates"),
    "task": Noun("client.cli.task", "task", "list, show and cancel tasks"),
    "audit": Noun("client.cli.audit", "audit", "list and verify the audit"),
    "completion": Noun("client.cli.help", "completion", "completion for your shell"),
    "help": Noun("client.cli.help", "help_", "topics: exit-codes, references"),
    "version": Noun("client.cli.help", "version", "the version"),
}


class Root(click.Group):
    """Loads a noun's file when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        noun = NOUNS.get(cmd_name)
        if noun is None:
            return None
        return cast(click.Command, getattr(importlib.import_module(noun.module), noun.attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table alone, so that help is quick."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, noun.summary) for name, noun in NOUNS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest command for one that doesn't exist."""
        if args and args[0] not in NOUNS:
            from difflib import get_close_matches

            close = get_close_matches(args[0], NOUNS, n=1)
            raise Malformed(
                "command_unknown",
                "there is no such command",
                f"did you mean {close[0]}?" if close else "see privyseal --help",
            )
        return super().resolve_command(ctx, args)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        print(f"privyseal {version('privy-seal')}")
        context.exit()


_VERSION = click.Option(
    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="show the version"
)

cli = Root(
    "privyseal",
    params=[*options(shown=True), _VERSION],
    help="A secrets broker whose manager moves what it cannot read and cannot order.",
    epilog="These options may also stand behind a command. Topics: privyseal help exit-codes.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status is that of the error's class."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    session = Session()
    try:
        result: Any = cli.main(argv, prog_name="privyseal", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except PrivySealError as why:
        session.out.error(why)
        return why.exit_status
    except click.exceptions.NoArgsIsHelpError as why:
        print(why.ctx.get_help() if why.ctx else "", file=sys.stderr)
        return Malformed.exit_status
    except click.UsageError as why:
        session.out.error(_usage(why))
        return Malformed.exit_status
    except (click.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever reads our output has enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as bug:  # noqa: BLE001 (the last resort; tracebacks only on demand)
        _explain(bug)
        return 1
    return result if isinstance(result, int) else 0


def _usage(why: click.UsageError) -> Malformed:
    """click repeats what was given, which may be a value on its way; only options' own names are repeated."""
    command = why.ctx.command_path if why.ctx else "privyseal"
    hint = f"see {command} --help"
    match why:
        case click.NoSuchOption():
            name = why.option_name.partition("=")[0]
            known = name.lstrip("-").replace("-", "").isalnum() and len(name) < 40
            if why.possibilities:
                hint = f"did you mean {' or '.join(sorted(why.possibilities))}?"
            return Malformed(
                "option_unknown", f"there is no option {name}" if known else "there is no such option", hint
            )
        case click.MissingParameter():
            named = why.param.get_error_hint(why.ctx) if why.param and why.ctx else "something"
            return Malformed("argument_missing", f"{named} is missing", hint)
        case click.BadParameter():
            named = why.param.get_error_hint(why.ctx) if why.param and why.ctx else "a parameter"
            choices = why.param.type.choices if why.param and isinstance(why.param.type, click.Choice) else ()
            if choices:
                hint = "one of " + ", ".join(map(str, choices))
            return Malformed("argument_malformed", f"{named} is not what it must be", hint)
    if "extra argument" in why.message:
        return Malformed("argument_unexpected", "there are more arguments than the command takes", hint)
    return Malformed("usage", f"the command is incomplete or unknown: {command}", hint)


def _explain(bug: Exception) -> None:
    if os.environ.get("PRIVYSEAL_DEBUG"):
        import traceback

        traceback.print_exception(bug)
    print(f"error: internal: {type(bug).__name__}, a fault in privyseal itself", file=sys.stderr)
    print("hint: run it again with PRIVYSEAL_DEBUG=1 and report what it prints", file=sys.stderr)
