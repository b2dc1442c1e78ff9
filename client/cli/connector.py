"""`privyseal connector`: secret managers as this account knows them. Its YAML is that of `privyseal apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client.choice import Choice
from client.cli.apply import Applied, read_manifests, report
from client.cli.built_in import disable, enable
from client.cli.delegates import choosing
from client.cli.output import age, left, moment, refusals
from client.cli.prompts import confirm, interactive
from client.cli.session import Leaf, Nouns, Session, session
from client.cli.usage import shown, stated, stating
from client.cli.waiting import waiting
from shared.errors import Conflict, Malformed, NotReady, PrivySealError
from shared.names import ACCOUNT_SCOPE, Scope

if TYPE_CHECKING:
    from client.checks import Test
    from client.connectors import ConnectorChange, Tested
    from client.listed import Listed
    from client.manifest import Manifest
    from client.sdk import Client
    from shared.documents.connector import ConnectorDocument
    from shared.documents.jws import Verified


@click.group(cls=Nouns)
def connector() -> None:
    """Make, list, test and delete connectors. A reference is account.NAME, org.NAME or NAME (in the chosen scope)."""


connector.add_command(disable)
connector.add_command(enable)


def _row(document: ConnectorDocument) -> dict[str, Any]:
    return {
        "identifier": document.identifier,
        "scope": document.scope,
        "name": document.name,
        "type": document.type,
        "description": document.description,
        "tags": document.tags,
        "selectors": list(document.selectors),
        "keyring": document.keyring,
        "default": document.is_default,
        "disabled": document.is_disabled,
        **shown(document.usage),
        "id": document.id,
        "revision": document.rev,
        "changed": moment(document.iat),
    }


@connector.command("list", cls=Leaf)
@click.option("--all", "everything", is_flag=True, help="of the whole account")
@click.option("--search", metavar="TEXT", default="", help="whose name, identifier, description or tags have it")
@click.option("--type", "types", multiple=True, metavar="KIND", help="of this kind, such as AwsKms; of any of several")
@click.pass_context
def list_(context: click.Context, everything: bool, search: str, types: tuple[str, ...]) -> None:
    """List connectors in the chosen scope (and below with --all), with their last tests by delegates' signed word.

    A disabled built-in one is listed only with --all.
    """
    run = session(context)

    async def act(client: Client) -> tuple[list[Listed[ConnectorDocument]], dict[str, list[Test]], int]:
        scope = ACCOUNT_SCOPE if everything else client.here
        found = await client.connectors.all(scope, below=everything, search=search, types=types)
        believed = [one.verified for one in found if one.verified]
        tests = await client.views.checks(believed, scope, below=everything) if believed else {}
        return found, tests, client.account.clock()

    found, checks, now = run.run(act)
    rows = [
        {
            **_row(one.document),
            "signer": one.signer,
            "state": one.refused.code if one.refused else "disabled" if one.document.is_disabled else "ok",
            **_last(checks.get(one.document.id, []), now),
        }
        for one in found
        if everything or one.refused or not one.document.is_disabled
    ]
    run.out.table(
        [
            ("CONNECTOR", "identifier"),
            ("SCOPE", "scope"),
            ("TYPE", "type"),
            ("SELECTORS", "selectors"),
            ("DEFAULT", "default"),
            ("STATE", "state"),
            ("TEST", "test"),
            ("TESTED", "age"),
            ("BY", "by"),
            ("COUNTS", "counts"),
        ],
        rows,
        "no connectors here; see --all, --org, --project, --search and --type",
    )


def _last(tests: list[Test], now: int) -> dict[str, Any]:
    """The newest test of a connector, and those of other delegates that differ."""
    if not tests:
        return {"test": None, "tested": moment(None), "age": None, "by": None, "counts": None, "tests": []}
    newest = tests[0]
    return {
        "test": newest.code,
        "tested": moment(newest.at),
        "age": age(newest.at, now),
        # Two delegates may be of different minds: whom the newest test is by must not hide that.
        "by": [newest.name, *(f"{one.name}: {one.code}" for one in tests[1:] if one.code != newest.code)],
        "counts": left(newest.until, now),
        "tests": [
            {
                "delegate": one.delegate,
                "name": one.name,
                "code": one.code,
                "tested": moment(one.at),
                "until": moment(one.until),
            }
            for one in tests
        ],
    }


@connector.command("get", cls=Leaf)
@click.argument("reference")
@click.option("--plan", "wants_plan", is_flag=True, help="show the secrets that it stands on, and theirs in turn")
@click.pass_context
def get(context: click.Context, reference: str, wants_plan: bool) -> None:
    """Print a connector's YAML; what the account adds to it stands in comments.

    With --plan, the way in which a delegate comes to its credentials: each secret that it names, the connector at which that
    is kept, and so on; and whether whoever signed the connector may use it.
    """
    if wants_plan:
        _plan(session(context), reference)
        return
    from client.descriptions import KIND, yaml_of

    run = session(context)

    async def act(client: Client) -> tuple[Verified[ConnectorDocument], dict[str, Any], list[Test], int]:
        found = await client.connectors.find(reference)
        (body,) = await client.connectors.bodies([found.document])
        checks = await client.views.checks([found], Scope.parse(found.document.scope), below=False)
        return found, body, checks.get(found.document.id, []), client.account.clock()

    found, body, tests, now = run.run(act)
    document, last = found.document, _last(tests, now)
    if run.out.format == "json":
        row = {key: _row(document)[key] for key in ("id", "revision", "keyring", "selectors", "default")}
        run.out.data({KIND: body, **row, **{key: last[key] for key in ("test", "tested", "tests")}})
        return
    if run.out.format == "table" and not run.quiet:
        print(f"# id {document.id}, revision {document.rev} of {moment(document.iat)}")
        print(f"# keyring {document.keyring}, signed by {found.kid}")
        if document.is_disabled:
            print("# disabled: it takes no new secrets")
        for one in tests:
            counts = left(one.until, now)
            print(f"# tested {age(one.at, now)} by {one.name}: {one.code}{f', counts for {counts}' if counts else ''}")
    print(yaml_of(body), end="")


def _plan(run: Session, reference: str) -> None:
    rows = run.run(lambda client: client.connectors.plan_of(reference))
    run.out.table(
        [
            ("CONNECTOR", "connector"),
            ("TYPE", "type"),
            ("NEEDS", "secret"),
            ("VERSION", "n"),
            ("KEPT AT", "holder"),
            ("STATE", "state"),
        ],
        rows,
        "the connector names no secrets: the delegate's own identity is all that it takes",
    )


@connector.command("delete", cls=Leaf)
@click.argument("reference")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def delete(context: click.Context, reference: str, yes: bool) -> None:
    """Delete a connector that no secret is at."""
    run = session(context)
    run.check_reference(reference)
    confirm(f"Delete the connector {reference}?", "--yes", yes)
    document = run.run(lambda client: client.connectors.delete(reference)).document
    run.out.done(f"deleted {document.identifier} in {document.scope}", **_row(document), deleted=True)


@connector.command("test", cls=Leaf)
@click.argument("reference")
@choosing
@stating
@click.pass_context
@waiting
def test(
    context: click.Context,
    reference: str,
    delegates: Choice,
    application: str | None,
    environment: str | None,
) -> None:
    """Have a delegate try a connector, without writing anything. Exits as the error does where it fails."""
    run = session(context)
    run.check_reference(reference)
    usage = stated(application, environment)
    tested = run.run(lambda client: client.connectors.test(reference, selectors=delegates, usage=usage))
    _print_test(run, tested)


def _print_test(run: Session, tested: Tested) -> None:
    document = tested.connector.document
    run.out.done(
        f"{document.identifier} in {document.scope} works from the delegate {tested.name} ({tested.milliseconds} ms)",
        identifier=document.identifier,
        scope=document.scope,
        type=document.type,
        id=document.id,
        revision=document.rev,
        delegate=tested.delegate,
        name=tested.name,
        milliseconds=tested.milliseconds,
        code="ok",
    )


@connector.command("create", cls=Leaf)
@click.option(
    "--from-file", "file", metavar="FILE", help="don't ask: the connector is described there; - is standard input"
)
@click.option("--out", metavar="FILE", help="also write the YAML to this new file")
@click.option("--keyring", metavar="NAME", help="the keyring that serves it; the built-in's by default")
@click.option("--no-test", is_flag=True, help="don't test it afterwards")
@click.option("--yes", is_flag=True, help="don't ask for a confirmation")
@click.pass_context
def create(
    context: click.Context, file: str | None, out: str | None, keyring: str | None, no_test: bool, yes: bool
) -> None:
    """Make a connector by answering questions: overview, details, connectivity, delegates; then test it."""
    run = session(context)
    manifest = _from_file(file) if file else _asked(run)

    async def act(
        client: Client,
    ) -> tuple[ConnectorChange, Verified[ConnectorDocument], Tested | PrivySealError | None]:
        described = manifest if file else await client.custom_managers.completed(manifest)
        change, *demoted = await client.connectors.plan([described], keyring=keyring)
        _check_new(change)
        text = _text(change)
        if not file:
            run.out.note(f"\n{text}")
            for one in demoted:
                run.out.note(f"{one.wanted.identifier} in {one.wanted.scope} is the default no more\n")
            confirm(f"Make {change.wanted.identifier} in {change.wanted.scope}?", "--yes", yes)
        if out:
            _write(out, text)
        made, *_ = await client.connectors.apply([change, *demoted])
        if no_test or change.description.settings.ignore_test_connection:
            return change, made, None
        try:
            return change, made, await client.connectors.test_document(made)
        except PrivySealError as why:
            return change, made, why

    change, made, tested = run.run(act)
    report(run, Applied([change], documents=[made]), dry_run=False)
    if isinstance(tested, PrivySealError):
        _warn(run, made, tested)
    elif tested is not None and run.out.format == "table":
        _print_test(run, tested)


def _check_new(change: ConnectorChange) -> None:
    if change.before is not None:
        raise Conflict(
            "connector_exists",
            f"there is a connector {change.wanted.identifier} in {change.wanted.scope} already",
            "choose another identifier, or change it: privyseal apply -f FILE",
        )


def _text(change: ConnectorChange) -> str:
    from client.descriptions import body_of, yaml_of

    return yaml_of(body_of(change.wanted, change.default_keyring))


def _from_file(file: str) -> Manifest:
    manifests = read_manifests([file])
    if len(manifests) != 1:
        raise manifests[1].refused(
            "", "more than one document is given", "make several at once: privyseal apply -f FILE"
        )
    return manifests[0]


def _asked(run: Session) -> Manifest:
    if not interactive():
        raise NotReady(
            "description_missing", "nobody can be asked", "describe the connector in a file: --from-file FILE"
        )
    from client.cli.wizard import Terminal, Wizard
    from client.descriptions import yaml_of
    from client.kinds import installed_kinds
    from client.manifest import parse

    (manifest,) = parse(yaml_of(Wizard(Terminal(), installed_kinds()).ask(run.here())).encode(), "your answers")
    return manifest


def _write(path: str, text: str) -> None:
    from pathlib import Path

    try:
        with Path(path).expanduser().open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Malformed("file_exists", f"{path} exists and is not overwritten", "name another file") from None
    except OSError as why:
        raise Malformed("file_unwritable", f"{path} can't be written: {why.strerror}", "check --out") from None


def _warn(run: Session, made: Verified[ConnectorDocument], why: PrivySealError) -> None:
    """The connector stays where its test fails: mend the provider's side, then test again."""
    run.out.warning(f"the connector is made, and its test failed: {why.detail}")
    for line in refusals(why):
        run.out.warning(line)
    if why.hint:
        run.out.note(f"hint: {why.hint}")
    run.out.note(f"then: privyseal connector test {made.document.identifier}")
