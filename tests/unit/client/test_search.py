"""Search: a piece of text in a name, an identifier, a description or a tag, in either case."""

from __future__ import annotations

import pytest

from client.search import has, wanted
from tests.fakes.world import World

WORLD = World()
TOKEN = WORLD.secret_document(
    "db_token", name="The Token", description="for payments", tags={"team": "pay", "prod": ""}
)


@pytest.mark.parametrize(
    "search", ["", "db_", "TOKEN", "the tok", "Payments", "team", "pay", "team:pay", "prod", "PROD"]
)
def test_names_descriptions_and_tags_are_looked_at(search: str) -> None:
    assert wanted(TOKEN, search, ())


@pytest.mark.parametrize("search", ["db token", "payments team", "prod:", "account", "SecretText", WORLD.id, TOKEN.id])
def test_nothing_else_is_and_not_across_two_of_them(search: str) -> None:
    assert not wanted(TOKEN, search, ())


def test_one_of_the_types_is_enough_and_both_must_hold() -> None:
    assert wanted(TOKEN, "token", ["SSHKey", "secrettext"])
    assert not wanted(TOKEN, "token", ["SSHKey"])
    assert not wanted(TOKEN, "nothing", ["SecretText"])
    assert wanted(WORLD.connector.document, "", ["local"])
    assert not wanted(WORLD.connector.document, "", ["AwsKms"])


def test_letters_count_alike_in_any_language() -> None:
    assert has("STRASSE", ["straße"]) and has("é", ["CAFÉ"])
    assert not has("e", [])
