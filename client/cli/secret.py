"""`privyseal secret`: secrets by reference. A value comes from standard input, a file or a hidden prompt, never from argv."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from client.choice import Choice
from client.cli.copy import copy
from client.cli.delegates import choosing
from client.cli.inputs import ask_inputs, given_inputs
from client.cli.output import moment
from client.cli.prompts import confirm, hidden_value, interactive, read_value_file
from client.cli.reveal import reveal
from client.cli.session import Leaf, Nouns, session
from client.cli.usage import labels, shown, stated, stating
from client.cli.waiting import detaching
from client.limits import too_long
from client.patience import Detached
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Malformed
from shared.names import ACCOUNT_SCOPE

if TYPE_CHECKING:
    from client.deletion import Naming
    from client.directory import Known
    from client.listed import Listed
    from client.sdk import Client
    from shared.documents.secret import SecretDocument


@click.group(cls=Nouns)
def secret() -> None:
    """Set, list and delete secrets. A reference is account.NAME, org.NAME or NAME (in the chosen scope)."""


secret.add_command(reveal)
secret.add_command(copy)


@secret.command("set", cls=Leaf)
@click.argument("reference")
@click.argument("value", nargs=-1)
@click.option("--file", "file", metavar="FILE", help="the value is this file's content")
@click.option("--from-stdin", is_flag=True, help="the value is all of standard input")
@click.option("--strip-newline", is_flag=True, help="without the line break at the value's end")
@click.option(
    "--type", "kind", type=click.Choice(["text", "file"]), help="what it is; a file's value is a file by default"
)
@click.option("--connector", metavar="REF", help="the secret manager; the scope's default one otherwise")
@click.option(
    "--refers-to", default="", metavar="PATH[#KEY]", help="a secret that the provider has already; no value is given"
)
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="what the script of a custom secret manager is told"
)
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", help="what the provider needs besides, such as version=3"
)
@choosing
@click.option("--name", metavar="TEXT", help="display name")
@click.option("--description", metavar="TEXT")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE")
@click.option(
    "--usage-application", "applications", multiple=True, metavar="NAME", help="only tasks that state it may use it"
)
@click.option("--usage-environment", "environments", multiple=True, metavar="NAME", help="the same of environments")
@click.option("--usage-any", is_flag=True, help="all tasks may use it again")
@stating
@click.pass_context
@detaching
def set_(
    context: click.Context,
    reference: str,
    value: tuple[str, ...],
    file: str | None,
    from_stdin: bool,
    strip_newline: bool,
    kind: str | None,
    connector: str | None,
    refers_to: str,
    inputs: tuple[str, ...],
    metadata: tuple[str, ...],
    delegates: Choice,
    name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    applications: tuple[str, ...],
    environments: tuple[str, ...],
    usage_any: bool,
    application: str | None,
    environment: str | None,
) -> None:
    """Store a secret's value: a new secret, or the next version of one. At most 10 MB.

    With --refers-to it stands for a secret that its provider has already: a delegate fetches that once, to see that it can.
    So it is with --input at a custom secret manager, by its script; what isn't given there is asked for at a terminal. With a
    value besides, the template's script that writes is run.

    The options --usage-... say what it is for from now on, all of them together; what it is for, the task states too.
    """
    if value:
        raise Malformed(
            "value_in_arguments",
            "a value is never given as an argument: other users and your shell's history would see it",
            "pipe it in with --from-stdin, name a file with --file, or type it when asked",
        )
    if file and from_stdin:
        raise Malformed("value_twice", "--file and --from-stdin are both given", "give one of them")
    run = session(context)
    run.check_reference(reference)
    if refers_to and (file or from_stdin):
        raise Malformed("reference_with_value", "a secret that refers to another has no value", "leave one out")
    if inputs and (refers_to or metadata):
        raise Malformed("reference_with_inputs", "inputs stand for reference and metadata", "leave one out")
    told = given_inputs(inputs) if inputs else None
    if interactive() and not (file or from_stdin or refers_to):
        wanted = run.run(lambda client: client.custom_managers.asked(client.secrets.reference(reference), connector))
        given_ones = told or {}
        open_ones = [
            one for one in wanted or () if one.name not in given_ones and (told is None or one.default is None)
        ]
        told = told if wanted is None else {**given_ones, **ask_inputs(open_ones)}
    reads = refers_to or (told is not None and not (file or from_stdin))
    raw = b"" if reads else _value(file, from_stdin, strip_newline)
    if not file and raw.endswith(b"\n") and not strip_newline:
        run.out.note("the value ends with a line break; --strip-newline leaves it out")
    given, needed = _tags(tags), _tags(metadata)
    usage, own = stated(application, environment), labels(applications, environments)
    if own and usage_any:
        raise Malformed("usage_twice", "--usage-any and what it is for are both given", "give one of them")

    async def act(client: Client) -> Any:
        return await client.store(
            reference,
            raw,
            type=None if kind is None else ("SecretFile" if kind == "file" else "SecretText"),
            name=name,
            description=description,
            tags=given,
            filename=_filename(file),
            connector=connector,
            selectors=delegates,
            refers_to=refers_to,
            inputs=told,
            metadata=needed,
            usage=usage,
            labels=own if own or usage_any else UNSET,
        )

    try:
        stored = run.run(act)
    except Detached as handed:
        run.out.done(
            f"the manager keeps it for a delegate: privyseal task show {handed.task}",
            task=handed.task,
            state=handed.state,
        )
        return
    document = stored.secret.document
    run.out.done(
        f"{'made' if stored.created else 'stored'} {document.identifier} in {document.scope}, version {stored.n}",
        **_row(document),
        version=stored.n,
        digest=stored.version,
        delegate=stored.delegate,
        created=stored.created,
    )


def _value(file: str | None, from_stdin: bool, strip: bool) -> bytes:
    if file:
        raw = read_value_file(file, LARGEST_VALUE_BYTES)
    elif from_stdin:
        raw = sys.stdin.buffer.read(LARGEST_VALUE_BYTES + 1)
    else:
        raw = hidden_value("value")
    if len(raw) > LARGEST_VALUE_BYTES:
        raise too_long()
    if strip:
        raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not raw:
        raise Malformed("value_empty", "the value is empty", "nothing was stored; check where it comes from")
    return raw


def _filename(file: str | None) -> str:
    from pathlib import PurePath

    return PurePath(file).name[:255] if file else ""


def _tags(tags: tuple[str, ...]) -> dict[str, str] | None:
    if any("=" not in tag for tag in tags):
        raise Malformed("tag_malformed", "a tag is written KEY=VALUE", "--tag team=payments")
    return {key: value for key, _, value in (tag.partition("=") for tag in tags)} or None


def _row(document: SecretDocument) -> dict[str, Any]:
    return {
        "identifier": document.identifier,
        "scope": document.scope,
        "name": document.name,
        "type": document.type,
        "description": document.description,
        "tags": document.tags,
        "filename": document.filename,
        **shown(document.usage),
        "id": document.id,
        "connector": document.connector,
        "changed": moment(document.iat),
    }


@secret.command("list", cls=Leaf)
@click.option("--all", "everything", is_flag=True, help="of the whole account")
@click.option("--search", metavar="TEXT", default="", help="whose name, identifier, description or tags have it")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(["SecretText", "SecretFile", "SSHKey"], case_sensitive=False),
    help="of this type; of any of several",
)
@click.pass_context
def list_(context: click.Context, everything: bool, search: str, types: tuple[str, ...]) -> None:
    """List secrets in the chosen scope (and below with --all). Never their values."""
    run = session(context)

    async def act(client: Client) -> list[Listed[SecretDocument]]:
        scope = ACCOUNT_SCOPE if everything else client.here
        return await client.secrets.all(scope, below=everything, search=search, types=types)

    rows = [
        {**_row(one.document), "signer": one.signer, "state": one.refused.code if one.refused else "ok"}
        for one in run.run(act)
    ]
    run.out.table(
        [("SECRET", "identifier"), ("SCOPE", "scope"), ("TYPE", "type"), ("CHANGED", "changed"), ("STATE", "state")],
        rows,
        "no secrets here; see --all, --org, --project, --search and --type",
    )


@secret.command("get", cls=Leaf)
@click.argument("reference")
@click.pass_context
def get(context: click.Context, reference: str) -> None:
    """Show what is known of a secret, without its value: by which connectors, templates and SSHKeys it is named too.

    Those that you see count, whether or not who signed them still counts.
    """
    from client.deletion import kind_of, name_of

    run = session(context)

    async def act(client: Client) -> tuple[Known, list[Naming]]:
        found = await client.secrets.find(reference)
        return found, await client.secrets.users(found.secret.document)

    known, users = run.run(act)
    naming: list[Any] = [
        {"kind": kind_of(one), "reference": name_of(one), "scope": one.scope, "name": one.name, "id": one.id}
        for one in users
    ]
    if run.out.format == "table":
        naming = [f"{one['kind']} {one['reference']}" for one in naming]
    run.out.record(
        {
            **_row(known.secret.document),
            "connector": f"{known.connector.document.identifier} ({known.connector.document.type})",
            "keyring": known.connector.document.keyring,
            "version": known.n,
            "digest": known.version,
            "signer": known.secret.kid,
            "referenced_by": naming,
        }
    )


@secret.command("versions", cls=Leaf)
@click.argument("reference")
@click.pass_context
def versions(context: click.Context, reference: str) -> None:
    """List a secret's versions, the newest last."""
    run = session(context)
    found = run.run(lambda client: client.secrets.versions(reference))
    rows = [
        {
            "n": one.n,
            "stored": moment(one.stored_at),
            "size": one.size,
            "signer": one.signer,
            "delegate": one.delegate,
            "digest": one.digest,
            "deleted": moment(one.deleted_at) if one.deleted_at else "",
        }
        for one in found
    ]
    run.out.table(
        [("N", "n"), ("STORED", "stored"), ("RECORD BYTES", "size"), ("SIGNER", "signer")], rows, "no versions"
    )


@secret.command("test", cls=Leaf)
@click.argument("reference")
@click.option("--host", required=True, metavar="HOST", help="where to log in; the port is the SSHKey's")
@choosing
@stating
@click.pass_context
def test(
    context: click.Context,
    reference: str,
    host: str,
    delegates: Choice,
    application: str | None,
    environment: str | None,
) -> None:
    """Have a delegate log in at a host with an SSHKey; nothing runs there. Exits as the error does where it fails.

    A host whose key isn't known yet is refused; the error shows the key's fingerprint, to be compared with the host's own.
    """
    run, usage = session(context), stated(application, environment)
    tested = run.run(lambda client: client.logins.test(reference, host, selectors=delegates, usage=usage))
    run.out.done(
        f"{tested.place.identifier} logs in at {tested.host} from the delegate {tested.name} ({tested.milliseconds} ms)",
        identifier=tested.place.identifier,
        scope=str(tested.place.scope),
        host=tested.host,
        delegate=tested.delegate,
        name=tested.name,
        milliseconds=tested.milliseconds,
        code="ok",
    )


@secret.command("delete", cls=Leaf)
@click.argument("reference")
@click.option("--yes", is_flag=True, help="don't ask")
@click.option("--force", is_flag=True, help="although connectors name it; takes admin over its scope")
@choosing
@stating
@click.pass_context
def delete(
    context: click.Context,
    reference: str,
    yes: bool,
    force: bool,
    delegates: Choice,
    application: str | None,
    environment: str | None,
) -> None:
    """Delete a secret with all its versions, at its provider too. It can't be undone.

    One that refers to what its provider had before is only forgotten here.
    """
    run, usage = session(context), stated(application, environment)

    async def act(client: Client) -> SecretDocument:
        known = await client.secrets.find(reference)
        document = known.secret.document
        confirm(f"Delete {document.identifier} in {document.scope} with all {known.n} versions?", "--yes", yes)
        await client.delete(reference, selectors=delegates, force=force, usage=usage)
        return document

    document = run.run(act)
    run.out.done(f"deleted {document.identifier} in {document.scope}", **_row(document), deleted=True)
