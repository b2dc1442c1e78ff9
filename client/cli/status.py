"""`privyseal status`: what no longer counts, and how long that promise lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client.cli.output import moment
from client.cli.session import Leaf, Nouns, session

if TYPE_CHECKING:
    from client.sdk import Client
    from shared.documents.jws import Verified
    from shared.documents.status import StatusDocument


@click.group(cls=Nouns)
def status() -> None:
    """Show and renew the account's status. Once it has expired, delegates refuse everything."""


def _record(one: Verified[StatusDocument]) -> dict[str, Any]:
    document = one.document
    return {
        "serial": document.rev,
        "signed": moment(document.iat),
        "expires": moment(document.exp),
        "signer": one.kid,
        "renewed": document.base is not None,
        "revoked_grants": list(document.grants),
        "revoked_keys": list(document.keys),
        "version_floors": dict(document.secrets),
        "keyring_floors": dict(document.keyrings),
        "group_floors": dict(document.groups),
    }


@status.command("show", cls=Leaf)
@click.pass_context
def show(context: click.Context) -> None:
    """Show it."""
    run = session(context)

    async def act(client: Client) -> Verified[StatusDocument]:
        await client.account.sync(force=True)
        return client.publisher.status()

    run.out.record(_record(run.run(act)))


@status.command("renew", cls=Leaf)
@click.option("--days", type=int, metavar="N", help="how long it lasts from now [as long as before]")
@click.pass_context
def renew(context: click.Context, days: int | None) -> None:
    """Make it last longer. For a cron job: a service with the permission renew may do this and nothing else."""
    run = session(context)
    renewed = run.run(lambda client: client.publisher.renew(days))
    run.out.done(f"the status lasts until {moment(renewed.document.exp)}", **_record(renewed))
