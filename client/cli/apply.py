"""`privyseal apply` and `privyseal export`: connectors from YAML and back. Every document is checked before one is published."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from client.cli.session import Leaf, Session, session
from shared.errors import Malformed, PrivySealError
from shared.names import Reference, Scope

if TYPE_CHECKING:
    from client.connectors import Change
    from client.manifest import Manifest
    from client.sdk import Client
    from client.secret_plans import SecretChange
    from shared.documents.connector import ConnectorDocument
    from shared.documents.jws import Verified

_DONE = {"create": "created", "change": "changed", "none": "unchanged"}
_WOULD = {"create": "would create", "change": "would change", "none": "unchanged"}


@click.command("apply", cls=Leaf)
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="YAML; - is standard input")
@click.argument("more", nargs=-1, metavar="[FILE]...")
@click.option("--dry-run", is_flag=True, help="change nothing; show what would change, as a diff")
@click.option("--keyring", metavar="NAME", help="of new connectors that name none; the built-in's by default")
@click.pass_context
def apply(
    context: click.Context, files: tuple[str, ...], more: tuple[str, ...], dry_run: bool, keyring: str | None
) -> None:
    """Make or change what YAML files describe, all of it or nothing. What is unchanged is left alone."""
    run = session(context)
    manifests = read_manifests((*files, *more))

    described = {kind: [one for one in manifests if one.kind == kind] for kind in ("connector", "secret")}

    async def act(client: Client) -> tuple[list[Change], list[Verified[ConnectorDocument]], list[SecretChange]]:
        changes = await client.connectors.plan(described["connector"], keyring=keyring)
        planned = {one.description.place: one.wanted for one in changes}
        secrets = await client.secret_plans.plan(described["secret"], planned)
        if dry_run:
            return changes, [], secrets
        applied = await client.connectors.apply(changes)
        await client.secret_plans.apply(secrets)
        return changes, applied, secrets

    changes, applied, secrets = run.run(act)
    report(run, changes, applied, secrets, dry_run=dry_run)


def read_manifests(paths: Sequence[str]) -> list[Manifest]:
    """The documents of the files. Raises Malformed."""
    from client.manifest import read_files

    if not paths:
        raise Malformed("file_missing", "no file is named", "privyseal apply -f FILE, or -f - for standard input")
    return read_files(paths, sys.stdin.buffer)


def report(
    run: Session,
    changes: Sequence[Change],
    applied: Sequence[Verified[ConnectorDocument]],
    secrets: Sequence[SecretChange] = (),
    *,
    dry_run: bool,
) -> None:
    """What was done, or (in a dry run) what would be."""
    if run.out.format != "table":
        rows = [_row(one, applied[at].document if applied else None) for at, one in enumerate(changes)]
        run.out.data([*rows, *(_secret_row(one, dry_run) for one in secrets)])
        return
    both: list[Change | SecretChange] = [*changes, *secrets]
    for one in both:
        place = f"{one.wanted.scope}/{one.wanted.identifier} ({one.wanted.type})"
        if not run.quiet or dry_run:
            print(f"{(_WOULD if dry_run else _DONE)[one.action]} {place}")
        if dry_run:
            print(one.diff(), end="")
    empty = [one for one in secrets if one.action == "create" and not one.wanted.reference]
    if empty and not dry_run:
        names = ", ".join(one.wanted.identifier for one in empty)
        run.out.note(f"without a value yet: {names}; store it with privyseal secret set")


def _row(change: Change, now: ConnectorDocument | None) -> dict[str, Any]:
    wanted, manifest = change.wanted, change.description.manifest
    return {
        "action": change.action,
        "scope": wanted.scope,
        "identifier": wanted.identifier,
        "type": wanted.type,
        "keyring": wanted.keyring,
        "selectors": list(wanted.selectors),
        "file": manifest.source,
        "line": manifest.line,
        **({"id": now.id, "revision": now.rev} if now else {"diff": change.diff()}),
    }


def _secret_row(change: SecretChange, dry_run: bool) -> dict[str, Any]:
    wanted, manifest = change.wanted, change.description.manifest
    return {
        "action": change.action,
        "scope": wanted.scope,
        "identifier": wanted.identifier,
        "type": wanted.type,
        "file": manifest.source,
        "line": manifest.line,
        **({"diff": change.diff()} if dry_run else {}),
    }


@click.command("export", cls=Leaf)
@click.argument("references", nargs=-1, metavar="[REF]...")
@click.option("--all", "everything", is_flag=True, help="of the whole account")
@click.pass_context
def export(context: click.Context, references: tuple[str, ...], everything: bool) -> None:
    """Print connectors and secrets (never their values) as YAML that apply takes.

    Those named, or those of the chosen scope (and below with --all). The built-in connector is printed only where it is named.
    """
    from client.descriptions import yaml_of
    from client.secret_descriptions import secret_yaml

    run = session(context)

    async def act(client: Client) -> list[dict[str, Any]]:
        return await _named(client, references) if references else await _listed(run, client, everything)

    bodies = run.run(act)
    if run.out.format == "json":
        run.out.data(bodies)
        return
    if not bodies:
        run.out.note("no connectors or secrets here; see --all, --org and --project")
    texts = [yaml_of(one["connector"]) if "connector" in one else secret_yaml(one["secret"]) for one in bodies]
    print("---\n".join(texts), end="")


async def _named(client: Client, references: Sequence[str]) -> list[dict[str, Any]]:
    """What the references name: a connector, a secret, or both."""
    from client.secret_descriptions import secret_body
    from client.tasks import place_of
    from shared.errors import NotFound

    bodies: list[dict[str, Any]] = []
    for one in references:
        count = len(bodies)
        refusal: NotFound | None = None
        try:
            (body,) = await client.connectors.bodies([(await client.connectors.find(one)).document])
            bodies.append({"connector": body})
        except NotFound as why:
            refusal = why
        try:
            known = await client.secrets.find(one)
            bodies.append({"secret": secret_body(known.secret.document, place_of(known.connector.document))})
        except NotFound:
            pass
        if len(bodies) == count and refusal is not None:
            raise refusal
    return bodies


async def _listed(run: Session, client: Client, everything: bool) -> list[dict[str, Any]]:
    from client.secret_descriptions import secret_body
    from client.tasks import place_of
    from shared.documents.connector import BUILT_IN
    from shared.names import ACCOUNT_SCOPE

    scope = ACCOUNT_SCOPE if everything else client.here
    connectors = await client.connectors.all(scope, below=everything)
    secrets = await client.secrets.all(scope, below=everything)
    refused = [(one.document, one.refused) for one in connectors] + [(one.document, one.refused) for one in secrets]
    for document, why in refused:
        if why is not None:
            run.out.warning(f"{document.scope}/{document.identifier} isn't believed: {why.detail}")
    documents = [
        one.document
        for one in connectors
        if not one.refused and (one.document.scope, one.document.identifier) != (str(ACCOUNT_SCOPE), BUILT_IN)
    ]
    bodies: list[dict[str, Any]] = [{"connector": one} for one in await client.connectors.bodies(documents)]
    believed = [one.document for one in secrets if not one.refused]
    references = [Reference(Scope.parse(one.scope), one.identifier) for one in believed]
    for document, known in zip(believed, await client.directory.find(references), strict=True):
        if not isinstance(known, PrivySealError):
            bodies.append({"secret": secret_body(document, place_of(known.connector.document))})
    return bodies
