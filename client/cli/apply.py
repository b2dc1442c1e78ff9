"""`privyseal apply` and `privyseal export`: connectors from YAML and back. Every document is checked before one is published."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from client.cli.session import Leaf, Session, session
from shared.errors import Malformed

if TYPE_CHECKING:
    from client.connectors import Change
    from client.manifest import Manifest
    from client.sdk import Client
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

    async def act(client: Client) -> tuple[list[Change], list[Verified[ConnectorDocument]]]:
        changes = await client.connectors.plan(manifests, keyring=keyring)
        return changes, [] if dry_run else await client.connectors.apply(changes)

    changes, applied = run.run(act)
    report(run, changes, applied)


def read_manifests(paths: Sequence[str]) -> list[Manifest]:
    """The documents of the files. Raises Malformed."""
    from client.manifest import read_files

    if not paths:
        raise Malformed("file_missing", "no file is named", "privyseal apply -f FILE, or -f - for standard input")
    return read_files(paths, sys.stdin.buffer)


def report(run: Session, changes: Sequence[Change], applied: Sequence[Verified[ConnectorDocument]]) -> None:
    """What was done, or (where nothing was applied) what would be."""
    if run.out.format != "table":
        run.out.data([_row(one, applied[at].document if applied else None) for at, one in enumerate(changes)])
        return
    for one in changes:
        place = f"{one.wanted.scope}/{one.wanted.identifier} ({one.wanted.type})"
        if not run.quiet or not applied:
            print(f"{(_DONE if applied else _WOULD)[one.action]} {place}")
        if not applied:
            print(one.diff(), end="")


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


@click.command("export", cls=Leaf)
@click.argument("references", nargs=-1, metavar="[REF]...")
@click.option("--all", "everything", is_flag=True, help="of the whole account")
@click.pass_context
def export(context: click.Context, references: tuple[str, ...], everything: bool) -> None:
    """Print connectors as YAML that apply takes: those named, or those of the chosen scope (and below with --all).

    The built-in one is printed only where it is named.
    """
    from client.descriptions import KIND, body_of, yaml_of
    from shared.documents.connector import BUILT_IN
    from shared.names import ACCOUNT_SCOPE

    run = session(context)

    async def act(client: Client) -> tuple[str, list[ConnectorDocument]]:
        own = await client.connectors.default_keyring()
        if references:
            return own, [(await client.connectors.find(one)).document for one in references]
        scope = ACCOUNT_SCOPE if everything else client.here
        found = await client.connectors.all(scope, below=everything)
        for one in found:
            if one.refused:
                run.out.warning(f"{one.document.scope}/{one.document.identifier} isn't believed: {one.refused.detail}")
        return own, [
            one.document
            for one in found
            if not one.refused and (one.document.scope, one.document.identifier) != (str(ACCOUNT_SCOPE), BUILT_IN)
        ]

    own, documents = run.run(act)
    bodies = [body_of(one, own) for one in documents]
    if run.out.format == "json":
        run.out.data([{KIND: body} for body in bodies])
        return
    if not bodies:
        run.out.note("no connectors here; see --all, --org and --project")
    print("---\n".join(yaml_of(body) for body in bodies), end="")
