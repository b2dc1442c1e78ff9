"""Usage on the command line: labels of secrets and connectors, what tasks state, and grants for some, through real processes."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.integration.installation import Desk, Installation

LIVE = ("--environment", "live")
TEST = ("--environment", "test")


def limited(installation: Installation, tmp_path: Path, name: str, *permissions: str) -> Desk:
    """Somebody who may do that in tests only."""
    desk = installation.join(name, tmp_path)
    granted = [option for one in permissions for option in ("--permission", one)]
    key = desk.data("identity", "show")["key"]
    installation.ok("grant", "add", "--principal", name, "--key", key, *granted, "--scope", "account", *TEST)
    return desk


def test_a_secret_for_an_environment_is_opened_by_who_states_it(installation: Installation) -> None:
    store = ("secret", "set", "account.for_live", "--from-stdin")
    unstated = installation.run(*store, "--usage-environment", "live", given=b"x")
    assert (unstated.status, "state it, where it is so: --environment" in unstated.err) == (4, True)
    made = installation.data(*store, "--usage-environment", "live", "--usage-application", "b", "--usage-application", "a",
                             *LIVE, "--application", "a", given=b"one")  # fmt: skip
    assert (made["applications"], made["environments"]) == (["a", "b"], ["live"])
    shown = installation.data("secret", "get", "account.for_live")
    assert (shown["applications"], shown["environments"]) == (["a", "b"], ["live"])
    assert installation.ok("reveal", "account.for_live", *LIVE, "--application", "b").out == b"one"
    for stated, said in ((LIVE, "a or b, and the task states no application"), ((*TEST, "--application", "a"), "live")):
        refused = installation.run("reveal", "account.for_live", *stated)
        assert (refused.status, said in refused.err) == (4, True)
    assert installation.run("reveal", "account.for_live", "--environment", "no good").status == 2
    # A new version alone keeps the labels; other labels are said all together.
    installation.ok(*store, *LIVE, "--application", "a", given=b"two")
    assert installation.ok("reveal", "account.for_live", "--version", "1", *LIVE, "--application", "a").out == b"one"
    assert installation.data(*store, "--usage-environment", "test", *TEST, given=b"three")["applications"] == []
    assert installation.ok("reveal", "account.for_live", *TEST).out == b"three"
    assert installation.run(*store, "--usage-any", "--usage-environment", "x", given=b"x").status == 2
    installation.ok(*store, "--usage-any", given=b"four")
    assert installation.ok("reveal", "account.for_live").out == b"four"


def test_a_grant_for_an_environment_opens_nothing_elsewhere(installation: Installation, tmp_path: Path) -> None:
    ann = limited(installation, tmp_path, "usage_ann", "admin", "edit", "reveal", "delete")
    rows = [one for one in installation.data("grant", "list") if one["principal"] == "usage_ann"]
    assert [one["environments"] for one in rows] == [["test"]]
    for name, labels in (("usage_plain", ()), ("usage_live", ("--usage-environment", "live", *LIVE))):
        installation.ok("secret", "set", f"account.{name}", "--from-stdin", *labels, given=b"value")
    # He sees what is there, and opens it for tests only.
    assert ann.data("secret", "get", "account.usage_plain")["identifier"] == "usage_plain"
    assert ann.ok("reveal", "account.usage_plain", *TEST).out == b"value"
    for stated in ((), LIVE):
        refused = ann.run("reveal", "account.usage_plain", *stated, "-o", "json")
        assert (refused.status, refused.problem["code"]) == (4, "usage_not_granted")
    assert ann.run("reveal", "account.usage_live", *LIVE).status == 4
    # A new version is a task; a new secret, other labels and the end of one are documents, and for everybody.
    store = ("secret", "set", "account.usage_plain", "--from-stdin", *TEST)
    assert ann.data(*store, given=b"his")["version"] == 2
    assert ann.run(*store, "--usage-environment", "test", given=b"x").status == 4
    assert ann.run("secret", "set", "account.usage_new", "--from-stdin", *TEST, given=b"x").status == 4
    deleting = ann.run("secret", "delete", "account.usage_plain", "--yes", *TEST, "-o", "json")
    assert (deleting.status, deleting.problem["code"]) == (4, "usage_not_granted")
    assert installation.ok("reveal", "account.usage_plain").out == b"his"
    # He hands on no more than he holds.
    bob = installation.join("usage_bob", tmp_path)
    give: tuple[str, ...] = ("grant", "add", "--principal", "usage_bob", "--key", bob.data("identity", "show")["key"])
    give += ("--permission", "reveal", "--scope", "account")
    assert ann.run(*give, "-o", "json").problem["code"] == "usage_not_granted"
    assert ann.run(*give, *LIVE, "-o", "json").problem["code"] == "grant_exceeds"
    ann.ok(*give, *TEST)
    assert bob.ok("reveal", "account.usage_plain", *TEST).out == b"his"
    assert bob.run("reveal", "account.usage_plain").status == 4
    # What he gave he renews, for as much as it was.
    (given,) = [one for one in installation.data("grant", "list") if one["principal"] == "usage_bob"]
    ann.ok("grant", "renew", given["id"])
    (renewed,) = [one for one in installation.data("grant", "list") if one["principal"] == "usage_bob"]
    assert renewed["environments"] == ["test"]


def test_a_connector_for_an_application_is_described_in_yaml(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "connector.yaml"
    text = "connector: {name: usage_one, type: Local, usage: {applications: [shop]}}\n"
    file.write_text(text)
    installation.ok("apply", "-f", str(file))
    body = yaml.safe_load(installation.ok("connector", "get", "account.usage_one", "-q").out)
    assert body["connector"]["usage"] == {"applications": ["shop"]}
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(body))
    assert b"unchanged" in installation.ok("apply", "-f", str(again)).out
    shop = ("--application", "shop")
    assert installation.run("connector", "test", "account.usage_one").status == 4
    installation.ok("connector", "test", "account.usage_one", *shop)
    store = ("secret", "set", "account.usage_in_it", "--from-stdin", "--connector", "account.usage_one")
    assert installation.run(*store, given=b"x").status == 4
    installation.ok(*store, *shop, given=b"x")
    assert installation.run("secret", "delete", "account.usage_in_it", "--yes").status == 4
    installation.ok("secret", "delete", "account.usage_in_it", "--yes", *shop)
    for wrong in (
        "{applications: []}",
        "{applications: [b, a]}",
        "{environments: ['no good']}",
        "{services: [a]}",
        "[]",
    ):
        file.write_text(text.replace("{applications: [shop]}", wrong))
        refused = installation.run("apply", "-f", str(file))
        assert (refused.status, "connector.usage" in refused.err) == (2, True), refused.err
