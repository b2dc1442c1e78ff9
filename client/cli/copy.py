"""`privyseal secret copy`: a value is stored anew at another connector, by way of this client's memory."""

from __future__ import annotations

import click

from client.cli.session import Leaf, session
from client.cli.usage import stated, stating


@click.command("copy", cls=Leaf)
@click.argument("reference")
@click.option("--connector", required=True, metavar="REF", help="where the copy is to be")
@click.option("--as", "to", metavar="NAME", help="its reference [the secret's, with _CONNECTOR behind it]")
@stating
@click.pass_context
def copy(
    context: click.Context,
    reference: str,
    connector: str,
    to: str | None,
    application: str | None,
    environment: str | None,
) -> None:
    """Store a secret's newest value anew at another connector, as another secret; takes reveal.

    The value is revealed to this client and sealed again for the other connector's delegates: it is in this client's memory
    meanwhile, and nowhere on disk. The secret itself stays as it is, with its older versions: where the copy is to take its
    place, let what names it name the copy, then delete it. References and SSHKeys have no value to copy.
    """
    run, usage = session(context), stated(application, environment)
    run.check_reference(reference)
    run.out.note("the value is revealed to this client, which stores it anew; it is written nowhere on disk")
    secret, via, stored = run.run(lambda client: client.copies.copy(reference, connector, to, usage=usage))
    made = stored.secret.document
    run.out.done(
        f"copied {secret.identifier} to {made.identifier} in {made.scope}, at {via.identifier} ({via.type}), version {stored.n}\n"
        f"{secret.identifier} is still there: let what names it name the copy, then privyseal secret delete",
        source={"identifier": secret.identifier, "scope": secret.scope, "id": secret.id, "connector": secret.connector},
        identifier=made.identifier,
        scope=made.scope,
        id=made.id,
        connector=made.connector,
        version=stored.n,
        digest=stored.version,
        delegate=stored.delegate,
    )
