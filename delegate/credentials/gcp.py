"""A connector's calls of Google Cloud, made as its settings say: the one entrance for every kind of secret manager there."""

from __future__ import annotations

from collections.abc import Mapping

from delegate.credentials.gcp_calls import Client, GcpCalls, Refusals
from delegate.credentials.gcp_identities import Federated, Identity, OwnIdentity, ServiceAccount
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.gcp import Identity as Settings
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument


def identity(
    settings: Settings,
    scope: str,
    connector: ConnectorDocument,
    surroundings: Surroundings,
    secrets: Mapping[str, Plaintext],
) -> Identity:
    """Who a connector is, without any I/O yet; `scope` is the OAuth scope it needs. Raises Malformed for what can't be a key."""
    if settings.key is not None:
        return ServiceAccount(secrets[settings.key], settings.key, scope, surroundings)
    if settings.federation is not None:
        return Federated(settings.federation, scope, connector, surroundings)
    return OwnIdentity(scope, surroundings)


def calls(service: str, client: Client, identity: Identity, surroundings: Surroundings, refusals: Refusals) -> GcpCalls:
    """Calls of a service as somebody; `refusals` say what the service's own status codes mean."""
    tries = Tries(surroundings.call_seconds, surroundings.randomness)
    return GcpCalls(service, client, identity, surroundings.gcp_endpoints, surroundings.policy, tries, refusals)
