"""What `privyseal delegate` tells of load."""

from __future__ import annotations

import json

from client.cli.delegate import load_of
from tests.integration.installation import Installation


def test_a_delegate_is_shown_by_name_or_id_with_its_load(installation: Installation) -> None:
    listed = json.loads(installation.ok("delegate", "list", "--output", "json").out)
    one = listed[0]
    shown = json.loads(installation.ok("delegate", "get", one["name"], "--output", "json").out)
    by_id = json.loads(installation.ok("delegate", "get", one["delegate"][:20], "--output", "json").out)
    assert shown["delegate"] == by_id["delegate"] == one["delegate"]
    assert shown["load"].startswith("0/10")
    assert installation.run("delegate", "get", "nobody").status == 5


def test_load_is_told_in_tasks_and_percent_and_names_the_limit_that_it_is_over() -> None:
    over = {"percent": 93, "limit_percent": 80, "over": True}
    below = {"percent": 41, "limit_percent": 80, "over": False}
    assert (
        load_of({"executing": 3, "capacity": 10, "cpu": over, "memory": below}) == "3/10 cpu 93% (over 80%) memory 41%"
    )
    assert load_of({"executing": 0, "capacity": 4, "cpu": None}) == "0/4"
    assert load_of({"cpu": 7}) == "?/?"
