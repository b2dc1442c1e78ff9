"""`privyseal identity`: makes, lists and shows identities. A private key never leaves its file."""

from __future__ import annotations

import click

from client.cli.prompts import new_passphrase, passphrase
from client.cli.session import Leaf, Nouns, session


@click.group(cls=Nouns)
def identity() -> None:
    """Make and show identities: the keys that you sign with."""


@identity.command("new", cls=Leaf)
@click.argument("name", default="default")
@click.option("--no-passphrase", is_flag=True, help="keep it without a passphrase (for services)")
@click.pass_context
def new(context: click.Context, name: str, no_passphrase: bool) -> None:
    """Make an identity. Hand its public key to whoever grants you something."""
    from client.identities import Identities

    run = session(context)
    identities = Identities(run.folder())
    identities.path(name)
    made = identities.new(name, new_passphrase(no_passphrase))
    run.out.done(
        f"made the identity {name}\n\n  public key  {made.key}\n\nHand it over; who grants you something needs it: "
        "privyseal grant add --key",
        name=name,
        key=made.key,
        thumbprint=made.kid,
        path=str(identities.path(name)),
    )


@identity.command("list", cls=Leaf)
@click.pass_context
def list_(context: click.Context) -> None:
    """List this user's identities."""
    from client.identities import Identities
    from shared.documents.jws import thumbprint

    run = session(context)
    identities = Identities(run.folder())
    rows = []
    for name in identities.names():
        key = identities.public(name)
        rows.append({"name": name, "key": key, "thumbprint": thumbprint(key) if key else None})
    run.out.table([("NAME", "name"), ("PUBLIC KEY", "key"), ("THUMBPRINT", "thumbprint")], rows, "no identities")


@identity.command("show", cls=Leaf)
@click.argument("name", default="")
@click.pass_context
def show(context: click.Context, name: str) -> None:
    """Show the public key to hand over; by default the chosen context's."""
    from client.identities import Identities
    from shared.documents.jws import thumbprint

    run = session(context)
    name = name or run.chosen()[1].identity
    identities = Identities(run.folder())
    key = identities.public(name) or identities.load(name, passphrase).key
    run.out.record({"name": name, "key": key, "thumbprint": thumbprint(key), "path": str(identities.path(name))})
