"""`privyseal group` as it is typed."""

from __future__ import annotations

import json

from tests.integration.installation import Installation


def test_a_group_is_given_tags_listed_shown_and_deleted(installation: Installation) -> None:
    made = json.loads(
        installation.ok("group", "set", "Typed", "--tag", "disk:fast", "--tag", "GPU", "--output", "json").out
    )
    assert (made["group"], made["tags"]) == ("typed", ["disk:fast", "gpu"])
    assert b"region=eu" in installation.ok("group", "set", "typed", "--add", "region=eu", "--remove", "gpu").out
    (listed,) = [
        one for one in json.loads(installation.ok("group", "list", "--output", "json").out) if one["group"] == "typed"
    ]
    shown = json.loads(installation.ok("group", "show", "typed", "--output", "json").out)
    assert listed["tags"] == shown["tags"] == ["disk:fast", "region=eu"]
    assert (shown["revision"], shown["delegates"]) == (made["revision"] + 1, [])
    status = json.loads(installation.ok("status", "show", "--output", "json").out)
    assert status["group_floors"]["typed"] == shown["revision"]
    assert b"of their own alone" in installation.ok("group", "set", "typed", "--no-tags").out
    installation.ok("group", "delete", "typed", "--yes")
    assert installation.run("group", "show", "typed").status == 5
    assert installation.run("group", "delete", "typed", "--yes").status == 5


def test_what_a_group_is_to_have_must_be_said(installation: Installation) -> None:
    for words in ([], ["--no-tags", "--tag", "a"], ["--tag", "no selector!"]):
        asked = installation.run("group", "set", "typed", *words)
        assert asked.status == 2, asked.err
