"""`privyseal account`: the account itself; its administrators change with the root key alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from client.cli.output import moment
from client.cli.prompts import confirm, passphrase
from client.cli.session import Leaf, Nouns, session
from shared.documents.jws import VerifyingKey, thumbprint
from shared.names import check_name

if TYPE_CHECKING:
    from client.sdk import Client
    from shared.documents.account import AccountDocument
    from shared.documents.jws import Verified


@click.group(cls=Nouns)
def account() -> None:
    """Show the account and change its administrators."""


@account.command("show", cls=Leaf)
@click.pass_context
def show(context: click.Context) -> None:
    """Show the account's address (for privyseal context add), administrators, root keys and status."""
    run = session(context)

    async def act(client: Client) -> tuple[Verified[AccountDocument], str, str, bool]:
        await client.account.sync(force=True)
        status = client.publisher.status()
        return (
            client.account.document,
            client.account.identity.kid,
            moment(status.document.exp),
            client.account.is_administrator,
        )

    found, kid, expires, administers = run.run(act)
    _, chosen = run.chosen()
    document = found.document
    run.out.record(
        {
            "name": document.name,
            "account": document.acct,
            "address": f"{chosen.manager}/{document.acct}",
            "revision": document.rev,
            "administrators": [f"{one.name} {thumbprint(one.key)}" for one in document.administrators],
            "root_keys": [thumbprint(key) for key in document.roots],
            "status_expires": expires,
            "you": kid,
            "you_administer": administers,
        }
    )


@account.group("administrator", cls=Nouns)
def administrator() -> None:
    """Add and remove administrators. It takes a root key: fetch it, use it, take it offline again."""


_root_key = click.option(
    "--root-key", required=True, metavar="FILE", help="the root key (PEM), or the recovery key (text)"
)


@administrator.command("add", cls=Leaf)
@click.argument("name")
@click.option("--key", required=True, metavar="KEY", help="the public key that was handed over")
@_root_key
@click.pass_context
def add(context: click.Context, name: str, key: str, root_key: str) -> None:
    """Make somebody an administrator: he then holds every permission."""
    from client.rootkeys import load_root

    run = session(context)
    VerifyingKey.of(key)
    check_name(name, "administrator")
    root = load_root(Path(root_key).expanduser(), passphrase)
    changed = run.run(lambda client: client.administrators.add(name, key, root))
    run.out.done(f"{name} administers the account now", name=name, key=key, revision=changed.document.rev)


@administrator.command("remove", cls=Leaf)
@click.argument("name")
@_root_key
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def remove(context: click.Context, name: str, root_key: str, yes: bool) -> None:
    """Take an administrator's rights, and adopt what he signed: keyrings, grants, status, connectors and secrets."""
    from client.rootkeys import load_root

    run = session(context)
    root = load_root(Path(root_key).expanduser(), passphrase)
    confirm(f"Remove the administrator {name} and sign as yours what he signed?", "--yes", yes)
    adopted = run.run(lambda client: client.administrators.remove(name, root))
    run.out.done(f"{name} no longer administers the account; adopted {adopted} documents", name=name, adopted=adopted)
