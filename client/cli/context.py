"""`privyseal context`: which account, at which manager, as whom."""

from __future__ import annotations

from pathlib import Path

import click

from client.cli.session import Leaf, Nouns, session
from shared.names import check_name


@click.group(cls=Nouns)
def context() -> None:
    """Choose the account, the manager and the identity to work with."""


@context.command("add", cls=Leaf)
@click.argument("address")
@click.option("--name", metavar="NAME", help="what to call it [the manager's host]")
@click.option("--identity", default="default", show_default=True, metavar="NAME", help="which identity to use")
@click.option("--no-use", is_flag=True, help="keep the current context")
@click.pass_context
def add(ctx: click.Context, address: str, name: str | None, identity: str, no_use: bool) -> None:
    """Join an account: https://HOST/ACCOUNT, as its administrator prints it with `privyseal account show`.

    The account's id is made from its first document: no manager can put another account in its place.
    """
    from client.context import Context, Contexts, parse_place
    from client.identities import Identities
    from client.transport import origin_host

    run = session(ctx)
    origin, account = parse_place(address)
    home = run.folder()
    chosen = check_name(name or origin_host(origin), "context")
    org, project = run.org or "", run.project or ""
    ca_file = str(Path(run.ca_file).expanduser().absolute()) if run.ca_file else ""
    Contexts(home).put(chosen, Context(origin, account, identity, org, project, ca_file), use=not no_use)
    if identity not in Identities(home).names():
        run.out.note(f"there is no identity {identity} yet: privyseal identity new {identity}")
    run.out.done(f"added the context {chosen}", name=chosen, manager=origin, account=account, identity=identity)


@context.command("list", cls=Leaf)
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List contexts; * marks the current one."""
    from client.context import Contexts

    run = session(ctx)
    current, contexts = Contexts(run.folder()).all()
    rows = [
        {
            "current": "*" if name == current else "",
            "name": name,
            "manager": one.manager,
            "account": one.account,
            "identity": one.identity,
            "org": one.org,
            "project": one.project,
        }
        for name, one in sorted(contexts.items())
    ]
    columns = [
        ("", "current"),
        ("NAME", "name"),
        ("MANAGER", "manager"),
        ("ACCOUNT", "account"),
        ("IDENTITY", "identity"),
    ]
    run.out.table(columns, rows, "no contexts; see privyseal init, context add and dev")


@context.command("use", cls=Leaf)
@click.argument("name", required=False)
@click.option("--identity", metavar="NAME", help="use this identity from now on")
@click.pass_context
def use(ctx: click.Context, name: str | None, identity: str | None) -> None:
    """Make a context the current one; --org and --project set where its bare names live."""
    from client.context import Contexts, parse_here

    run = session(ctx)
    contexts = Contexts(run.folder())
    chosen, before = contexts.find(name or run.context)
    changes: dict[str, str] = {}
    if run.org is not None or run.project is not None:
        org = before.org if run.org is None else run.org
        project = run.project if run.project is not None else (before.project if org == before.org else "")
        parse_here(org, project)
        changes |= {"org": org, "project": project}
    if identity is not None:
        changes["identity"] = check_name(identity, "identity")
    if changes:
        contexts.change(chosen, **changes)
    if name:
        contexts.use(chosen)
    _, after = contexts.find(chosen)
    run.out.done(
        f"{chosen}: {after.manager}, as {after.identity}, bare names in {after.scope}",
        name=chosen,
        identity=after.identity,
        org=after.org,
        project=after.project,
    )


@context.command("show", cls=Leaf)
@click.argument("name", required=False)
@click.pass_context
def show(ctx: click.Context, name: str | None) -> None:
    """Show a context, by default the current one."""
    from client.context import Contexts

    run = session(ctx)
    chosen, one = Contexts(run.folder()).find(name or run.context)
    run.out.record(
        {
            "name": chosen,
            "manager": one.manager,
            "account": one.account,
            "address": f"{one.manager}/{one.account}",
            "identity": one.identity,
            "scope": str(one.scope),
            "ca_file": one.ca_file,
        }
    )


@context.command("remove", cls=Leaf)
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget a context. Identities, and what was seen of the account, stay."""
    from client.context import Contexts

    run = session(ctx)
    Contexts(run.folder()).remove(name)
    run.out.done(f"removed the context {name}", name=name)
