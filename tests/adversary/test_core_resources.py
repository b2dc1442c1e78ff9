"""A grant of one thing is a grant of that thing: not of one of another kind that was given the same id."""

from __future__ import annotations

import pytest

from shared.documents.grant import PERMISSIONS
from shared.errors import Denied
from shared.trust.warrant import warrant
from tests.fakes.world import World


def test_who_is_granted_one_secret_makes_no_connector_of_its_id() -> None:
    world = World()
    mallory = world.identity("mallory")
    secret = world.secret("password")
    world.grant(mallory, PERMISSIONS, resource=secret.document.id)
    forged = world.sign(world.connector_document("prod_kms", id=secret.document.id), mallory)
    with pytest.raises(Denied):
        world.book().admit(forged.compact, world.now)


def test_who_is_granted_one_secret_has_no_connector_of_its_id_tested() -> None:
    """An administrator's own connector, were it to get that id."""
    world = World()
    mallory = world.identity("mallory")
    secret = world.secret("password")
    world.grant(mallory, PERMISSIONS, resource=secret.document.id)
    connector = world.publish(world.connector_document("prod_kms", id=secret.document.id))
    with pytest.raises(Denied):
        warrant(world.book(), world.check(connector, mallory), world.now)
    assert warrant(world.book(), world.check(connector), world.now)


def test_who_is_granted_one_connector_has_no_secret_of_its_id() -> None:
    world = World()
    mallory = world.identity("mallory")
    secret = world.secret("password")
    version = world.store(secret, b"hunter2")
    world.grant(mallory, PERMISSIONS, resource=f"connector/{secret.document.id}")
    with pytest.raises(Denied):
        warrant(world.book(), world.reveal([version], mallory), world.now)
    with pytest.raises(Denied):
        world.book().admit(world.next(secret, mallory, name="theirs").compact, world.now)


def test_one_connector_can_be_granted_alone() -> None:
    world = World()
    editor = world.identity("editor")
    connector = world.publish(world.connector_document("team_kms"))
    other = world.publish(world.connector_document("prod_kms"))
    world.grant(editor, ["edit", "use"], resource=connector.document.resource)
    revised = world.revise(connector, editor, name="ours")
    assert warrant(world.book(), world.check(revised, editor), world.now)
    with pytest.raises(Denied):
        warrant(world.book(), world.check(other, editor), world.now)
