"""`privyseal template`: versions of scripts that custom secret managers run. Their YAML is that of `privyseal apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client.choice import Choice
from client.cli.apply import Applied, read_manifests, report
from client.cli.delegates import choosing
from client.cli.inputs import given_inputs
from client.cli.output import moment
from client.cli.prompts import confirm
from client.cli.session import Leaf, Nouns, Session, session
from client.cli.usage import stated, stating
from shared.errors import Malformed
from shared.names import ACCOUNT_SCOPE

if TYPE_CHECKING:
    from client.drift import Drift, Reconciliation
    from client.listed import Listed
    from client.sdk import Client
    from shared.documents.connector import ConnectorDocument
    from shared.documents.jws import Verified
    from shared.documents.template import TemplateDocument


@click.group(cls=Nouns)
def template() -> None:
    """Scripts of custom secret managers, by version. A reference is account.NAME@LABEL, org.NAME@LABEL or NAME@LABEL."""


def _row(document: TemplateDocument) -> dict[str, Any]:
    from shared.documents.template import content_digest

    content = document.content
    return {
        "identifier": document.identifier,
        "version": document.version,
        "scope": document.scope,
        "name": document.name,
        "description": document.description,
        "tags": document.tags,
        "shell": content.shell,
        "inputs": [one.name for one in content.inputs],
        "secrets": list(content.secrets),
        "selectors": list(content.selectors),
        "writes": bool(content.write),
        "removes": bool(content.remove),
        "id": document.id,
        "content": content_digest(document),
        "revision": document.rev,
        "changed": moment(document.iat),
    }


@template.command("list", cls=Leaf)
@click.option("--search", metavar="TEXT", default="", help="whose name, label, description or tags have it")
@click.option("--all", "everything", is_flag=True, help="of the whole account")
@click.pass_context
def list_(context: click.Context, search: str, everything: bool) -> None:
    """List templates in the chosen scope (and below with --all), each version of its own."""
    run = session(context)

    async def act(client: Client) -> list[Listed[TemplateDocument]]:
        scope = ACCOUNT_SCOPE if everything else client.here
        return await client.templates.all(scope, below=everything, search=search)

    rows = [
        {**_row(one.document), "signer": one.signer, "state": one.refused.code if one.refused else "ok"}
        for one in run.run(act)
    ]
    run.out.table(
        [
            ("TEMPLATE", "identifier"),
            ("VERSION", "version"),
            ("SCOPE", "scope"),
            ("SHELL", "shell"),
            ("INPUTS", "inputs"),
            ("SECRETS", "secrets"),
            ("WRITES", "writes"),
            ("STATE", "state"),
        ],
        rows,
        "no templates here; see --all, --org, --project and --search",
    )


@template.command("show", cls=Leaf)
@click.argument("reference", metavar="NAME[@LABEL]")
@click.pass_context
def show(context: click.Context, reference: str) -> None:
    """Print a version's YAML, by default the newest's; what the account adds to it stands in comments."""
    from client.template_descriptions import KIND, template_body, template_yaml
    from client.templates import template_place

    run = session(context)

    async def act(client: Client) -> tuple[Verified[TemplateDocument], list[str], list[ConnectorDocument]]:
        found = await client.templates.find(reference)
        versions = await client.templates.versions(template_place(found.document))
        return found, [one.document.version for one in versions], await client.templates.users(found.document)

    found, versions, users = run.run(act)
    document = found.document
    body, row = template_body(document), _row(document)
    used = [f"{one.scope}/{one.identifier}" for one in users]
    if run.out.format == "json":
        more = {"signer": found.kid, "versions": versions, "connectors": used}
        run.out.data({KIND: body, **{key: row[key] for key in ("id", "content", "revision", "secrets")}, **more})
        return
    if run.out.format == "table" and not run.quiet:
        print(f"# id {document.id}, revision {document.rev} of {moment(document.iat)}, signed by {found.kid}")
        print(f"# content {row['content']}")
        print(f"# secrets {', '.join(document.content.secrets) or 'none'}")
        print(f"# versions {', '.join(versions)}")
        print(f"# run by {', '.join(used) or 'no connector'}")
    print(template_yaml(body), end="")


@template.command("apply", cls=Leaf)
@click.option("-f", "--file", "files", multiple=True, required=True, metavar="FILE", help="YAML; - is standard input")
@click.option("--dry-run", is_flag=True, help="change nothing; show what would change, as a diff")
@click.pass_context
def apply(context: click.Context, files: tuple[str, ...], dry_run: bool) -> None:
    """Make the templates that YAML files describe. What a version does never changes: other scripts take another label."""
    run = session(context)
    manifests = read_manifests(files)
    for one in manifests:
        if one.kind != "template":
            raise one.refused(one.kind, "this is no template", "make all kinds at once: privyseal apply -f FILE")

    async def act(client: Client) -> Applied:
        changes = await client.templates.plan(manifests)
        return Applied(templates=changes, made=() if dry_run else await client.templates.apply(changes))

    report(run, run.run(act), dry_run=dry_run)


@template.command("delete", cls=Leaf)
@click.argument("reference", metavar="NAME@LABEL")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def delete(context: click.Context, reference: str, yes: bool) -> None:
    """Delete a version that no connector runs."""
    _check_version(reference)
    run = session(context)
    confirm(f"Delete the template {reference}?", "--yes", yes)
    document = run.run(lambda client: client.templates.delete(reference)).document
    run.out.done(f"deleted {document.place_name} in {document.scope}", **_row(document), deleted=True)


@template.command("test", cls=Leaf)
@click.argument("reference", metavar="NAME@LABEL")
@click.option("--connector", required=True, metavar="REF", help="a connector that runs this version")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="what a secret would be asked for")
@choosing
@stating
@click.pass_context
def test(
    context: click.Context,
    reference: str,
    connector: str,
    inputs: tuple[str, ...],
    delegates: Choice,
    application: str | None,
    environment: str | None,
) -> None:
    """Have a delegate run a version's script once, with these inputs; how many bytes came is told, never the value.

    Nothing is stored. It takes the permission fetch over the connector, besides reveal.
    """
    _check_version(reference)
    run, usage, given = session(context), stated(application, environment), given_inputs(inputs)
    run.check_reference(connector)
    value = run.run(lambda client: client.try_inputs(reference, connector, given, selectors=delegates, usage=usage))
    run.out.done(
        f"{reference} works by {connector}: a value of {len(value)} bytes came", template=reference, bytes=len(value)
    )


@template.command("drift", cls=Leaf)
@click.option("--all", "everything", is_flag=True, help="of the whole account")
@click.pass_context
def drift(context: click.Context, everything: bool) -> int:
    """Show where templates, connectors in the chosen scope (and below with --all) and their secrets don't fit together.

    Each with the diff that would mend it. The exit status is 1 where there is any.
    """
    run = session(context)

    async def act(client: Client) -> list[Drift]:
        return await client.drifts.all(ACCOUNT_SCOPE if everything else client.here, below=everything)

    found = run.run(act)
    if run.out.format != "table":
        run.out.data([_drift_row(one) for one in found])
    for one in found if run.out.format == "table" else ():
        _print_drift(one)
    if not found:
        run.out.note("no drift")
    elif any(one.kind != "secret" for one in found):
        run.out.note(
            "connectors first: privyseal template reconcile CONNECTOR; then each secret: privyseal secret set --input"
        )
    return 1 if found else 0


def _drift_row(one: Drift) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "connector": f"{one.connector.scope}/{one.connector.identifier}",
        "secret": f"{one.secret.scope}/{one.secret.identifier}" if one.secret else None,
        "detail": one.detail,
        "missing": list(one.gap.missing),
        "unnecessary": list(one.gap.unnecessary),
        "diff": one.diff,
    }


def _print_drift(one: Drift) -> None:
    thing = one.secret or one.connector
    print(f"{one.kind} {thing.scope}/{thing.identifier}: {one.detail}")
    print(one.diff, end="")


@template.command("reconcile", cls=Leaf)
@click.argument("connector", metavar="CONNECTOR")
@click.option("--to", "label", metavar="LABEL", help="the version; the newest by default")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def reconcile(context: click.Context, connector: str, label: str | None, yes: bool) -> None:
    """Sign a connector anew, bound to another version of its template, after showing what changes.

    The secrets whose inputs no longer fit are listed: give them anew with secret set --input.
    """
    run = session(context)
    run.check_reference(connector)

    async def act(client: Client) -> Reconciliation:
        plan = await client.drifts.reconciliation(connector, label)
        if plan.changes[0].action != "none":
            run.out.note(plan.diff + "".join(one.diff() for one in plan.changes))
            confirm(f"Sign {connector} anew?", "--yes", yes)
            await client.drifts.reconcile(plan)
        return plan

    plan = run.run(act)
    change, wanted = plan.changes[0], plan.changes[0].wanted
    link = wanted.spec["template"]
    what = "runs" if change.action == "none" else "was signed anew and runs"
    run.out.done(
        f"{wanted.identifier} in {wanted.scope} {what} {link['templateRef']}@{link['versionLabel']}",
        action=change.action,
        connector=f"{wanted.scope}/{wanted.identifier}",
        version=link["versionLabel"],
        secrets=[_drift_row(one) for one in plan.secrets],
    )
    for one in plan.secrets:
        _tell_secret(run, one)


def _tell_secret(run: Session, one: Drift) -> None:
    names = " ".join(f"--input {name}=..." for name in one.gap.missing)
    run.out.warning(f"{one.detail}: privyseal secret set {one.place} {names}".rstrip())


def _check_version(reference: str) -> None:
    if "@" not in reference:
        raise Malformed(
            "version_missing", "the version isn't named", "write NAME@LABEL; privyseal template list shows them"
        )
