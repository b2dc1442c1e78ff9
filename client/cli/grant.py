"""`privyseal grant`: who may do what, where, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client.cli.output import moment
from client.cli.prompts import confirm
from client.cli.session import Leaf, Nouns, session
from client.cli.usage import labels, shown
from shared.documents.grant import PERMISSIONS
from shared.errors import Malformed
from shared.names import Scope

if TYPE_CHECKING:
    from client.grants import Fallen
    from client.sdk import Client
    from shared.documents.grant import GrantDocument
    from shared.documents.jws import Verified


@click.group(cls=Nouns)
def grant() -> None:
    """Give, renew and revoke permissions."""


def _row(one: Verified[GrantDocument], state: str = "live") -> dict[str, Any]:
    document = one.document
    return {
        "id": document.id,
        "principal": document.principal.name,
        "type": document.principal.type,
        "permissions": list(document.permissions),
        "scope": document.scope,
        "resource": document.resource,
        **shown(document.usage),
        "until": moment(document.exp),
        "state": state,
        "key": document.principal.key,
        "signer": one.kid,
        "parent": document.parent,
    }


@grant.command("add", cls=Leaf)
@click.option("--principal", required=True, metavar="NAME", help="who gets it")
@click.option(
    "--key", required=True, metavar="KEY", help="the public key that was handed over (privyseal identity show)"
)
@click.option("--type", "kind", type=click.Choice(["person", "service"]), default="person", show_default=True)
@click.option(
    "--permission", "permissions", required=True, multiple=True, type=click.Choice(PERMISSIONS), help="several times"
)
@click.option("--scope", metavar="SCOPE", help="account, org/ORG or org/ORG/project/PROJECT [the chosen one]")
@click.option("--resource", metavar="REF", help="only this secret: a reference, or an id")
@click.option("--connector", metavar="REF", help="only this connector: for fetch, what it can read")
@click.option("--path", metavar="PATH", help="only what that connector reads at this path and below it")
@click.option(
    "--application", "applications", multiple=True, metavar="NAME", help="only for tasks that state one of these"
)
@click.option("--environment", "environments", multiple=True, metavar="NAME", help="the same of environments")
@click.option("--days", type=int, metavar="N", help="how long; by default as long as the type allows (90 or 400)")
@click.pass_context
def add(
    context: click.Context,
    principal: str,
    key: str,
    kind: str,
    permissions: tuple[str, ...],
    scope: str | None,
    resource: str | None,
    connector: str | None,
    path: str | None,
    applications: tuple[str, ...],
    environments: tuple[str, ...],
    days: int | None,
) -> None:
    """Give permissions over a scope, over one secret in it, or over one connector.

    The permission fetch lets its holder have a connector read whatever its role can read, without a secret document:
    narrow it with --connector and --path. It takes reveal (or reveal and exec) over the same besides.

    Take the key from its owner himself, by a way that you trust: whoever holds its other half gets the permissions.
    A grant for some applications or environments carries only tasks that state one of them, seeing, and grants for no more.
    """
    from client.grants import principal_of

    run = session(context)
    grantee = principal_of(principal, key, kind)
    where = Scope.parse(scope) if scope else run.here()
    usage = labels(applications, environments)
    if (path and not connector) or (connector and resource):
        raise Malformed(
            "argument_malformed", "a grant is for one secret, or for one connector and perhaps a path", "see --help"
        )

    async def act(client: Client) -> Verified[GrantDocument]:
        place, one = where, None
        if connector:
            place, one = await client.grants.connector(connector, path, client.here)
        if resource:
            place, one = await client.grants.resource(resource, where, client.here)
        given: Any = permissions
        return await client.grants.add(grantee, given, place, resource=one, days=days, usage=usage)

    made = run.run(act)
    document = made.document
    run.out.done(
        f"granted {', '.join(document.permissions)} over {document.scope}"
        + (f" (only {document.resource})" if document.resource else "")
        + f" to {principal} until {moment(document.exp)}\n  id  {document.id}",
        **_row(made),
    )


@grant.command("list", cls=Leaf)
@click.option("--all", "everything", is_flag=True, help="revoked and expired ones too")
@click.pass_context
def list_(context: click.Context, everything: bool) -> None:
    """List grants."""
    run = session(context)
    standings = run.run(lambda client: client.grants.all())
    rows = [_row(one.grant, one.state) for one in standings if everything or one.state == "live"]
    run.out.table(
        [
            ("ID", "id"),
            ("PRINCIPAL", "principal"),
            ("TYPE", "type"),
            ("PERMISSIONS", "permissions"),
            ("SCOPE", "scope"),
            ("APPLICATIONS", "applications"),
            ("ENVIRONMENTS", "environments"),
            ("UNTIL", "until"),
            ("STATE", "state"),
        ],
        rows,
        "no grants; administrators hold every permission by themselves",
    )


@grant.command("renew", cls=Leaf)
@click.argument("id")
@click.option("--days", type=int, metavar="N", help="from today")
@click.pass_context
def renew(context: click.Context, id: str, days: int | None) -> None:
    """Let a grant last longer."""
    run = session(context)
    made = run.run(lambda client: client.grants.renew(id, days))
    run.out.done(f"the grant {made.document.id} lasts until {moment(made.document.exp)}", **_row(made))


@grant.command("revoke", cls=Leaf)
@click.argument("id")
@click.option("--adopt", is_flag=True, help="re-sign what falls with it, as yours")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def revoke(context: click.Context, id: str, adopt: bool, yes: bool) -> None:
    """Revoke a grant at once, everywhere.

    What its holder signed falls with it: secrets and connectors can't be used, and grants that he gave no longer count,
    until somebody adopts or gives them anew. They are listed first.
    """
    run = session(context)

    async def act(client: Client) -> Fallen:
        fallen = await client.grants.falling(id)
        if run.out.format == "table":
            _tell(run.out.note, fallen)
        confirm("Revoke it?" if not adopt else "Adopt these and revoke it?", "--yes", yes)
        return await client.grants.revoke(id, adopt=adopt)

    fallen = run.run(act)
    run.out.done(
        f"revoked {id}" + (f"; adopted {len(fallen.documents)}" if adopt else ""),
        id=id,
        fallen=[_fallen_row(one) for one in fallen.documents],
        grants=[_row(one, "unfounded") for one in fallen.grants],
        adopted=adopt,
    )
    if fallen.documents and not adopt:
        run.out.note("to make them count again: privyseal grant adopt")


@grant.command("adopt", cls=Leaf)
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def adopt(context: click.Context, yes: bool) -> None:
    """Re-sign, as yours, every secret, connector and scope whose signer no longer counts."""
    run = session(context)

    async def act(client: Client) -> Fallen:
        fallen = await client.grants.orphans()
        if fallen.documents:
            _tell(run.out.note, fallen)
            confirm("Sign these as yours?", "--yes", yes)
            await client.grants.adopt(fallen.documents)
        return fallen

    fallen = run.run(act)
    run.out.done(f"adopted {len(fallen.documents)}", adopted=[_fallen_row(one) for one in fallen.documents])


def _fallen_row(one: Verified[Any]) -> dict[str, Any]:
    document = one.document
    return {
        "kind": one.kind,
        "identifier": document.identifier,
        "scope": document.scope,
        "id": document.id,
        "signer": one.kid,
    }


def _tell(note: Any, fallen: Fallen) -> None:
    if not fallen.documents and not fallen.grants:
        note("nothing else falls with it")
    for one in fallen.documents:
        note(f"  falls: {one.kind} {getattr(one.document, 'identifier', '')} in {getattr(one.document, 'scope', '')}")
    for grant_ in fallen.grants:
        principal = grant_.document.principal.name
        note(f"  falls: grant {grant_.document.id} of {principal} over {grant_.document.scope}")
