"""`privyseal apply` and `privyseal export`: templates, connectors and secrets from YAML and back.

Promises: every document is checked before one is published; templates come before connectors, and those before secrets.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from client.cli.session import Leaf, Session, session
from shared.errors import Malformed, PrivySealError
from shared.names import Reference, Scope

if TYPE_CHECKING:
    from client.changes import Change
    from client.connectors import ConnectorChange
    from client.manifest import Manifest
    from client.sdk import Client
    from client.secret_plans import SecretChange
    from client.templates import TemplateChange
    from shared.documents.connector import ConnectorDocument
    from shared.documents.jws import Verified
    from shared.documents.template import TemplateDocument

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
    from client.manifest import KINDS
    from client.secret_descriptions import is_login
    from client.templates import planned

    run = session(context)
    manifests = read_manifests((*files, *more))
    described = {kind: [one for one in manifests if one.kind == kind] for kind in KINDS}

    async def act(client: Client) -> Applied:
        templates = await client.templates.plan(described["template"])
        # A connector may name an SSHKey that is described beside it, since that is whole without a value.
        logins = await client.secret_plans.plan([one for one in described["secret"] if is_login(one)], {}, [])
        changes = await client.connectors.plan(
            described["connector"],
            keyring=keyring,
            templates=planned(templates),
            logins=await client.secret_plans.drafted(logins),
        )
        connectors = {one.description.place: one.wanted for one in changes}
        others = [one for one in described["secret"] if not is_login(one)]
        secrets = await client.secret_plans.plan(others, connectors, [one.wanted for one in templates])
        if dry_run:
            return Applied(changes, [*logins, *secrets], templates)
        made = await client.templates.apply(templates)
        await client.secret_plans.apply(logins)
        applied = await client.connectors.apply(changes)
        await client.secret_plans.apply(secrets)
        return Applied(changes, [*logins, *secrets], templates, applied, made)

    report(run, run.run(act), dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class Applied:
    """What manifests came to; `documents` and `made` are connectors and templates as they are now, empty in a dry run."""

    changes: Sequence[ConnectorChange] = ()
    secrets: Sequence[SecretChange] = ()
    templates: Sequence[TemplateChange] = ()
    documents: Sequence[Verified[ConnectorDocument]] = ()
    made: Sequence[Verified[TemplateDocument]] = ()


def read_manifests(paths: Sequence[str]) -> list[Manifest]:
    """The documents of the files. Raises Malformed."""
    from client.manifest import read_files

    if not paths:
        raise Malformed("file_missing", "no file is named", "privyseal apply -f FILE, or -f - for standard input")
    return read_files(paths, sys.stdin.buffer)


def report(run: Session, applied: Applied, *, dry_run: bool) -> None:
    """What was done, or (in a dry run) what would be."""
    if run.out.format != "table":
        rows = [
            _row(one, now, dry_run, version=one.wanted.version, type="template")
            for one, now in zip_longest(applied.templates, applied.made)
        ]
        for change, now in zip_longest(applied.changes, applied.documents):
            wanted = change.wanted
            more = {"type": wanted.type, "keyring": wanted.keyring, "selectors": list(wanted.selectors)}
            rows.append(_row(change, now, dry_run, **more))
        rows += [_row(one, None, dry_run, type=one.wanted.type) for one in applied.secrets]
        run.out.data(rows)
        return
    every: list[Change[Any, Any]] = [*applied.templates, *applied.changes, *applied.secrets]
    for one in every:
        if not run.quiet or dry_run:
            print(f"{(_WOULD if dry_run else _DONE)[one.action]} {_named_place(one)}")
        if dry_run:
            print(one.diff(), end="")
    empty = [one for one in applied.secrets if one.action == "create" and one.lacks_value]
    if empty and not dry_run:
        names = ", ".join(one.wanted.identifier for one in empty)
        run.out.note(f"without a value yet: {names}; store it with privyseal secret set")


def _named_place(change: Change[Any, Any]) -> str:
    return f"{change.wanted.scope}/{change.place_name} ({getattr(change.wanted, 'type', 'template')})"


def _row(change: Change[Any, Any], now: Verified[Any] | None, dry_run: bool, **more: Any) -> dict[str, Any]:
    """`now` is the document as it was made, where that is known."""
    wanted, manifest = change.wanted, change.description.manifest
    return {
        "action": change.action,
        "scope": wanted.scope,
        "identifier": wanted.identifier,
        **more,
        "file": manifest.source,
        "line": manifest.line,
        **({"diff": change.diff()} if dry_run else {}),
        **({"id": now.document.id, "revision": now.document.rev} if now else {}),
    }


@click.command("export", cls=Leaf)
@click.argument("references", nargs=-1, metavar="[REF]...")
@click.option("--all", "everything", is_flag=True, help="of the whole account")
@click.pass_context
def export(context: click.Context, references: tuple[str, ...], everything: bool) -> None:
    """Print templates, connectors and secrets (never their values) as YAML that apply takes.

    Those named (a template as NAME@LABEL), or those of the chosen scope (and below with --all). The built-in connector is
    printed only where it is named.
    """
    from client.descriptions import yaml_of
    from client.secret_descriptions import secret_yaml
    from client.template_descriptions import template_yaml

    run = session(context)

    async def act(client: Client) -> list[dict[str, Any]]:
        return await _named(client, references) if references else await _listed(run, client, everything)

    bodies = run.run(act)
    if run.out.format == "json":
        run.out.data(bodies)
        return
    if not bodies:
        run.out.note("no templates, connectors or secrets here; see --all, --org and --project")
    write = {"template": template_yaml, "connector": yaml_of, "secret": secret_yaml}
    texts = [write[kind](body) for one in bodies for kind, body in one.items()]
    print("---\n".join(texts), end="")


async def _named(client: Client, references: Sequence[str]) -> list[dict[str, Any]]:
    """What the references name: a version of a template, or a connector, a secret, or both."""
    from client.secret_descriptions import secret_body
    from client.tasks import place_of
    from client.template_descriptions import template_body
    from shared.errors import NotFound

    bodies: list[dict[str, Any]] = []
    for one in references:
        if "@" in one:
            bodies.append({"template": template_body((await client.templates.find(one)).document)})
            continue
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
    from client.template_descriptions import template_body
    from shared.documents.connector import BUILT_IN
    from shared.names import ACCOUNT_SCOPE

    scope = ACCOUNT_SCOPE if everything else client.here
    connectors = await client.connectors.all(scope, below=everything)
    secrets = await client.secrets.all(scope, below=everything)
    templates = await client.templates.all(scope, below=everything)
    refused = [(one.document.scope, one.document.identifier, one.refused) for one in templates]
    refused += [(one.document.scope, one.document.identifier, one.refused) for one in connectors]
    refused += [(one.document.scope, one.document.identifier, one.refused) for one in secrets]
    for place, identifier, why in refused:
        if why is not None:
            run.out.warning(f"{place}/{identifier} isn't believed: {why.detail}")
    documents = [
        one.document
        for one in connectors
        if not one.refused and (one.document.scope, one.document.identifier) != (str(ACCOUNT_SCOPE), BUILT_IN)
    ]
    bodies: list[dict[str, Any]] = [{"template": template_body(one.document)} for one in templates if not one.refused]
    bodies += [{"connector": one} for one in await client.connectors.bodies(documents)]
    believed = [one.document for one in secrets if not one.refused]
    references = [Reference(Scope.parse(one.scope), one.identifier) for one in believed]
    for document, known in zip(believed, await client.directory.find(references), strict=True):
        if not isinstance(known, PrivySealError):
            bodies.append({"secret": secret_body(document, place_of(known.connector.document))})
    return bodies
