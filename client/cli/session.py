"""One run of the command line: its options, and how a command reaches its client.

Promises: an option may stand before or after the command; the last one counts. Must not open a connection before the
command needs one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from client.cli.output import Format, Output
from client.patience import Patience

if TYPE_CHECKING:
    from client.context import Context
    from client.home import Home
    from client.sdk import Client
    from shared.names import Scope

T = TypeVar("T")


@dataclass(slots=True)
class Session:
    """The options, None where they aren't given."""

    context: str | None = None
    home: str | None = None
    org: str | None = None
    project: str | None = None
    output: Format | None = None
    quiet: bool | None = None
    ca_file: str | None = None
    patience: Patience = Patience()  # noqa: RUF009 (frozen)
    """What the command's options say of waiting; no option of every command."""

    @property
    def out(self) -> Output:
        """Where to print."""
        return Output(self.output or "table", bool(self.quiet))

    def folder(self) -> Home:
        """The client's folder."""
        from client.home import Home

        return Home.find(os.environ, self.home)

    def chosen(self) -> tuple[str, Context]:
        """The context that is meant, with its name. Raises NotReady, NotFound."""
        from client.context import Contexts

        return Contexts(self.folder()).find(self.context)

    def here(self) -> Scope:
        """The scope of bare names."""
        from client.context import parse_here

        _, context = self.chosen()
        same = self.org is None or self.org == context.org
        org = context.org if self.org is None else self.org
        return parse_here(org, self.project if self.project is not None else (context.project if same else ""))

    def check_reference(self, text: str) -> None:
        """Raises Malformed at once for a reference that can't be one, before a value is asked for."""
        from shared.names import Reference

        Reference.parse(text, self.here())

    def client(self) -> Client:
        """A client of the chosen context, with its identity unlocked."""
        from client.cli.prompts import passphrase
        from client.sdk import Client

        _, context = self.chosen()
        return Client.of_context(
            context,
            self.folder(),
            org=self.org,
            project=self.project,
            ca_file=self.ca_file,
            passphrase=passphrase,
        )

    def run(self, act: Callable[[Client], Awaitable[T]]) -> T:
        """Runs an act with a client and closes it; warns when the clocks are apart or the status soon ends."""

        async def acting() -> T:
            async with self.client() as client:
                try:
                    with client.account.waiting(self.patience):
                        return await act(client)
                finally:
                    self._warn(client)

        return asyncio.run(acting())

    def _warn(self, client: Client) -> None:
        from shared.documents.status import WARNING_SECONDS

        account = client.account
        if account.is_skewed:
            self.out.warning(f"the manager's clock is {account.skew_seconds:+d} seconds from this one: set both right")
        status = account.book.status
        if status is not None and not self.quiet:
            left = status.document.exp - account.clock()
            if left < WARNING_SECONDS:
                days = max(0, left) // 86_400
                self.out.warning(f"the account's status expires in {days} days: privyseal status renew")


def session(context: click.Context) -> Session:
    """The run that a command belongs to."""
    return cast(Session, context.find_root().obj)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None:
        return
    root = context.find_root()
    if root.obj is None:
        root.obj = Session()
    setattr(root.obj, str(parameter.name), value)


def options(*, shown: bool) -> list[click.Option]:
    """The options that every command takes."""
    hidden = not shown
    keep: dict[str, Any] = {"callback": _keep, "expose_value": False, "hidden": hidden, "default": None}

    def env(name: str) -> str | None:
        return f"PRIVYSEAL_{name}" if shown else None

    return [
        click.Option(["--context"], metavar="NAME", envvar=env("CONTEXT"), help="the context to use", **keep),
        click.Option(["--home"], metavar="DIR", help="the client's folder [PRIVYSEAL_HOME]", **keep),
        click.Option(["--org"], metavar="ID", envvar=env("ORG"), help="the organisation of bare names", **keep),
        click.Option(["--project"], metavar="ID", envvar=env("PROJECT"), help="the project of bare names", **keep),
        click.Option(
            ["-o", "--output"],
            type=click.Choice(["table", "json", "yaml"]),
            envvar=env("OUTPUT"),
            help="how to print",
            **keep,
        ),
        click.Option(["-q", "--quiet"], is_flag=True, flag_value=True, help="no remarks", **keep),
        click.Option(
            ["--ca-file"], metavar="FILE", envvar=env("CA_FILE"), help="trust these certificate authorities", **keep
        ),
    ]


class Leaf(click.Command):
    """A command that also takes the global options behind its name."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        own = {option for parameter in self.params for option in parameter.opts}
        self.params += [one for one in options(shown=False) if not own & set(one.opts)]


class Nouns(click.Group):
    """A group whose commands take the global options anywhere."""

    command_class = Leaf
    group_class = type
