"""Conditions and scopes in documents: one text of each condition, and what a task, its connectors and a certificate say together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from client.choice import TASK_ORIGINS
from shared.canonical import encode
from shared.condition import LONGEST
from shared.documents.certificate import MOST_SCOPES, CertificateDocument
from shared.documents.connector import CUSTOM
from shared.documents.fields import Payload
from shared.documents.jws import parse
from shared.documents.task import WantedSelector
from shared.errors import Malformed
from shared.names import ACCOUNT_SCOPE, Scope
from tests.adversary.judging import ORG, held, judge
from tests.fakes.world import World
from tests.vectors.actors import edited
from tests.vectors.conditions import ANOTHER_TEXT, MALFORMED

WORLD = World()
TASK = WORLD.reveal([WORLD.store(WORLD.secret("password", ORG), b"hunter2")]).document
CONNECTOR = WORLD.connector_document("kms")
HOLDERS = pytest.mark.parametrize("document", [TASK, CONNECTOR], ids=["task", "connector"])
WRONG = {**ANOTHER_TEXT, **{name: text for name, text in MALFORMED.items() if text}}


def again(payload: Payload, **changes: Any) -> Payload:
    """What a reader makes of `payload` with these members, as they are. Raises Malformed."""
    return parse(edited(WORLD.administrator, payload, lambda members: members.update(changes))).document


@HOLDERS
@pytest.mark.parametrize(
    "text", ["eu", "not eu", "a or b and not (c or d)", "x" * 128, " or ".join(["not t=test"] * 64)]
)
def test_a_condition_goes_there_and_back(document: Payload, text: str) -> None:
    read = again(document, where=text)
    assert read == structs.replace(document, where=text)
    assert json.loads(encode(read))["where"] == text
    assert "where" not in json.loads(encode(document))


@HOLDERS
@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_no_other_text_stands_in_a_document(document: Payload, text: str) -> None:
    with pytest.raises(Malformed):
        again(document, where=text)
    with pytest.raises(ValueError, match="where"):
        structs.replace(document, where=text)


@HOLDERS
@pytest.mark.parametrize("value", ["", None, 5, ["eu"], "a" * (LONGEST + 1)], ids=str)
def test_none_is_spelt_out_and_nothing_else_is_one(document: Payload, value: Any) -> None:
    with pytest.raises(Malformed):
        again(document, where=value)


# ---- certificates


def takes(scopes: tuple[str, ...], *about: str) -> bool:
    document = WORLD.certificate(scopes=scopes).document
    assert isinstance(document, CertificateDocument)
    return document.takes(map(Scope.parse, about))


def test_a_certificate_without_scopes_is_for_all_of_them() -> None:
    assert takes(()) and takes((), "account") and takes((), "account", "org/a", "org/a/project/b")


def test_a_certificates_scopes_are_for_themselves_and_what_lies_below() -> None:
    some = ("org/a", "org/b/project/c")
    assert takes(some, "org/a") and takes(some, "org/a/project/x", "org/b/project/c")
    assert takes(("account",), "account", "org/a")
    for about in ("account", "org/ab", "org/b", "org/b/project/d"):
        assert not takes(some, about)
        assert not takes(some, "org/a", about)
    assert takes(some)


@pytest.mark.parametrize("scopes", [["org"], [""], ["org/a"] * (MOST_SCOPES + 1), "account", [1]], ids=str)
def test_a_certificate_has_no_other_scopes(scopes: Any) -> None:
    with pytest.raises(Malformed):
        again(WORLD.certificate().document, scopes=scopes)


# ---- the warrant


def test_conditions_of_a_task_and_of_every_connector_in_use_hold_together() -> None:
    world = World()
    holder = world.connector_with("holder", [], where="inside")
    world.store(world.secret("key", connector=holder.document.id), b"AKIA")
    kms = world.connector_with("kms", ["account.key"], where="eu")
    version = held(world, kms)
    other = held(world, world.connector_with("plain", []), "other")
    told = judge(world, world.reveal([version, other], where="not test"))
    assert [str(one) for one in told.conditions] == ["eu", "inside", "not test"]
    assert [str(one) for one in judge(world, world.reveal([version], where="eu")).conditions] == ["eu", "inside"]
    assert judge(world, world.reveal([other])).conditions == ()


def test_an_sshkeys_connector_has_no_condition_that_counts() -> None:
    world = World()
    home = world.publish(world.connector_document("home", where="gpu"))
    login = world.login("login", connector=home.document.id)
    custom = world.custom("custom", world.template("script"), ["account.login"], where="linux")
    assert [str(one) for one in judge(world, world.check(custom)).conditions] == ["linux"]
    tried = judge(world, world.check_login(login, where="eu"))
    assert [str(one) for one in tried.conditions] == ["eu"]
    assert tried.kinds == {CUSTOM}


def test_selectors_of_a_task_set_no_condition_aside() -> None:
    world = World()
    kms = world.connector_with("kms", [], selectors=("aws",), where="eu")
    version = held(world, kms)
    for origin in TASK_ORIGINS:
        told = judge(world, world.reveal([version], selectors=(WantedSelector("gpu", origin),)))
        assert told.selectors == {"gpu"} and [str(one) for one in told.conditions] == ["eu"]


def test_a_warrant_is_about_the_scopes_of_its_secrets_or_else_connectors() -> None:
    world = World()
    kms = world.connector_with("kms", [])
    first, second = held(world, kms), held(world, kms, "other", f"{ORG}/project/x")
    assert judge(world, world.reveal([first, second])).scopes == {ORG, f"{ORG}/project/x"}
    assert judge(world, world.check(kms)).scopes == {str(ACCOUNT_SCOPE)}
