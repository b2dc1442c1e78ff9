"""Connectors' tests as a client believes them: signed by a delegate that may serve the connector, of this very revision."""

from __future__ import annotations

from typing import Any

import pytest

from client.checks import read_tests
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.documents.checked import CheckedDocument
from shared.documents.group import GroupDocument
from tests.fakes.world import World

DAY = 86_400


class Stage:
    """An account with one connector for delegates with the selector `eu`."""

    def __init__(self) -> None:
        self.world = World()
        self.connector = self.world.publish(self.world.connector_document("one", selectors=("eu",)))

    def told(
        self, signer: Identity | None = None, certificate: dict[str, Any] | None = None, **changes: Any
    ) -> dict[str, str]:
        """What the manager shows of a test."""
        world, signer = self.world, signer or self.world.delegate
        fields: dict[str, Any] = {
            "v": 1,
            "acct": world.id,
            "connector": self.connector.document.id,
            "revision": self.connector.digest,
            "code": "ok",
            "iat": world.now,
        }
        vouched = world.certificate(**{"tags": ("delegate", "eu"), "key": signer.key, **(certificate or {})})
        document = signer.sign_document(CheckedDocument(**{**fields, **changes}))
        return {"document": document, "certificate": vouched.compact}

    def read(self, *told: dict[str, Any], now: int | None = None) -> list[tuple[str, int, str]]:
        """(code, time, name) of what is believed of the connector."""
        tests = read_tests(told, [self.connector], self.world.book(), self.world.now if now is None else now)
        return [(one.code, one.at, one.name) for one in tests.get(self.connector.document.id, [])]


def test_a_delegates_signed_test_counts() -> None:
    stage = Stage()
    assert stage.read(stage.told(code="denied")) == [("denied", stage.world.now, "delegate")]


def test_a_test_counts_by_the_tags_that_its_delegates_group_has_now() -> None:
    stage = Stage()
    world = stage.world
    told = stage.told(certificate={"tags": ("delegate",), "group": "builders"})
    assert stage.read(told) == []
    first = world.publish(GroupDocument(v=1, acct=world.id, id="builders", rev=1, iat=world.now, tags=("eu",)))
    assert [code for code, _, _ in stage.read(told)] == ["ok"]
    world.revise_status(groups={"builders": 2})
    assert stage.read(told) == []
    world.revise(first, tags=("us",))
    assert stage.read(told) == []


def test_of_each_delegate_the_newest_counts_and_the_newest_of_all_comes_first() -> None:
    stage = Stage()
    other, now = stage.world.identity("other"), stage.world.now
    assert stage.read(
        stage.told(iat=now - 30),
        stage.told(iat=now - 10, code="denied"),
        stage.told(iat=now - 20),
        stage.told(other, {"name": "other"}, iat=now - 5),
    ) == [("ok", now - 5, "other"), ("denied", now - 10, "delegate")]


def test_a_manager_that_shows_an_old_test_cannot_hide_its_age() -> None:
    stage = Stage()
    old = stage.told(iat=stage.world.now)
    later = stage.world.now + DAY
    assert stage.read(old, now=later) == [("ok", later - DAY, "delegate")]
    # And after the life of a certificate it is nothing any more.
    assert stage.read(old, now=later + 6 * DAY) == []


def test_a_test_that_the_manager_signed_is_none() -> None:
    stage = Stage()
    evil = Identity.from_seed(bytes(32))
    assert stage.read(stage.told(evil, {"key": stage.world.delegate.key})) == []
    forged = stage.world.certificate(evil, key=evil.key, tags=("delegate", "eu")).compact
    assert stage.read({**stage.told(evil), "certificate": forged}) == []


def test_a_delegate_that_lies_about_a_connector_whose_selectors_it_lacks_is_not_heard() -> None:
    stage = Stage()
    assert stage.read(stage.told(certificate={"tags": ("delegate",)})) == []


def test_a_delegate_of_another_zone_is_not_heard() -> None:
    stage = Stage()
    other = Keyring(stage.world.id, "other", [(1, bytes(32))])
    vouched = stage.world.certificate(other.newest.certifying, keyring="other", tags=("delegate", "eu"))
    assert stage.read({**stage.told(), "certificate": vouched.compact}) == []


def test_a_revoked_delegate_is_not_heard() -> None:
    stage = Stage()
    stage.world.revise_status(keys=(stage.world.delegate.kid,))
    assert stage.read(stage.told()) == []


@pytest.mark.parametrize(
    "changes", [{"revision": "A" * 43}, {"connector": "a" * 26}, {"acct": "b" * 52}, {"iat": 2_000_000_000}]
)
def test_a_test_of_something_else_is_none(changes: dict[str, Any]) -> None:
    stage = Stage()
    assert stage.read(stage.told(**changes)) == []


def test_a_test_of_the_revision_before_is_none() -> None:
    stage = Stage()
    before = stage.told()
    stage.connector = stage.world.revise(stage.connector, name="renamed")
    assert stage.read(before) == []


@pytest.mark.parametrize("told", [{}, {"document": "x", "certificate": 7}, {"document": "a.b.c", "certificate": ""}])
def test_what_is_no_test_is_none(told: dict[str, Any]) -> None:
    assert Stage().read(told) == []


def test_a_connector_of_a_keyring_that_is_not_there_has_no_tests() -> None:
    stage = Stage()
    told = stage.told()
    stage.connector = stage.world.publish(stage.world.connector_document("two", keyring="gone"))
    assert stage.read(told) == []
