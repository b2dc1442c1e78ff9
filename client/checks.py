"""Connection tests: what delegates' own tests of connectors came to, believed only as far as it is signed.

    certificate <- keyring document    test <- certified identity    connector <- test, by its digest

Promises: a test counts for exactly the revision that was asked for, from a delegate that may serve it; whatever can't be
verified counts as none. Can't tell whether the manager has a newer one: so each has its time. Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as
from shared.errors import PrivySealError
from shared.trust.book import Book
from shared.trust.certificate import check_certificate
from shared.trust.checked import unfounded
from shared.trust.group import check_group, tags_of


@dataclass(frozen=True, slots=True)
class Test:
    """`code` is `ok` or the class of the error; made by the delegate (thumbprint, name) `at` seconds since 1970.

    `until` is how long the manager says that it goes by it in choosing delegates; None where it doesn't.
    """

    connector: str
    code: str
    at: int
    delegate: str
    name: str
    until: int | None = None


def read_tests(
    told: Iterable[Mapping[str, Any]], connectors: Iterable[Verified[ConnectorDocument]], book: Book, now: int
) -> dict[str, list[Test]]:
    """The tests among what the manager tells, by connector id, the newest first and one for each delegate."""
    known = {one.document.id: one for one in connectors}
    found: dict[str, dict[str, Test]] = {}
    for one in told:
        try:
            test = _verified(str(one.get("document", "")), str(one.get("certificate", "")), known, book, now)
        except PrivySealError:
            continue
        if test is None:
            continue
        until = one.get("until")
        test = replace(test, until=until if type(until) is int else None)
        of_connector = found.setdefault(test.connector, {})
        before = of_connector.get(test.delegate)
        if before is None or before.at < test.at:
            of_connector[test.delegate] = test
    return {id: sorted(tests.values(), key=lambda one: (-one.at, one.name)) for id, tests in found.items()}


def _verified(
    document: str, certificate: str, known: Mapping[str, Verified[ConnectorDocument]], book: Book, now: int
) -> Test | None:
    """(1) It is of a connector that is known, (2) whose keyring certifies (3) who signed it, (4) and it is about this revision."""
    unverified = parse_as(CheckedDocument, document)
    connector = known.get(unverified.document.connector)
    keyring = book.keyrings.get(connector.document.keyring) if connector is not None else None
    if connector is None or keyring is None:
        return None
    status = book.status.document if book.status is not None else None
    vouched = check_certificate(certificate, keyring, status, now).document
    checked = unverified.verified_by(VerifyingKey.of(vouched.key))
    check_group(vouched.group, book.groups, status)
    if unfounded(checked.document, connector.digest, connector.document, vouched, tags_of(vouched, book.groups), now):
        return None
    return Test(checked.document.connector, checked.document.code, checked.document.iat, checked.kid, vouched.name)
