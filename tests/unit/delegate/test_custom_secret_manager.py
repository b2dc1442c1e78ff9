"""The custom secret manager: what its scripts are given and by whom, what they may leave, and what is kept of a value."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegate.mask_patterns import MaskPatterns
from delegate.masking import MASK
from delegate.scripts import filled
from delegate.secret_managers.custom_secret_manager import MOST_SCRIPTS, CustomSecretManager
from delegate.secret_managers.registry import BUILT_IN, Registry
from shared.crypto.plaintext import Plaintext
from shared.documents.template import TemplateUse, content_digest
from shared.errors import Denied, Malformed, NotFound, PrivySealError
from shared.expressions import OPENING
from shared.ssh import pack
from shared.template_inputs import HOST
from tests.fakes.custom import ALLOWED, Custom, files
from tests.fakes.refusal import refused
from tests.fakes.versions import whole

TOKEN = '<+secrets.getValue("account.token")>'
NEAR = '<+secrets.getValue("near")>'
ORG = "org/acme"
SPEC = {
    "auth": {"type": "SSH", "spec": {"credentialType": "Password", "spec": {"userName": "u", "password": "account.p"}}}
}
BUNDLE = pack(SPEC, {"account.p": b"password of the host"})
# ---- where an input comes from


async def test_template_connector_and_secret_each_say_what_is_theirs() -> None:
    made = Custom(
        'secret="$fixed/$ours/$path"',
        inputs={"fixed": "of the template", "ours": None, "path": "<+input>"},
        variables=[{"name": "ours", "value": "of the connector"}, {"name": "path", "value": "<+input>"}],
    )
    assert await made.read({"path": "of the secret"}) == b"of the template/of the connector/of the secret"


async def test_a_default_of_the_connector_counts_where_the_secret_says_nothing() -> None:
    made = Custom(variables=[{"name": "path", "value": "usual", "useAsDefault": True}])
    assert await made.read() == b"usual"
    assert await made.read({"path": "other"}) == b"other"
    with refused(NotFound, "secret_empty"):
        await made.read({"path": ""})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "missing environment variable: path"),
        ({"path": "a", "paths": "b", "other": "c"}, "unnecessary environment variables: other, paths"),
        ({"fixed": "mine", "path": "a"}, "unnecessary environment variable: fixed"),
        ({"ours": "mine", "path": "a"}, "unnecessary environment variable: ours"),
        ({"path": "a", HOST: "elsewhere"}, f"unnecessary environment variable: {HOST}"),
    ],
)
async def test_a_secret_says_exactly_what_it_is_asked_for(given: dict[str, str], told: str, tmp_path: Path) -> None:
    made = Custom(
        f"touch {tmp_path}/ran; secret=x",
        inputs={"fixed": "template", "ours": None, "path": None},
        variables=[{"name": "ours", "value": "connector"}, {"name": "path"}],
    )
    with pytest.raises(Malformed) as caught:
        await made.read(given)
    assert caught.value.code == "inputs_unfit" and told in caught.value.detail
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reference", ["path", "{}#x", '{"path": "a"}', '{"path":1}', '{"path":"a","path":"b"}', "[]"])
async def test_inputs_that_are_not_in_their_one_form_are_refused(reference: str) -> None:
    with pytest.raises(Malformed) as caught:
        await Custom().read(reference)
    assert caught.value.code in {"inputs_malformed", "inputs_unfit"}


async def test_a_member_of_a_json_value_is_selected_and_a_number_sign_in_an_input_is_none() -> None:
    made = Custom()
    whole_one = made.version({"path": '{"a": "b#c"}'}).secret.reference
    assert await made.read(f"{whole_one}#a") == b"b#c"
    assert await made.read({"path": "a#b"}) == b"a#b"


async def test_a_version_or_other_metadata_of_what_is_read_mean_nothing_and_are_refused() -> None:
    with refused(Malformed, "metadata_unknown"):
        await Custom().read({"path": "a"}, metadata={"version": "3"})


# ---- which secrets an expression may name


async def test_a_templates_expressions_mean_secrets_as_seen_from_the_template() -> None:
    held = {"org.near": b"of the organisation", "near": b"of the project"}
    made = Custom(
        f'secret="$fixed, {NEAR}"',
        inputs={"fixed": f"<{NEAR}>"},
        template_secrets=["near"],
        template_scope=ORG,
        scope=f"{ORG}/project/web",
        held=held,
    )
    assert await made.read() == b"<of the organisation>, of the organisation"


async def test_a_connectors_expressions_mean_secrets_as_seen_from_the_connector() -> None:
    made = Custom(
        template_scope=ORG,
        scope=f"{ORG}/project/web",
        variables=[{"name": "path", "value": f"{NEAR}, {TOKEN}"}],
        held={"near": b"of the project", "account.token": b"of the account"},
    )
    assert await made.read() == b"of the project, of the account"


async def test_a_template_names_no_secret_of_the_connector_alone() -> None:
    for made in (
        Custom("secret=$fixed", inputs={"fixed": TOKEN}, held={"account.token": b"hunter2"}),
        Custom(f"secret={TOKEN}", inputs={}, held={"account.token": b"hunter2"}),
    ):
        with refused(Malformed, "secret_unlisted"):
            await made.read()


async def test_a_connectors_input_names_no_secret_that_its_document_does_not() -> None:
    made = Custom(variables=[{"name": "path", "value": TOKEN}], held={"account.other": b"hunter2"})
    with refused(Malformed, "secret_unlisted"):
        await made.read()


@pytest.mark.parametrize("text", [TOKEN, '<+"a">', "<+spec.environmentVariables.path>", "a <+ b"])
async def test_what_a_secret_says_is_never_read_as_an_expression(text: str) -> None:
    made = Custom(
        variables=[{"name": "path", "value": TOKEN, "useAsDefault": True}], held={"account.token": b"hunter2"}
    )
    assert await made.read() == b"hunter2"
    raw = '{"path":"' + text.replace('"', '\\"') + '"}'
    with refused(Malformed, "input_expression"):
        await made.read(raw)


@settings(max_examples=200, deadline=None)
@given(st.text().filter(lambda text: OPENING not in text and "\0" not in text))
def test_a_text_without_expressions_stays_what_it_is(text: str) -> None:
    assert filled(text, {}) == text


HOSTILE = [
    "'; touch RAN; '",
    "$(touch RAN)",
    "`touch RAN`",
    "a\nb\r\n",
    "\\'\\\"",
    "${IFS}",
    "é\u202e\U0001f511",
    "-n",
    "*",
    "~",
    "%s%n",
]


@pytest.mark.parametrize("shell", ["Bash", "Python"])
@pytest.mark.parametrize("text", HOSTILE)
async def test_no_input_is_parsed(shell: str, text: str, tmp_path: Path) -> None:
    text = text.replace("RAN", str(tmp_path / "ran"))
    script = {
        "Bash": "secret=$path'|<+spec.environmentVariables.path>'",
        "Python": "secret = path + '|<+spec.environmentVariables.path>'",
    }
    made = Custom(script[shell], shell=shell)
    assert await made.read({"path": text}) == f"{text}|{text}".encode()
    assert not list(tmp_path.iterdir())


# ---- an SSHKey


REMOTE = {"onDelegate": False, "host": "127.0.0.1", "connectorRef": "account.login"}


@pytest.mark.parametrize("spec", [{}, REMOTE], ids=["here", "there"])
@pytest.mark.parametrize("reference", ["account.login", "login"])
async def test_an_ssh_key_is_handed_to_no_script(spec: dict[str, Any], reference: str) -> None:
    held = {reference: BUNDLE, **({"account.login": BUNDLE} if spec else {})}
    if spec and reference == "account.login":
        made = Custom(variables=[{"name": "path", "value": TOKEN.replace("token", "login")}], held=held, spec=spec)
        # It logs in, and is nothing that an expression could name.
        with refused(Malformed, "secret_unlisted"):
            await made.read()
        return
    made = Custom(held=held, spec=spec)
    with pytest.raises(Malformed) as caught:
        made.manager()
    assert caught.value.code == "credential_unfit" and "connectorRef" in caught.value.hint


async def test_what_is_no_ssh_key_logs_in_nowhere() -> None:
    made = Custom(held={"account.login": b"hunter2"}, spec=REMOTE)
    with pytest.raises(Malformed) as caught:
        await made.read({"path": "a"})
    assert "hunter2" not in str(caught.value)
    with refused(Malformed, "credential_unfit"):
        await Custom(spec=REMOTE).read({"path": "a"})


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=id", "root@host", "a b", "169.254.169.254", "metadata", "0", "h\n", "::1%lo"]
)
async def test_a_host_that_a_secret_names_is_a_host_and_one_that_may_be_called(host: str) -> None:
    made = Custom(inputs={}, held={"account.login": BUNDLE}, spec={**REMOTE, "host": "<+input>"})
    raw = '{"executionTarget.host":"' + host.replace("\n", "\\n") + '"}'
    with pytest.raises((Malformed, Denied)) as caught:
        await made.read(raw)
    assert caught.value.code in {"ssh_host_malformed", "local_policy"}


async def test_a_host_is_asked_for_where_the_connector_asks_and_checked_by_nobody_before() -> None:
    made = Custom(inputs={}, held={"account.login": BUNDLE}, spec={**REMOTE, "host": "<+input>"})
    with pytest.raises(Malformed) as caught:
        await made.read()
    assert caught.value.facts["missing"] == [HOST]
    await made.manager().check()


# ---- what a script leaves


@pytest.mark.parametrize(
    ("script", "told"),
    [(":", "isn't set"), ("secret=", "is empty"), ("secret=null", "is the text null"), ("unset secret", "isn't set")],
)
async def test_a_script_without_a_value_is_told_with_account_secret_and_template(script: str, told: str) -> None:
    made = Custom(script, inputs={})
    with pytest.raises(NotFound) as caught:
        await made.read()
    assert caught.value.code == "secret_empty" and told in caught.value.detail
    for name in (made.world.id, "secret password", "template script@1"):
        assert name in caught.value.detail


async def test_no_value_is_told_by_a_script_that_fails(caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    made = Custom(f'echo "{TOKEN}" >&2; secret={TOKEN}; exit 3', inputs={}, template_secrets=["account.token"])
    made.held = {"account.token": b"hunter2 is long"}
    with pytest.raises(PrivySealError) as caught:
        await made.read()
    assert caught.value.code == "script_failed"
    assert "hunter2" not in str(caught.value) + repr(caught.value.facts) + caplog.text + "".join(capsys.readouterr())


async def test_a_secret_within_an_input_is_masked_by_itself_too(capsys: Any) -> None:
    made = Custom(
        'echo "got ${path#Bearer }, and $path" >&2; exit 3',
        variables=[{"name": "path", "value": f"Bearer {TOKEN}"}],
        held={"account.token": b"hunter2 is long"},
    )
    with pytest.raises(PrivySealError):
        await made.read()
    told = "".join(capsys.readouterr())
    assert "got " in told and "hunter2" not in told


async def test_what_the_owners_patterns_match_is_not_in_the_log_of_a_failure(capsys: Any) -> None:
    made = Custom('echo "at internal-42 by ghp_16C7e42F292c6912E7710c838347Ae178B4a" >&2; exit 3', inputs={})
    around = replace(made.surroundings(made.template.document), mask_patterns=MaskPatterns.parse("internal-[0-9]+"))
    with pytest.raises(PrivySealError):
        await CustomSecretManager(made.connector.document, around, {}).look_up(made.version({}))
    stars = MASK.decode()
    assert f"at {stars} by {stars}" in "".join(capsys.readouterr())


async def test_without_its_own_policys_word_a_delegate_runs_nothing(tmp_path: Path) -> None:
    made = files(tmp_path, policy="")
    manager = made.manager()
    for attempt in (
        manager.check(),
        manager.look_up(made.version({"path": "a"})),
        manager.store(made.inline({"path": "a"}), Plaintext(b"hunter2")),
        manager.delete(whole(made.inline({"path": "a"})), None),
    ):
        with pytest.raises(Denied) as caught:
            await attempt
        assert (caught.value.code, caught.value.facts["rule"]) == ("local_policy", "scripts")
    assert not list(tmp_path.iterdir())


async def test_a_check_runs_no_script_and_looks_for_the_shell(tmp_path: Path) -> None:
    await Custom(f"touch {tmp_path}/ran", inputs={}).manager().check()
    assert not list(tmp_path.iterdir())
    made = Custom("secret=1", inputs={})
    around = replace(made.surroundings(made.template.document), variables={"PATH": str(tmp_path)})
    manager = CustomSecretManager(made.connector.document, around, {})
    with refused(NotFound, "shell_missing"):
        await manager.check()
    with refused(NotFound, "shell_missing"):
        await manager.look_up(made.version())


def test_a_connector_that_is_signed_without_its_template_is_told() -> None:
    made = Custom()
    with refused(Malformed, "template_unbound"):
        CustomSecretManager(made.connector.document, made.surroundings(None), {})


# ---- many at once, and managers that are kept


async def test_no_more_scripts_run_at_once_than_may(tmp_path: Path) -> None:
    script = f"mkdir {tmp_path}/$path; set -- {tmp_path}/*; secret=$#; sleep 0.05; rmdir {tmp_path}/$path"
    made = Custom(script)
    manager = made.manager()
    found = await asyncio.gather(*(manager.look_up(made.version({"path": f"p{at}"})) for at in range(3 * MOST_SCRIPTS)))
    assert 1 < max(int(one.reveal()) for one in found) <= MOST_SCRIPTS


async def test_a_connector_that_is_signed_anew_has_a_manager_of_its_own() -> None:
    made = Custom("secret=first", inputs={})
    registry = Registry(BUILT_IN, made.surroundings(None))
    template = made.template.document
    async with registry.lend(made.connector, template=template) as first:
        assert (await first.look_up(made.version())).reveal() == b"first"
    async with registry.lend(made.connector, template=template) as again:
        assert again is first
    other = made.world.template("script", version="2", content={"script": "secret=second"})
    runs = TemplateUse(id=other.document.id, content=content_digest(other.document))
    revised = made.world.revise(made.connector, template=runs)
    async with registry.lend(revised, template=other.document) as second:
        assert second is not first
        assert (await second.look_up(made.version())).reveal() == b"second"
    await registry.close()


def test_the_kind_is_offered_only_where_scripts_may_run() -> None:
    for policy, offered in (("", False), (ALLOWED, True), ('scripts = true\nkinds = ["Local"]', False)):
        registry = Registry(BUILT_IN, Custom(policy=policy).surroundings(None))
        assert ("CustomSecretManager" in registry.kinds) is offered


async def test_a_manager_is_not_made_where_scripts_may_not_run() -> None:
    made = Custom(policy="")
    registry = Registry(BUILT_IN, made.surroundings(None))
    with pytest.raises(Denied) as caught:
        async with registry.lend(made.connector, template=made.template.document):
            raise AssertionError("one was made")
    assert caught.value.facts["rule"] == "scripts"


async def test_of_a_script_that_is_killed_before_it_hands_over_its_value_nothing_is_shown(capsys: Any) -> None:
    made = Custom('secret="fetched, not given"; echo "$secret" >&2; kill -KILL $$', inputs={})
    with pytest.raises(PrivySealError):
        await made.read()
    told = "".join(capsys.readouterr())
    assert "script.failed" in told and "not shown" in told and "fetched, not" not in told
