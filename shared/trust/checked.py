"""Checks: which tests of connectors count, judged from the signed documents alone.

Manager and client ask the same question, the client after it has verified every signature itself. Pure: time is an argument.
"""

from __future__ import annotations

from collections.abc import Collection

from shared.condition import parsed
from shared.documents.certificate import CertificateDocument
from shared.documents.checked import CheckedDocument
from shared.documents.connector import ConnectorDocument
from shared.selectors import missing
from shared.trust.authority import SKEW_SECONDS


def unfounded(
    checked: CheckedDocument,
    digest: str,
    connector: ConnectorDocument,
    certificate: CertificateDocument,
    tags: Collection[str],
    now: int,
) -> str:
    """Why a delegate's test says nothing of the connector whose document has that digest; empty where it does.

    `tags` are the delegate's, those of its group among them (`shared.trust.group`).

    `connector_changed`: it is of another connector or revision; `keyring_other`, `selectors_missing`, `condition_unmet`: the
    connector isn't for this delegate; `time_odd`: it was made in the future, or outside of its certificate's time.
    """
    if (checked.acct, checked.connector, checked.revision) != (connector.acct, connector.id, digest):
        return "connector_changed"
    if (certificate.acct, certificate.keyring) != (connector.acct, connector.keyring):
        return "keyring_other"
    if missing(connector.selectors, tags):
        return "selectors_missing"
    if connector.where and not parsed(connector.where).holds(tags):
        return "condition_unmet"
    earliest, latest = certificate.iat - SKEW_SECONDS, min(certificate.exp, now) + SKEW_SECONDS
    return "" if earliest <= checked.iat <= latest else "time_odd"
