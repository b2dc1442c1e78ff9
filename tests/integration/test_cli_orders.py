"""`privyseal order` against a running installation."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.installation import Installation


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    running = Installation(tmp_path_factory.mktemp("orders"))
    running.start()
    yield running
    assert running.stop() == 0


def ended(desk: Installation, name: str) -> dict[str, object]:
    """The last run, once it is over."""
    deadline = time.monotonic() + 45
    while True:
        runs = desk.data("order", "runs", name)
        if runs and runs[0]["finished"]:
            return dict(runs[0])
        assert time.monotonic() < deadline, runs
        time.sleep(0.05)


def test_an_order_is_given_looked_at_renewed_and_cancelled(installation: Installation) -> None:
    desk = installation
    made = desk.data(
        "order", "create", "watch", "--every", "15m", "--for", "7d", "--check", "account.harnessSecretManager"
    )
    assert (made["order"], made["revision"], made["every"], made["runs"]) == ("watch", 1, 900, 672)
    run = ended(desk, "watch")
    assert (run["n"], run["state"], run["code"], run["skipped"]) == (0, "done", "ok", 0)
    (row,) = [one for one in desk.data("order", "list") if one["id"] == made["id"]]
    assert (row["name"], row["op"], row["state"], row["every"], row["last"]) == (
        "watch",
        "check",
        "standing",
        900,
        "done (ok)",
    )
    assert row["next"] and row["overdue"] == 0
    shown = desk.data("order", "show", made["id"])
    assert (shown["revision"], shown["runs"], shown["keyring"]) == (1, 672, "main")
    opened = desk.data("order", "runs", "watch", "--open")
    assert (opened["code"], opened["items"], opened["task"]) == ("ok", ["ok"], run["task"])
    explained = desk.data("task", "explain", str(run["task"]))
    assert explained["op"] == "check" and explained["state"] == "done"
    assert b"watch" in desk.ok("order", "list").out and b"done" in desk.ok("order", "runs", "watch").out
    renewed = desk.data("order", "renew", "watch", "--for", "3", "--runs", "10")
    assert (renewed["revision"], renewed["runs"], renewed["id"]) == (2, 10, made["id"])
    gone = desk.data("order", "cancel", "watch", "--yes")
    assert gone["revision"] == 3
    (row,) = [one for one in desk.data("order", "list", "--all") if one["id"] == made["id"]]
    assert (row["state"], row["next"]) == ("cancelled", "")


def test_what_came_of_runs_opens_after_the_order_was_cancelled_too(installation: Installation) -> None:
    desk = installation
    desk.data("order", "create", "brief", "--check", "account.harnessSecretManager")
    first = ended(desk, "brief")
    desk.ok("order", "cancel", "brief", "--yes")
    opened = desk.data("order", "runs", "brief", "--open")
    assert (opened["revision"], opened["items"], opened["task"]) == (1, ["ok"], first["task"])
    assert desk.data("order", "runs", "brief", "--run", "0")["task"] == first["task"]


def test_what_no_order_can_be_is_refused_before_anything_is_sent(installation: Installation) -> None:
    desk = installation
    for arguments, code in (
        (("--every", "30s", "--check", "account.local"), "interval_out_of_range"),
        (("--for", "91d", "--check", "account.local"), "order_too_long"),
        (("--for", "soon", "--check", "account.local"), "time_malformed"),
        (("--runs", "2", "--check", "account.local"), "runs_out_of_range"),
        ((), "order_unclear"),
        (("--check", "account.local", "--", "true"), "order_unclear"),
        (("--every", "1h", "--", "true"), "command_without_secret"),
        (("--every", "1h", "--secret", "LD_PRELOAD=account.x", "--", "true"), "command_malformed"),
    ):
        result = desk.run("order", "create", "wrong", *arguments, "--output", "json")
        # What stands behind -- is the command's.
        told = json.loads(result.err) if result.err.startswith("{") else {"code": result.err}
        assert result.status != 0 and (told["code"] == code or "--" in arguments), (arguments, told)
    assert "wrong" not in {row["name"] for row in desk.data("order", "list")}


def test_a_command_is_ordered_with_its_variables_and_cancelled(installation: Installation, tmp_path: Path) -> None:
    desk = installation
    desk.ok("secret", "set", "account.token", "--from-stdin", given=b"value")
    result = desk.run(
        *("order", "create", "report", "--every", "1h", "--secret", "TOKEN=account.token"),
        *("--env", "A=b", "--directory", str(tmp_path), "--timeout", "5", "--", "sh", "-c", "echo hello"),
    )
    assert result.status == 0, result.err
    row = next(one for one in desk.data("order", "list") if one["name"] == "report")
    assert row["op"] == "exec" and row["state"] == "standing"
    missing = desk.run("order", "runs", "report", "--run", "7", "--output", "json")
    assert missing.status != 0 and missing.problem["code"] == "run_not_found"
    desk.ok("order", "cancel", "report", "--yes")
    unknown = desk.run("order", "show", "nothing", "--output", "json")
    assert unknown.status != 0 and unknown.problem["code"] == "order_not_found"
