"""`privyseal connector disable` and `enable`: whether the built-in secret manager takes new secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from client.cli.session import Leaf, session

if TYPE_CHECKING:
    from client.sdk import Client
    from shared.documents.connector import ConnectorDocument
    from shared.documents.jws import Verified


@click.command("disable", cls=Leaf)
@click.argument("reference")
@click.pass_context
def disable(context: click.Context, reference: str) -> None:
    """Let the built-in secret manager take no new secrets; those in it go on. For administrators.

    Another connector in the account's scope is needed first, whose own credentials are in the built-in one, if it has any.
    """
    _switch(context, reference, enabled=False)


@click.command("enable", cls=Leaf)
@click.argument("reference")
@click.pass_context
def enable(context: click.Context, reference: str) -> None:
    """Let the built-in secret manager take new secrets again. For administrators."""
    _switch(context, reference, enabled=True)


def _switch(context: click.Context, reference: str, *, enabled: bool) -> None:
    from client.built_in import check_named

    run = session(context)
    check_named(reference, run.here())

    async def act(client: Client) -> Verified[ConnectorDocument]:
        return await (client.built_in.enable() if enabled else client.built_in.disable())

    document = run.run(act).document
    run.out.done(
        "the built-in secret manager takes new secrets"
        if enabled
        else "the built-in secret manager is disabled: it takes no new secrets, and those in it go on",
        identifier=document.identifier,
        scope=document.scope,
        id=document.id,
        revision=document.rev,
        disabled=document.is_disabled,
    )
