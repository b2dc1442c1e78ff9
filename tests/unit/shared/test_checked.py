"""Which tests of connectors count, from the signed documents alone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.documents.checked import CheckedDocument
from shared.documents.jws import Verified
from shared.trust.authority import SKEW_SECONDS
from shared.trust.checked import unfounded
from tests.fakes.world import World

WORLD = World()
CONNECTOR = WORLD.publish(WORLD.connector_document("one", selectors=("eu",), where="delegate and not test"))
CERTIFICATE = WORLD.certificate(tags=("delegate", "eu")).document


def why(changes: dict[str, Any] | None = None, certificate: dict[str, Any] | None = None, now: int = WORLD.now) -> str:
    document = CONNECTOR.document
    checked = CheckedDocument(
        v=1, acct=WORLD.id, connector=document.id, revision=CONNECTOR.digest, code="ok", iat=WORLD.now
    )
    vouched = structs.replace(CERTIFICATE, **(certificate or {}))
    told = structs.replace(checked, **(changes or {}))
    return unfounded(told, CONNECTOR.digest, document, vouched, vouched.tags, now)


def test_a_delegates_test_of_a_connector_that_it_serves_counts() -> None:
    assert why() == ""


@pytest.mark.parametrize(
    ("changes", "certificate", "code"),
    [
        ({"acct": "b" * 52}, {}, "connector_changed"),
        ({"connector": "b" * 26}, {}, "connector_changed"),
        ({"revision": WORLD.connector.digest}, {}, "connector_changed"),
        ({}, {"acct": "b" * 52}, "keyring_other"),
        ({}, {"keyring": "other"}, "keyring_other"),
        ({}, {"tags": ("delegate",)}, "selectors_missing"),
        ({}, {"tags": ("delegate", "eu", "test")}, "condition_unmet"),
        ({}, {"tags": ("eu",)}, "condition_unmet"),
        ({"iat": WORLD.now + SKEW_SECONDS + 1}, {}, "time_odd"),
        ({"iat": CERTIFICATE.iat - SKEW_SECONDS - 1}, {}, "time_odd"),
        ({"iat": CERTIFICATE.exp + SKEW_SECONDS + 1}, {}, "time_odd"),
    ],
)
def test_a_test_of_something_else_or_by_somebody_else_counts_for_nothing(
    changes: dict[str, Any], certificate: dict[str, Any], code: str
) -> None:
    later = 2**32 if changes.get("iat", 0) > CERTIFICATE.exp else WORLD.now
    assert why(changes, certificate, later) == code


def test_a_connector_without_a_condition_is_for_every_delegate_with_its_selectors() -> None:
    plain = structs.replace(CONNECTOR.document, where="")
    checked = CheckedDocument(
        v=1, acct=WORLD.id, connector=plain.id, revision=CONNECTOR.digest, code="ok", iat=WORLD.now
    )
    assert unfounded(checked, CONNECTOR.digest, plain, CERTIFICATE, ("eu",), WORLD.now) == ""


def test_a_connector_revised_since_has_no_test() -> None:
    revised: Verified[Any] = WORLD.next(CONNECTOR, name="renamed")
    document = CheckedDocument(
        v=1, acct=WORLD.id, connector=revised.document.id, revision=CONNECTOR.digest, code="ok", iat=WORLD.now
    )
    told = unfounded(document, revised.digest, revised.document, CERTIFICATE, CERTIFICATE.tags, WORLD.now)
    assert told == "connector_changed"
