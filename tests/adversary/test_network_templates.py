"""A manager in the attacker's hands, and those who may less than they try: nobody's script runs but what was looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs

from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.documents.jws import Verified, peek_kind
from shared.documents.template import TemplateDocument, content_digest
from shared.errors import Denied, Malformed, NotFound, PrivySealError, Tampered, Unauthenticated
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Stage
from tests.integration.test_client_templates import apply, connector, manifests, template

EVIL = "secret=evil"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as one:
        await one.delegate("alpha", policy="scripts = true\n")
        async with one.client() as client:
            await client.store("account.tplToken", b"hunter2")
            await apply(client, template("known"))
        yield one


async def known(client: Client) -> Verified[TemplateDocument]:
    return await client.templates.find("account.known@v1")


def shown(stage: Stage, path: str, compact: str | None) -> None:
    """In every answer of that path the template is another one (None: is missing)."""

    def rewrite(exchange: Exchange) -> None:
        if exchange.path.partition("?")[0].endswith(path) and exchange.status == 200:
            body = exchange.json()
            kept = [one for one in body["documents"] if peek_kind(one) != "template"]
            body["documents"] = [*kept, *([compact] if compact else [])]
            exchange.answer_json(body)

    stage.evil.on_reply(rewrite)


async def refused(client: Client, *texts: str) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await apply(client, *texts)
    with pytest.raises(NotFound):
        await client.connectors.find("account.bound")
    return caught.value


def changed(document: TemplateDocument, script: str, **fields: object) -> TemplateDocument:
    return structs.replace(document, content=structs.replace(document.content, script=script), **fields)


# ---- the manager shows another template under the label


async def test_a_template_that_the_attacker_signed_is_bound_by_nobody(stage: Stage) -> None:
    client = stage.client()
    forged = stage.world.sign(
        changed((await known(client)).document, EVIL, id=stage.world.opaque("forged")), stage.mallory
    )
    shown(stage, "/documents/template", forged.compact)
    why = await refused(stage.client(), connector("bound", "known"))
    assert (type(why), why.code) == (Unauthenticated, "signer_unknown")


async def test_a_true_template_of_another_label_or_name_is_none_of_this_one(stage: Stage) -> None:
    client = stage.client()
    await apply(client, template("known", "v2", EVIL), template("other", "v1", EVIL))
    for reference in ("account.known@v2", "account.other@v1"):
        stage.evil.behave()
        one = await client.templates.find(reference)
        shown(stage, "/documents/template", one.compact)
        why = await refused(stage.client(), connector("bound", "known"))
        assert (type(why), why.code) == (Tampered, "template_unasked")


async def test_a_template_of_who_may_edit_and_not_run_is_bound_by_nobody(stage: Stage) -> None:
    client, editor = stage.client(), stage.world.identity("editor")
    granted = stage.world.grant(editor, ["edit", "use"])
    await client.publisher.publish(lambda _: [granted.compact])
    forged = stage.world.sign(changed((await known(client)).document, EVIL, id=stage.world.opaque("editors")), editor)
    shown(stage, "/documents/template", forged.compact)
    why = await refused(stage.client(), connector("bound", "known"))
    assert isinstance(why, Denied)


async def test_two_templates_of_one_label_are_an_attack(stage: Stage) -> None:
    client = stage.client()
    twin = stage.world.sign(
        changed((await known(client)).document, EVIL, id=stage.world.opaque("twin")), stage.world.administrator
    )

    def rewrite(exchange: Exchange) -> None:
        if "/documents/template?" in exchange.path and exchange.status == 200:
            exchange.answer_json({"documents": [*exchange.json()["documents"], twin.compact]})

    stage.evil.on_reply(rewrite)
    why = await refused(stage.client(), connector("bound", "known"))
    assert (type(why), why.code) == (Tampered, "template_doubled")


async def test_a_template_that_is_withheld_is_not_there(stage: Stage) -> None:
    shown(stage, "/documents/template", None)
    why = await refused(stage.client(), connector("bound", "known"))
    assert (type(why), why.code) == (NotFound, "template_unknown")
    assert "connector.spec.template.templateRef" in why.detail


async def test_a_template_that_the_manager_swaps_later_is_run_by_nobody(stage: Stage) -> None:
    client = stage.client()
    await apply(client, connector("bound", "known"))
    await client.store("account.read", b"", inputs={"path": "x"}, connector="account.bound")
    document = (await known(client)).document
    forgeries = (
        stage.world.sign(changed(document, EVIL), stage.world.administrator),
        stage.world.sign(changed(document, EVIL, id=stage.world.opaque("swap")), stage.world.administrator),
    )
    for forged in forgeries:
        stage.evil.behave()
        shown(stage, "/resolve", forged.compact)
        with pytest.raises(PrivySealError):
            assert (await stage.client().reveal("account.read")).reveal() != b"evil"
    stage.evil.behave()
    assert await stage.client().reveal("account.read") == Plaintext(b"x:kv:hunter2")


# ---- between looking and signing


async def test_a_template_made_anew_between_plan_and_signature_is_run_by_nobody(stage: Stage) -> None:
    client, other = stage.client(), stage.client()
    changes = await client.connectors.plan(manifests(connector("bound", "known"))["connector"])
    looked_at = content_digest((await known(client)).document)
    await other.templates.delete("account.known@v1")
    await apply(other, template("known", script=EVIL))
    (bound,) = await client.connectors.apply(changes)
    assert bound.document.template is not None and bound.document.template.content == looked_at
    with pytest.raises(PrivySealError) as caught:
        await other.store("account.read", b"", inputs={"path": "x"}, connector="account.bound")
    assert caught.value.code in {"template_deleted", "template_missing"}
    (drift,) = await other.drifts.all(other.here, below=True)
    assert drift.kind == "template"


async def test_a_connector_runs_on_only_while_its_templates_signer_may(stage: Stage) -> None:
    client, author = stage.client(), stage.world.identity("author")
    granted = stage.world.grant(author, ["view", "edit", "use", "exec", "reveal"])
    await client.publisher.publish(lambda _: [granted.compact])
    await apply(stage.client(author), template("authored"))
    await apply(client, connector("ours", "authored"))
    await client.store("account.read", b"", inputs={"path": "x"}, connector="account.ours")
    await client.grants.revoke(granted.document.id, adopt=False)
    with pytest.raises(PrivySealError):
        await stage.client().reveal("account.read")
    with pytest.raises(PrivySealError):
        await apply(stage.client(), connector("bound", "authored"))
    fallen = await client.grants.orphans()
    assert "template" in {one.kind for one in fallen.documents}
    await client.grants.adopt(fallen.documents)
    assert await stage.client().reveal("account.read") == Plaintext(b"x:kv:hunter2")


# ---- those who may less


async def test_who_may_not_run_commands_signs_no_template_and_who_may_not_use_a_secret_binds_none(stage: Stage) -> None:
    client, editor = stage.client(), stage.world.identity("editor")
    granted = stage.world.grant(editor, ["view", "edit", "reveal"])
    await client.publisher.publish(lambda _: [granted.compact])
    mine = stage.client(editor)
    with pytest.raises(Denied):
        await apply(mine, template("mine", script="secret=x"))
    why = await refused(mine, connector("bound", "known"))
    assert isinstance(why, Denied) and "you may not use account.tplToken" in why.detail
    assert "connector.spec.template.templateRef" in why.detail


async def test_who_may_run_commands_names_no_secret_that_he_may_not_use(stage: Stage) -> None:
    client, author = stage.client(), stage.world.identity("author")
    granted = stage.world.grant(author, ["view", "edit", "exec"])
    await client.publisher.publish(lambda _: [granted.compact])
    with pytest.raises(Denied) as caught:
        await apply(stage.client(author), template("greedy"))
    assert "template.spec.source.spec.script: you may not use account.tplToken" in caught.value.detail


@pytest.mark.parametrize(
    "place", ["org.known", "known", "../known", "account.org.known", "account/known", "account.known@v2"]
)
async def test_a_name_leads_to_no_template_of_another_scope(stage: Stage, place: str) -> None:
    client = stage.client(org="low")
    text = connector("bound", "known").replace("account.known", place)
    if place in {"org.known", "known"}:
        text = text.replace("  identifier: bound\n", "  identifier: bound\n  orgIdentifier: low\n")
    why = await refused(client, text)
    assert isinstance(why, Malformed | NotFound) and "templateRef" in why.detail


async def test_a_secret_says_no_credential_of_its_connector(stage: Stage) -> None:
    client = stage.client()
    await apply(client, connector("bound", "known"))
    for text in ('<+secrets.getValue("account.tplToken")>', "<+spec.environmentVariables.engine>", "x<+"):
        with pytest.raises(Malformed) as caught:
            await client.store("account.read", b"", inputs={"path": text}, connector="account.bound")
        assert caught.value.code == "input_expression"
    value = "$(id)`id`'\";$secret\\\n%s"
    await client.store("account.read", b"", inputs={"path": value}, connector="account.bound")
    assert await client.reveal("account.read") == Plaintext(f"{value}:kv:hunter2".encode())
