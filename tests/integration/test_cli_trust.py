"""Who may do what, on the command line: grants, revocation, adoption, administrators, status and keyrings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.installation import Desk, Installation


def test_a_reader_reveals_only_in_his_scope(installation: Installation, tmp_path: Path) -> None:
    installation.ok("org", "create", "readers")
    installation.ok("secret", "set", "readable", "--from-stdin", "--org", "readers", given=b"yes")
    installation.ok("secret", "set", "account.unreadable", "--from-stdin", given=b"no")
    ann = installation.join("ann", tmp_path, "reveal", "view", scope="org/readers")
    assert ann.ok("reveal", "readable", "--org", "readers").out == b"yes"
    assert ann.run("reveal", "account.unreadable").status == 5
    assert ann.run("secret", "set", "readable", "--from-stdin", "--org", "readers", given=b"x").status == 4
    assert ann.run("secret", "set", "account.new", "--from-stdin", given=b"x").status == 4
    assert ann.run("audit", "verify").status == 4
    assert ann.run("secret", "delete", "readable", "--org", "readers", "--yes").status == 4
    assert installation.ok("reveal", "readable", "--org", "readers").out == b"yes"


def test_a_stranger_is_not_let_in(installation: Installation, tmp_path: Path) -> None:
    stranger = installation.join("stranger", tmp_path)
    refused = stranger.run("reveal", "account.anything")
    assert refused.status == 3
    assert "hint" in refused.err


def test_a_grant_on_one_secret_opens_that_one_alone(installation: Installation, tmp_path: Path) -> None:
    for name in ("only_this", "not_that"):
        installation.ok("secret", "set", f"account.{name}", "--from-stdin", given=name.encode())
    ann = installation.join("ann", tmp_path)
    key = ann.data("identity", "show")["key"]
    installation.ok(
        *("grant", "add", "--principal", "narrow", "--key", key, "--permission", "reveal"),
        *("--scope", "account", "--resource", "account.only_this"),
    )
    assert ann.ok("reveal", "account.only_this").out == b"only_this"
    assert ann.run("reveal", "account.not_that").status == 5


def grant_of(installation: Installation, principal: str) -> str:
    grants = installation.data("grant", "list")
    return str(next(one["id"] for one in grants if one["principal"] == principal))


def test_what_a_revoked_signer_made_falls_until_it_is_adopted(installation: Installation, tmp_path: Path) -> None:
    installation.ok("org", "create", "falling")
    bob = installation.join("bob", tmp_path, "edit", "reveal", "view", "admin", scope="org/falling")
    carol = Desk(tmp_path / "carol")
    key = carol.data("identity", "new", "--no-passphrase")["key"]
    carol.ok("context", "add", installation.data("account", "show")["address"], "--name", "here")
    bob.ok("grant", "add", "--principal", "carol", "--key", key, "--permission", "reveal", "--scope", "org/falling")
    bob.ok("secret", "set", "his", "--from-stdin", "--org", "falling", given=b"bobs value")
    assert carol.ok("reveal", "his", "--org", "falling").out == b"bobs value"
    fell = installation.data("grant", "revoke", grant_of(installation, "bob"), "--yes")
    assert [one["identifier"] for one in fell["fallen"]] == ["his"]
    assert [one["principal"] for one in fell["grants"]] == ["carol"]
    assert bob.run("reveal", "his", "--org", "falling").status != 0
    assert carol.run("reveal", "his", "--org", "falling").status != 0
    assert installation.run("reveal", "his", "--org", "falling").status == 4
    states = {one["identifier"]: one["state"] for one in installation.data("secret", "list", "--org", "falling")}
    assert states == {"his": "grant_revoked"}
    assert len(installation.data("grant", "adopt", "--yes")["adopted"]) == 1
    assert installation.ok("reveal", "his", "--org", "falling").out == b"bobs value"


def test_revoking_with_adopt_lets_nothing_fall(installation: Installation, tmp_path: Path) -> None:
    dora = installation.join("dora", tmp_path, "edit", "view")
    dora.ok("secret", "set", "account.kept", "--from-stdin", given=b"kept")
    fell = installation.data("grant", "revoke", grant_of(installation, "dora"), "--adopt", "--yes")
    assert "kept" in [one["identifier"] for one in fell["fallen"]]
    assert installation.ok("reveal", "account.kept").out == b"kept"


def test_a_grant_is_renewed(installation: Installation, tmp_path: Path) -> None:
    installation.join("erin", tmp_path, "view")
    grant = grant_of(installation, "erin")
    before = next(one for one in installation.data("grant", "list") if one["id"] == grant)["until"]
    assert installation.data("grant", "renew", grant, "--days", "10")["until"] < before
    assert installation.run("grant", "renew", grant, "--days", "400").status == 2


def test_a_service_with_renew_alone_renews_the_status_and_nothing_else(
    installation: Installation, tmp_path: Path
) -> None:
    cron = installation.join("cron", tmp_path, "renew")
    before = installation.data("status", "show")
    renewed = cron.data("status", "renew")
    assert renewed["serial"] == before["serial"] + 1
    assert renewed["renewed"] is True
    assert renewed["revoked_grants"] == before["revoked_grants"]
    assert cron.run("secret", "set", "account.by_cron", "--from-stdin", given=b"x").status == 5
    # An administrator goes on from there, and a reader reveals under it.
    assert installation.data("status", "renew")["renewed"] is False
    installation.ok("secret", "set", "account.after_renewal", "--from-stdin", given=b"x")
    assert installation.ok("reveal", "account.after_renewal").out == b"x"


def test_an_administrator_comes_and_goes_with_the_root_key_and_leaves_nothing_broken(
    installation: Installation, tmp_path: Path
) -> None:
    fay = installation.join("fay", tmp_path)
    key = fay.data("identity", "show")["key"]
    add, before = (
        ("account", "administrator", "add", "fay", "--key", key),
        installation.data("account", "show")["revision"],
    )
    foreign = Path(tmp_path / "fay" / "identities" / "default.pem")
    assert installation.run(*add, "--root-key", str(foreign)).status == 4
    installation.ok(*add, "--root-key", installation.root_key)
    fay.ok("secret", "set", "account.by_fay", "--from-stdin", given=b"fays value")
    gus = installation.join("gus", tmp_path)
    gus_key = gus.data("identity", "show")["key"]
    fay.ok("grant", "add", "--principal", "gus", "--key", gus_key, "--permission", "reveal", "--scope", "account")
    fay.ok("status", "renew")
    recovery = installation.folder / "recovery.txt"
    installation.ok("account", "administrator", "remove", "fay", "--root-key", str(recovery), "--yes")
    assert fay.run("reveal", "account.by_fay").status in {3, 4, 5}
    assert installation.ok("reveal", "account.by_fay").out == b"fays value"
    assert gus.ok("reveal", "account.by_fay").out == b"fays value"
    assert installation.data("account", "show")["revision"] == before + 2


def test_an_address_is_all_that_joining_takes_and_a_wrong_account_is_refused(
    installation: Installation, tmp_path: Path
) -> None:
    address = installation.data("account", "show")["address"]
    origin, _, account = address.rpartition("/")
    other = account[:-1] + ("a" if account[-1] != "a" else "b")
    desk = Desk(tmp_path / "other")
    desk.ok("identity", "new", "--no-passphrase")
    desk.ok("context", "add", f"{origin}/{other}", "--name", "wrong")
    assert desk.run("reveal", "account.x").status in {3, 5}


def test_what_this_client_saw_survives_and_another_accounts_keyring_is_refused(
    installation: Installation, tmp_path: Path
) -> None:
    copy = tmp_path / "keyring.json"
    shutil.copy(installation.folder / "keyring.json", copy)
    copy.chmod(0o600)
    assert installation.run("keyring", "rotate", "nobody_made_it", "--keyring-file", str(copy)).status == 5
    assert installation.run("keyring", "rotate", "main", "--keyring-file", str(tmp_path / "none")).status == 7
    copy.chmod(0o644)
    assert installation.run("keyring", "rotate", "main", "--keyring-file", str(copy)).status == 4
    assert {one["keyring"]: one["generation"] for one in installation.data("keyring", "show")}["main"] == 1


@pytest.mark.parametrize("verb", [["audit", "list"], ["audit", "verify"], ["audit", "verify", "--since-last"]])
def test_the_audit_holds(installation: Installation, verb: list[str]) -> None:
    installation.ok(*verb)


def test_doctor_finds_nothing_to_fail_and_then_an_exposed_file(installation: Installation) -> None:
    def failing() -> list[str]:
        failed = [one["subject"] for one in findings.json if one["level"] == "fail"]
        assert findings.status == (1 if failed else 0), findings.out
        return sorted(failed)

    # Other tests' keyrings have no delegates, which is a finding for each of them that was made before.
    served = {one["keyring"] for one in installation.data("delegate", "list") if one["state"] == "connected"}
    assert served == {"main"}
    made = {one["keyring"] for one in installation.data("keyring", "show")}
    unserved = [f"delegates of {one}" for one in made - served]
    findings = installation.run("doctor", "--output", "json")
    assert failing() == sorted(unserved), findings.out
    assert {"context", "files", "identity", "trust", "clock", "status", "grants", "audit"} <= {
        one["subject"] for one in findings.json
    }
    exposed = installation.home / "contexts.json"
    exposed.chmod(0o644)
    try:
        findings = installation.run("doctor", "--output", "json")
        assert failing() == sorted([*unserved, "files"])
    finally:
        exposed.chmod(0o600)


def test_a_secret_needs_a_place_and_a_place_in_use_stays(installation: Installation) -> None:
    refused = installation.run("secret", "set", "lost", "--from-stdin", "--org", "nosuch", given=b"x")
    assert refused.status == 5 and "no organisation nosuch" in refused.err
    installation.ok("org", "create", "held")
    refused = installation.run("secret", "set", "lost", "--from-stdin", "--org", "held", "--project", "no", given=b"x")
    assert refused.status == 5 and "no project no" in refused.err
    installation.ok("secret", "set", "here", "--from-stdin", "--org", "held", given=b"x")
    refused = installation.run("org", "delete", "held", "--yes")
    assert refused.status == 6 and "holds a secret" in refused.err
    installation.ok("secret", "delete", "here", "--org", "held", "--yes")
    installation.ok("org", "delete", "held", "--yes")
