"""The built-in secret manager is disabled, with what that needs and what it leaves as it was: a real manager and delegates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from client.dev import DevEnvironment
from client.dispatch import perform
from client.drafts import new_id
from client.manifest import parse
from client.readers import Readers
from client.sdk import Client
from client.tasks import SignedTask, Subject, sign_task
from shared.crypto.plaintext import Plaintext
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.errors import Conflict, Denied, Malformed
from tests.integration.installation import Desk, Installation

OTHER = "connector: {name: other, type: Local}\n"
# The kind is real and its credentials are names only: no delegate calls AWS for what is asked here.
AMAZON = """\
connector:
  name: amazon
  type: AwsKms
  spec:
    credential: {type: ManualConfig, spec: {accessKey: account.access, secretKey: account.hidden}}
    kmsArnInPlainText: arn:aws:kms:us-east-1:123456789012:key/one
    region: us-east-1
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose built-in secret manager may be disabled without being in anybody's way."""
    running = Installation(tmp_path_factory.mktemp("built_in"))
    running.start()
    yield running
    assert running.stop() == 0


def apply(desk: Desk, tmp_path: Path, text: str) -> None:
    (tmp_path / "given.yaml").write_text(text)
    desk.ok("apply", "-f", str(tmp_path / "given.yaml"))


def listed(desk: Desk, *options: str) -> dict[str, str]:
    return {one["identifier"]: one["state"] for one in desk.data("connector", "list", *options)}


def test_it_is_disabled_only_where_new_secrets_have_somewhere_to_go_and_enabled_again(
    alone: Installation, tmp_path: Path
) -> None:
    disable = ("connector", "disable", "account.local")
    lonely = alone.run(*disable)
    assert (lonely.status, "there is no other secret manager" in lonely.err) == (Conflict.exit_status, True)

    # What stands on credentials that lie elsewhere doesn't count: disabled, nobody could mend those.
    apply(alone, tmp_path, "connector: {name: elsewhere, type: Local, spec: {default: false}}\n")
    for name in ("access", "hidden"):
        alone.ok("secret", "set", f"account.{name}", "--from-stdin", "--connector", "account.elsewhere", given=b"x")
    apply(alone, tmp_path, AMAZON)
    alone.ok("secret", "delete", "account.access", "--force", "--yes")
    alone.ok("secret", "delete", "account.hidden", "--force", "--yes")
    alone.ok("connector", "delete", "account.elsewhere", "--yes")
    unfit = alone.run(*disable, "-o", "json")
    assert (unfit.problem["code"], unfit.problem["connectors"]) == ("built_in_needed", ["account.amazon"])
    for name in ("access", "hidden"):
        alone.ok("secret", "set", f"account.{name}", "--from-stdin", given=b"x")
    alone.ok("secret", "set", "account.kept", "--from-stdin", given=b"one")
    alone.ok("secret", "set", "account.gone", "--from-stdin", given=b"one")

    assert alone.data("connector", "disable", "harnessSecretManager")["disabled"] is True
    shown = alone.data(*disable)
    assert (shown["revision"], alone.data(*disable)["revision"]) == (2, 2)
    assert "local" not in listed(alone)
    assert listed(alone, "--all")["local"] == "disabled"
    assert "# disabled: it takes no new secrets" in alone.ok("connector", "get", "account.local").out.decode()

    refused = alone.run("secret", "set", "account.fresh", "--from-stdin", given=b"x")
    assert (refused.status, "the built-in secret manager has been disabled" in refused.err) == (4, True)
    assert alone.run("secret", "get", "account.fresh").status == 5
    (tmp_path / "secret.yaml").write_text(
        "secret: {type: SecretText, name: fresh, identifier: fresh,"
        " spec: {secretManagerIdentifier: account.local, valueType: Inline}}\n"
    )
    assert "has been disabled" in alone.run("apply", "-f", str(tmp_path / "secret.yaml")).err

    # What is there goes on.
    assert alone.ok("reveal", "account.kept").out == b"one"
    assert alone.data("secret", "set", "account.kept", "--from-stdin", given=b"two")["version"] == 2
    assert alone.ok("reveal", "account.kept").out == b"two"
    alone.ok("secret", "delete", "account.gone", "--yes")

    enable = ("connector", "enable", "account.local")
    assert (alone.data(*enable)["disabled"], alone.data(*enable)["revision"]) == (False, 3)
    assert listed(alone)["local"] == "ok"
    alone.ok("secret", "set", "account.fresh", "--from-stdin", given=b"x")


def test_only_the_built_in_and_only_by_an_administrators_command(alone: Installation, tmp_path: Path) -> None:
    apply(alone, tmp_path, OTHER)
    other = alone.run("connector", "disable", "account.other")
    assert (other.status, "only the built-in" in other.err) == (Malformed.exit_status, True)
    ann = alone.join("ann", tmp_path, "edit", "view", "use")
    for verb in ("disable", "enable"):
        refused = ann.run("connector", verb, "account.local", "-o", "json")
        assert (refused.status, refused.problem["code"]) == (Denied.exit_status, "not_administrator")
    for name, problem in (("other", "only the built-in"), ("local", "privyseal connector disable account.local")):
        body = alone.ok("connector", "get", f"account.{name}", "-q").out.decode()
        (tmp_path / "changed.yaml").write_text(body.replace("spec: {}", "spec: {disabled: true}"))
        tried = alone.run("apply", "-f", str(tmp_path / "changed.yaml"))
        assert (tried.status, problem in tried.err, "connector.spec.disabled" in tried.err) == (2, True, True)
    # The other test begins where there is no other.
    alone.ok("connector", "delete", "account.other", "--yes")


async def store_unasked(client: Client, identifier: str) -> object:
    """What a delegate says to the first version of a secret from a client that doesn't look whether it may be made."""
    account, directory, readers = client.account, client.directory, Readers()
    via = await directory.connector(None)
    document = SecretDocument(
        v=1,
        acct=account.id,
        id=new_id(),
        rev=1,
        iat=account.clock(),
        scope="account",
        identifier=identifier,
        name=identifier,
        type="SecretText",
        connector=via.document.id,
    )

    def make() -> SignedTask:
        draft, now = account.book.draft(), account.clock()
        secret = cast("Verified[SecretDocument]", draft.admit(account.identity.sign_document(document), now))
        subject = Subject(secret, via, 1)
        value = [Plaintext(b"value")]
        return sign_task(
            draft,
            account.identity,
            "store",
            [subject],
            readers.take(),
            now,
            values=value,
            documents=[secret.compact],
        )

    _, opened = await perform(account, make, directory.learn)
    return opened.items[0]


async def test_a_delegate_refuses_by_itself_what_a_client_does_not_ask() -> None:
    async with DevEnvironment(delegates=1) as environment, environment.client() as client:
        changes = await client.connectors.plan(parse(OTHER.encode(), "file.yaml"))
        await client.connectors.apply(changes)
        assert await store_unasked(client, "before") == Plaintext(b"")
        disabled = await client.built_in.disable()
        assert (disabled.document.spec, disabled.document.rev) == ({"disabled": True}, 2)
        with pytest.raises(Denied, match="the built-in secret manager has been disabled") as caught:
            await store_unasked(client, "after")
        # The delegate's signed word, not the manager's.
        assert (caught.value.code, caught.value.facts.get("unsigned")) == ("built_in_disabled", None)
        await client.built_in.enable()
        assert await store_unasked(client, "later") == Plaintext(b"")
