"""`privyseal org` and `privyseal project`: the scopes below the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client.cli.output import moment
from client.cli.prompts import confirm
from client.cli.session import Leaf, Nouns, Session, session
from shared.errors import Malformed
from shared.names import ACCOUNT_SCOPE, Scope

if TYPE_CHECKING:
    from shared.documents.jws import Verified
    from shared.documents.scope import ScopeDocument


@click.group(cls=Nouns)
def org() -> None:
    """Make, list and delete organisations."""


@click.group(cls=Nouns)
def project() -> None:
    """Make, list and delete projects, of the organisation that --org or the context names."""


def _organisation(run: Session) -> Scope:
    org_ = run.here().org
    if not org_:
        raise Malformed("org_missing", "no organisation is chosen", "add --org ID")
    return Scope(org_)


def _row(one: Verified[ScopeDocument]) -> dict[str, Any]:
    document = one.document
    return {
        "identifier": document.identifier,
        "scope": document.scope,
        "name": document.name,
        "description": document.description,
        "id": document.id,
        "signer": one.kid,
        "changed": moment(document.iat),
    }


def _create(run: Session, parent: Scope, identifier: str, name: str | None, description: str) -> None:
    made = run.run(lambda client: client.scopes.create(parent, identifier, name, description))
    run.out.done(f"made {parent.child(identifier)}", **_row(made))


def _list(run: Session, parent: Scope) -> None:
    found = run.run(lambda client: client.scopes.all(parent))
    run.out.table([("ID", "identifier"), ("NAME", "name"), ("CHANGED", "changed")], [_row(one) for one in found])


def _delete(run: Session, parent: Scope, identifier: str, yes: bool) -> None:
    gone = parent.child(identifier)
    confirm(f"Delete {gone}?", "--yes", yes)
    run.run(lambda client: client.scopes.delete(parent, identifier))
    run.out.done(f"deleted {gone}", scope=str(gone), deleted=True)


@org.command("create", cls=Leaf)
@click.argument("identifier")
@click.option("--name", metavar="TEXT", help="display name")
@click.option("--description", default="", metavar="TEXT")
@click.pass_context
def org_create(context: click.Context, identifier: str, name: str | None, description: str) -> None:
    """Make an organisation."""
    _create(session(context), ACCOUNT_SCOPE, identifier, name, description)


@org.command("list", cls=Leaf)
@click.pass_context
def org_list(context: click.Context) -> None:
    """List the organisations that you may see."""
    _list(session(context), ACCOUNT_SCOPE)


@org.command("delete", cls=Leaf)
@click.argument("identifier")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def org_delete(context: click.Context, identifier: str, yes: bool) -> None:
    """Delete an empty organisation."""
    _delete(session(context), ACCOUNT_SCOPE, identifier, yes)


@project.command("create", cls=Leaf)
@click.argument("identifier")
@click.option("--name", metavar="TEXT", help="display name")
@click.option("--description", default="", metavar="TEXT")
@click.pass_context
def project_create(context: click.Context, identifier: str, name: str | None, description: str) -> None:
    """Make a project."""
    run = session(context)
    _create(run, _organisation(run), identifier, name, description)


@project.command("list", cls=Leaf)
@click.pass_context
def project_list(context: click.Context) -> None:
    """List the projects that you may see."""
    run = session(context)
    _list(run, _organisation(run))


@project.command("delete", cls=Leaf)
@click.argument("identifier")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def project_delete(context: click.Context, identifier: str, yes: bool) -> None:
    """Delete an empty project."""
    run = session(context)
    _delete(run, _organisation(run), identifier, yes)
