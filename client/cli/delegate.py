"""`privyseal delegate`: who is connected, and the revocation of one identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client.cli.output import moment
from client.cli.prompts import confirm
from client.cli.session import Leaf, Nouns, session

if TYPE_CHECKING:
    from client.sdk import Client


@click.group(cls=Nouns)
def delegate() -> None:
    """List and revoke delegates."""


@delegate.command("list", cls=Leaf)
@click.pass_context
def list_(context: click.Context) -> None:
    """List delegates as the manager knows them; CERTIFIED says whether the account's keyring vouches for them."""
    run = session(context)
    found = run.run(lambda client: client.views.delegates())
    rows: list[dict[str, Any]] = [
        {**one, "seen": moment(one.get("last_seen")), "connected": moment(one.get("connected_at"))} for one in found
    ]
    run.out.table(
        [
            ("NAME", "name"),
            ("STATE", "state"),
            ("CERTIFIED", "certified"),
            ("SELECTORS", "tags"),
            ("KEYRING", "keyring"),
            ("GENERATIONS", "generations"),
            ("LAST SEEN", "seen"),
            ("VERSION", "version"),
            ("ID", "delegate"),
        ],
        rows,
        "no delegate is connected or was within the last hour",
    )


@delegate.command("revoke", cls=Leaf)
@click.argument("id")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def revoke(context: click.Context, id: str, yes: bool) -> None:
    """Cut a delegate off and block its identity.

    Whoever holds its keyring can still certify another: to shut the holder out, privyseal keyring rotate --compromised.
    """
    run = session(context)

    async def act(client: Client) -> str:
        full = await client.views.thumbprint(id)
        confirm(f"Revoke the delegate {full}?", "--yes", yes)
        await client.publisher.revoke_key(full)
        return full

    full = run.run(act)
    run.out.done(f"revoked the delegate {full}", delegate=full)
