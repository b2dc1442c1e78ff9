"""Templates end to end: described, bound, run by a real delegate, drifting and reconciled, through the command line's own parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from client import Client
from client.dev import DevEnvironment
from client.drafts import next_revision
from client.drift import Drift
from client.manifest import Manifest, parse
from client.templates import planned
from shared.crypto.plaintext import Plaintext
from shared.documents.template import content_digest
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT = 'secret="$path:<+spec.environmentVariables.engine>:<+secrets.getValue("account.tplToken")>"'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    folder = tmp_path_factory.mktemp("templates")
    policy = folder / "policy.toml"
    policy.write_text("scripts = true\n")
    policy.chmod(0o600)
    options = {"*": (f"--policy-file={policy}",)}
    async with DevEnvironment(folder / "dev", delegates=1, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.tplToken", b"hunter2")
            await client.store("account.tplOther", b"other")
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(environment: DevEnvironment) -> AsyncIterator[Client]:
    async with environment.client() as opened:
        yield opened


def template(name: str, label: str = "v1", script: str = SCRIPT, inputs: str = "path, engine", more: str = "") -> str:
    variables = "".join(
        f"      - {{name: {one.strip()}, type: String, value: <+input>}}\n" for one in inputs.split(",") if one.strip()
    )
    return (
        f"template:\n  name: {name}\n  identifier: {name}\n  versionLabel: {label}\n  type: SecretManager\n  spec:\n"
        f"    shell: Bash\n    source:\n      type: Inline\n      spec:\n        script: |-\n          {script}\n"
        f"    environmentVariables:\n{variables or '      []'}\n    outputVariables: []\n    onDelegate: true\n{more}"
    )


def connector(
    name: str, template: str, label: str = "v1", engine: str = "{value: kv, useAsDefault: true}", more: str = ""
) -> str:
    said = engine.strip("{}")
    return (
        f"connector:\n  name: {name}\n  identifier: {name}\n  type: CustomSecretManager\n  spec:\n    onDelegate: true\n"
        f"    timeout: 20\n    template:\n      templateRef: account.{template}\n      versionLabel: {label}\n"
        "      templateInputs:\n        environmentVariables:\n          - {name: path, type: String, value: <+input>}\n"
        f"          - {{name: engine, type: String, {said}}}\n{more}"
    )


def secret(name: str, connector: str, value: str) -> str:
    return (
        f"secret:\n  type: SecretText\n  name: {name}\n  identifier: {name}\n  spec:\n"
        f"    secretManagerIdentifier: account.{connector}\n    valueType: CustomSecretManagerValues\n    value: {value}\n"
    )


def manifests(*texts: str) -> dict[str, list[Manifest]]:
    found = parse("---\n".join(texts).encode(), "given")
    return {kind: [one for one in found if one.kind == kind] for kind in ("template", "connector", "secret")}


async def apply(client: Client, *texts: str) -> list[str]:
    """As privyseal apply does; the actions."""
    given = manifests(*texts)
    templates = await client.templates.plan(given["template"])
    changes = await client.connectors.plan(given["connector"], templates=planned(templates))
    wanted = {one.description.place: one.wanted for one in changes}
    secrets = await client.secret_plans.plan(given["secret"], wanted, [one.wanted for one in templates])
    await client.templates.apply(templates)
    await client.connectors.apply(changes)
    await client.secret_plans.apply(secrets)
    return [*(one.action for one in templates), *(one.action for one in changes), *(one.action for one in secrets)]


async def test_template_connector_and_secret_of_one_file_are_made_in_that_order_and_read(client: Client) -> None:
    texts = (
        secret(
            "whole_token", "whole_sm", '\'{"environmentVariables":[{"name":"path","type":"String","value":"a/b#c"}]}\''
        ),
        connector("whole_sm", "whole"),
        template("whole"),
    )
    assert await apply(client, *texts) == ["create", "create", "create"]
    assert await client.reveal("account.whole_token") == Plaintext(b"a/b#c:kv:hunter2")
    assert await apply(client, *texts) == ["none", "none", "none"]
    found = await client.connectors.find("account.whole_sm")
    made = await client.templates.find("account.whole@v1")
    assert found.document.template is not None
    assert found.document.template.content == content_digest(made.document)
    assert found.document.secrets == ("account.tplToken",)
    assert told(await client.drifts.all(client.here, below=True), "whole_sm") == []


async def test_a_label_keeps_its_content_and_the_refusal_shows_the_difference(client: Client) -> None:
    await apply(client, template("kept"))
    with pytest.raises(Conflict) as caught:
        await apply(client, template("kept", script="secret=x"))
    assert caught.value.code == "template_version_taken"
    assert "give it another versionLabel" in caught.value.hint
    assert "given:4" in caught.value.detail and "template.versionLabel" in caught.value.detail
    assert "+        script: secret=x\n" in caught.value.facts["diff"]
    described = template("kept").replace("  type: SecretManager\n", "  type: SecretManager\n  description: told\n")
    assert await apply(client, described) == ["change"]
    assert (await client.templates.find("account.kept@v1")).document.rev == 2
    assert (
        await apply(client, template("kept", "v10", "secret=x"), template("kept", "v2", "secret=y")) == ["create"] * 2
    )
    assert (await client.templates.find("account.kept")).document.version == "v10"


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        (template("bad", script='secret="<+nothing.here>"'), "template.spec.source.spec.script", "nothing.here"),
        (template("bad", inputs="path, PATH2, secret, engine"), "template.spec.environmentVariables[2].name", "secret"),
        (template("bad", inputs="path, path"), "template.spec.environmentVariables[1].name", "duplicate"),
        (template("bad", more="    outputAlias: {key: x}\n"), "template.spec.outputAlias", "no such field"),
        (template("bad", more="    executionTarget: {host: db}\n"), "template.spec.executionTarget.host", "connector"),
        (template("bad", script="secret=<+secrets.getValue('org.x')>"), "template.spec", "org."),
        (
            template("bad", script="secret=<+secrets.getValue('account.nowhere')>"),
            "template.spec.source.spec.script",
            "nowhere",
        ),
        (
            template("bad").replace("outputVariables: []", "outputVariables: [{name: x}]"),
            "template.spec.outputVariables",
            "alone",
        ),
        (template("bad").replace("type: SecretManager", "type: Step"), "template.type", "SecretManager"),
        (template("bad").replace("versionLabel: v1", "versionLabel: 1"), "template.versionLabel", "in quotes"),
    ],
)
async def test_what_is_wrong_with_a_template_is_told_at_its_field(
    client: Client, text: str, path: str, told: str
) -> None:
    with pytest.raises((Malformed, NotFound)) as caught:
        await apply(client, text)
    assert f": {path}: " in caught.value.detail and told in caught.value.detail
    with pytest.raises(NotFound):
        await client.templates.find("account.bad@v1")


async def test_a_template_may_use_everything_of_a_shell_that_its_execution_target_leaves_open(client: Client) -> None:
    text = template("open", more="    executionTarget: {host: <+input>, connectorRef: '', workingDirectory: null}\n")
    assert await apply(client, text) == ["create"]


async def test_what_a_connector_says_has_to_fit_its_template(client: Client) -> None:
    await apply(client, template("fit"))
    cases = (
        (
            connector("unfit", "fit", engine="{value: kv}").replace("name: engine", "name: motor"),
            "environmentVariables",
        ),
        (connector("unfit", "nowhere"), "templateRef"),
        (connector("unfit", "fit", "v2"), "templateRef"),
        (connector("unfit", "fit", more="    default: true\n"), "default"),
        (connector("unfit", "fit", engine="{value: <+secrets.getValue('account.nowhere')>}"), "value"),
    )
    for text, field in cases:
        with pytest.raises((Malformed, NotFound)) as caught:
            await apply(client, text)
        assert field in str(caught.value.facts["path"]), caught.value
    with pytest.raises(Malformed) as told:
        await apply(client, cases[0][0])
    assert "missing environment variable: engine; unnecessary environment variable: motor" in told.value.detail


async def test_what_a_secret_says_has_to_be_what_it_is_asked_for(client: Client) -> None:
    await apply(client, template("asking"), connector("asking_sm", "asking", engine="{value: fixed}"))
    for value, told in (
        ("{}", "missing environment variable: path"),
        ("{path: x, engine: y}", "unnecessary environment variable: engine"),
        ("{path: 5}", "isn't a text"),
        ("'{\"path\":'", "malformed JSON"),
        ('\'{"path":"a","path":"b"}\'', "stands twice"),
        ("{path: <+secrets.getValue('account.tplToken')>}", "holds an expression"),
    ):
        with pytest.raises(Malformed) as caught:
            await apply(client, secret("unasked", "asking_sm", value))
        assert told in caught.value.detail and "secret.spec.value" in caught.value.detail
    with pytest.raises(Malformed) as wrong:
        await apply(client, secret("unasked", "asking_sm", "a/b").replace("CustomSecretManagerValues", "Reference"))
    assert "has inputs" in wrong.value.detail
    with pytest.raises(Malformed) as elsewhere:
        await apply(client, secret("unasked", "local", "{path: x}"))
    assert "takes no inputs" in elsewhere.value.detail
    with pytest.raises(Malformed) as empty:
        await apply(
            client, secret("unasked", "asking_sm", "x").replace("CustomSecretManagerValues\n    value: x", "Inline")
        )
    assert "only reads" in empty.value.detail
    with pytest.raises(NotFound):
        await client.secrets.find("account.unasked")


async def test_a_secret_is_made_by_its_inputs_and_checked_by_a_real_run(client: Client) -> None:
    script = '[ "$path" = there ] && secret=x || true'
    await apply(client, template("real", script=script), connector("real_sm", "real"))
    with pytest.raises(NotFound) as caught:
        await client.store("account.real_token", b"", inputs={"path": "gone"}, connector="account.real_sm")
    assert caught.value.code == "secret_empty" and "real@v1" in caught.value.detail
    with pytest.raises(NotFound):
        await client.secrets.find("account.real_token")
    await client.store("account.real_token", b"", inputs={"path": "there"}, connector="account.real_sm")
    assert await client.reveal("account.real_token") == Plaintext(b"x")
    with pytest.raises(Malformed) as unfit:
        await client.store("account.real_token", b"", inputs={"motor": "x"})
    assert unfit.value.facts["missing"] == ["path"]
    with pytest.raises(Denied) as reads:
        await client.store("account.real_token", b"value", inputs={"path": "there"})
    assert reads.value.code == "connector_read_only"


async def test_a_template_that_writes_keeps_values(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    more = f"    write: {{type: Inline, spec: {{script: 'printf %s \"$secret\" > {file}'}}}}\n"
    more += f"    remove: {{type: Inline, spec: {{script: 'rm -f {file}'}}}}\n"
    text = template("writing", script=f'secret="$(cat {file})"', more=more)
    await apply(client, text, connector("writing_sm", "writing"))
    await client.store("account.written", b"first", inputs={"path": "x"}, connector="account.writing_sm")
    assert await client.reveal("account.written") == Plaintext(b"first") and file.read_bytes() == b"first"
    await client.store("account.written", b"second")
    assert await client.reveal("account.written") == Plaintext(b"second")
    assert told(await client.drifts.all(client.here, below=True), "writing_sm") == []
    await client.delete("account.written")
    assert not file.exists()


async def test_a_version_is_tried_without_a_secret_and_only_by_what_runs_it(client: Client) -> None:
    await apply(client, template("tried"), template("tried", "v2", "secret=x"), connector("tried_sm", "tried"))
    value = await client.try_inputs("account.tried@v1", "account.tried_sm", {"path": "a"})
    assert value == Plaintext(b"a:kv:hunter2")
    with pytest.raises(Conflict) as caught:
        await client.try_inputs("account.tried@v2", "account.tried_sm", {"path": "a"})
    assert caught.value.code == "template_other"
    with pytest.raises(Malformed):
        await client.try_inputs("account.tried@v1", "account.tried_sm", {})


def told(found: list[Drift], name: str) -> list[tuple[str, str]]:
    return [(one.kind, str(one.place)) for one in found if one.connector.identifier == name]


async def test_drift_is_shown_with_its_diff_and_mended_by_signing_anew(client: Client) -> None:
    await apply(client, template("drifting"), connector("drifting_sm", "drifting"))
    await client.store("account.drifting_a", b"", inputs={"path": "a"}, connector="account.drifting_sm")
    await apply(client, template("drifting", "v2", 'secret="$path$namespace"', "path, namespace"))
    found = await client.drifts.all(client.here, below=True)
    assert told(found, "drifting_sm") == [("version", "account.drifting_sm")]
    (one,) = [one for one in found if one.connector.identifier == "drifting_sm"]
    assert "the newest version of account.drifting is v2" in one.detail
    assert "-    - name: engine\n" in one.diff and "+    - name: namespace\n" in one.diff
    assert "+      versionLabel: v2\n" in one.diff
    assert await client.reveal("account.drifting_a") == Plaintext(b"a:kv:hunter2")
    plan = await client.drifts.reconciliation("account.drifting_sm")
    assert [(each.place.identifier, each.gap.missing) for each in plan.secrets] == [("drifting_a", ("namespace",))]
    assert "versionLabel: v2" in plan.diff and plan.changes[0].action == "change"
    await client.drifts.reconcile(plan)
    after = await client.drifts.all(client.here, below=True)
    assert told(after, "drifting_sm") == [("secret", "account.drifting_a")]
    with pytest.raises(Malformed) as caught:
        await client.reveal("account.drifting_a")
    assert caught.value.code == "inputs_unfit"
    await client.store("account.drifting_a", b"", inputs={"path": "a", "namespace": "b"})
    assert await client.reveal("account.drifting_a") == Plaintext(b"ab")
    assert told(await client.drifts.all(client.here, below=True), "drifting_sm") == []
    back = await client.drifts.reconciliation("account.drifting_sm", "v1")
    variables: list[dict[str, Any]] = back.changes[0].wanted.spec["template"]["templateInputs"]["environmentVariables"]
    assert variables == [
        {"name": "path", "type": "String", "value": "<+input>"},
        {"name": "engine", "type": "String", "value": "<+input>"},
    ]
    with pytest.raises(Malformed):
        await client.drifts.reconciliation("account.local")


async def test_a_template_that_is_not_the_one_that_was_signed_for_is_shown_whole_before_signing(client: Client) -> None:
    await apply(client, template("replaced"), connector("replaced_sm", "replaced"))
    held = await client.connectors.find("account.replaced_sm")
    assert held.document.template is not None
    seen = structs.replace(held.document.template, content="A" * 43)
    await client.publisher.publish(lambda now: [next_revision(held, now, template=seen)])
    found = await client.drifts.all(client.here, below=True)
    assert told(found, "replaced_sm") == [("content", "account.replaced_sm")]
    plan = await client.drifts.reconciliation("account.replaced_sm")
    assert plan.diff.startswith("--- /dev/null\n") and SCRIPT in plan.diff


async def test_a_version_that_connectors_run_is_not_deleted(client: Client) -> None:
    await apply(client, template("used"), connector("used_sm", "used"))
    with pytest.raises(Conflict) as caught:
        await client.templates.delete("account.used@v1")
    assert caught.value.facts["connectors"] == ["account.used_sm"]
    await client.connectors.delete("account.used_sm")
    await client.templates.delete("account.used@v1")
    with pytest.raises(NotFound):
        await client.templates.find("account.used@v1")
    assert await apply(client, template("used", script="secret=another")) == ["create"]


async def test_a_template_is_found_by_words(client: Client) -> None:
    await apply(client, template("findable", "v7"))
    found = await client.templates.all(client.here, below=True, search="FINDABLE v7")
    assert [one.document.place_name for one in found] == ["findable@v7"]
    assert await client.templates.all(client.here, below=True, search="nothing like it") == []


async def test_what_a_connector_stands_on_is_shown(client: Client) -> None:
    await apply(
        client,
        template("stood"),
        connector("stood_sm", "stood", engine="{value: <+secrets.getValue('account.tplOther')>}"),
    )
    rows = await client.connectors.plan_of("account.stood_sm")
    assert [(row["secret"], row["state"]) for row in rows] == [("account.tplOther", "ok"), ("account.tplToken", "ok")]


SSH_KEY = """
secret:
  type: SSHKey
  name: tplLogin
  identifier: tplLogin
  spec:
    auth: {type: SSH, spec: {credentialType: Password, spec: {userName: root, password: account.tplOther}}}
"""


def remote(name: str, template: str, host: str, login: str) -> str:
    target = f"    onDelegate: false\n    host: {host}\n    connectorRef: {login}\n"
    return connector(name, template).replace("    onDelegate: true\n", target)


async def test_a_target_host_is_logged_in_at_by_an_ssh_key_and_by_nothing_else(client: Client) -> None:
    await apply(client, SSH_KEY, template("far"))
    assert await apply(client, remote("far_sm", "far", "<+input>", "account.tplLogin")) == ["create"]
    found = await client.connectors.find("account.far_sm")
    assert found.document.secrets == ("account.tplLogin", "account.tplToken")
    rows = await client.connectors.plan_of("account.far_sm")
    assert [(row["connector"], row["secret"], row["state"]) for row in rows] == [
        ("account.far_sm", "account.tplLogin", "ok"),
        ("account.far_sm", "account.tplToken", "ok"),
        ("account.tplLogin", "account.tplOther", "ok"),
    ]
    for text, path in (
        (remote("unfit", "far", "db", "account.tplToken"), "connectorRef"),
        (connector("unfit", "far", engine="{value: <+secrets.getValue('account.tplLogin')>}"), "value"),
        (template("unfit", script='secret="<+secrets.getValue("account.tplLogin")>"'), "script"),
    ):
        with pytest.raises(Malformed) as caught:
            await apply(client, text)
        assert caught.value.code == "credential_unfit" and str(caught.value.facts["path"]).endswith(path)


async def test_each_secret_says_the_host_where_the_connector_asks_for_it(client: Client) -> None:
    await apply(client, SSH_KEY)
    await apply(client, template("asks"), remote("asks_sm", "asks", "<+input>", "account.tplLogin"))
    inputs = {"path": "x", "executionTarget.host": "127.0.0.1"}
    with pytest.raises(Malformed) as missing:
        await client.store("account.far_token", b"", inputs={"path": "x"}, connector="account.asks_sm")
    assert missing.value.facts["missing"] == ["executionTarget.host"]
    given = {**inputs, "executionTarget.host": "-oProxyCommand=id"}
    with pytest.raises(Malformed) as odd:
        await client.store("account.far_token", b"", inputs=given, connector="account.asks_sm")
    assert odd.value.code == "ssh_host_malformed"
    with pytest.raises(PrivySealError) as caught:
        await client.store("account.far_token", b"", inputs=inputs, connector="account.asks_sm")
    # It went as far as the host, whose key nobody knows, or the delegate's own policy, or nobody listens there.
    assert caught.value.code.startswith("ssh_") or caught.value.code == "local_policy", caught.value
